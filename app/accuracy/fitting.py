"""Settings of `mode=tight` that fit labelled audio, by cross-validation over files.

A search starts from the usual settings and goes one coordinate after the other: the pair of thresholds, the least
silence, the least speech, and the padding of either side, again and again until nothing is gained. Each step takes the
value that is best over the files at hand; a gain that is noise keeps what was there. What a model
is worth is measured on files that its settings were not fitted on: the files are dealt into folds, each fold is judged
with the settings that the other folds give, and all folds together are the figures. The settings that are told in the
end are fitted on all files.

Nothing is drawn at random, so the same audio gives the same settings. A model's posteriors are computed once; each
setting that was tried is remembered for each file, because the searches of different folds ask for mostly the same.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from app.accuracy.boundaries import WINDOW_MS, Edges, starts_and_ends
from app.accuracy.frames import BoolArray, Counts, frames_of
from app.accuracy.intervals import Drawings, Figure
from app.accuracy.labels import Span
from app.vad.grid import Grid
from app.vad.posteriors import Posteriors
from app.vad.segment import clip, segments_of
from app.vad.segmenters.registry import SEGMENTERS, Segmentation

Options = Mapping[str, Any]
MODE = "tight"
_KIND = next(kind for kind in SEGMENTERS if kind.mode == MODE)
_FOLDS = 10
"""At most. With up to so many files each is judged alone; more folds would change little and cost their time."""
_ROUNDS = 3
"""Of all coordinates: in practice the second changes little and the third nothing."""
_LEAST_GAIN, _LEAST_GAIN_OF_PAIR = 2e-3, 2e-4
"""Of an objective between 0 and 1. Durations and padding that gain less do not gain it again on other files: so it was
on 15 clips, whose cross-validated F1 was the higher for it."""
_THRESHOLDS = (0.02, 0.03, 0.05, 0.08, *(round(0.1 + 0.05 * step, 2) for step in range(18)))
_GAPS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3)
"""From a threshold down to the one at which speech ends: FSMN's and FireRed's best lie 0.2 apart, of sums 0.05."""
_LEAST_THRESHOLD = 0.01


def _pairs() -> list[Options]:
    pairs = [(on, round(on - gap, 2)) for on in _THRESHOLDS for gap in _GAPS]
    return [{"threshold": on, "neg_threshold": off} for on, off in pairs if off >= _LEAST_THRESHOLD]


USUAL: Options = {
    "threshold": 0.5, "neg_threshold": 0.45, "min_speech_duration_ms": 100, "min_silence_duration_ms": 100,
    "pad_start_ms": 20, "pad_end_ms": 20,
}  # fmt: skip
"""Where a search starts."""
COORDINATES: Sequence[Sequence[Options]] = (
    _pairs(),
    [{"min_silence_duration_ms": ms} for ms in (50, 100, 150, 200, 300, 400, 500)],
    [{"min_speech_duration_ms": ms} for ms in (0, 50, 100, 150, 200, 250)],
    [{"pad_start_ms": ms} for ms in (-100, -60, -30, 0, 20, 40, 60, 100, 150, 200)],
    [{"pad_end_ms": ms} for ms in (-200, -150, -100, -60, -30, 0, 20, 40, 60, 100, 150, 200)],
)
"""What is tried, one after the other."""


@dataclass(frozen=True, eq=False)
class Row:
    """One file, as one model hears it."""

    file: int
    """Which one: in cross-validation all rows of a file are on one side."""
    group: str
    """What it counts with; the objective is the mean over groups."""
    posteriors: Posteriors
    grid: Grid
    spans: Sequence[Span]
    """Where somebody speaks, s."""
    duration_s: float
    speech: BoolArray = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "speech", frames_of(self.spans, int(self.duration_s * 100)))


@dataclass(frozen=True)
class Tally:
    """What one setting makes of one file."""

    counts: Counts
    starts: Edges
    ends: Edges
    edge_cost_ms: float
    """Distances of matched edges; of one that has no partner, on either side, as much as a pair may be apart."""
    edges: int


Objective = Callable[[Counts, float], float]
"""From the frames of a group and its mean distance of edges (ms) to what is to be large."""


def _f(beta: float) -> Objective:
    """van Rijsbergen's F: recall counts `beta` times as much as precision."""

    def measure(counts: Counts, edge_ms: float) -> float:
        square = beta**2
        whole = (1 + square) * counts.hits + square * counts.misses + counts.alarms
        return (1 + square) * counts.hits / whole if whole else 1.0

    return measure


OBJECTIVES: Mapping[str, Objective] = {
    "f1": _f(1),
    "recall": _f(2),
    "precision": _f(0.5),
    "boundaries": lambda counts, edge_ms: 1 - edge_ms / WINDOW_MS,
}
"""By name. `recall` and `precision` alone would be best with everything, or nothing, called speech: F2 and F0.5."""


def as_options(setting: Options) -> dict[str, Any]:
    """A setting as a request has it: one option where both sides are padded alike."""
    options = dict(setting)
    before, after = options.pop("pad_start_ms"), options.pop("pad_end_ms")
    if before == after and before >= 0:
        return {**options, "speech_pad_ms": before}
    return {**options, "pad_start_ms": before, "pad_end_ms": after}


def segments(row: Row, options: Options) -> list[Span]:
    """What the service's own segmenter makes of a file, s."""
    segmenter = Segmentation(_KIND, _KIND.options.parse(options)).new_segmenter(row.grid)
    found = segments_of(segmenter.accept(row.posteriors, final=True))
    limit_ms = int(row.duration_s * 1000)
    clipped = (clip(each, limit_ms) for each in found)
    return [(each.start_ms / 1000, each.end_ms / 1000) for each in clipped]


