"""FireRedVAD's post-processing of whole audio, under its own option names; for speech, and for other labels too.

Theory of operation (fireredvad 0.0.2, Apache-2.0; report arXiv 2603.10420), on frames of 10 ms. A frame's probability
is the mean over the last `smooth_window_size` frames; at least the threshold is speech. A machine of four states takes
`min_speech_frame` frames of speech to begin a run and `min_silence_frame` of silence to end it; the silence stays in
it. Runs begin a smoothing window earlier, gaps below `merge_silence_frame` are filled, runs grow by
`extend_speech_frame`, and what is longer than `max_speech_frame` is cut at its least speech-like frame (of the raw
probabilities, in the second half of the allowed length), which is left out.

The package does this step after step over all frames. Here it runs frame by frame, in memory that does not grow: a
segment is given out when nothing that follows could change it.

Invariant: events do not depend on how the frames were grouped into calls.
"""

import math
from typing import Any, ClassVar, Literal

from pydantic import Field

from app.vad.grid import FRAME_MS, Grid
from app.vad.posteriors import Posteriors, Segmenter
from app.vad.segment import Event, Segment, SpeechEnd, SpeechStart
from app.vad.segmenters.options import SegmenterOptions
from app.vad.segmenters.regrid import OnTenMs

State = Literal["silence", "maybe speech", "speech", "maybe silence"]

MOST_FRAMES = 360_000
"""An hour: what is kept of a segment that may have to be cut grows with the limit."""
FRAMES: dict[str, Any] = {"json_schema_extra": {"unit": "frames"}}


class SmoothedOptions(SegmenterOptions):
    """Of the machine for whole audio; frames are 10 ms."""

    mode: ClassVar[str] = "smoothed"

    smooth_window_size: int = Field(
        5, ge=0, le=1_000, description="Smoothing of the probabilities; below 2: none.", **FRAMES
    )
    speech_threshold: float = Field(0.4, ge=0, le=1, description="Smoothed probability from which on it is speech.")
    min_speech_frame: int = Field(20, ge=0, le=10_000, description="Shorter speech is dropped.", **FRAMES)
    max_speech_frame: int = Field(
        2_000,
        ge=2,
        le=MOST_FRAMES,
        description="Longer segments are cut at their least speech-like frame (`forced_end` is true).",
        **FRAMES,
    )
    min_silence_frame: int = Field(
        20, ge=0, le=10_000, description="Silence that ends a segment, and stays in it.", **FRAMES
    )
    merge_silence_frame: int = Field(0, ge=0, le=10_000, description="Shorter gaps are filled; 0: none.", **FRAMES)
    extend_speech_frame: int = Field(0, ge=0, le=1_000, description="Added to a segment at both sides.", **FRAMES)

    @property
    def limit_ms(self) -> float:
        """Longest segment, ms: `max_speech_frame` frames."""
        return self.max_speech_frame * FRAME_MS


class EventOptions(SegmenterOptions):
    """Of the machine for whole audio, for a model that tells speech, singing and music apart."""

    mode: ClassVar[str] = "smoothed"

    smooth_window_size: int = Field(
        5, ge=0, le=1_000, description="Smoothing of the probabilities; below 2: none.", **FRAMES
    )
    speech_threshold: float = Field(0.4, ge=0, le=1, description="Smoothed probability from which on it is speech.")
    singing_threshold: float = Field(0.5, ge=0, le=1, description="The same for singing.")
    music_threshold: float = Field(0.5, ge=0, le=1, description="The same for music.")
    min_event_frame: int = Field(20, ge=0, le=10_000, description="Shorter events are dropped.", **FRAMES)
    max_event_frame: int = Field(
        2_000,
        ge=2,
        le=MOST_FRAMES,
        description="Longer segments are cut at their least likely frame (`forced_end` is true).",
        **FRAMES,
    )
    min_silence_frame: int = Field(
        20, ge=0, le=10_000, description="Absence that ends a segment, and stays in it.", **FRAMES
    )
    merge_silence_frame: int = Field(0, ge=0, le=10_000, description="Shorter gaps are filled; 0: none.", **FRAMES)
    extend_speech_frame: int = Field(0, ge=0, le=1_000, description="Added to a segment at both sides.", **FRAMES)

    @property
    def limit_ms(self) -> float:
        """Longest segment, ms: `max_event_frame` frames."""
        return self.max_event_frame * FRAME_MS

    def threshold(self, label: str) -> float:
        """Of one label; half where there is no option for it."""
        return float(getattr(self, f"{label}_threshold", 0.5))


