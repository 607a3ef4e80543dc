"""The table of measured accuracy: what `GET /models` tells, and where the thresholds of `mode=tight` come from.

Frame F1 of segments by hysteresis (100 ms of least speech and silence, 20 ms of padding) against the labels of two
small public sets, TEN-VAD's test set and the samples of KAIST's VAD toolkit: the mean of eight conditions, each set
clean, with white noise at 5 dB, pink noise at 0 dB and music at 5 dB, at the one setting that suits all eight best.
Differences under 0.005 are noise. docs/accuracy.md says how it was measured, and `python -m benchmarks.accuracy`
measures it again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How well segments of `mode=tight` fit labelled speech, at one setting for all conditions."""

    frame_f1: float
    """Mean of the conditions; 0 to 1. Differences under 0.005 are noise."""
    threshold: float
    neg_threshold: float
    """The best setting of those tried."""

    @property
    def thresholds(self) -> dict[str, float]:
        """That setting, as options of `mode=tight`."""
        return {"threshold": self.threshold, "neg_threshold": self.neg_threshold}


MEASURED: Mapping[tuple[str, ...], Accuracy] = {
    ("fsmn",): Accuracy(0.908, threshold=0.70, neg_threshold=0.50),
    ("firered",): Accuracy(0.930, threshold=0.35, neg_threshold=0.15),
    ("firered-stream",): Accuracy(0.930, threshold=0.30, neg_threshold=0.20),
    ("silero",): Accuracy(0.941, threshold=0.55, neg_threshold=0.50),
    ("fsmn", "silero"): Accuracy(0.942, threshold=0.50, neg_threshold=0.45),
    ("silero", "firered-stream"): Accuracy(0.945, threshold=0.35, neg_threshold=0.30),
    ("fsmn", "silero", "firered"): Accuracy(0.946, threshold=0.45, neg_threshold=0.40),
    ("silero", "firered"): Accuracy(0.949, threshold=0.40, neg_threshold=0.35),
}
"""By the name of a model, or the terms of a sum in the catalogue's order."""

MEASURED_SUMS: Sequence[tuple[str, ...]] = [names for names in MEASURED if len(names) > 1]


BEST: tuple[str, ...] = ("silero", "firered", "2*pyannote")
"""What is called `best`: of all sums tried, the one with the most frame F1 over conversation and meetings."""
LISTED_SUMS: Sequence[tuple[str, ...]] = [*MEASURED_SUMS, BEST]
"""Sums that are told of wherever their members are."""

WIDE: Mapping[tuple[str, ...], Mapping[str, float]] = {
    ("pyannote",): {"threshold": 0.60, "neg_threshold": 0.60},
    ("fsmn", "pyannote"): {"threshold": 0.55, "neg_threshold": 0.45},
    ("silero", "pyannote"): {"threshold": 0.40, "neg_threshold": 0.30},
    ("firered", "pyannote"): {"threshold": 0.45, "neg_threshold": 0.40},
    ("silero", "firered", "pyannote"): {"threshold": 0.35, "neg_threshold": 0.25},
    ("silero", "firered", "2*pyannote"): {"threshold": 0.45, "neg_threshold": 0.40},
    ("silero", "firered", "3*pyannote"): {"threshold": 0.50, "neg_threshold": 0.45},
    ("2*silero", "firered", "2*pyannote"): {"threshold": 0.40, "neg_threshold": 0.30},
}
"""Settings of `mode=tight` that suit six other conditions best: conversation clean, with pink noise and kitchen noise
at 0 dB, and by telephone; meetings clean and with pink noise at 5 dB. Fitted on half of the clips, judged on others."""


def tight_thresholds(*names: str) -> Mapping[str, float] | None:
    """The thresholds of `mode=tight` that were fitted for a model, or a sum; None where none were."""
    accuracy = measured(*names)
    return WIDE.get(names) if accuracy is None else accuracy.thresholds


def measured(*names: str) -> Accuracy | None:
    """The accuracy of a known model, or of a sum of several; None where it has not been measured."""
    return MEASURED.get(names)
