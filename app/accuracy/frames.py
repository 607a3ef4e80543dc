"""What is counted in frames of 10 ms: a frame is speech when its middle lies in a span.

F1                the harmonic mean of precision and recall of speech frames
misses            share of the speech that was not found
false alarms      share of what is no speech that was found as speech
detection error   (missed + falsely found) / speech, as NIST and pyannote.metrics have it; may be above 1
AUC               area under the ROC curve of the probabilities: no threshold, no segmenter
best F1           of the threshold that suits the data best, so it flatters
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

BoolArray = np.ndarray[Any, np.dtype[np.bool_]]
FloatArray = np.ndarray[Any, np.dtype[np.float64]]
FRAME_MS = 10
"""The finest step at which any of the models here gives probabilities."""
_PER_S = 1000 // FRAME_MS
# Below a microsecond lies the rounding of binary fractions, not a label.
_DECIMALS = 4


def frames_of(spans: Sequence[tuple[float, float]], count: int) -> BoolArray:
    """Of `count` frames, those whose middle lies in one of the spans (s)."""
    said = np.zeros(count, dtype=bool)
    for start, end in spans:
        said[_first_at(start) : _first_at(end)] = True
    return said


def _first_at(second: float) -> int:
    """The first frame whose middle is at or after a time."""
    return max(0, int(np.ceil(np.round(second * _PER_S - 0.5, _DECIMALS))))


def at_middles(values: FloatArray, step_ms: float, count: int) -> FloatArray:
    """Values that stand `step_ms` apart, for `count` frames: that in which a frame's middle lies, past the end the
    last one, and 0 where there is none at all."""
    if not len(values):
        return np.zeros(count)
    places = (np.arange(count) * FRAME_MS + FRAME_MS / 2) // step_ms
    chosen: FloatArray = np.asarray(values, dtype=np.float64)[places.astype(int).clip(max=len(values) - 1)]
    return chosen


@dataclass(frozen=True)
class Counts:
    """Frames; numbers, or arrays of numbers, one for each drawing of files."""

    hits: Any
    misses: Any
    alarms: Any
    rejections: Any

    @classmethod
    def of(cls, said: BoolArray, speech: BoolArray) -> "Counts":
        """What was said to be speech beside what is."""
        return cls(*(int(np.sum(each)) for each in (said & speech, ~said & speech, said & ~speech, ~said & ~speech)))

    @property
    def f1(self) -> Any:
        """Harmonic mean of precision and recall, 0 to 1."""
        return _share(2 * self.hits, 2 * self.hits + self.misses + self.alarms)

    @property
    def miss_rate(self) -> Any:
        """0 to 1; not a number without speech."""
        return _share(self.misses, self.hits + self.misses)

    @property
    def false_alarm_rate(self) -> Any:
        """0 to 1; not a number where all is speech."""
        return _share(self.alarms, self.alarms + self.rejections)

    @property
    def detection_error(self) -> Any:
        """0 and above; not a number without speech."""
        return _share(self.misses + self.alarms, self.hits + self.misses)


def _share(part: Any, whole: Any) -> Any:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.divide(part, whole, dtype=np.float64)
