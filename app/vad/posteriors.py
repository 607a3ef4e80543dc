"""What a frame scorer hands to a segmenter, and the two protocols that streams, batching and formats are written to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from app.vad.segment import Event

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FrameScores:
    """Scores of consecutive frames on the model's grid; both arrays have shape [frames]."""

    silence: FloatArray
    """Posterior probability of silence, 0-1."""
    decibel: FloatArray
    """Energy of the frame's samples, 10 log10(sum of squares + 1e-6), in dB."""
    short_ms: float = 0.0
    """How much of the last frame lies after the stream's end."""

    def __len__(self) -> int:
        return len(self.silence)


NO_SCORES = FrameScores(np.zeros(0, dtype=np.float32), np.zeros(0, dtype=np.float32))


def join_scores(parts: Sequence[FrameScores]) -> FrameScores:
    """The scores of consecutive blocks of one stream as one."""
    silence = np.concatenate([NO_SCORES.silence, *(part.silence for part in parts)])
    decibel = np.concatenate([NO_SCORES.decibel, *(part.decibel for part in parts)])
    return FrameScores(silence, decibel, max((part.short_ms for part in parts), default=0.0))


class Segmenter(Protocol):
    """Turns scores into events, one frame after the other. Pure: no audio, no clock, no torch."""

    def accept(self, scores: FrameScores, *, final: bool) -> list[Event]:
        """Events that the next frames decide. `final`: no frame follows, and an open segment is given out."""
        ...

    def reset(self) -> None:
        """Forget everything: the next frame is frame 0 of a new stream."""
        ...
