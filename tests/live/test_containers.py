"""`encoding=webm|ogg`: a file's bytes as a browser's MediaRecorder makes them, decoded as they come."""

import asyncio
import contextlib
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import soundfile

from app.api import live
from app.audio.ffmpeg import find_ffmpeg
from app.engine.shares import Holder, Shares
from app.live.batcher import Slot
from app.vad.errors import InvalidAudio, NotReady
from app.vad.models.fsmn.network import FsmnScorer
from tests.live.client import (
    Heard,
    converse,
    cut,
    eventually,
    file_pairs,
    hear,
    hear_all,
    hear_until,
    say,
    stream,
    vanish,
)
from tests.live.managers import Connected, running_manager
from tests.segmentations import endpoint
from tests.server import RunningServer
from tests.signals import bursts

FORMS = {
    "webm": ["-f", "webm"],
    "webm, live": ["-f", "webm", "-live", "1", "-cluster_time_limit", "100"],  # as MediaRecorder: no index, no length
    "ogg": ["-f", "ogg"],
    "ogg, live": ["-f", "ogg", "-page_duration", "100000"],
}


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Opus in each form: two bursts in ten seconds, in stereo for Ogg."""
    ffmpeg = find_ffmpeg(None)
    if ffmpeg is None:
        pytest.skip("there is no ffmpeg here")
    folder = tmp_path_factory.mktemp("recordings")
    sound = folder / "bursts.wav"
    soundfile.write(sound, bursts(10.0, [(2.0, 4.0), (6.0, 8.0)]), 16_000, subtype="PCM_16")
    made = {}
    for name, form in FORMS.items():
        channels = "2" if "ogg" in name else "1"
        command = [ffmpeg, "-loglevel", "error", "-i", sound, "-c:a", "libopus", "-ac", channels, *form, "pipe:1"]
        ended = subprocess.run(command, capture_output=True, check=False)
        if ended.returncode:
            pytest.skip(f"this ffmpeg makes no Opus: {ended.stderr.decode()[-200:]}")
        made[name] = ended.stdout
    return made


def encoding(name: str) -> str:
    return name.partition(",")[0]


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("size", [61, 1_000, 1 << 20])
def test_segments_are_those_of_the_file(
    server: RunningServer, recordings: dict[str, bytes], name: str, size: int
) -> None:
    data = recordings[name]
    heard = converse(server, cut(data, size), encoding=encoding(name))
    assert heard.code == 1000
    assert heard.pairs == file_pairs(server, data) != []
    assert [[each["start_ms"], each["end_ms"]] for each in heard.done["segments"]] == heard.pairs


@pytest.mark.parametrize("name", ["webm, live", "ogg, live"])
def test_events_come_while_the_file_is_being_made(
    server: RunningServer, recordings: dict[str, bytes], name: str
) -> None:
    data = recordings[name]
    with stream(server, encoding=encoding(name), mode="tight", audio="true") as socket:
        ready = hear(socket)
        assert (ready["encoding"], ready["sample_rate"]) == (encoding(name), 48_000)
        for chunk in cut(data[: len(data) * 6 // 10], 500):
            socket.send(chunk)
        end = hear_until(socket, "speech_end")[-1]
        say(socket, "ping")
        assert hear_until(socket, "pong")[-1]["received_ms"] > 4_000
        for chunk in cut(data[len(data) * 6 // 10 :], 500):
            socket.send(chunk)
        say(socket, "end")
        rest = hear_all(socket)
    assert [end["start_ms"], end["end_ms"]] == file_pairs(server, data, mode="tight")[0]
    assert len(end["audio"]["data"]) > 60_000
    assert rest.code == 1000
    assert rest.done["duration_ms"] == pytest.approx(10_000, abs=20)


@pytest.mark.parametrize("name", ["webm", "ogg"])
def test_what_is_cut_off_is_heard_as_far_as_it_goes(
    server: RunningServer, recordings: dict[str, bytes], name: str
) -> None:
    data = recordings[name][: len(recordings[name]) // 2]
    heard = converse(server, cut(data, 777), encoding=name)
    assert heard.pairs == file_pairs(server, data) != []
    assert "damaged" not in [warning["code"] for warning in heard.done["warnings"]]


@pytest.mark.parametrize("name", FORMS)
def test_damage_is_told_in_the_end(server: RunningServer, recordings: dict[str, bytes], name: str) -> None:
    whole = recordings[name]
    assert "damaged" not in [
        each["code"] for each in converse(server, cut(whole, 999), encoding=encoding(name)).done["warnings"]
    ]
    start = len(whole) * 2 // 5
    data = whole[:start] + bytes(len(whole) // 20) + whole[start + len(whole) // 20 :]
    heard = converse(server, cut(data, 999), encoding=encoding(name))
    details = {warning["code"]: warning["detail"] for warning in heard.done["warnings"]}
    assert "broken" in details["damaged"] or "packet" in details["damaged"]
    assert "ms are missing" in details["damaged"]


def fails(server: RunningServer, data: bytes, **query: str) -> Heard:
    with stream(server, **query) as socket:
        for chunk in cut(data, 1_000):
            socket.send(chunk)
        say(socket, "end")
        return hear_all(socket)


def test_what_is_no_such_file_is_refused(server: RunningServer, recordings: dict[str, bytes]) -> None:
    for data, form in ((b"nonsense" * 10_000, "webm"), (recordings["ogg"], "webm"), (recordings["webm"], "ogg")):
        heard = fails(server, data, encoding=form)
        assert heard.code in (1003, 1007), heard.reason
        assert heard.error["code"] in ("unsupported_audio", "invalid_audio")
        assert form in heard.error["detail"]


def test_files_that_cannot_be_heard_as_they_come_are_refused(server: RunningServer) -> None:
    with stream(server, encoding="mp4") as socket:
        heard = hear_all(socket)
    assert heard.code == 1008
    assert heard.error["option"] == "encoding"
    assert "webm, ogg; send other files to POST /vad, without encoding" in heard.error["detail"]


def test_an_empty_stream_is_done(server: RunningServer) -> None:
    heard = converse(server, [], encoding="webm")
    assert (heard.code, heard.done["duration_ms"]) == (1000, 0)


def test_without_its_encoding_it_is_told_which_to_name(server: RunningServer, recordings: dict[str, bytes]) -> None:
    with stream(server) as socket:
        socket.send(recordings["webm"][:4_000])
        heard = hear_all(socket)
    assert heard.code == 1003
    assert "encoding=webm or ogg" in heard.error["detail"]


def test_a_channel_that_is_not_there(server: RunningServer, recordings: dict[str, bytes]) -> None:
    heard = fails(server, recordings["ogg"], encoding="ogg", channel="2")
    assert "2 channels" in heard.error["detail"]
    assert converse(server, [recordings["ogg"]], encoding="ogg", channel="1").code == 1000


def test_nobody_comes_back_to_it(server: RunningServer, recordings: dict[str, bytes]) -> None:
    with stream(server, encoding="webm") as socket:
        token = hear(socket)["session"]
        socket.send(recordings["webm"][:4_000])
        vanish(socket)
    with stream(server, session=token) as socket:
        assert hear_all(socket).error["code"] == "no_such_session"


def children(server: RunningServer) -> int:
    """Decoders that run below the server's process."""
    tasks = Path(f"/proc/{server.pid}/task")
    pids = {pid for task in tasks.iterdir() for pid in said_by(task / "children").split()}
    return sum("pipe:0" in said_by(Path(f"/proc/{pid}/cmdline")) for pid in pids)