def new_smoothed(options: SmoothedOptions, grid: Grid) -> Segmenter:
    """The machine for whole audio, for posteriors on a grid."""
    return on_ten_ms(SmoothedMachine(options, threshold=options.speech_threshold), grid)


def new_event_machine(options: EventOptions, grid: Grid, label: str) -> Segmenter:
    """The machine for whole audio, for one label of a model that has several."""
    same = SmoothedOptions(
        smooth_window_size=options.smooth_window_size,
        min_speech_frame=options.min_event_frame,
        max_speech_frame=options.max_event_frame,
        min_silence_frame=options.min_silence_frame,
        merge_silence_frame=options.merge_silence_frame,
        extend_speech_frame=options.extend_speech_frame,
    )
    return on_ten_ms(SmoothedMachine(same, threshold=options.threshold(label)), grid)


def on_ten_ms(machine: Segmenter, grid: Grid) -> Segmenter:
    """A machine that counts in 10 ms, for posteriors on any grid."""
    return machine if grid.frame_ms == FRAME_MS else OnTenMs(machine, grid.frame_ms)


class Smoother:
    """Means over the last `window` frames, fewer at the start; in float64."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._recent: list[float] = []
        self._sum = 0.0

    def use_window(self, window: int) -> None:
        """Take the mean over so many from now on. The same window changes nothing, not even in the last bit."""
        if window != self._window:
            self._window, self._recent = window, self._recent[-window:]
            self._sum = math.fsum(self._recent)

    def means(self, probabilities: list[float]) -> list[float]:
        """The mean with each of the next frames."""
        total, known = self._sum, [*self._recent, *probabilities]
        have, means = len(self._recent), []
        for number, probability in enumerate(probabilities, have):
            if number >= self._window:
                total -= known[number - self._window]
            total += probability
            means.append(total / min(number + 1, self._window))
        self._sum, self._recent = total, known[-self._window :]
        return means


def whole_frame(frame: int) -> int:
    """A frame's number after its way through seconds of three places and back, as the package has it: the number, or
    one less for 29, 47, 57 … It decides where a long segment is cut."""
    return int(round(frame * 0.010, 3) / 0.010)


class SmoothedMachine:
    """A `Segmenter`: the machine for whole audio. Frames are counted from 0; a run is [first, end)."""

    def __init__(self, options: SmoothedOptions, *, threshold: float) -> None:
        self._threshold = threshold
        self._window = max(1, options.smooth_window_size)
        # Without either wait there is no machine: every frame of speech counts.
        self._counts_all = options.min_speech_frame <= 0 and options.min_silence_frame <= 0
        self._to_begin = max(1, options.min_speech_frame)
        self._to_end = max(1, options.min_silence_frame)
        self._limit = options.max_speech_frame
        self._extend = options.extend_speech_frame
        # A run that begins so many frames after another's end joins it: by the start's move, by filling, by growing.
        self._reach = self._window + max(0, options.merge_silence_frame - 1, 2 * self._extend)
        self._lead = self._window + self._extend
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next frame is frame 0 of a new stream."""
        self._smoother = Smoother(self._window)
        self._state: State = "silence"
        self._frame = 0
        self._maybe_at = 0
        """Where the run that is not sure yet, or the silence in a run, began."""
        self._start = -1
        """First frame of the segment under way, or of what is left of it after a cut; -1 when there is none."""
        self._origin = 0
        """`whole_frame` of where the segment under way began."""
        self._cut = 0
        """Frames from there to what is left of it."""
        self._end = -1
        """Where the run under way ended, while another may still join it; -1 while it goes on."""
        self._kept: list[float] = []
        """Raw probabilities, from frame `_kept_from` on."""
        self._kept_from = 0

    @property
    def settled_ms(self) -> int:
        """How far no later frame can change what was said, ms (`Segmenter`)."""
        if self._start >= 0:
            return self._start * FRAME_MS
        first = self._maybe_at if self._state == "maybe speech" else self._frame
        return max(0, first - self._lead) * FRAME_MS

    def accept(self, posteriors: Posteriors, *, final: bool) -> list[Event]:
        """Events that the next frames decide. `final`: no frame follows."""
        events: list[Event] = []
        speech, threshold = posteriors.speech.tolist(), self._threshold
        for probability, mean in zip(speech, self._smoother.means(speech), strict=True):
            self._kept.append(probability)
            self._step(mean >= threshold, events)
            self._frame += 1
        self._forget()
        if final:
            self._finish(posteriors.short_ms, events)
        return events

    def _step(self, speech: bool, events: list[Event]) -> None:
        if self._state in ("silence", "maybe speech"):
            self._step_outside(speech, events)
        else:
            self._step_inside(speech)
        if self._start >= 0:
            self._settle(events)

    def _step_outside(self, speech: bool, events: list[Event]) -> None:
        if not speech:
            self._state = "silence"
        elif self._counts_all:
            self._state = "speech"
            self._begin(self._frame, events)
        elif self._state == "silence":
            self._state, self._maybe_at = "maybe speech", self._frame
        elif self._frame - self._maybe_at >= self._to_begin:
            self._state = "speech"
            self._begin(self._maybe_at, events)

    def _step_inside(self, speech: bool) -> None:
        if speech:
            self._state = "speech"
        elif self._counts_all:
            self._state, self._end = "silence", self._frame
        elif self._state == "speech":
            self._state, self._maybe_at = "maybe silence", self._frame
        elif self._frame - self._maybe_at >= self._to_end:
            self._state, self._end = "silence", self._frame

    def _begin(self, first: int, events: list[Event]) -> None:
        """A run is sure: it goes on with the segment under way, or begins one."""
        if self._start >= 0:
            if first <= self._end + self._reach:
                self._end = -1
                return
            self._close_at_rest(events)
        self._start = max(0, first - self._lead)
        self._origin, self._cut = whole_frame(self._start), 0

    def _settle(self, events: list[Event]) -> None:
        """Cut as far as the segment is sure to go, and give it out when no run can join it any more."""
        t = self._frame
        sure = t + 1 if self._end < 0 else min(t + 1, self._end + self._extend)
        # One frame less: `whole_frame` of the end may be.
        while sure - 1 - self._origin - self._cut > self._limit:
            self._cut_once(events)
        if self._end < 0:
            return
        last = self._end + self._reach
        may_join = self._state == "maybe speech" and self._maybe_at <= last
        if t > last and not may_join:
            self._close_at_rest(events)

    def _close_at_rest(self, events: list[Event]) -> None:
        end = self._end + self._extend
        self._close(end, whole_frame(end), events)

    def _cut_once(self, events: list[Event]) -> None:
        """Leave out the least speech-like frame of the second half of what is allowed."""
        first, stop = int(self._cut + self._limit / 2), int(self._cut + self._limit)
        at = self._origin - self._kept_from
        near = self._kept[at + first : at + stop]
        k = first + min(range(len(near)), key=near.__getitem__)
        self._emit(self._origin + k, (self._origin + k) * FRAME_MS, events, forced=True)
        self._start = self._origin + k + 1
        self._cut = k + 1

    def _close(self, end: int, counted_end: int, events: list[Event], end_ms: int | None = None) -> None:
        """Give out the segment up to `end`. `counted_end`: that end as the rule for cutting counts it."""
        while counted_end - self._origin - self._cut > self._limit:
            self._cut_once(events)
        self._emit(end, end * FRAME_MS if end_ms is None else end_ms, events, forced=False)
        self._start = self._end = -1

    def _emit(self, end: int, end_ms: int, events: list[Event], *, forced: bool) -> None:
        if end <= self._start:
            return  # a cut at its first frame: nothing is left before it
        values = self._kept[self._start - self._kept_from : end - self._kept_from]
        mean = min(1.0, max(0.0, sum(values) / max(1, len(values))))
        start_ms, at_ms = self._start * FRAME_MS, (self._frame + 1) * FRAME_MS
        events.append(SpeechStart(start_ms, at_ms))
        events.append(SpeechEnd(Segment(start_ms, end_ms, forced, mean), at_ms))

    def _finish(self, short_ms: float, events: list[Event]) -> None:
        total = self._frame
        self._frame -= 1  # nothing is known later than at the last frame
        if self._start < 0 or total == 0:
            return
        end = total if self._end < 0 else min(total, self._end + self._extend)
        counted = whole_frame(end)
        if end < total:
            self._close(end, counted, events)
            return
        audio_ms = round(1000 * round((total * FRAME_MS - short_ms) / 1000, 3))
        # Once something has been cut, or must be, the rest is measured up to the audio's very end.
        must_be_cut = self._cut > 0 or counted - self._origin > self._limit
        self._close(end, total if must_be_cut else counted, events, audio_ms)

    def _forget(self) -> None:
        """Raw probabilities that nothing asks for any more."""
        oldest = self._maybe_at if self._state == "maybe speech" else self._frame
        needed = max(0, oldest - self._lead - 2)
        if self._start >= 0:
            needed = min(needed, self._start, self._origin + self._cut)
        drop = needed - self._kept_from
        if drop > 0:
            del self._kept[:drop]
            self._kept_from = needed
