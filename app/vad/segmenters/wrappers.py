"""Segmenters around another one, of any mode: `OnTenMs`, `OnOwnFrames`, `Merging`, `Labelled`, `WithOverlap`.

Invariant of all: events do not depend on how the frames were grouped into calls.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from app.vad.grid import FRAME_MS, Grid, Windows
from app.vad.posteriors import NO_POSTERIORS, Posteriors, Segmenter, adjust, final_ms, join_posteriors
from app.vad.segment import OVERLAP, SPEECH, Event, SpeechEnd, SpeechStart
from app.vad.segmenters.options import SegmenterOptions

_STEP_FRAMES = 20
"""An end that a wrapper holds waits for this much more than it has to, 200 ms of most models; frame by frame would cost
an hour of audio seconds in calls."""


def in_steps(posteriors: Posteriors, frame: int, *, final: bool) -> Iterator[tuple[Posteriors, bool, bool]]:
    """The posteriors in pieces that end at fixed numbers of frames since the stream's start, wherever calls begin and
    end; with each, whether it is the stream's last, and whether it ends at such a number. `frame`: of the first."""
    total, done = len(posteriors), 0
    while True:
        step = min(total - done, _STEP_FRAMES - (frame + done) % _STEP_FRAMES)
        last = final and done + step == total
        part = posteriors if step == total else posteriors.take(slice(done, done + step))
        if last and step < total:
            part = replace(part, short_ms=posteriors.short_ms)
        done += step
        yield part, last, (frame + done) % _STEP_FRAMES == 0
        if done == total:
            return


def on_ten_ms(machine: Segmenter, grid: Grid) -> Segmenter:
    """A machine that counts in frames of 10 ms, for posteriors on any grid."""
    return machine if grid.frame_ms == FRAME_MS else OnTenMs(machine, grid.frame_ms)


class Around:
    """A segmenter that changes what another one hears or says; their options and certainties are one."""

    def __init__(self, inner: Segmenter) -> None:
        self._inner = inner
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next frame is frame 0 of a new stream."""
        self._inner.reset()

    def use_options(self, options: SegmenterOptions) -> None:
        """As `Segmenter`, where the inner one can."""
        adjust(self._inner, options)

    @property
    def final_ms(self) -> int:
        """As `Segmenter`."""
        return final_ms(self._inner)


class OnTenMs(Around):
    """Posteriors of longer frames for a segmenter that counts in frames of 10 ms.

    A 10 ms frame takes the posterior of the model's frame in which its middle lies, so no time is moved by more than
    half a frame; the level of a repeated frame stays that of the whole. It is handed on when all of it is known, the
    last one only when the stream's end or the next one is: a segmenter decides on a stream's last frame differently, so
    `final` must never come without one.
    """

    def __init__(self, inner: Segmenter, frame_ms: int) -> None:
        """`frame_ms`: distance of the frames that will come, above 10."""
        self._frame_ms = frame_ms
        super().__init__(inner)

    def reset(self) -> None:
        super().reset()
        self._last = NO_POSTERIORS
        self._first = 0
        """Number of the model's frame that `_last` holds, or that comes next."""
        self._given = 0
        """10 ms frames handed on."""

    @property
    def end_from_ms(self) -> int:
        """As `Segmenter`."""
        return int(getattr(self._inner, "end_from_ms", 0))

    def accept(self, posteriors: Posteriors, *, final: bool) -> list[Event]:
        """As `Segmenter`."""
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


