"""What a detector made of one clip."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.accuracy.frames import FloatArray
from app.accuracy.labels import Span


@dataclass(frozen=True)
class Heard:
    """Of one clip: probabilities before any segmenter, and segments by the name of the setting that made them."""

    scores: FloatArray
    """Of speech, for each frame of 10 ms."""
    segments: dict[str, Sequence[Span]]
    """Seconds."""


@dataclass(frozen=True)
class Setting:
    """One way to make segments."""

    name: str
    """For tables, and unique."""
    model: str
    """By its canonical name."""
