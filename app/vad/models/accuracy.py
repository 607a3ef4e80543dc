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
"""By the names of a model, or of a sum's members in the catalogue's order."""

MEASURED_SUMS: Sequence[tuple[str, ...]] = [names for names in MEASURED if len(names) > 1]


def measured(*names: str) -> Accuracy | None:
    """The accuracy of a known model, or of a sum of several; None where it has not been measured."""
    return MEASURED.get(names)