class OnOwnFrames(Around):
    """10 ms frames that repeat the values of a network's own frames, for a segmenter that hears those.

    An own frame is handed on when it is certain to be one, and not cut off by the audio's end.
    """

    def __init__(self, inner: Segmenter, windows: Windows) -> None:
        self._windows = windows
        super().__init__(inner)

    def reset(self) -> None:
        super().reset()
        self._waiting = NO_POSTERIORS
        """10 ms frames that own frames still have to be picked from."""
        self._first = 0
        """Number of the first of them."""
        self._given = 0
        """Own frames handed on."""

    def accept(self, posteriors: Posteriors, *, final: bool) -> list[Event]:
        """As `Segmenter`."""
        windows = self._windows
        known = join_posteriors([self._waiting, posteriors])
        end_ms = (self._first + len(known)) * FRAME_MS - (posteriors.short_ms if final else 0)
        stop = windows.count(round(end_ms * windows.sample_rate / 1000)) if len(known) else self._given
        places = [windows.first_nearest(own) - self._first for own in range(self._given, stop)]
        given = known.take(np.array(places, dtype=np.intp))
        self._given = max(self._given, stop)
        gone = min(len(known), windows.first_nearest(self._given) - self._first)
        self._waiting, self._first = known.take(slice(gone, None)), self._first + gone
        if final:
            shift_ms = windows.shift_samples * 1000 / windows.sample_rate
            given = replace(given, short_ms=self._given * shift_ms - end_ms)
        return self._inner.accept(given, final=final)