def tally(row: Row, spans: Sequence[Span]) -> Tally:
    """Count segments against a file's labels."""
    starts, ends = starts_and_ends(spans, row.spans, row.duration_s)
    inside = [sum(0.01 < edge < row.duration_s - 0.01 for edge in edges) for edges in zip(*spans, strict=True)]
    found = dict(zip(("starts", "ends"), inside, strict=False))
    cost, edges = 0.0, 0
    for kind, matched in (("starts", starts), ("ends", ends)):
        pairs = len(matched.errors_ms)
        alone = max(0, matched.labelled - pairs) + max(0, found.get(kind, 0) - pairs)
        cost += float(np.abs(matched.errors_ms).sum()) + WINDOW_MS * alone
        edges += pairs + alone
    return Tally(Counts.of(frames_of(spans, len(row.speech)), row.speech), starts, ends, cost, edges)


class Search:
    """Settings of one model for one objective."""

    def __init__(self, rows: Sequence[Row], objective: str, pause: Callable[[], None] = lambda: None) -> None:
        """`pause`: called between two settings; what it raises ends the search."""
        self.rows, self._objective, self._pause = rows, OBJECTIVES[objective], pause
        self._tried: dict[tuple[tuple[tuple[str, Any], ...], int], Tally] = {}

    def tallies(self, setting: Options, places: Sequence[int]) -> list[Tally]:
        """What a setting makes of these rows."""
        key = tuple(sorted(setting.items()))
        for place in places:
            if (key, place) not in self._tried:
                row = self.rows[place]
                self._tried[key, place] = tally(row, segments(row, as_options(setting)))
        self._pause()
        return [self._tried[key, place] for place in places]

    def value(self, setting: Options, places: Sequence[int]) -> float:
        """The objective over these rows: the mean over their groups."""
        return self.mean(self.tallies(setting, places), places)

    def mean(self, tallies: Sequence[Tally], places: Sequence[int]) -> float:
        """The objective of what was made of these rows: the mean over their groups."""
        groups: dict[str, list[Tally]] = {}
        for place, each in zip(places, tallies, strict=True):
            groups.setdefault(self.rows[place].group, []).append(each)
        return float(np.mean([self._of_group(each) for each in groups.values()]))

    def _of_group(self, tallies: Sequence[Tally]) -> float:
        edges = sum(each.edges for each in tallies)
        cost = sum(each.edge_cost_ms for each in tallies)
        return self._objective(total([each.counts for each in tallies]), cost / edges if edges else 0.0)

    def best(self, places: Sequence[int], start: Options = USUAL) -> Options:
        """The setting that a search over these rows ends at."""
        setting, value = dict(start), self.value(start, places)
        for _ in range(_ROUNDS):
            before = value
            for changes in COORDINATES:
                tried = [(self.value({**setting, **change}, places), change) for change in changes]
                found, change = max(tried, key=lambda each: each[0])  # the first of equals
                if found > value + (_LEAST_GAIN_OF_PAIR if "threshold" in change else _LEAST_GAIN):
                    value, setting = found, {**setting, **change}
            if value <= before:
                break
        return setting

    def cross_validated(self, places: Sequence[int] | None = None) -> tuple[list[Tally], float]:
        """Every row judged by a setting that its file had no part in, and the objective over all of them. With one file
        alone it is judged by its own."""
        places = range(len(self.rows)) if places is None else places
        files = sorted({self.rows[place].file for place in places})
        folds = [files[at :: min(_FOLDS, len(files))] for at in range(min(_FOLDS, len(files)))]
        judged: dict[int, Tally] = {}
        for fold in folds:
            mine = [place for place in places if self.rows[place].file in fold]
            others = [place for place in places if self.rows[place].file not in fold] or mine
            judged |= dict(zip(mine, self.tallies(self.best(others), mine), strict=True))
        tallies = [judged[place] for place in places]
        return tallies, self.mean(tallies, places)


def total(counts: Sequence[Counts]) -> Counts:
    """Frames of several files together."""
    return Counts(*np.sum([[each.hits, each.misses, each.alarms, each.rejections] for each in counts], axis=0).tolist())


@dataclass(frozen=True)
class Judged:
    """Cross-validated figures of one model; shares, and ms."""

    f1: Figure
    miss_rate: Figure
    false_alarm_rate: Figure
    start_ms: Figure
    """Median distance of starts from the labels' starts, of those that have a partner within half a second."""
    end_ms: Figure

    @classmethod
    def of(cls, rows: Sequence[Row], tallies: Sequence[Tally]) -> "Judged":
        """With intervals over drawings of files."""
        files = sorted({row.file for row in rows})
        by_file = [[each for row, each in zip(rows, tallies, strict=True) if row.file == file] for file in files]
        drawings, counts = Drawings(len(files)), [total([each.counts for each in mine]) for mine in by_file]

        def apart(kind: str) -> Figure:
            edges = [[np.abs(getattr(each, kind).errors_ms) for each in mine] for mine in by_file]
            return drawings.of_quantile([np.concatenate(each) for each in edges], 0.5)

        return cls(
            f1=drawings.of_counts(counts, lambda each: each.f1),
            miss_rate=drawings.of_counts(counts, lambda each: each.miss_rate),
            false_alarm_rate=drawings.of_counts(counts, lambda each: each.false_alarm_rate),
            start_ms=apart("starts"),
            end_ms=apart("ends"),
        )
