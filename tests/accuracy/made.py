"""Labelled audio that is made here, so that every figure of it can be worked out by hand."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from tests.signals import bursts

RATE = 16_000
SPEECH: Sequence[tuple[float, float]] = [(1.0, 2.0), (3.0, 4.5), (6.0, 6.5)]
"""3 s of speech in 8 s: 300 frames of 800."""
DURATION_S = 8.0


def shifted(by_s: float) -> list[tuple[float, float]]:
    """The same spans, later by so much."""
    return [(start + by_s, end + by_s) for start, end in SPEECH]


def write_clip(folder: Path, name: str, labels: Sequence[tuple[float, float]] = SPEECH) -> Path:
    """Bursts of noise where `SPEECH` is, and Audacity's labels that say `labels`."""
    path = folder / f"{name}.wav"
    soundfile.write(path, bursts(DURATION_S, SPEECH), RATE, subtype="PCM_16")
    rows = [f"{start:.6f}\t{end:.6f}\tspeech\n" for start, end in labels]
    path.with_suffix(".txt").write_text("".join(rows))
    return path


def runs(values: np.ndarray) -> list[tuple[float, float]]:
    """Spans of the true ones among frames of 10 ms, s."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], values.astype(int), [0])))) / 100
    return list(zip(edges[0::2].tolist(), edges[1::2].tolist(), strict=True))