class Merging(Around):
    """Joins segments that stand close together.

    Of two neighbours the second joins the first when it begins no more than `gap_ms` after the first one's end, the
    first one was not cut by force, and both together are no longer than `limit_ms`. What results may be joined by the
    next in turn. The probability of a joined segment is the mean over its frames, those of the gap included.

    So an end that the inner segmenter gives is held back until no segment can begin within the gap any more, and a
    start within the gap until that segment is complete: only then is its length known. All else passes through as it
    comes. Whether a held end can go is looked at after fixed numbers of frames since the stream's start, wherever calls
    begin and end.
    """

    def __init__(self, inner: Segmenter, gap_ms: int, limit_ms: float, frame_ms: int) -> None:
        """`frame_ms`: distance of the frames that will come."""
        self._gap_ms, self._limit_ms, self._frame_ms = gap_ms, limit_ms, frame_ms
        super().__init__(inner)

    def reset(self) -> None:
        super().reset()
        self._held: SpeechEnd | None = None
        """An end whose segment another may still join."""
        self._next: SpeechStart | None = None
        """The start of the one that may."""
        self._frame = 0
        """Frames that the inner segmenter has had."""
        self._speech: list[float] = []
        """Speech probabilities from frame `_speech_from` on: what gaps are made of."""
        self._speech_from = 0
        self._given_ms = 0
        """End of the last segment that was given out."""

    def use_options(self, options: SegmenterOptions) -> None:
        super().use_options(options)
        self._gap_ms, self._limit_ms = options.merge_gap_ms, options.limit_ms

    @property
    def final_ms(self) -> int:
        """As `Segmenter`."""
        return final_ms(self._inner) if self._held is None else self._held.segment.start_ms

    def accept(self, posteriors: Posteriors, *, final: bool) -> list[Event]:
        """As `Segmenter`."""
        events: list[Event] = []
        self._speech.extend(posteriors.speech.tolist())
        for part, last, at_step in in_steps(posteriors, self._frame, final=final):
            self._frame += len(part)
            for event in self._inner.accept(part, final=last):
                self._push(event, events)
            if at_step and not last and self._next is None:
                self._release_if_alone(events)
        if final:
            self._release(events)
        self._forget()
        return events

    def _push(self, event: Event, events: list[Event]) -> None:
        """Take an event of the inner segmenter, and add those that it decides."""
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

    def _hold(self, end: SpeechEnd, events: list[Event]) -> None:
        self._held = end
        if end.segment.forced_end:
            self._release(events)

    def _release(self, events: list[Event], at_ms: int = 0) -> None:
        """Give out the end that is held, known at `at_ms` or later."""
        if self._held is not None:
            events.append(replace(self._held, at_ms=max(at_ms, self._held.at_ms)))
            self._given_ms = self._held.segment.end_ms
        self._held = None

    def _release_if_alone(self, events: list[Event]) -> None:
        """Give out the end that is held, if no segment can begin within the gap any more."""
        held = self._held
        if held is not None and final_ms(self._inner) > held.segment.end_ms + self._gap_ms:
            self._release(events, self._frame * self._frame_ms)

    def _joined(self, first: SpeechEnd, second: SpeechEnd) -> SpeechEnd:
        one, other = first.segment, second.segment
        start, gap = one.start_ms // self._frame_ms, self._frame_after(one.end_ms)
        after, end = max(gap, other.start_ms // self._frame_ms), self._frame_after(other.end_ms)
        between = self._speech[gap - self._speech_from : after - self._speech_from]
        total = one.speech_probability * (gap - start) + sum(between)
        total += other.speech_probability * (end - after)
        mean = min(1.0, max(0.0, total / max(1, end - start)))
        return SpeechEnd(replace(other, start_ms=one.start_ms, speech_probability=mean), second.at_ms)

    def _frame_after(self, time_ms: int) -> int:
        return -(-time_ms // self._frame_ms)

    def _forget(self) -> None:
        """Drop probabilities that no gap can contain any more."""
        at_rest = max(final_ms(self._inner), self._given_ms)
        keep_ms = at_rest if self._held is None else self._held.segment.end_ms
        drop = min(keep_ms // self._frame_ms, self._frame) - self._speech_from
        if drop > 0:
            del self._speech[:drop]
            self._speech_from += drop


class WithOverlap:
    """A segmenter of speech, and beside it one of the times at which several people talk at once; segments of the one
    are labelled `speech`, of the other `overlap`. The events of a call come in the order in which they were known."""

    def __init__(self, speech: Segmenter, overlap: Segmenter) -> None:
        self._speech, self._overlap = speech, overlap

    def reset(self) -> None:
        """Forget everything: the next frame is frame 0 of a new stream."""
        self._speech.reset()
        self._overlap.reset()

    @property
    def final_ms(self) -> int:
        """As `Segmenter`: of the one that is farther behind."""
        return min(final_ms(self._speech), final_ms(self._overlap))

    def accept(self, posteriors: Posteriors, *, final: bool) -> list[Event]:
        """As `Segmenter`; each segment has its label."""
        spoken = self._speech.accept(posteriors, final=final)
        overlapping = self._overlap.accept(posteriors.of_overlap(), final=final)
        events = [*_labelled(spoken, SPEECH), *_labelled(overlapping, OVERLAP)]
        return sorted(events, key=lambda event: event.at_ms)


class Labelled:
    """A segmenter for each label of a model that tells several things apart; their segments may overlap.

    The events of a call come in the order in which they were known, a label's own in theirs.
    """

    def __init__(self, segmenters: Mapping[str, Segmenter]) -> None:
        """`segmenters`: by label, in the order of the posteriors' columns."""
        self._segmenters = dict(segmenters)

    def reset(self) -> None:
        """Forget everything: the next frame is frame 0 of a new stream."""
        for segmenter in self._segmenters.values():
            segmenter.reset()

    @property
    def final_ms(self) -> int:
        """As `Segmenter`: of the label that is farthest behind."""
        return min(map(final_ms, self._segmenters.values()), default=0)

    def accept(self, posteriors: Posteriors, *, final: bool) -> list[Event]:
        """As `Segmenter`; each segment has its label."""
        events: list[Event] = []
        for column, (label, segmenter) in enumerate(self._segmenters.items()):
            events += _labelled(segmenter.accept(posteriors.column(column), final=final), label)
        return sorted(events, key=lambda event: event.at_ms)


def _labelled(events: Iterable[Event], label: str) -> Iterator[Event]:
    for event in events:
        yield replace(event, segment=replace(event.segment, label=label)) if isinstance(event, SpeechEnd) else event
