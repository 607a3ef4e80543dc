"""The table of measured accuracy: what `GET /models` tells, and where the thresholds of `mode=tight` come from.

Frame F1 of segments by hysteresis (100 ms of least speech and silence, 20 ms of padding) against the labels of 15
public clips: ten of conversation (TEN-VAD, 96 s) and five of meetings (AMI, 150 s), each clean, with white noise at
5 dB, pink noise at 0 dB and music at 5 dB, and by telephone (mu-law). The figure is the mean of these ten, at one pair
of thresholds for all, cross-validated: each clip is judged by thresholds that the others gave.

Which pair: of all that lie within 0.005 of the best mean F1, below which differences are noise, one that misses at most
10 % of the speech in clean meetings if there is any, and of those the one with the fewest false alarms in conversation.
`python -m benchmarks.accuracy.defaults` does it again. The clips are few; docs/accuracy.md says how far to trust them.
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
    ("fsmn",): Accuracy(0.824, threshold=0.45, neg_threshold=0.30),
    ("silero",): Accuracy(0.866, threshold=0.50, neg_threshold=0.35),
    ("firered",): Accuracy(0.812, threshold=0.04, neg_threshold=0.02),
    ("firered-stream",): Accuracy(0.892, threshold=0.10, neg_threshold=0.05),
    ("pyannote",): Accuracy(0.916, threshold=0.60, neg_threshold=0.60),
    ("fsmn", "silero"): Accuracy(0.868, threshold=0.50, neg_threshold=0.35),
    ("fsmn", "silero", "firered"): Accuracy(0.886, threshold=0.35, neg_threshold=0.35),
    ("silero", "firered-stream"): Accuracy(0.900, threshold=0.10, neg_threshold=0.06),
    ("silero", "firered"): Accuracy(0.902, threshold=0.08, neg_threshold=0.06),
    ("silero", "firered", "2*pyannote"): Accuracy(0.912, threshold=0.45, neg_threshold=0.40),
}
"""By the name of a model, or the terms of a sum in the catalogue's order. Silero's pair is its package's, whose
durations it keeps, and was not fitted. pyannote's and its sum's were fitted on more clips before, and lie within 0.002
of the best here. For `fsmn+silero+firered` missed speech was left aside: the pair that misses less calls music and
tones speech."""

MEASURED_SUMS: Sequence[tuple[str, ...]] = [names for names in MEASURED if len(names) > 1]


BEST: tuple[str, ...] = ("silero", "firered", "2*pyannote")
"""What is called `best`: of all sums tried, the one with the most frame F1 over conversation and meetings."""
LISTED_SUMS: Sequence[tuple[str, ...]] = MEASURED_SUMS
"""Sums that are told of wherever their members are."""

WIDE: Mapping[tuple[str, ...], Mapping[str, float]] = {
    ("fsmn", "pyannote"): {"threshold": 0.55, "neg_threshold": 0.45},
    ("silero", "pyannote"): {"threshold": 0.40, "neg_threshold": 0.30},
    ("firered", "pyannote"): {"threshold": 0.45, "neg_threshold": 0.40},
    ("silero", "firered", "pyannote"): {"threshold": 0.35, "neg_threshold": 0.25},
    ("silero", "firered", "3*pyannote"): {"threshold": 0.50, "neg_threshold": 0.45},
    ("2*silero", "firered", "2*pyannote"): {"threshold": 0.40, "neg_threshold": 0.30},
}
"""Settings of `mode=tight` of other sums, which suit six conditions best: conversation clean, with pink noise and
kitchen noise at 0 dB, and by telephone; meetings clean and with pink noise at 5 dB. Fitted on half of the clips, judged
on the others."""


def tight_thresholds(*names: str) -> Mapping[str, float] | None:
    """The thresholds of `mode=tight` that were fitted for a model, or a sum; None where none were."""
    accuracy = measured(*names)
    return WIDE.get(names) if accuracy is None else accuracy.thresholds


def measured(*names: str) -> Accuracy | None:
    """The accuracy of a known model, or of a sum of several; None where it has not been measured."""
    return MEASURED.get(names)
