"""`pad_start_ms` and `pad_end_ms`: each side of every segment moved by its own measure, in any mode.

Invariant: events do not depend on how the frames were grouped into calls.
"""

import math
from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from app.vad.grid import Grid
from app.vad.posteriors import Posteriors, Segmenter, adjust, final_ms
from app.vad.segment import Event, Segment, SpeechEnd, SpeechStart
from app.vad.segmenters.options import SegmenterOptions
from app.vad.segmenters.wrappers import in_steps


@dataclass(slots=True)
class _Found:
    """A segment as the inner segmenter has it, without padding."""

    start_ms: int
    end: SpeechEnd | None = None
    """None while it goes on."""
    begun_ms: int = 0
    """Where it begins with its padding, once that has been said."""


class Padded:
    """Moves the edges of what an inner segmenter finds, each side by its own measure: `pad_start_ms`, `pad_end_ms`.

    1. A segment [s, e) becomes [s - before, e + after), within the audio. Either may be below 0.
    2. Two neighbours that would come to overlap share the gap between them in the ratio of their pads, so that equal
       ones meet in the middle. Where one of the two pads is below 0, the other reaches to that edge at most.
    3. At a forced cut where the speech goes on in the next frame neither becomes shorter: nothing that was cut is lost.
    4. A segment of which nothing is left is dropped, as if it had not been found.

    A start is given out as soon as it is certain that something of its segment will be left: at once, unless a pad is
    below 0. An end is held until no neighbour can come so near that it would lie elsewhere. What is held is looked at
    whenever the inner segmenter decides something, and at fixed numbers of frames since the stream's start.
    """

    def __init__(self, new: Callable[[Any, Grid], Segmenter], options: SegmenterOptions, grid: Grid) -> None:
        """`new`: makes the inner segmenter, which is given the options without what is replaced here."""
        inner_options, self._before, self._after = options.unpadded()
        self._inner, self._frame_ms = new(inner_options, grid), grid.frame_ms
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next frame is frame 0 of a new stream."""
        self._inner.reset()
        self._closed: _Found | None = None
        """The last one that has begun and ended; its end has not been said."""
        self._ahead: deque[_Found] = deque()
        """Those after it. The first may have begun; others wait for it."""
        self._begun = False
        """Whether the first of those has."""
        self._frame = 0
        """Frames that the inner segmenter has had."""
        self._speech = array("d")
        """Speech probabilities from frame `_speech_from` on: a segment's mean is over its frames, padding included."""
        self._speech_from = 0
        self._given_ms = 0
        """End of the last segment that was given out."""

    def use_options(self, options: SegmenterOptions) -> None:
        """As `Segmenter`, where the inner one can."""
        inner_options, before, after = options.unpadded()
        adjust(self._inner, inner_options)
        self._before, self._after = before, after

    @property
    def final_ms(self) -> int:
        """As `Segmenter`."""
        if self._closed is not None:
            return self._closed.begun_ms
        if self._begun:
            return self._ahead[0].begun_ms
        first = self._ahead[0].start_ms if self._ahead else final_ms(self._inner)
        return max(self._given_ms, first - max(0, self._before))

    def accept(self, posteriors: Posteriors, *, final: bool) -> list[Event]:
        """As `Segmenter`."""
        events: list[Event] = []
        self._speech.extend(posteriors.speech.tolist())
        for part, last, at_step in in_steps(posteriors, self._frame, final=final):
            self._frame += len(part)
            for event in self._inner.accept(part, final=last):
                if isinstance(event, SpeechStart):
                    self._ahead.append(_Found(event.start_ms))
                else:
                    self._ahead[-1].end = event
                self._settle(events, event.at_ms, None)
            known_ms = int(self._frame * self._frame_ms - part.short_ms)
            if last:
                self._settle(events, known_ms, math.inf)
            elif at_step:
                self._settle(events, known_ms, final_ms(self._inner))
        self._forget()
        return events

    def _settle(self, events: list[Event], known_ms: int, next_ms: float | None) -> None:
        """Give out all that is certain. `known_ms`: how much of the stream is known; `next_ms`: no segment that the
        inner one has not told of begins before this, infinite at the stream's end; None where that is not known."""
        over = next_ms == math.inf
        while self._ahead:
            first = self._ahead[0]
            if not self._begun:
                end_ms, start_ms = self._joint(first.start_ms)
                least_ms = self._least_end_ms(first, at_step=next_ms is not None)
                if first.end is not None and (least_ms <= start_ms or (over and known_ms <= start_ms)):
                    self._ahead.popleft()  # nothing is left of it
                    continue
                if min(known_ms, least_ms) <= start_ms:
                    break
                if self._closed is not None:
                    self._give(end_ms, known_ms, events)
                first.begun_ms, self._begun = start_ms, True
                events.append(SpeechStart(start_ms, known_ms))
            if first.end is None:
                break
            self._closed, self._begun = self._ahead.popleft(), False
        if self._closed is not None and self._closed.end is not None:
            following = self._ahead[0].start_ms if self._ahead else next_ms
            last_ms = self._last_ms(self._closed.end, known_ms, over=over)
            segment = self._closed.end.segment
            if following is not None and last_ms <= known_ms and self._stand_apart(segment, following):
                self._give(last_ms, known_ms, events)

    def _joint(self, start_ms: int) -> tuple[int, int]:
        """Where the segment that is held ends, and where the one found at `start_ms` begins after it."""
        if self._closed is None or self._closed.end is None:
            return 0, max(self._given_ms, start_ms - self._before)
        segment = self._closed.end.segment
        gap, before, after = start_ms - segment.end_ms, self._before, self._after
        if segment.forced_end and gap <= self._frame_ms:
            before, after = max(0, before), max(0, after)
        if before + after > gap:
            if before <= 0:
                after = gap - before
            elif after <= 0:
                before = gap - after
            else:
                before, after = gap * before // (before + after), gap * after // (before + after)
        return segment.end_ms + after, start_ms - before

    def _stand_apart(self, segment: Segment, next_ms: float) -> bool:
        """Whether a segment that begins at `next_ms` or later cannot change where this one ends."""
        gap = next_ms - segment.end_ms
        return gap >= self._before + self._after and gap > (self._frame_ms if segment.forced_end else -1)

    def _last_ms(self, end: SpeechEnd, known_ms: int, *, over: bool) -> int:
        """Where a segment ends that has no neighbour. `over`: the stream ends at `known_ms`."""
        last_ms = end.segment.end_ms + self._after
        return min(last_ms, known_ms) if over else last_ms

    def _least_end_ms(self, found: _Found, *, at_step: bool) -> int:
        """Where it ends at the least. What the inner segmenter says of itself holds at steps alone: between them it
        may be farther than the event that is looked at."""
        if found.end is not None:
            segment = found.end.segment
            # A forced cut may turn out to be one after which the speech goes on at once.
            return segment.end_ms + (min(0, self._after) if segment.forced_end else self._after)
        told = int(getattr(self._inner, "end_from_ms", 0)) if at_step else 0
        return max(found.start_ms + 1, told) + self._after

    def _give(self, end_ms: int, at_ms: int, events: list[Event]) -> None:
        """Give out the end that is held."""
        closed, self._closed = self._closed, None
        if closed is None or closed.end is None:
            return
        first, stop = closed.begun_ms // self._frame_ms, -(-end_ms // self._frame_ms)
        frames = self._speech[first - self._speech_from : stop - self._speech_from]
        mean = min(1.0, max(0.0, sum(frames) / max(1, len(frames))))
        segment = replace(closed.end.segment, start_ms=closed.begun_ms, end_ms=end_ms, speech_probability=mean)
        events.append(SpeechEnd(segment, max(at_ms, closed.end.at_ms)))
        self._given_ms = end_ms

    def _forget(self) -> None:
        """Drop probabilities that no segment can have any more."""
        drop = min(self.final_ms // self._frame_ms, self._frame) - self._speech_from
        if drop > 0:
            del self._speech[:drop]
            self._speech_from += drop
