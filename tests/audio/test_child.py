"""The decoder's child: it ends when asked to, and leaves nothing behind."""

import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from app.audio.child import ConfinedChild
from app.audio.containers import DECODERS, DEMUXERS
from app.audio.decode import AudioLimits, SoundfileDecoder
from app.audio.ffmpeg import arguments, find_ffmpeg, open_with_ffmpeg
from app.vad.errors import AudioError, InvalidAudio, UnsupportedAudio
from tests.audio.ffmpegs import run
from tests.audio.recordings import decoded

PATIENCE_S = 20
AU_HEAD = r"printf '.snd\000\000\000\030\377\377\377\377\000\000\000\006\000\000\076\200\000\000\000\001'; "


def program(folder: Path, script: str) -> Path:
    """A program to stand where ffmpeg does: how children can misbehave, ffmpeg itself cannot be made to show."""
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def read_through(folder: Path, limits: AudioLimits, ffmpeg: Path) -> None:
    """Decode any file with it."""
    decoder = open_with_ffmpeg(folder / "any", "OGG", limits, ffmpeg)
    try:
        decoded(decoder)
    finally:
        decoder.close()


def seen_inside(folder: Path, limits: AudioLimits, script: str) -> str:
    """What a child prints to its pipe."""
    child = ConfinedChild([str(program(folder, script))], limits, directory_beside=folder / "any")
    try:
        return child.read(1 << 16).decode()
    finally:
        child.close()


def descriptors() -> set[str]:
    """What this process has open."""
    return set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - with the listing's own, always the lowest free one


def children() -> set[int]:
    """Processes that this one has started, zombies included."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        if int(fields[1]) == os.getpid():
            found.add(int(entry.parent.name))
    return found


@pytest.fixture
def leaves_nothing(tmp_path: Path) -> Iterator[None]:
    """Nothing but the test's own files is there afterwards: no descriptor, child, thread or directory."""
    opened, started, threads = descriptors(), children(), threading.active_count()
    yield
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []
    # Fewer are no fault: what an earlier test has left may end meanwhile.
    assert descriptors() <= opened
    assert children() <= started
    assert threading.active_count() <= threads


@pytest.fixture
def endless(tmp_path: Path, each_ffmpeg: Path) -> Path:
    """An AIFF of 400 s of silence: far more than a pipe holds."""
    path = tmp_path / "long.aiff"
    run(each_ffmpeg, "-f", "lavfi", "-i", "anullsrc=r=48000:cl=stereo", "-t", "400", "-c:a", "pcm_s16be", str(path))
    return path


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


@pytest.mark.usefixtures("leaves_nothing")
def test_reading_to_the_end_and_closing(tmp_path: Path, each_ffmpeg: Path, limits: AudioLimits) -> None:
    path = tmp_path / "a.aiff"
    run(each_ffmpeg, "-f", "lavfi", "-i", "sine=d=3:r=16000", "-c:a", "pcm_s16be", str(path))
    decoder = open_with_ffmpeg(path, "AIFF", limits, each_ffmpeg)
    assert decoder.pid in children()
    assert decoded(decoder).shape == (48_000, 1)
    decoder.close()
    decoder.close()
    assert len(decoder.read(100)) == 0


@pytest.mark.usefixtures("leaves_nothing")
def test_closing_in_the_middle_kills_the_child(endless: Path, each_ffmpeg: Path, limits: AudioLimits) -> None:
    decoder = open_with_ffmpeg(endless, "AIFF", limits, each_ffmpeg)
    assert len(decoder.read(100)) == 100
    assert decoder.pid in children()
    decoder.close()
    assert decoder.pid not in children()
    assert len(decoder.read(100)) == 0
    assert not decoder.truncated


