"""A folder of labelled audio."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from benchmarks.accuracy.frames import BoolArray, frames_of
from benchmarks.accuracy.labels import Sound, Span, find_labels, read_labels

RATE = 16_000
"""Hz, at which noise is mixed."""
FRAME_SAMPLES = RATE // 100
Samples = np.ndarray[Any, np.dtype[np.float32]]
_SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".au"}


class NoLabelledAudio(ValueError):
    """A folder in which no audio has labels beside it."""


@dataclass(frozen=True)
class Clip:
    """One audio file, and where in it somebody speaks."""

    path: Path
    samples: Samples
    """The mean of its channels, at `RATE`."""
    spans: Sequence[Span]

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return self.path.stem

    @property
    def duration_s(self) -> float:
        """Length of the audio in seconds."""
        return len(self.samples) / RATE

    @cached_property
    def speech(self) -> BoolArray:
        """Whether each whole frame of 10 ms is labelled as speech."""
        return frames_of(self.spans, len(self.samples) // FRAME_SAMPLES)


def read_corpus(folder: Path) -> list[Clip]:
    """Every audio file under a folder that has labels beside it. Raises `NoLabelledAudio`, `InvalidLabels`."""
    audio = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
    labelled = [(path, labels) for path in audio if (labels := find_labels(path)) is not None]
    if not labelled:
        raise NoLabelledAudio(f"no audio with labels beside it in {folder}")
    return [_clip(path, labels) for path, labels in labelled]


def _clip(path: Path, labels: Path) -> Clip:
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    spans = read_labels(labels, Sound(path.stem, len(samples), rate))
    mono = np.asarray(soxr.resample(samples.mean(axis=1), rate, RATE), dtype=np.float32)
    return Clip(path, mono, spans)
