"""Every hostile file against the decoders, with each ffmpeg at hand."""

import contextlib
import http.server
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app.audio.decode import AudioLimits, Decoder
from app.audio.ffmpeg import arguments, open_with_ffmpeg
from app.audio.options import HEADERLESS, AudioInput, InputOptions
from app.audio.source import open_decoder
from app.vad.errors import AudioError, AudioTooLong, InvalidOption, UnsupportedAudio
from tests.attacks.corpus import (
    BOMBS,
    CANARY_URL_FILE,
    CASES,
    DISGUISED,
    LIMIT_S,
    READS_OTHER_FILES,
    Attack,
    concat_script,
    naming_address,
    naming_canary,
)

LIMITS = AudioLimits(max_seconds=LIMIT_S)
PEAK_MB = 100
"""Of a decoding child: the program itself and its buffers."""


class Canary(http.server.ThreadingHTTPServer):
    """A web server on this machine that keeps what it has been asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Canary

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.fixture(scope="module")
def canary() -> Iterator[Canary]:
    with Canary() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def hits(tmp_path: Path, canary: Canary) -> list[str]:
    """What the canary is asked for from now on; its address is where the corpus looks for it."""
    canary.asked.clear()
    (tmp_path / CANARY_URL_FILE).write_text(f"http://127.0.0.1:{canary.server_port}/canary.wav")
    return canary.asked


def built(attack: Attack, folder: Path) -> Path:
    try:
        return attack.build(folder)
    except LookupError as error:
        pytest.skip(str(error))


def exhaust(decoder: Decoder) -> float:
    """Seconds in it."""
    try:
        while len(decoder.read(1 << 16)):
            pass
        return decoder.decoded_frames / decoder.info.sample_rate
    finally:
        decoder.close()


def peak_mb(pid: int) -> float:
    """The most memory a process that still runs has had."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found, "the child has ended"
    return int(found[1]) / 1024


@pytest.mark.parametrize("attack", CASES, ids=str)
def test_what_becomes_of_it(attack: Attack, each_ffmpeg: Path, tmp_path: Path, hits: list[str]) -> None:
    path = built(attack, tmp_path)
    if attack.expected is not None:
        with pytest.raises(attack.expected) as caught:
            exhaust(open_decoder(AudioInput(path), LIMITS, each_ffmpeg))
        assert type(caught.value) is attack.expected
    else:
        decoder = open_decoder(AudioInput(path), LIMITS, each_ffmpeg)
        seconds = exhaust(decoder)
        assert decoder.truncated == attack.truncated
        assert seconds > 0
        assert attack.seconds is None or seconds == attack.seconds
    assert hits == []
    assert [entry.name for entry in tmp_path.iterdir() if entry.is_dir()] == []


@pytest.mark.parametrize("attack", DISGUISED, ids=str)
def test_something_else_behind_the_first_bytes(
    attack: Attack, each_ffmpeg: Path, tmp_path: Path, hits: list[str]
) -> None:
    expected = contextlib.suppress(AudioError) if attack.expected is None else pytest.raises(AudioError)
    with expected:
        exhaust(open_decoder(AudioInput(built(attack, tmp_path)), LIMITS, each_ffmpeg))
    assert hits == []
    assert [entry.name for entry in tmp_path.iterdir() if entry.is_dir()] == []


@pytest.mark.parametrize("encoding", HEADERLESS)
@pytest.mark.parametrize("attack", READS_OTHER_FILES, ids=str)
def test_what_is_said_to_have_no_header_is_sound_or_nothing(
    attack: Attack, encoding: str, each_ffmpeg: Path, tmp_path: Path, hits: list[str]
) -> None:
    source = InputOptions(encoding=encoding).source(built(attack, tmp_path))
    with contextlib.suppress(AudioError, InvalidOption):
        assert exhaust(open_decoder(source, LIMITS, each_ffmpeg)) < 1  # the canary has eight seconds
    assert hits == []


@pytest.mark.parametrize("attack", READS_OTHER_FILES, ids=str)
def test_the_child_refuses_what_the_first_bytes_would_have_stopped(
    attack: Attack, each_ffmpeg: Path, tmp_path: Path, hits: list[str]
) -> None:
    with pytest.raises(UnsupportedAudio):
        open_with_ffmpeg(built(attack, tmp_path), "WAV", LIMITS, each_ffmpeg)
    assert hits == []


def without(option: str, command: list[str]) -> list[str]:
    at = command.index(option)
    return command[:at] + command[at + 2 :]


def output_of(command: list[str]) -> np.ndarray:
    output = subprocess.run(command, check=False, capture_output=True, timeout=60).stdout
    return np.frombuffer(output[28 : len(output) // 4 * 4], dtype=">f4")


def test_the_list_of_containers_is_what_holds(each_ffmpeg: Path, tmp_path: Path) -> None:
    path = naming_canary(concat_script, absolute=False, hidden=False)(tmp_path)
    command = arguments(each_ffmpeg, path, LIMITS)
    assert np.mean(output_of(without("-format_whitelist", command)) == 0.5) > 0.9
    assert len(output_of(command)) == 0


def test_the_network_canary_is_alive(tmp_path: Path, each_ffmpeg: Path, hits: list[str]) -> None:
    path = naming_address(tmp_path)
    command = arguments(each_ffmpeg, path, LIMITS)
    output_of(without("-protocol_whitelist", without("-format_whitelist", command)))
    if not hits:
        address = (tmp_path / CANARY_URL_FILE).read_text()
        output_of([str(each_ffmpeg), "-nostdin", "-i", address, "-f", "null", "-"])
    assert hits


@pytest.mark.parametrize("attack", [attack for attack in BOMBS if attack.name != "flac of 11 minutes"], ids=str)
def test_memory_stays_small(attack: Attack, each_ffmpeg: Path, tmp_path: Path) -> None:
    decoder = open_with_ffmpeg(built(attack, tmp_path), "OGG", LIMITS, each_ffmpeg)
    try:
        for _ in range(20):
            assert len(decoder.read(1 << 14))
        assert peak_mb(decoder.pid) < PEAK_MB
    finally:
        decoder.close()


def test_the_list_of_codecs_is_what_keeps_it_small(each_ffmpeg: Path, tmp_path: Path) -> None:
    command = without("-codec_whitelist", arguments(each_ffmpeg, built(BOMBS[-1], tmp_path), LIMITS))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        process.stdout.read(1 << 16)
        peak = peak_mb(process.pid)
        process.kill()
    assert peak > 2 * PEAK_MB


def test_a_bomb_is_stopped_at_the_limit(each_ffmpeg: Path, tmp_path: Path) -> None:
    decoder = open_with_ffmpeg(built(BOMBS[0], tmp_path), "OGG", LIMITS, each_ffmpeg)
    with pytest.raises(AudioTooLong):
        exhaust(decoder)
    assert LIMIT_S < decoder.decoded_frames / decoder.info.sample_rate <= LIMIT_S + 2
