"""The audio that is measured with: real speech over and over where it is at hand, else bursts of noise."""

from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.plan import Plan, free_disk_mb

RATE = 16_000
"""Hz, that of the models, so that no case measures resampling unless it means to."""
CLIP_S = 5.5
"""An utterance of usual length, for what is asked often."""
_SUBTYPES = {"wav": "PCM_16", "flac": "PCM_16", "mp3": "MPEG_LAYER_III"}
_MB_PER_MINUTE = 1.9
"""Of 16-bit samples at that rate."""


class NoRoom(OSError):
    """Too little disk for the audio of a case."""


def clip(plan: Plan) -> Path:
    """The short clip, 5.5 s of WAV."""
    return _made(plan, "clip", "wav", CLIP_S)


def minutes_of(plan: Plan, minutes: float, kind: str = "wav") -> Path:
    """So many minutes as `wav`, `flac` or `mp3`. Raises `NoRoom`."""
    return _made(plan, f"{minutes:g}min", kind, minutes * 60)


def describe(plan: Plan) -> str:
    """What the audio is made of."""
    return f"{plan.speech.name}, over and over" if plan.speech.is_file() else "bursts of noise"


def _made(plan: Plan, name: str, kind: str, seconds: float) -> Path:
    origin = "speech" if plan.speech.is_file() else "noise"
    path = plan.audio_folder / f"{origin}-{name}.{kind}"
    if path.is_file():
        return path
    if free_disk_mb(plan.audio_folder) < 4 * _MB_PER_MINUTE * seconds / 60 + 200:
        raise NoRoom(f"too little disk for {path.name}")
    part = path.with_name(f"part-{path.name}")
    with soundfile.SoundFile(part, "w", RATE, 1, _SUBTYPES[kind], format=kind.upper()) as out:
        for block in _blocks(plan, round(seconds * RATE)):
            out.write(block)
    part.rename(path)
    return path


def _blocks(plan: Plan, samples: int) -> Iterator[np.ndarray]:
    piece = soundfile.read(plan.speech, dtype="int16")[0] if plan.speech.is_file() else _bursts()
    for block in islice(cycle([piece]), -(-samples // len(piece))):
        yield block[:samples]
        samples -= len(block)


def _bursts() -> np.ndarray:
    """A minute: 2 s of noise, 1.5 s of almost none, and so on."""
    noise = np.random.default_rng(7).standard_normal(60 * RATE)
    loud = (np.arange(len(noise)) / RATE) % 3.5 < 2
    return (noise * np.where(loud, 3000, 3)).astype(np.int16)
