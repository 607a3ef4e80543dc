"""From segments to figures: one row for each setting."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.accuracy.boundaries import Edges, starts_and_ends
from app.accuracy.corpus import Clip
from app.accuracy.frames import Counts, frames_of
from app.accuracy.heard import Heard
from app.accuracy.intervals import Drawings, Figure


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


def _edges(kind: str, edges: Sequence[Edges], drawings: Drawings) -> Mapping[str, Figure]:
    signed = [each.errors_ms for each in edges]
    apart = [np.abs(each) for each in signed]
    return {
        f"{kind}_median_ms": drawings.of_quantile(apart, 0.5),
        f"{kind}_p95_ms": drawings.of_quantile(apart, 0.95),
        f"{kind}_bias_ms": drawings.of_quantile(signed, 0.5),
        f"{kind}s_found": drawings.of_share([len(each) for each in signed], [each.labelled for each in edges]),
    }
