"""FireRedVAD's post-processing, under its own option names: of whole audio, for speech and for other labels too; and of
streams, its Stream-VAD's and any model's live.

Theory of operation (fireredvad 0.0.2, Apache-2.0; report arXiv 2603.10420), on frames of 10 ms. A frame's probability
is the mean over the last `smooth_window_size` frames; at least the threshold is speech. A machine of four states takes
`min_speech_frame` frames of speech to begin a run and `min_silence_frame` of silence to end it; the silence stays in
it.

*Whole audio* (`SmoothedMachine`). Runs begin a smoothing window earlier, gaps below `merge_silence_frame` are filled,
runs grow by `extend_speech_frame`, and what is longer than `max_speech_frame` is cut at its least speech-like frame (of
the raw probabilities, in the second half of the allowed length), which is left out. The package does this step after
step over all frames. Here it runs frame by frame, in memory that does not grow: a segment is given out when nothing
that follows could change it.

*Streams* (`StreamingMachine`). A run is a segment and starts `pad_start_frame` earlier. Nothing needs the future: a
start is given out as soon as it is known, an end at its own frame, and a segment over `max_speech_frame` is cut where
it is, at a frame of speech.

Invariant: events do not depend on how the frames were grouped into calls.
"""

import math
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import Field
from typing_extensions import Self

from app.vad.grid import FRAME_MS, Grid
from app.vad.posteriors import Posteriors, Segmenter
from app.vad.segment import Event, Segment, SpeechEnd, SpeechMean, SpeechStart
from app.vad.segmenters.options import SegmenterOptions
from app.vad.segmenters.wrappers import on_ten_ms

State = Literal["silence", "maybe speech", "speech", "maybe silence"]

_LEAST_LIMIT = 50
"""Frames of speech that fit into a segment, however much its padding takes of a limit: 500 ms, as in `mode=tight`."""
_MOST_FRAMES = 360_000
"""An hour: what is kept of a segment that may have to be cut grows with the limit."""
_FRAMES: dict[str, Any] = {"json_schema_extra": {"unit": "frames"}}

# Options that several of the machines have; their defaults differ.
_Window = Annotated[
    int,
    Field(
        ge=0, le=1_000, description="Window that smooths the probabilities. Below 2 there is no smoothing.", **_FRAMES
    ),
]
_Threshold = Annotated[
    float, Field(ge=0, le=1, description="Frames with at least this smoothed probability are speech.")
]
_MinSpeech = Annotated[int, Field(ge=0, le=10_000, description="Shorter speech is dropped.", **_FRAMES)]
_MinSilence = Annotated[
    int,
    Field(
        ge=0, le=10_000, description="This much silence ends a segment. The silence stays in the segment.", **_FRAMES
    ),
]
_Merge = Annotated[int, Field(ge=0, le=10_000, description="Shorter gaps are filled. 0 fills none.", **_FRAMES)]
_Extend = Annotated[int, Field(ge=0, le=1_000, description="Added on both sides of a segment.", **_FRAMES)]


_OptionsT = TypeVar("_OptionsT", bound=SegmenterOptions)


class SmoothedOptions(SegmenterOptions):
    """Of the machine for whole audio; frames are 10 ms."""

    mode: ClassVar[str] = "smoothed"

    smooth_window_size: _Window = 5
    speech_threshold: _Threshold = 0.4
    min_speech_frame: _MinSpeech = 20
    max_speech_frame: int = Field(
        2_000,
        ge=2,
        le=_MOST_FRAMES,
        description="Longer segments are cut at the frame least like speech (`forced_end` is true).",
        **_FRAMES,
    )
    min_silence_frame: _MinSilence = 20
    merge_silence_frame: _Merge = 0
    extend_speech_frame: _Extend = 0

    @property
    def limit_ms(self) -> float:
        """As `SegmenterOptions`."""
        return self.max_speech_frame * FRAME_MS

    def unpadded(self) -> tuple[Self, int, int]:
        """As `SegmenterOptions`; `extend_speech_frame` is of both sides."""
        return _without_extension(self, self.extend_speech_frame, "max_speech_frame")