def said_by(path: Path) -> str:
    """What /proc says of a thread or a process, which may have ended since it was listed."""
    try:
        return path.read_text()
    except OSError:
        return ""


def test_a_client_that_vanishes_leaves_no_decoder(server: RunningServer, recordings: dict[str, bytes]) -> None:
    if not Path("/proc/self/task").is_dir():
        pytest.skip("needs /proc")
    with stream(server, encoding="webm") as socket:
        hear(socket)
        socket.send(recordings["webm"][:4_000])
        eventually(lambda: children(server) == 1)
        vanish(socket)
    eventually(lambda: children(server) == 0)


class BrokenDecoder:
    """Fails in one way or another."""

    def __init__(self, reading: type[Exception] | None, closing: type[Exception] | None) -> None:
        self.closed = False
        self._reading, self._closing = reading, closing

    async def write(self, data: bytes) -> None:
        await asyncio.sleep(0)

    async def read_info(self) -> None:
        if self._reading is not None:
            raise self._reading("it cannot be read")
        await asyncio.sleep(60)

    async def close(self) -> None:
        self.closed = True
        if self._closing is not None:
            raise self._closing("it cannot be killed")


@pytest.mark.parametrize("closing", [None, OSError])
@pytest.mark.parametrize(
    ("reading", "ended"),
    [(None, None), (NotReady, "not_ready"), (InvalidAudio, "invalid_audio"), (RuntimeError, "internal")],
)
async def test_a_decoders_place_is_given_back_whatever_became_of_it(
    small_scorer: FsmnScorer, reading: type[Exception] | None, ended: str | None, closing: type[Exception] | None
) -> None:
    service: Any = SimpleNamespace(stream_decoders=Shares(1))
    place = service.stream_decoders.arrive(Holder("client"))
    decoder: Any = BrokenDecoder(reading, closing)

    async def fed(slot: Slot) -> None: ...

    async with running_manager(small_scorer) as running:
        feed = live.ContainerFeed(service, place, decoder, fed, running.manager.clock)
        slot = running.open(endpoint(), Connected(), encoding="webm")
        await feed.write(slot, b"bytes")
        for _ in range(5):
            await asyncio.sleep(0)
        assert slot.session.ended == ended
        with contextlib.suppress(OSError):
            await feed.close()
    assert decoder.closed
    assert service.stream_decoders.taken == 0


@pytest.mark.parametrize("name", ["webm", "ogg"])
def test_funasrs_last_message_waits_for_the_decoder(
    server: RunningServer, recordings: dict[str, bytes], name: str
) -> None:
    with stream(server, encoding=name, protocol="funasr") as socket:
        socket.send('{"is_speaking": true}')
        socket.send(recordings[name])
        socket.send('{"is_speaking": false}')
        heard = hear_all(socket)
    assert heard.messages[-1]["value"] == file_pairs(server, recordings[name]) != []
