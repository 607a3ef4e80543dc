"""From what was heard to figures: one row for each model's probabilities, one for each setting's segments."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import roc_auc_score, roc_curve

from benchmarks.accuracy.boundaries import Edges, starts_and_ends
from benchmarks.accuracy.corpus import Clip
from benchmarks.accuracy.frames import Counts, frames_of
from benchmarks.accuracy.heard import Heard
from benchmarks.accuracy.intervals import Drawings, Figure

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


@dataclass(frozen=True)
class Segmented:
    """A setting's segments in one condition. Rates are shares; edges are in ms, and their distances without sign."""

    setting: str
    condition: str
    f1: Figure
    miss_rate: Figure
    false_alarm_rate: Figure
    detection_error: Figure
    onset_median_ms: Figure
    onset_p95_ms: Figure
    onset_bias_ms: Figure
    """The median with its sign: above 0 the segments begin late."""
    onsets_found: Figure
    offset_median_ms: Figure
    offset_p95_ms: Figure
    offset_bias_ms: Figure
    offsets_found: Figure
    segments: int
    longest_s: float


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


def judge_segments(
    condition: str, heard: Sequence[Heard], clips: Sequence[Clip], drawings: Drawings
) -> Iterator[Segmented]:
    """The segments of every setting of one model against the labels."""
    for setting in heard[0].segments:
        spans = [each.segments[setting] for each in heard]
        pairs = [starts_and_ends(found, clip.spans, clip.duration_s) for found, clip in zip(spans, clips, strict=True)]
        every = [end - start for found in spans for start, end in found]
        counts = [Counts.of(frames_of(found, len(c.speech)), c.speech) for found, c in zip(spans, clips, strict=True)]
        yield Segmented(
            setting=setting,
            condition=condition,
            f1=drawings.of_counts(counts, lambda each: each.f1),
            miss_rate=drawings.of_counts(counts, lambda each: each.miss_rate),
            false_alarm_rate=drawings.of_counts(counts, lambda each: each.false_alarm_rate),
            detection_error=drawings.of_counts(counts, lambda each: each.detection_error),
            **_edges("onset", [starts for starts, _ in pairs], drawings),
            **_edges("offset", [ends for _, ends in pairs], drawings),
            segments=len(every),
            longest_s=round(max(every, default=0.0), 3),
        )


def has_both(clips: Sequence[Clip]) -> bool:
    """Whether there is speech and something else: without both there is no curve."""
    labels = np.concatenate([clip.speech for clip in clips])
    return bool(labels.any() and not labels.all())


def speech_share(clips: Sequence[Clip]) -> float:
    """Share of the frames that are labelled as speech."""
    return float(np.concatenate([clip.speech for clip in clips]).mean())


def _edges(kind: str, edges: Sequence[Edges], drawings: Drawings) -> Mapping[str, Figure]:
    signed = [each.errors_ms for each in edges]
    apart = [np.abs(each) for each in signed]
    return {
        f"{kind}_median_ms": drawings.of_quantile(apart, 0.5),
        f"{kind}_p95_ms": drawings.of_quantile(apart, 0.95),
        f"{kind}_bias_ms": drawings.of_quantile(signed, 0.5),
        f"{kind}s_found": drawings.of_share([len(each) for each in signed], [each.labelled for each in edges]),
    }


def _thinned(points: int) -> Sequence[int]:
    """Places in a curve: dense at both ends, where the curve turns."""
    ramp = (1 - np.cos(np.linspace(0, np.pi, _CURVE_POINTS))) / 2
    places: list[int] = np.unique(np.round(ramp * (points - 1)).astype(int)).tolist()
    return places