class EventOptions(SegmenterOptions):
    """Of the machine for whole audio, for a model that tells speech, singing and music apart."""

    mode: ClassVar[str] = "smoothed"

    smooth_window_size: _Window = 5
    speech_threshold: _Threshold = 0.4
    singing_threshold: float = Field(
        0.5, ge=0, le=1, description="Frames with at least this smoothed probability are singing."
    )
    music_threshold: float = Field(
        0.5, ge=0, le=1, description="Frames with at least this smoothed probability are music."
    )
    min_event_frame: int = Field(20, ge=0, le=10_000, description="Shorter segments are dropped.", **_FRAMES)
    max_event_frame: int = Field(
        2_000,
        ge=2,
        le=_MOST_FRAMES,
        description="Longer segments are cut at the least likely frame (`forced_end` is true).",
        **_FRAMES,
    )
    min_silence_frame: int = Field(
        20,
        ge=0,
        le=10_000,
        description="This many frames below the threshold end a segment. They stay in the segment.",
        **_FRAMES,
    )
    merge_silence_frame: _Merge = 0
    extend_speech_frame: _Extend = 0

    @property
    def limit_ms(self) -> float:
        """As `SegmenterOptions`."""
        return self.max_event_frame * FRAME_MS

    def unpadded(self) -> tuple[Self, int, int]:
        """As `SegmenterOptions`; `extend_speech_frame` is of both sides."""
        return _without_extension(self, self.extend_speech_frame, "max_event_frame")

    def frame_threshold(self, label: str) -> float:
        """As `SegmenterOptions`; half where there is no option for the label."""
        return float(getattr(self, f"{label}_threshold", 0.5))


class StreamingOptions(SegmenterOptions):
    """Of the machine for streams; frames are 10 ms."""

    mode: ClassVar[str] = "smoothed"

    smooth_window_size: _Window = 5
    speech_threshold: _Threshold = 0.5
    pad_start_frame: int = Field(
        5, ge=0, le=1_000, description="Moves a start back by this, but at least by the smoothing window.", **_FRAMES
    )
    min_speech_frame: _MinSpeech = 8
    max_speech_frame: int = Field(
        2_000, ge=2, le=_MOST_FRAMES, description="Longer segments are cut (`forced_end` is true).", **_FRAMES
    )
    min_silence_frame: _MinSilence = 20

    @property
    def limit_ms(self) -> float:
        """As `SegmenterOptions`."""
        return self.max_speech_frame * FRAME_MS

    def unpadded(self) -> tuple[Self, int, int]:
        """As `SegmenterOptions`; the smoothing window still moves a start."""
        before, after = self.pad_start_ms, self.pad_end_ms or 0
        longest = max(_LEAST_LIMIT, self.max_speech_frame - _frames_of(before or 0, after))
        changes = {"max_speech_frame": min(self.max_speech_frame, longest)}
        changes |= {"pad_start_frame": 0} if before is not None else {}
        return self.model_copy(update=changes), before or 0, after

    def frame_speaks(self, probability: float) -> bool | None:
        """As `SegmenterOptions`."""
        return probability >= self.speech_threshold


def _without_extension(options: _OptionsT, extension: int, limit: str) -> tuple[_OptionsT, int, int]:
    """`SegmenterOptions.unpadded` of a machine that extends both sides. `limit`: its option for the longest segment."""
    own = extension * FRAME_MS
    before, after = (own if pad is None else pad for pad in (options.pad_start_ms, options.pad_end_ms))
    longest = min(getattr(options, limit), max(_LEAST_LIMIT, getattr(options, limit) - _frames_of(before, after)))
    return options.model_copy(update={"extend_speech_frame": 0, limit: longest}), before, after


