"""What the clients of a storm send, with the right answers."""

import io
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import soundfile

from app.audio.ffmpeg import find_ffmpeg
from tests.signals import bursts

Spans = list[tuple[int, int]]


@dataclass(frozen=True)
class Sample:
    """One upload."""

    name: str
    content: bytes
    segments: Spans | None
    """The reference's answer; None where a quiet server's answer is the standard."""


def made(folder: Path) -> list[Sample]:
    """Clips of several lengths and formats, and a long file, all signals."""
    for index, (seconds, loud) in enumerate([(2, [(0.5, 1.5)]), (6, [(1, 2), (3, 5)]), (60, [(5, 20), (30, 31)])]):
        soundfile.write(folder / f"clip{index}.wav", bursts(seconds, loud, seed=index), 16_000, subtype="PCM_16")
    soundfile.write(folder / "long.flac", bursts(900, [(60, 300), (500, 800)]), 16_000)
    ffmpeg = find_ffmpeg(None)
    if ffmpeg is not None:
        source, coated = str(folder / "clip2.wav"), str(folder / "clip2.mp3")
        subprocess.run([str(ffmpeg), "-nostdin", "-loglevel", "error", "-y", "-i", source, coated], check=True)
    return [Sample(path.name, path.read_bytes(), None) for path in sorted(folder.iterdir()) if path.is_file()]


def golden(reference: Path) -> list[Sample]:
    """Recorded speech with the reference's own segments, where the reference data is."""
    if not (reference / "golden" / "offline.json").is_file():
        return []
    cases = json.loads((reference / "golden" / "offline.json").read_text())
    return [
        Sample(
            case["audio"], (reference / "audio" / case["audio"]).read_bytes(), [(a, b) for a, b in case["segments_ms"]]
        )
        for case in cases
        if not case["options"]
    ]


def spans(answer: httpx.Response) -> Spans:
    """The segments of an answer, in ms."""
    return [(segment["start_ms"], segment["end_ms"]) for segment in answer.json()["segments"]]


def long_silence() -> bytes:
    """20 kB that are an hour of eight channels."""
    file, silence = io.BytesIO(), np.zeros((4_000 * 60, 8), dtype=np.int16)
    with soundfile.SoundFile(file, "w", 4_000, 8, "PCM_16", format="FLAC") as flac:
        for _ in range(60):
            flac.write(silence)
    return file.getvalue()
