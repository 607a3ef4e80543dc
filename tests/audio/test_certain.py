"""What is surely a file, where bare samples are expected: a chunk of speech must never pass for one."""

from pathlib import Path

import numpy as np
import pytest

from app.audio.containers import container_for_certain, sniff
from tests.audio.ffmpegs import encode
from tests.live.client import converse
from tests.server import RunningServer


def samples_with(first: bytes, size: int) -> bytes:
    """A chunk of quiet noise that begins with these bytes."""
    noise = np.random.default_rng(5).normal(0, 900, size // 2).astype("<i2").tobytes()
    return first + noise[len(first) :]


@pytest.mark.parametrize("first", [b"\xff\xfa\x96\xfb", b"\xff\xfb\x90\x04", b"\xff\xf1\x50\x80", b"\x56\xe0\x20\x11"])
def test_samples_that_begin_as_a_frame_does_are_samples(first: bytes) -> None:
    assert container_for_certain(samples_with(first, 4_800)) is None


def test_no_chunk_of_noise_is_a_file() -> None:
    """A single frame's header alone is met in one chunk of some hundred."""
    noise = np.random.default_rng(6).normal(0, 900, 60_000).astype("<i2").tobytes()
    chunks = [noise[at : at + 3_200] for at in range(0, len(noise) - 3_200, 2)]
    assert any(sniff(chunk) == "MP3" for chunk in chunks)
    assert [chunk[:4] for chunk in chunks if container_for_certain(chunk)] == []


@pytest.mark.parametrize(("name", "options", "found"), [
    ("a.mp3", ("-c:a", "libmp3lame", "-write_xing", "0", "-id3v2_version", "0"), "MP3"),
    ("a.aac", ("-c:a", "aac", "-f", "adts"), "AAC"),
])  # fmt: skip
def test_frames_one_after_the_other_are_a_file(
    name: str, options: tuple[str, ...], found: str, speech_like: Path, tmp_path: Path
) -> None:
    assert container_for_certain(encode(speech_like, tmp_path / name, *options).read_bytes()[:3_200]) == found


def test_a_live_stream_goes_on_that_begins_as_a_frame_does(server: RunningServer) -> None:
    heard = converse(server, [samples_with(b"\xff\xfa\x96\xfb", 3_200)])
    assert heard.done["duration_ms"] == 100
