"""Segments that stand close together become one: a `Segmenter` around another one, of any mode.

Theory of operation. Of two neighbours the second joins the first when it begins no more than `gap_ms` after the first
one's end, the first one was not cut by force, and both together are no longer than `limit_ms`. What results may be
joined by the next in turn.

So an end that the inner segmenter tells is held back until no segment can begin within the gap any more, and a start
within the gap until that segment is complete: only then is its length known. All else passes through as it comes.

The probability of a joined segment is the mean over its frames, those of the gap included.
Invariant: events do not depend on how the frames were grouped into calls. Whether a held end can go is therefore looked
at after fixed numbers of frames since the stream's start, wherever calls begin and end.
"""

from dataclasses import replace

from app.vad.posteriors import Posteriors, Segmenter, adjust, settled_ms
from app.vad.segment import Event, SpeechEnd, SpeechStart
from app.vad.segmenters.options import SegmenterOptions

_STEP_FRAMES = 20
"""An end waits for this much more than it has to, 200 ms of most models; frame by frame would cost an hour of audio
seconds in calls."""


class Merging:
    """See the module's head."""

    def __init__(self, inner: Segmenter, gap_ms: int, limit_ms: float, frame_ms: int) -> None:
        """`frame_ms`: distance of the frames that will come."""
        self._inner, self._gap_ms, self._limit_ms, self._frame_ms = inner, gap_ms, limit_ms, frame_ms
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next frame is frame 0 of a new stream."""
        self._inner.reset()
        self._held: SpeechEnd | None = None
        """An end whose segment another may still join."""
        self._next: SpeechStart | None = None
        """The start of the one that may."""
        self._frame = 0
        """Frames that the inner segmenter has heard."""
        self._heard: list[float] = []
        """Speech probabilities from frame `_heard_from` on: what gaps are made of."""
        self._heard_from = 0
        self._given_ms = 0
        """End of the last segment that was given out."""

    def use_options(self, options: SegmenterOptions) -> None:
        """As `Adjustable`, where the inner one is."""
        adjust(self._inner, options)
        self._gap_ms, self._limit_ms = options.merge_gap_ms, options.limit_ms

    @property
    def settled_ms(self) -> int:
        """How far no later frame can change what was said, ms (`Segmenter`)."""
        return settled_ms(self._inner) if self._held is None else self._held.segment.start_ms

    def accept(self, posteriors: Posteriors, *, final: bool) -> list[Event]:
        """Events that the next frames decide. `final`: no frame follows, and what is held is given out."""
        events: list[Event] = []
        self._heard.extend(posteriors.speech.tolist())
        total, done = len(posteriors), 0
        while True:
            step = min(total - done, _STEP_FRAMES - self._frame % _STEP_FRAMES)
            last = final and done + step == total
            part = posteriors if step == total else posteriors.take(slice(done, done + step))
            if last and step < total:
                part = replace(part, short_ms=posteriors.short_ms)
            self._frame += step
            for event in self._inner.accept(part, final=last):
                self._take(event, events)
            done += step
            if self._frame % _STEP_FRAMES == 0 and not last:
                self._let_go(events)
            if done == total:
                break
        if final:
            self._release(events)
        self._forget()
        return events

    def _take(self, event: Event, events: list[Event]) -> None:
        held = self._held
        if held is None:
            if isinstance(event, SpeechStart):
                events.append(event)
            else:
                self._hold(event, events)
        elif isinstance(event, SpeechStart):
            if event.start_ms - held.segment.end_ms <= self._gap_ms:
                self._next = event
            else:
                self._release(events, event.at_ms)
                events.append(event)
        elif event.segment.end_ms - held.segment.start_ms <= self._limit_ms:
            self._next = None
            self._hold(self._joined(held, event), events)
        else:
            start, self._next = self._next, None
            self._release(events, event.at_ms)
            if start is not None:
                events.append(replace(start, at_ms=event.at_ms))
            self._hold(event, events)

    def _hold(self, event: SpeechEnd, events: list[Event]) -> None:
        self._held = None
        if event.segment.forced_end:
            self._give(event, events)
        else:
            self._held = event

    def _let_go(self, events: list[Event]) -> None:
        held = self._held
        if held is None or self._next is not None:
            return
        if settled_ms(self._inner) > held.segment.end_ms + self._gap_ms:
            self._release(events, self._frame * self._frame_ms)

    def _release(self, events: list[Event], at_ms: int | None = None) -> None:
        if self._held is not None:
            known = self._held.at_ms if at_ms is None else max(at_ms, self._held.at_ms)
            self._give(replace(self._held, at_ms=known), events)
        self._held = None

    def _give(self, end: SpeechEnd, events: list[Event]) -> None:
        events.append(end)
        self._given_ms = end.segment.end_ms

    def _joined(self, first: SpeechEnd, second: SpeechEnd) -> SpeechEnd:
        one, other = first.segment, second.segment
        start, gap, after, end = (
            one.start_ms // self._frame_ms,
            self._frame_after(one.end_ms),
            other.start_ms // self._frame_ms,
            self._frame_after(other.end_ms),
        )
        between = self._heard[gap - self._heard_from : max(gap, after) - self._heard_from]
        total = one.speech_probability * (gap - start) + sum(between)
        total += other.speech_probability * (end - max(gap, after))
        mean = min(1.0, max(0.0, total / max(1, end - start)))
        segment = replace(other, start_ms=one.start_ms, speech_probability=mean)
        return SpeechEnd(segment, second.at_ms)

    def _frame_after(self, time_ms: int) -> int:
        return -(-time_ms // self._frame_ms)

    def _forget(self) -> None:
        """Probabilities that no gap can contain any more."""
        at_rest = max(settled_ms(self._inner), self._given_ms)
        keep_ms = at_rest if self._held is None else self._held.segment.end_ms
        drop = min(keep_ms // self._frame_ms, self._frame) - self._heard_from
        if drop > 0:
            del self._heard[:drop]
            self._heard_from += drop
