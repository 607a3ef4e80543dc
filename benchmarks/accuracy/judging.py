"""From what was heard to figures: one row for each model's probabilities."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import roc_auc_score, roc_curve

from app.accuracy.corpus import Clip
from app.accuracy.frames import Counts
from app.accuracy.heard import Heard
from app.accuracy.intervals import Drawings, Figure

_CURVE_POINTS = 100
"""That a curve is kept with: more cannot be told apart in a picture."""


@dataclass(frozen=True)
class Scored:
    """A model's probabilities in one condition."""

    model: str
    condition: str
    auc: Figure
    best_f1: Figure
    best_threshold: float
    """From which probability on a frame is speech, for that F1."""
    false_alarm_rates: list[float]
    miss_rates: list[float]
    """Of the ROC curve's points, which are the DET curve's, too."""


def judge_scores(
    model: str, condition: str, heard: Sequence[Heard], clips: Sequence[Clip], drawings: Drawings
) -> Scored:
    """A model's probabilities against the labels, frames of all clips together."""
    scores, speech = [each.scores for each in heard], [clip.speech for clip in clips]
    values, labels = np.concatenate(scores), np.concatenate(speech)
    false_alarms, hits, thresholds = roc_curve(labels, values)
    spoken = int(labels.sum())
    found = Counts(hits * spoken, (1 - hits) * spoken, false_alarms * (len(labels) - spoken), 0)
    best = int(np.argmax(found.f1))
    kept = _thinned(len(hits))
    return Scored(
        model=model,
        condition=condition,
        auc=drawings.of_auc(float(roc_auc_score(labels, values)), scores, speech),
        best_f1=drawings.of_best_f1(float(found.f1[best]), scores, speech),
        best_threshold=round(float(thresholds[best]), 4),
        false_alarm_rates=np.round(false_alarms[kept], 4).tolist(),
        miss_rates=np.round(1 - hits[kept], 4).tolist(),
    )


def has_both(clips: Sequence[Clip]) -> bool:
    """Whether there is speech and something else: without both there is no curve."""
    labels = np.concatenate([clip.speech for clip in clips])
    return bool(labels.any() and not labels.all())


def speech_share(clips: Sequence[Clip]) -> float:
    """Share of the frames that are labelled as speech."""
    return float(np.concatenate([clip.speech for clip in clips]).mean())


def _thinned(points: int) -> Sequence[int]:
    """Places in a curve: dense at both ends, where the curve turns."""
    ramp = (1 - np.cos(np.linspace(0, np.pi, _CURVE_POINTS))) / 2
    places: list[int] = np.unique(np.round(ramp * (points - 1)).astype(int)).tolist()
    return places