@pytest.mark.usefixtures("leaves_nothing")
def test_closing_from_another_thread_ends_a_read_under_way(tmp_path: Path, limits: AudioLimits) -> None:
    stuck = program(tmp_path, AU_HEAD + "exec sleep 600")
    decoder = open_with_ffmpeg(tmp_path / "any", "OGG", limits, stuck)
    result: list[np.ndarray] = []
    reader = threading.Thread(target=lambda: result.append(decoder.read(1 << 20)))
    reader.start()
    until(lambda: not decoder._child._reading.acquire(blocking=False) or decoder._child._reading.release())
    assert reader.is_alive()
    decoder.close()
    reader.join(PATIENCE_S)
    assert not reader.is_alive()
    assert [len(block) for block in result] == [0]


@pytest.mark.usefixtures("leaves_nothing")
def test_closing_a_wav_while_another_thread_reads_it(tmp_path: Path, limits: AudioLimits) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(1_600_000, dtype=np.float32), 16_000)
    decoder = SoundfileDecoder(path.open("rb"), "WAV", limits)
    lengths: list[int] = []
    reader = threading.Thread(target=lambda: lengths.append(len(decoded(decoder, 16))))
    reader.start()
    until(lambda: decoder.decoded_frames > 0)
    decoder.close()
    reader.join(PATIENCE_S)
    assert not reader.is_alive()
    assert 0 < lengths[0] < 1_600_000
    assert len(decoder.read(10)) == 0


@pytest.mark.usefixtures("leaves_nothing")
@pytest.mark.parametrize("content", [b"OggS" + bytes(500), b"ID3\x04" + bytes(60), b"\x1a\x45\xdf\xa3 webm"])
def test_a_file_that_cannot_be_opened(content: bytes, tmp_path: Path, each_ffmpeg: Path, limits: AudioLimits) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    for _ in range(3):
        with pytest.raises(AudioError):
            open_with_ffmpeg(path, "OGG", limits, each_ffmpeg)


@pytest.mark.usefixtures("leaves_nothing")
def test_a_rate_out_of_range_found_by_the_child(tmp_path: Path, each_ffmpeg: Path) -> None:
    path = tmp_path / "a.aiff"
    run(each_ffmpeg, "-f", "lavfi", "-i", "sine=d=1:r=16000", "-c:a", "pcm_s16be", str(path))
    with pytest.raises(InvalidAudio, match="sample rate is 16000"):
        open_with_ffmpeg(path, "AIFF", AudioLimits(max_seconds=60, min_rate=20_000), each_ffmpeg)


@pytest.mark.usefixtures("leaves_nothing")
@pytest.mark.parametrize(
    ("script", "error", "words"),
    [
        ("kill -SEGV $$", InvalidAudio, "decoder failed"),
        (AU_HEAD + "printf '\\000\\000\\000\\000'; kill -SEGV $$", InvalidAudio, "decoder failed"),
        ("kill -KILL $$", InvalidAudio, "decoder failed"),
        ("while :; do :; done", InvalidAudio, "needed more memory or time than allowed"),
        (AU_HEAD + "exit 0", InvalidAudio, "nothing in it can be decoded"),
        ("exit 0", InvalidAudio, "nothing in it"),
        ("echo something else entirely, long enough to be a head", InvalidAudio, "unusable output"),
        ("i=0; while [ $i -lt 20000 ]; do echo damage $i >&2; i=$((i+1)); done; exit 1", InvalidAudio, "nothing in it"),
    ],
    ids=["segfault-at-once", "segfault-later", "killed", "endless", "head-only", "nothing", "nonsense", "talkative"],
)
def test_a_child_that_misbehaves(script: str, error: type[AudioError], words: str, tmp_path: Path) -> None:
    limits = AudioLimits(max_seconds=60, child_cpu_floor_s=1)
    with pytest.raises(error, match=words):
        read_through(tmp_path, limits, program(tmp_path, script))


@pytest.mark.usefixtures("leaves_nothing")
def test_a_program_that_cannot_be_started(tmp_path: Path, limits: AudioLimits) -> None:
    for missing in (tmp_path / "not-there", tmp_path):
        with pytest.raises(UnsupportedAudio, match="cannot be started"):
            read_through(tmp_path, limits, missing)


