"""Posteriors of longer frames for a segmenter that counts in frames of 10 ms.

A 10 ms frame takes the posterior of the model's frame in which its middle lies, so no time is moved by more than half a
frame. It is handed on when all of it is known, the last one only when the stream's end or the next one is: a segmenter
decides on a stream's last frame differently, so `final` must never come without one.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from app.vad.grid import FRAME_MS
from app.vad.posteriors import NO_POSTERIORS, Posteriors, Segmenter, adjust, join_posteriors, settled_ms
from app.vad.segment import Event


class OnTenMs:
    """A `Segmenter` around another one. The level of a repeated frame stays that of the whole."""

    def __init__(self, inner: Segmenter, frame_ms: int) -> None:
        """`frame_ms`: distance of the frames that will come, above 10."""
        self._inner, self._frame_ms = inner, frame_ms
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next frame is frame 0 of a new stream."""
        self._inner.reset()
        self._last = NO_POSTERIORS
        self._first = 0
        """Number of the model's frame that `_last` holds, or that comes next."""
        self._given = 0
        """10 ms frames handed on."""

    def use_options(self, options: Any) -> None:
        """As `Adjustable`, where the inner one is."""
        adjust(self._inner, options)

    @property
    def settled_ms(self) -> int:
        """How far no later frame can change what was said, ms (`Segmenter`)."""
        return settled_ms(self._inner)

    def accept(self, posteriors: Posteriors, *, final: bool) -> list[Event]:
        """Events that the next frames decide. `final`: no frame follows, and an open segment is given out."""
        known = join_posteriors([self._last, posteriors])
        end_ms = (self._first + len(known)) * self._frame_ms - posteriors.short_ms
        stop = max(self._given, int(end_ms // FRAME_MS) - (not final))
        middles = np.arange(self._given, stop) * FRAME_MS + FRAME_MS // 2
        place = middles // self._frame_ms - self._first
        self._first += max(0, len(known) - 1)
        self._last = known.take(slice(-1, None)) if len(known) else known
        self._given = stop
        given = replace(known.take(place), short_ms=stop * FRAME_MS - end_ms if final else 0.0)
        events = self._inner.accept(given, final=final)
        return [replace(event, at_ms=self._known_at(event.at_ms, end_ms)) for event in events]

    def _known_at(self, at_ms: int, end_ms: float) -> int:
        """When the 10 ms frame that ends at `at_ms` was handed on, whichever way the posteriors came."""
        return min(int(end_ms), -(-(at_ms + FRAME_MS) // self._frame_ms) * self._frame_ms)