def _frames_of(*pads_ms: int) -> int:
    """Frames by which pads make a segment longer."""
    return sum(max(0, -(-pad_ms // FRAME_MS)) for pad_ms in pads_ms)


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
    return on_ten_ms(SmoothedMachine(same, threshold=options.frame_threshold(label)), grid)


def new_streaming(options: StreamingOptions, grid: Grid) -> Segmenter:
    """The machine for streams, for posteriors on a grid."""
    return on_ten_ms(StreamingMachine(options), grid)


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
        """The mean at each of the next frames."""
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
    """A `Segmenter`. Frames are counted from 0; a run is [first, end)."""

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
    def final_ms(self) -> int:
        """As `Segmenter`."""
        if self._start >= 0:
            return self._start * FRAME_MS
        first = self._maybe_at if self._state == "maybe speech" else self._frame
        return max(0, first - self._lead) * FRAME_MS

    def accept(self, posteriors: Posteriors, *, final: bool) -> list[Event]:
        """As `Segmenter`."""
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
            self._give_what_is_sure(events)

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
        """Go on with the segment under way, or begin one: a run of speech is sure."""
        if self._start >= 0:
            if first <= self._end + self._reach:
                self._end = -1
                return
            self._close_at_rest(events)
        self._start = max(0, first - self._lead)
        self._origin, self._cut = whole_frame(self._start), 0

    def _give_what_is_sure(self, events: list[Event]) -> None:
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
        """Drop raw probabilities that nothing asks for any more."""
        oldest = self._maybe_at if self._state == "maybe speech" else self._frame
        needed = max(0, oldest - self._lead - 2)
        if self._start >= 0:
            needed = min(needed, self._start, self._origin + self._cut)
        drop = needed - self._kept_from
        if drop > 0:
            del self._kept[:drop]
            self._kept_from = needed


class StreamingMachine:
    """A `Segmenter`. Frames are counted from 1 here, as the package does."""

    def __init__(self, options: StreamingOptions) -> None:
        self._set_options(options)
        self.reset()

    def use_options(self, options: StreamingOptions) -> None:
        """As `Segmenter`."""
        self._set_options(options)
        self._smoother.use_window(max(1, options.smooth_window_size))
        self._mean.use_reach(self._mean_reach)

    def _set_options(self, options: StreamingOptions) -> None:
        self._options = options
        self._pad = max(1, options.smooth_window_size, options.pad_start_frame)
        self._mean_reach = options.min_speech_frame + self._pad + 3

    def reset(self) -> None:
        """Forget everything: the next frame is the first of a new stream."""
        self._smoother = Smoother(max(1, self._options.smooth_window_size))
        self._mean = SpeechMean(reach=self._mean_reach)
        self._state: State = "silence"
        self._n = 0
        self._speech = self._silence = 0
        """Frames of the speech under way, those of silence in it included, and of the silence under way."""
        self._last_end = -1
        self._goes_on = False
        """Whether the next frame begins a segment: the one before it was cut."""
        self._start = 0
        """First frame of the segment under way; 0 when there is none."""

    @property
    def final_ms(self) -> int:
        """As `Segmenter`."""
        if self._start:
            return (self._start - 1) * FRAME_MS
        if self._goes_on:
            return self._n * FRAME_MS
        first = self._n + 1 - (self._speech if self._state == "maybe speech" else 0)
        return max(0, first - self._pad - 1) * FRAME_MS

    def accept(self, posteriors: Posteriors, *, final: bool) -> list[Event]:
        """As `Segmenter`."""
        speech, threshold = posteriors.speech.tolist(), self._options.speech_threshold
        self._mean.extend(speech)
        events: list[Event] = []
        for mean in self._smoother.means(speech):
            self._n += 1
            self._step(mean >= threshold, events)
        if final and self._start:
            self._give_end(events, forced=False)
        return events

    def _step(self, speech: bool, events: list[Event]) -> None:
        if self._goes_on:
            self._goes_on = False
            self._give_start(self._n, events)
        if self._state == "silence":
            self._speech = 1 if speech else 0
            self._state = "maybe speech" if speech else "silence"
        elif self._state != "maybe speech":
            self._step_in_speech(speech, events)
        elif not speech:
            self._state, self._speech = "silence", 0
        else:
            self._speech += 1
            if self._speech >= self._options.min_speech_frame:
                self._state, self._silence = "speech", 0
                self._give_start(max(1, self._n - self._speech + 1 - self._pad, self._last_end + 1), events)

    def _step_in_speech(self, speech: bool, events: list[Event]) -> None:
        self._speech += 1
        if speech:
            self._state, self._silence = "speech", 0
            if self._speech >= self._options.max_speech_frame:
                self._speech, self._goes_on, self._last_end = 0, True, self._n
                self._give_end(events, forced=True)
            return
        was_silent = self._state == "maybe silence"
        self._state = "maybe silence"
        self._silence += 1
        if was_silent and self._silence >= self._options.min_silence_frame:
            self._state, self._speech, self._last_end = "silence", 0, self._n
            self._give_end(events, forced=False)

    def _give_start(self, frame: int, events: list[Event]) -> None:
        self._start = frame
        self._mean.open(frame - 1)
        events.append(SpeechStart((frame - 1) * FRAME_MS, self._n * FRAME_MS))

    def _give_end(self, events: list[Event], *, forced: bool) -> None:
        # The end frame's own beginning, as the package has it: a cut leaves 10 ms out.
        start_ms, end_ms = (self._start - 1) * FRAME_MS, (self._n - 1) * FRAME_MS
        segment = Segment(start_ms, end_ms, forced, self._mean.close(self._n - 1))
        events.append(SpeechEnd(segment, self._n * FRAME_MS))
        self._start = 0
