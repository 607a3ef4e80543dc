"""How far the edges of segments lie from the labels' edges.

Starts are matched with starts and ends with ends, one to one, so that the sum of their distances is least, and never
over more than `WINDOW_MS`: an edge without a partner that near is an edge that was not found, and has no error. An edge
of the labels that is the recording's own beginning or end is left out: it is where somebody stopped recording.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
WINDOW_MS = 500
"""Half a second: a pause or a word away it is another edge."""
_AT_THE_EDGE_MS = 10
"""Labels are no finer than a frame."""


@dataclass(frozen=True)
class Edges:
    """Of one kind, starts or ends, in one file."""

    errors_ms: FloatArray
    """Found minus labelled, of the pairs: above 0 is late."""
    labelled: int
    """How many there were to find."""


def starts_and_ends(
    found: Sequence[tuple[float, float]], labelled: Sequence[tuple[float, float]], duration_s: float
) -> tuple[Edges, Edges]:
    """The two kinds of edges of one file; spans in seconds."""
    starts = [1000 * start for start, _ in labelled if 1000 * start > _AT_THE_EDGE_MS]
    ends = [1000 * end for _, end in labelled if 1000 * (duration_s - end) > _AT_THE_EDGE_MS]
    return (
        Edges(errors_ms([1000 * start for start, _ in found], starts), len(starts)),
        Edges(errors_ms([1000 * end for _, end in found], ends), len(ends)),
    )


def errors_ms(found: Sequence[float], labelled: Sequence[float], window_ms: float = WINDOW_MS) -> FloatArray:
    """Found minus labelled for each pair, in the labels' order; all times in ms."""
    from scipy.optimize import linear_sum_assignment  # of the extra `tune`: the service itself goes without

    if not found or not labelled:
        return np.zeros(0)
    apart = np.subtract.outer(np.asarray(found, dtype=np.float64), np.asarray(labelled, dtype=np.float64))
    # One edge more in a pair is worth any sum of distances.
    too_far = window_ms * (1 + min(apart.shape))
    rows, columns = linear_sum_assignment(np.where(np.abs(apart) <= window_ms, np.abs(apart), too_far))
    matched = apart[rows, columns][np.argsort(columns)]
    near: FloatArray = matched[np.abs(matched) <= window_ms]
    return near