@pytest.mark.usefixtures("leaves_nothing")
def test_the_child_is_confined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", "secret")
    report = tmp_path / "report"
    report.touch()
    script = f"{{ cat /proc/self/limits; env; pwd; ls -A; ls /proc/self/fd; }} | cat >> {report} 2>&1"
    limits = AudioLimits(max_seconds=3600, child_memory_mb=512)
    with pytest.raises(InvalidAudio):
        read_through(tmp_path, limits, program(tmp_path, script))
    # Written files are limited to nothing, so that the report stays empty; another way out is the pipe.
    assert report.read_text() == ""
    words = seen_inside(tmp_path, limits, "cat /proc/self/limits; env; pwd; ls -A; ls /proc/self/fd | wc -l")
    assert "secret" not in words
    for name, value in [("Max address space", 512 << 20), ("Max cpu time", 60), ("Max open files", 32),
                        ("Max core file size", 0), ("Max file size", 0)]:  # fmt: skip
        assert re.search(rf"^{name} +{value} +{value} ", words, re.MULTILINE), name
    assert re.search(rf"^{re.escape(str(tmp_path))}/decode-\w+\n[345]$", words, re.MULTILINE)


def test_the_command_line_is_fixed(tmp_path: Path) -> None:
    given = arguments(Path("/ffmpeg"), tmp_path / "x", AudioLimits(max_seconds=7))
    assert given[0] == "/ffmpeg"
    assert [given[given.index(option) + 1] for option in ("-protocol_whitelist", "-i", "-t", "-f")] == [
        "file", f"file:{tmp_path}/x", "8.000", "au"
    ]  # fmt: skip
    for option, names in (("-format_whitelist", DEMUXERS), ("-codec_whitelist", DECODERS)):
        assert given.index(option) < given.index("-i")
        assert given[given.index(option) + 1] == names
    forbidden = {"hls", "concat", "dash", "sdp", "rtsp", "image2", "tedcaptions", "webm_dash_manifest", "imf", "lavfi"}
    assert not forbidden & set(DEMUXERS.split(","))
    assert not {"png", "mjpeg", "h264", "webp", "gif", "hevc", "ass", "tiff", "exr"} & set(DECODERS.split(","))


def test_the_configured_ffmpeg_wins(tmp_path: Path, ffmpeg: Path) -> None:
    own = program(tmp_path, "exit 0")
    assert find_ffmpeg(str(own)) == own.resolve()
    with pytest.raises(FileNotFoundError, match="VAD_FFMPEG"):
        find_ffmpeg(str(tmp_path / "absent"))
    assert find_ffmpeg(None) == ffmpeg
    assert find_ffmpeg("") == ffmpeg


def test_without_the_package_the_path_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_ffmpeg(None) is None
    own = program(tmp_path, "exit 0")
    own.rename(tmp_path / "ffmpeg")
    assert find_ffmpeg(None) == tmp_path / "ffmpeg"


def test_a_child_leaves_the_processors_to_others_and_more_so_when_it_takes_long(
    tmp_path: Path, limits: AudioLimits
) -> None:
    """By its group: in a session of its own Linux would weigh it against the whole service."""
    said = seen_inside(
        tmp_path, limits, "for i in 1 2 3 4 5 6; do cut -d' ' -f 5,6,19 /proc/self/stat; sleep 0.2; done"
    )
    seen = [[int(number) for number in line.split()] for line in said.splitlines()]
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert seen[1][-1] == min(own + 4, 19)
    assert seen[-1][-1] == min(own + 10, 19)
    groups, sessions = {group for group, *_ in seen}, {session for _, session, _ in seen}
    assert len(groups) == 1
    assert groups != {os.getpgid(0)}
    if sys.version_info >= (3, 11):
        assert sessions == {os.getsid(0)}
