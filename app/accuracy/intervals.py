"""How far a figure can be trusted: its interval over drawings of the files, with replacement (percentile bootstrap).

Frames of one file resemble each other, so files are drawn and not frames. Everybody is judged on the same drawings.
Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.accuracy.frames import BoolArray, Counts, FloatArray

DRAWS = 1000
"""Of bootstrap samples: bounds of 95 % then move by less than they are rounded to."""
_TAIL = 0.025
"""On each side: intervals of 95 %."""
_BINS = 2048
"""Steps that probabilities are counted in for AUC's interval: finer ones change nothing in its third decimal."""


@dataclass(frozen=True)
class Figure:
    """A value and its interval of 95 %; None where there is nothing to count, or one file alone."""

    value: float | None
    low: float | None = None
    high: float | None = None


class Drawings:
    """How often each file comes in each drawing, [draws, files]."""

    def __init__(self, files: int, draws: int = DRAWS, seed: int = 0) -> None:
        """`draws`: 0 for no intervals."""
        rng = np.random.default_rng(seed)
        self.times = rng.multinomial(files, np.full(files, 1 / files), size=draws if files > 1 else 0)

    def of_counts(self, counts: Sequence[Counts], ratio: Callable[[Counts], Any]) -> Figure:
        """A ratio of frames, counted in each file."""
        table = np.array([[each.hits, each.misses, each.alarms, each.rejections] for each in counts])
        return self._figure(ratio(Counts(*table.sum(axis=0))), ratio(Counts(*(self.times @ table).T)))

    def of_quantile(self, values: Sequence[FloatArray], quantile: float) -> Figure:
        """A quantile of the values of all files together: the least value that so large a share does not exceed."""
        every = np.concatenate(values)
        if not len(every):
            return Figure(None)
        order = np.argsort(every)
        of_file = np.repeat(np.arange(len(values)), [len(each) for each in values])[order]
        reached = np.cumsum(self.times[:, of_file], axis=1)
        places = (reached < quantile * reached[:, -1:]).sum(axis=1)
        drawn = np.where(reached[:, -1] > 0, every[order][places.clip(max=len(every) - 1)], np.nan)
        return self._figure(float(np.quantile(every, quantile, method="inverted_cdf")), drawn)

    def of_share(self, parts: Sequence[int], wholes: Sequence[int]) -> Figure:
        """Parts of wholes, counted in each file."""
        rest = [whole - part for part, whole in zip(parts, wholes, strict=True)]
        pairs = [Counts(part, left, 0, 0) for part, left in zip(parts, rest, strict=True)]
        return self.of_counts(pairs, lambda counts: 1 - counts.miss_rate)

    def of_auc(self, value: float, scores: Sequence[FloatArray], speech: Sequence[BoolArray]) -> Figure:
        """The interval of an area under the ROC curve that is known as `value`."""
        spoken, rest = _histograms(scores, speech)
        hits, alarms = (np.cumsum((self.times @ table)[:, ::-1], axis=1) for table in (spoken, rest))
        with np.errstate(divide="ignore", invalid="ignore"):
            hits, alarms = hits / hits[:, -1:], alarms / alarms[:, -1:]
        before = np.pad(hits, ((0, 0), (1, 0)))[:, :-1]
        return self._figure(value, np.sum(np.diff(alarms, axis=1, prepend=0.0) * (hits + before) / 2, axis=1))

    def of_best_f1(self, value: float, scores: Sequence[FloatArray], speech: Sequence[BoolArray]) -> Figure:
        """The interval of a best F1 that is known as `value`; each drawing has its own best threshold."""
        spoken, rest = _histograms(scores, speech)
        hits, alarms = (np.cumsum((self.times @ table)[:, ::-1], axis=1) for table in (spoken, rest))
        counts = Counts(hits, hits[:, -1:] - hits, alarms, 0)
        return self._figure(value, np.max(counts.f1, axis=1, initial=0.0))

    def _figure(self, value: float, drawn: FloatArray) -> Figure:
        drawn = drawn[np.isfinite(drawn)]
        known = float(value) if np.isfinite(value) else None
        if known is None or not len(drawn):
            return Figure(known)
        low, high = np.quantile(drawn, [_TAIL, 1 - _TAIL])
        return Figure(known, float(low), float(high))


def _histograms(scores: Sequence[FloatArray], speech: Sequence[BoolArray]) -> tuple[Any, Any]:
    """How often each file's speech, and the rest of it, has a probability in each of the bins, [files, bins]. Bins hold
    as many frames as each other, for most networks say 0 or 1 most of the time."""
    every = np.concatenate(scores)
    inner = np.unique(np.quantile(every, np.linspace(0, 1, _BINS + 1)[1:-1], method="lower"))
    tables = np.zeros((2, len(scores), len(inner) + 1))
    for file, (values, labels) in enumerate(zip(scores, speech, strict=True)):
        places = np.searchsorted(inner, values, side="right")
        for kind, chosen in enumerate((labels, ~labels)):
            tables[kind, file] = np.bincount(places[chosen], minlength=len(inner) + 1)
    return tables[0], tables[1]
