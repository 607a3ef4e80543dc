"""The model card's example in other coats: segments stay where they were."""

import subprocess
from pathlib import Path

import pytest

from app.audio.ffmpeg import find_ffmpeg
from tests.server import RunningServer

pytestmark = [pytest.mark.reference, pytest.mark.slow]

COATS = {
    "mp3": ("a.mp3", ["-c:a", "libmp3lame", "-b:a", "128k"]),
    "m4a": ("a.m4a", ["-c:a", "aac", "-b:a", "128k"]),
    "ogg": ("a.ogg", ["-c:a", "libvorbis", "-q:a", "8"]),
    "opus": ("a.opus", ["-c:a", "libopus", "-b:a", "96k"]),
    "webm": ("a.webm", ["-c:a", "libopus", "-b:a", "96k"]),
    "flac": ("a.flac", []),
    "44.1 kHz stereo": ("a.wav", ["-ar", "44100", "-ac", "2"]),
    "48 kHz, six channels": ("a.wav", ["-ar", "48000", "-ac", "6"]),
    "8 kHz": ("a.wav", ["-ar", "8000"]),
}
HEARD_ANEW = {"mp3", "8 kHz"}
"""So much of the sound is gone there that the model itself, the reference implementation too, hears some ends
elsewhere or one pause more."""


@pytest.mark.parametrize("coat", COATS)
def test_segments_within_30_ms(published_server: RunningServer, reference: Path, tmp_path: Path, coat: str) -> None:
    name, arguments = COATS[coat]
    ffmpeg = find_ffmpeg(None)
    if ffmpeg is None:
        pytest.skip("there is no ffmpeg")
    source, coated = reference / "audio" / "vad_example.wav", tmp_path / name
    command = [str(ffmpeg), "-nostdin", "-loglevel", "error", "-i", str(source), *arguments, str(coated)]
    subprocess.run(command, check=True)
    with published_server.client() as client:
        plain = client.post("/vad", content=source.read_bytes()).json()["segments"]
        found = client.post("/vad", content=coated.read_bytes()).json()["segments"]
    if coat in HEARD_ANEW:
        assert speech_in_common(found, plain) > 0.97
        return
    assert len(found) == len(plain) == 12
    moved = [
        abs(mine[edge] - right[edge])
        for mine, right in zip(found, plain, strict=True)
        for edge in ("start_ms", "end_ms")
    ]
    assert max(moved) <= 30, moved


def speech_in_common(one: list[dict[str, int]], other: list[dict[str, int]]) -> float:
    """Share of the 10 ms frames in either that are in both."""
    frames = [
        {frame for segment in found for frame in range(segment["start_ms"], segment["end_ms"], 10)}
        for found in (one, other)
    ]
    return len(frames[0] & frames[1]) / len(frames[0] | frames[1])
