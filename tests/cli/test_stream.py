"""`fsmn-vad stream` as a person or a script runs it."""

import json
import os
import pty
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.cli.calling import Ended, call, environment, spawn
from tests.cli.relay import breaking_relay
from tests.forked import Forked
from tests.server import RunningServer, local_server
from tests.signals import bursts


def messages(ended: Ended) -> list[dict[str, Any]]:
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


def described(found: list[dict[str, Any]]) -> list[list[Any]]:
    names = ("start_ms", "end_ms", "forced_end", "speech_probability")
    return [[entry[name] for name in names] for entry in found]


def segments(found: list[dict[str, Any]]) -> list[list[Any]]:
    """Of the events; the summary must say the same."""
    ends = [message for message in found if message["type"] == "speech_end"]
    assert found[-1]["type"] == "done"
    assert described(ends) == described(found[-1]["segments"])
    return described(ends)


def served(server: RunningServer, path: Path, **options: str) -> list[list[Any]]:
    """What `POST /vad` finds in the file."""
    with server.client() as client:
        answer = client.post("/vad", params=options, files={"file": (path.name, path.read_bytes())})
    return described(answer.json()["segments"])


def pcm(samples: Any, encoding: str = "pcm_s16le") -> bytes:
    scaled = np.round(np.asarray(samples) * 32767).astype("<i2")
    return bytes(scaled.tobytes() if encoding == "pcm_s16le" else np.asarray(samples, "<f4").tobytes())


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of another rate, two channels, and 24 bits."""
    path = tmp_path_factory.mktemp("wide") / "wide.flac"
    mono = bursts(8.0, [(1.0, 2.5), (5.0, 6.0)], rate=44_100)
    soundfile.write(path, np.stack([mono, mono * 0.5], axis=1), 44_100, subtype="PCM_24")
    return path


@pytest.fixture(scope="module", params=["speech_like", "wide"])
def audio(request: pytest.FixtureRequest) -> Path:
    path: Path = request.getfixturevalue(request.param)
    return path


@pytest.mark.parametrize("chunk_ms", ["20", "600"])
def test_a_file_over_a_server_is_what_post_finds(
    small_model: Path, server: RunningServer, audio: Path, chunk_ms: str
) -> None:
    url = server.url.replace("http:", "ws:")
    found = messages(call(small_model, "stream", str(audio), "--url", url, "--chunk-ms", chunk_ms))
    assert segments(found) == served(server, audio)
    assert len(segments(found)) == 2
    assert [message["type"] for message in found] == ["speech_start", "speech_end"] * 2 + ["done"]


def test_a_file_in_process_is_what_post_finds(small_model: Path, server: RunningServer, audio: Path) -> None:
    assert segments(messages(call(small_model, "stream", str(audio)))) == served(server, audio)


def test_a_channel_of_a_file_can_be_picked(small_model: Path, server: RunningServer, wide: Path) -> None:
    for where in ((), ("--url", server.url)):
        found = messages(call(small_model, "stream", str(wide), "--channel", "1", *where))
        assert segments(found) == served(server, wide, channel="1")
    refused = call(small_model, "stream", str(wide), "--channel", "split")
    assert (refused.returncode, "mix, loudest" in refused.stderr) == (2, True)


def test_options_reach_the_server(small_model: Path, server: RunningServer, speech_like: Path) -> None:
    flags = ("--max-end-silence-time", "2500", "--no-do-extend", "--mode", "endpoint")
    expected = served(server, speech_like, max_end_silence_time="2500", do_extend="false")
    assert len(expected) == 1
    for where in ((), ("--url", server.url)):
        assert segments(messages(call(small_model, "stream", str(speech_like), *where, *flags))) == expected


def test_the_service_of_the_settings(small_model: Path, server: RunningServer, speech_like: Path) -> None:
    ended = call(small_model, "stream", str(speech_like), "--service", VAD_PORT=str(server.port))
    assert segments(messages(ended)) == served(server, speech_like)
    assert f'"port": {server.port}' not in ended.stdout


@pytest.mark.parametrize("encoding", ["pcm_s16le", "pcm_f32le"])
@pytest.mark.parametrize("remote", [True, False])
def test_raw_pcm_from_a_pipe(small_model: Path, server: RunningServer, encoding: str, *, remote: bool) -> None:
    samples = bursts(6.0, [(1.0, 2.5), (4.0, 5.0)], rate=8_000)
    where = ("--url", server.url) if remote else ()
    # A byte too many: half a sample is dropped.
    found = messages(
        call(
            small_model, "stream", "-", "--encoding", encoding, "--sample-rate", "8000", *where,
            stdin=pcm(samples, encoding) + b"\0",
        )
    )  # fmt: skip
    assert len(segments(found)) == 2
    assert found[-1]["duration_ms"] == 6_000


@pytest.mark.slow
def test_a_pipe_between_processes(small_model: Path) -> None:
    found = messages(spawn(small_model, "stream", "-", stdin=pcm(bursts(3.0, [(0.5, 1.5)]))))
    assert len(segments(found)) == 1


def test_a_model_is_chosen_by_name(small_model: Path, speech_like: Path, tmp_path: Path) -> None:
    pytest.importorskip("silero_vad", reason="the package silero-vad is not installed")
    # Noise is speech to the tiny model alone.
    assert segments(messages(call(small_model, "stream", speech_like, "--model", "silero"))) == []
    assert len(segments(messages(call("silero", "stream", speech_like, "--model", f"mine={small_model}")))) == 2
    with local_server("silero", tmp_path / "server", {"VAD_MODELS": f"mine={small_model}"}) as server:
        assert segments(messages(call(tmp_path, "stream", speech_like, "--url", server.url))) == []
        ended = call(tmp_path, "stream", speech_like, "--url", server.url, "--model", "mine")
        assert len(segments(messages(ended))) == 2
        refused = call(tmp_path, "stream", speech_like, "--url", server.url, "--model", "none-such")
        assert refused.returncode == 2
        assert "none-such" in refused.stderr


def test_what_looks_ahead_has_a_companion_for_live_streams(
    small_model: Path, reference: Path, speech_like: Path
) -> None:
    if not (reference / "modelscope" / "models" / "xukaituo" / "FireRedVAD").is_dir():
        pytest.skip("FireRedVAD is not among the reference data")
    cache = str(reference / "modelscope")
    ended = call(small_model, "stream", speech_like, "--model", "firered", MODELSCOPE_CACHE=cache)
    assert messages(ended)[-1]["type"] == "done"
    assert ended.stderr == "firered cannot follow a live stream; firered-stream is used instead\n"


def test_probabilities_as_json(small_model: Path, speech_like: Path) -> None:
    found = messages(call(small_model, "stream", str(speech_like), "--probabilities"))
    curve = [value for message in found if message["type"] == "probability" for value in message["values"]]
    assert len(curve) == 100
    assert min(curve) < 0.1
    assert max(curve) > 0.9


def test_a_broken_connection_loses_nothing(small_model: Path, server: RunningServer, speech_like: Path) -> None:
    expected = served(server, speech_like)
    size = 10 * 16_000 * 4
    with breaking_relay(server.port, [size // 2, size // 8]) as relay:
        ended = call(small_model, "stream", str(speech_like), "--url", f"ws://127.0.0.1:{relay.port}")
    found = messages(ended)
    assert relay.connections == 3
    assert ended.stderr.count("went on at") == 2
    assert segments(found) == expected
    assert found[-1]["duration_ms"] == 10_000
    assert [message["seq"] for message in found] == list(range(1, len(found) + 1))


def test_a_connection_that_always_breaks(small_model: Path, server: RunningServer, speech_like: Path) -> None:
    with breaking_relay(server.port, [1] * 100) as relay:
        ended = call(small_model, "stream", str(speech_like), "--url", f"ws://127.0.0.1:{relay.port}")
    assert ended.returncode == 1
    assert relay.connections < 10


def test_in_real_time_nothing_comes_before_it_was_said(small_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "short.wav"
    soundfile.write(path, bursts(1.5, [(0.3, 0.8)]), 16_000)
    found = messages(call(small_model, "stream", str(path), "--speed", "realtime"))
    assert segments(found) == segments(messages(call(small_model, "stream", str(path))))


@pytest.fixture
def broken_sounddevice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of that name, which is found before any other."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    return tmp_path / "sounddevice.py"


def test_the_microphone_needs_an_extra(small_model: Path, broken_sounddevice: Path) -> None:
    broken_sounddevice.write_text("raise ModuleNotFoundError('sounddevice')")
    ended = call(small_model, "stream", "--mic")
    assert ended.returncode == 2
    assert "make install EXTRAS=mic" in " ".join(ended.stderr.split())


def test_the_microphone_needs_its_library(small_model: Path, broken_sounddevice: Path) -> None:
    broken_sounddevice.write_text("raise OSError('PortAudio library not found')")
    ended = call(small_model, "stream", "--mic")
    assert ended.returncode == 2
    assert "libportaudio2" in ended.stderr


def test_no_microphone_here(small_model: Path) -> None:
    try:
        import sounddevice
    except (ImportError, OSError):
        pytest.skip("needs sounddevice and PortAudio")
    if any(device["max_input_channels"] for device in sounddevice.query_devices()):
        pytest.skip("there is a microphone here")
    ended = call(small_model, "stream", "--mic")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "no microphone" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        ((), 2, "--mic"),
        (("file.wav", "--mic"), 2, "--mic"),
        (("nowhere.wav",), 2, "no such file"),
        (("-", "--encoding", "opus"), 2, "encoding"),
        (("-", "--encoding", "webm"), 2, "so leave this out"),
        (("-", "--sample-rate", "4000"), 2, "sample_rate"),
        (("-", "--mode", "tight", "--threshold", "3"), 2, "threshold"),
        (("-", "--threshold", "0.4"), 2, "threshold: is an option of mode=tight"),
        (("-", "--url", "ws://127.0.0.1:9", "--threshold", "3"), 2, "threshold"),
        (("-", "--url", "nonsense"), 2, "nonsense"),
        (("-", "--url", "ws://127.0.0.1:9"), 1, "no answer from ws://127.0.0.1:9"),
    ],
)
def test_what_cannot_be_done_is_told(small_model: Path, arguments: tuple[str, ...], status: int, told: str) -> None:
    ended = call(small_model, "stream", *arguments)
    assert ended.returncode == status, ended.stderr
    assert told in ended.stderr


def test_a_refusal_is_told(small_model: Path, server: RunningServer, tmp_path: Path) -> None:
    ended = call(small_model, "stream", "-", "--url", f"{server.url}/elsewhere")
    assert ended.returncode == 1
    damaged = tmp_path / "bad.wav"
    damaged.write_text("no audio")
    ended = call(small_model, "stream", str(damaged), "--url", server.url)
    assert ended.returncode == 1
    assert "not audio" in ended.stderr


def test_no_model(tmp_path: Path, speech_like: Path) -> None:
    assert call(tmp_path / "none", "stream", str(speech_like), MODELSCOPE_CACHE=str(tmp_path)).returncode == 3


@pytest.mark.slow
def test_an_interrupt_ends_the_sound_but_not_the_answer(small_model: Path) -> None:
    its_input, our_end = os.pipe()
    our_input, its_output = os.pipe()
    process = Forked(["stream", "-"], env=environment(small_model), stdin=its_input, stdout=its_output)
    os.close(its_input)
    os.close(its_output)
    with os.fdopen(our_end, "wb") as to, os.fdopen(our_input, "rb") as coming:
        to.write(pcm(bursts(4.0, [(1.0, 4.0)])))
        to.flush()
        first = json.loads(coming.readline())
        process.send_signal(signal.SIGINT)
        rest = [json.loads(line) for line in coming.read().splitlines()]
    assert process.wait(30) == 130
    assert [message["type"] for message in [first, *rest]] == ["speech_start", "speech_end", "done"]


@pytest.mark.slow
def test_a_person_sees_it_move(small_model: Path, speech_like: Path) -> None:
    leader, follower = pty.openpty()
    settings = environment(small_model, TERM="xterm")
    process = Forked(["stream", str(speech_like)], env=settings, stdout=follower, stderr=follower)
    os.close(follower)
    seen = b""
    try:
        while data := os.read(leader, 65_536):
            seen += data
    except OSError:
        pass  # how the end looks on Linux
    os.close(leader)
    assert process.wait(30) == 0
    shown = seen.decode()
    assert "2 segments" in shown
    assert shown.count("known at") == 4
    assert "silence" in shown
    assert '"type"' not in shown
