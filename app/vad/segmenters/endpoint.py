"""The end-point machine: frame posteriors in, speech events out. No audio, no clock, no torch.

Theory of operation, after FunASR's FSMN-VAD (FunASR 1.4; Deep-FSMN, arXiv 1803.05030):

1. *Frame decision.* A frame is speech when `1 - p_sil >= p_sil ** speech_2_noise_ratio + speech_noise_thres`, is loud
   enough (`decibel_thres`), and stands above a running noise level (`snr_thres`). Frames that fail the first test, and
   are loud enough, move the noise level.
2. *Window.* The number of speech frames among the last `window_size_ms` turns the window from silence to speech and
   back, with two thresholds.
3. *Machine.* WAITING for speech or IN SPEECH. A turn to speech opens a segment `latency` frames earlier; enough silence
   ends it, and so does `max_single_segment_time`.

    window turns / stays    WAITING                          IN SPEECH
    silence -> speech       open at max(floor, t - latency)  use frame t, or end at t (too long, last frame)
    stays speech            nothing                          use frame t, or end at t (too long, last frame)
    speech -> silence       nothing                          use frame t, or end at t (too long, last frame)
    stays silence           floor follows at t - latency     end (silence long enough), or end at t (too long, last
                                                             frame), or use frame t as trailing silence

`floor` is the first frame no segment may reach back to; it only grows. Invariant: events do not depend on how the
frames were grouped into calls.

Too long, the reference ends a segment right there, in mid-word, one frame past the limit (`split=hard`). With
`split=pause` it ends before its least speech-like frame of the last `split_window_ms` (at most half the limit), never
past the limit, and the next segment begins at that frame, so nothing between them is lost. Only where nothing since the
cut was speech, and the window has turned silent, does none begin before speech comes back.
"""

import itertools
import math
import operator
from collections import deque
from typing import ClassVar, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from app.vad.errors import InvalidOption
from app.vad.grid import FRAME_MS, Grid
from app.vad.posteriors import Posteriors, Segmenter
from app.vad.segment import Event, Segment, SpeechEnd, SpeechMean, SpeechStart
from app.vad.segmenters.options import UNIT_MS, SegmenterOptions
from app.vad.segmenters.wrappers import on_ten_ms

_NOISE_UNSET_DB = -100.0
"""The running noise level before the first frame sets it."""


_LEAST_LIMIT_MS = 500
"""Padding must not eat a whole limit, as in `mode=tight`: so much speech fits into a segment, however large it is."""


class EndpointOptions(SegmenterOptions):
    """Options of `mode=endpoint`, under FunASR's names."""

    mode: ClassVar[str] = "endpoint"

    max_end_silence_time: int = Field(
        800,
        ge=200,
        le=10_000,
        description="This much silence ends a segment. A lower value cuts earlier and more often.",
        **UNIT_MS,
    )
    speech_noise_thres: float = Field(
        0.6,
        ge=-1,
        le=1,
        description="A frame is speech when the speech posterior exceeds the silence posterior by this much. Higher is "
        "stricter.",
    )
    max_single_segment_time: int = Field(
        60_000, ge=1_000, le=3_600_000, description="Longer segments are cut (`forced_end` is true).", **UNIT_MS
    )
    split: Literal["hard", "pause"] = Field(
        "hard",
        description="Where a segment that is too long is cut. `hard`: exactly at the limit, as in FunASR. `pause`: at "
        "the frame least like speech within the last `split_window_ms`.",
    )
    split_window_ms: int = Field(
        2_000,
        ge=10,
        le=60_000,
        description="How far before the limit `split=pause` looks for a place to cut. At most half of the limit is "
        "used.",
        **UNIT_MS,
    )
    window_size_ms: int = Field(
        200, ge=50, le=1_000, description="Length of the window that smooths the frame decisions.", **UNIT_MS
    )
    sil_to_speech_time_thres: int = Field(
        150,
        ge=0,
        le=1_000,
        description="A segment begins when the window holds this much speech. At most `window_size_ms`.",
        **UNIT_MS,
    )
    speech_to_sil_time_thres: int = Field(
        150,
        ge=0,
        le=1_000,
        description="The window counts as silence when it holds at most this much speech. At most `window_size_ms`, "
        "and below `max_end_silence_time`.",
        **UNIT_MS,
    )
    lookback_time_start_point: int = Field(
        200, ge=0, le=2_000, description="Moves a segment's start back by this (with `do_extend`).", **UNIT_MS
    )
    lookahead_time_end_point: int = Field(
        100, ge=0, le=2_000, description="Keeps this much after a segment's end (with `do_extend`).", **UNIT_MS
    )
    do_extend: bool = Field(
        True, description="Whether `lookback_time_start_point` and `lookahead_time_end_point` apply."
    )
    detect_mode: int = Field(1, ge=0, le=1, description="1: finds every utterance. 0: stops after the first one.")
    max_start_silence_time: int = Field(
        3_000,
        ge=0,
        le=3_600_000,
        description="With `detect_mode=0`: gives up after this much silence at the start.",
        **UNIT_MS,
    )
    decibel_thres: float = Field(
        -100.0,
        ge=-200,
        le=200,
        description="Frames with less energy are always silence.",
        json_schema_extra={"unit": "dB"},
    )
    snr_thres: float = Field(
        -100.0,
        ge=-200,
        le=200,
        description="A frame is speech only when it is this much louder than the running noise level.",
        json_schema_extra={"unit": "dB"},
    )
    noise_frame_num_used_for_snr: int = Field(
        100,
        ge=1,
        le=100_000,
        description="Number of frames over which the noise level is averaged.",
        json_schema_extra={"unit": "frames"},
    )
    speech_2_noise_ratio: float = Field(
        1.0, gt=0, le=100, description="Exponent on the silence posterior. Above 1 favours speech."
    )

    @property
    def limit_ms(self) -> float:
        """As `SegmenterOptions`."""
        return self.max_single_segment_time

    def unpadded(self) -> tuple[Self, int, int]:
        """As `SegmenterOptions`; what is added counts towards the longest duration."""
        before, after = self.pad_start_ms, self.pad_end_ms
        longest = self.max_single_segment_time - max(0, before or 0) - max(0, after or 0)
        changes: dict[str, int] = {"max_single_segment_time": max(_LEAST_LIMIT_MS, longest)}
        changes |= {"lookback_time_start_point": 0} if before is not None else {}
        changes |= {"lookahead_time_end_point": 0} if after is not None else {}
        return self.model_copy(update=changes), before or 0, after or 0

    def frame_speaks(self, probability: float) -> bool | None:
        """As `SegmenterOptions`, whatever the frame's level."""
        return bool(probability >= (1 - probability) ** self.speech_2_noise_ratio + self.speech_noise_thres)

    @model_validator(mode="after")
    def _no_contradiction(self) -> Self:
        for name in ("sil_to_speech_time_thres", "speech_to_sil_time_thres"):
            if getattr(self, name) > self.window_size_ms:
                raise InvalidOption(name, f"must be at most window_size_ms ({self.window_size_ms})")
        if self.speech_to_sil_time_thres >= self.max_end_silence_time:
            raise InvalidOption(
                "speech_to_sil_time_thres", f"must be below max_end_silence_time ({self.max_end_silence_time})"
            )
        return self


def new_end_pointer(options: EndpointOptions, grid: Grid) -> Segmenter:
    """The machine, for posteriors on a grid."""
    return on_ten_ms(EndPointer(options), grid)


class FrameDecider:
    """Step 1: whether each frame is speech. Keeps the running noise level."""

    def __init__(self, options: EndpointOptions) -> None:
        self.options = options
        """They may change; what has been learnt of the noise stays."""
        self._noise_db = _NOISE_UNSET_DB
        self._loudest_db = _NOISE_UNSET_DB

    def decide(self, speech: list[float], silence: list[float], levels: list[float]) -> list[bool]:
        """One decision per frame, from its probabilities of speech and of silence and its level in dB."""
        options = self.options
        ratio, margin, least_db = options.speech_2_noise_ratio, options.speech_noise_thres, options.decibel_thres
        likely = [p >= s**ratio + margin for p, s in zip(speech, silence, strict=True)]
        # The noise level is a mean of frame levels, so it is never above the loudest frame so far: where all frames
        # stand above that, it cannot matter.
        self._loudest_db = max(self._loudest_db, max(levels, default=_NOISE_UNSET_DB))
        if min(levels, default=math.inf) - self._loudest_db >= options.snr_thres:
            self._follow_noise(
                [level for level, is_likely in zip(levels, likely, strict=True) if not is_likely and level >= least_db]
            )
            return [is_likely and level >= least_db for level, is_likely in zip(levels, likely, strict=True)]
        decisions = []
        for level, is_likely in zip(levels, likely, strict=True):
            is_loud = level >= least_db
            decisions.append(is_loud and is_likely and level - self._noise_db >= options.snr_thres)
            if is_loud and not is_likely:
                self._follow_noise([level])
        return decisions

    def _follow_noise(self, levels: list[float]) -> None:
        memory = self.options.noise_frame_num_used_for_snr
        noise = self._noise_db
        for level in levels:
            noise = level if noise < _NOISE_UNSET_DB + 0.1 else (level + noise * (memory - 1)) / memory
        self._noise_db = noise


class _Window:
    """Step 2: how many of the last `frames` decisions were speech, for all frames at hand at once."""

    def __init__(self, frames: int) -> None:
        self._frames = frames
        self._last = [False] * frames
        self.sums: list[int] = []
        """After each of the frames at hand."""

    def use_frames(self, frames: int) -> None:
        """Count over so many from now on; what lies before the oldest known decision counts as no speech."""
        known = self._last[-frames:]
        self._frames, self._last = frames, [False] * (frames - len(known)) + known

    def move(self, decisions: list[bool]) -> None:
        """Take the next frames' decisions; `sums` is then about them."""
        self._last = [*self._last[-self._frames :], *decisions]
        # What comes in, less what leaves at the other end. The first sum is of what was there before.
        moves = map(operator.sub, decisions, self._last)
        self.sums = list(itertools.accumulate(moves, initial=sum(self._last[: self._frames])))
        del self.sums[0]

    def forget(self, index: int) -> None:
        """Count the frames at hand up to this one, and all before them, as no speech."""
        size, after = self._frames, index + 1
        self._last[: size + after] = [False] * (size + after)
        self.sums[after : after + size] = itertools.accumulate(self._last[size + after : size + after + size])


class EndPointer:
    """Steps 2 and 3: a `Segmenter`.

    Most frames change nothing but counts: they leave the window as it stands, above or below its threshold, and lead to
    no event. `_pass` takes as many of them as follow one another in one go; `_step` is the law for any frame.
    """

    def __init__(self, options: EndpointOptions) -> None:
        self._set_options(options)
        self.reset()

    def _set_options(self, options: EndpointOptions) -> None:
        self._options = options
        self._window_frames = options.window_size_ms // FRAME_MS
        self._on_frames = options.sil_to_speech_time_thres // FRAME_MS
        self._off_frames = options.speech_to_sil_time_thres // FRAME_MS
        self._latency = self._window_frames
        self._trailing_frames = -1
        self._end_silence_ms = options.max_end_silence_time - options.speech_to_sil_time_thres
        self._end_back = self._end_silence_ms // FRAME_MS
        if options.do_extend:
            self._latency += options.lookback_time_start_point // FRAME_MS
            self._trailing_frames = options.lookahead_time_end_point // FRAME_MS
            self._end_back = max(0, self._end_back - self._trailing_frames - 1)
        self._in_pause = options.split == "pause"
        self._most_frames = options.max_single_segment_time // FRAME_MS
        self._split_frames = max(1, min(options.split_window_ms // FRAME_MS, self._most_frames // 2))
        # A segment may open so late that it is too long at once: then the place to cut lies that far back, too.
        self._split_reach = self._split_frames + self._latency + 2 if self._in_pause else 0
        self._mean_reach = max(self._latency + self._end_back + 2, self._split_reach + 1)

    def reset(self) -> None:
        """Forget everything: the next frame is frame 0 of a new stream."""
        self._decider = FrameDecider(self._options)
        self._mean = SpeechMean(reach=self._mean_reach)
        self._recent: deque[tuple[float, bool]] = deque(maxlen=self._split_reach)
        """Of the last frames, the present one included: speech probability, and whether it was taken for speech."""
        self._window = _Window(self._window_frames)
        self._frame = 0
        self._first = 0
        """The first of the frames at hand."""
        self._floor = 0
        self._over = False
        self._wait()

    @property
    def final_ms(self) -> int:
        """As `Segmenter`."""
        if self._start >= 0:
            return self._start * FRAME_MS
        return max(self._floor, self._frame - self._latency) * FRAME_MS

    @property
    def end_from_ms(self) -> int:
        """As `Segmenter`."""
        if self._start < 0 or self._in_pause:
            return 0  # a cut in a pause goes back to it
        return (self._frame - self._silent_frames) * FRAME_MS

    def accept(self, posteriors: Posteriors, *, final: bool) -> list[Event]:
        """As `Segmenter`."""
        speech = posteriors.speech.tolist()
        self._mean.extend(speech)
        decisions = self._decider.decide(speech, posteriors.silence.tolist(), posteriors.decibel.tolist())
        self._window.move(decisions)
        self._first = self._frame
        stop = self._first + len(decisions)
        last = stop - 1 if final else -1
        events: list[Event] = []
        while self._frame < stop and not self._over:
            passed = self._pass(stop - 1 if final else stop)
            if self._in_pause:
                seen = slice(self._frame - passed - self._first, self._frame + 1 - self._first)
                self._recent.extend(zip(speech[seen], decisions[seen], strict=True))
            if self._frame < stop:
                self._step(last, events)
                self._frame += 1
        if final and self._start >= 0:
            self._end(self._last_used, self._frame - 1, events, forced=False)
        return events

    def _wait(self) -> None:
        self._window_speaks = False
        self._silent_frames = 0
        self._start = -1
        self._last_used = -1

    def use_options(self, options: EndpointOptions) -> None:
        """As `Segmenter`. With `detect_mode=0` a stream whose utterance is over stays over."""
        self._set_options(options)
        self._decider.options = options
        self._mean.use_reach(self._mean_reach)
        self._recent = deque(self._recent, maxlen=self._split_reach)
        self._window.use_frames(self._window_frames)

    def _pass(self, stop: int) -> int:
        """Take the frames from the present one on, up to `stop`, that turn nothing and lead to no event. Return how
        many there are."""
        if self._start >= 0:
            stop = min(stop, self._start + self._most_frames)
        if not self._window_speaks:
            return self._pass_silence(stop)
        if self._start < 0:
            return 0
        sums = self._sums_up_to(stop)
        count = next((index for index, spoken in enumerate(sums) if spoken <= self._off_frames), len(sums))
        self._use_several(count)
        self._frame += count
        return count

    def _pass_silence(self, stop: int) -> int:
        if self._start >= 0:
            # The frame whose silence ends the segment is left to `_step`.
            stop = min(stop, self._frame + -(-self._end_silence_ms // FRAME_MS) - 1 - self._silent_frames)
        elif self._options.detect_mode == 0:
            return 0  # any frame may be the one that is one too many
        sums = self._sums_up_to(stop)
        count = next((index for index, spoken in enumerate(sums) if spoken >= self._on_frames), len(sums))
        if self._start >= 0:
            self._use_several(min(count, self._trailing_frames - self._silent_frames))
        elif count:
            self._floor = max(self._floor, self._frame + count - 1 - self._latency)
        self._silent_frames += count
        self._frame += count
        return count

    def _sums_up_to(self, stop: int) -> list[int]:
        """The window's sums from the present frame on."""
        return self._window.sums[self._frame - self._first : max(self._frame, stop) - self._first]

    def _step(self, last: int, events: list[Event]) -> None:
        spoken = self._window.sums[self._frame - self._first]
        if self._window_speaks:
            self._window_speaks = spoken > self._off_frames
            turned_or_speaks = True
        else:
            self._window_speaks = turned_or_speaks = spoken >= self._on_frames
        if turned_or_speaks:
            self._silent_frames = 0
            if self._start >= 0:
                self._continue_speech(last, events)
            elif self._window_speaks:
                self._start = max(self._floor, self._frame - self._latency)
                self._use(self._frame)
                self._mean.open(self._start)
                events.append(SpeechStart(self._start * FRAME_MS, (self._frame + 1) * FRAME_MS))
        else:
            self._silent_frames += 1
            if self._start >= 0:
                self._continue_silence(last, events)
                return
            self._floor = max(self._floor, self._frame - self._latency)
            options = self._options
            if options.detect_mode == 0 and self._silent_frames * FRAME_MS > options.max_start_silence_time:
                self._over = True

    def _continue_speech(self, last: int, events: list[Event]) -> None:
        t = self._frame
        if self._too_long() and not self._goes_on_after_cut(events):
            return
        if t == last:
            self._end(t, t, events, forced=False)
        else:
            self._use(t)

    def _continue_silence(self, last: int, events: list[Event]) -> None:
        t = self._frame
        if self._silent_frames * FRAME_MS >= self._end_silence_ms:
            self._end(t - self._end_back, t, events, forced=False)
        elif self._too_long() and not self._goes_on_after_cut(events):
            return
        elif t == last:
            self._end(t, t, events, forced=False)
        elif self._silent_frames <= self._trailing_frames:
            self._use(t)

    def _too_long(self) -> bool:
        return (self._frame - self._start + 1) * FRAME_MS > self._options.max_single_segment_time

    def _goes_on_after_cut(self, events: list[Event]) -> bool:
        """End the segment by force. Return whether another one is open now, which the present frame belongs to."""
        if not self._in_pause:
            self._end(self._frame, self._frame, events, forced=True)
            return False
        while self._start >= 0 and self._too_long():
            self._cut_in_pause(events)
        return self._start >= 0

    def _cut_in_pause(self, events: list[Event]) -> None:
        t, recent = self._frame, list(self._recent)
        oldest = t - len(recent) + 1
        limit = self._start + self._most_frames
        first = max(oldest, limit - self._split_frames + 1)
        # The last of several: the segment is longer for it. A limit just lowered may lie before all that is kept.
        cut = min(range(first, max(first, min(t, limit)) + 1), key=lambda frame: (recent[frame - oldest][0], -frame))
        segment = Segment(self._start * FRAME_MS, cut * FRAME_MS, True, self._mean.close(cut))
        events.append(SpeechEnd(segment, (t + 1) * FRAME_MS))
        self._floor = cut
        self._over = self._options.detect_mode == 0
        if self._over or not (self._window_speaks or any(speech for _, speech in recent[cut - oldest :])):
            self._start = self._last_used = -1
            return
        self._start, self._last_used = cut, t
        # Silence is counted anew: else an end could come to lie before the cut.
        self._silent_frames = 0
        self._mean.open(cut)
        events.append(SpeechStart(cut * FRAME_MS, (t + 1) * FRAME_MS))

    def _use(self, frame: int) -> None:
        self._last_used = frame
        # One further even when the frame had been used before, as at an end without trailing frames: so counts the
        # reference.
        self._floor = max(self._floor, frame) + 1

    def _use_several(self, count: int) -> None:
        """As `_use`, for the present frame and those after it."""
        if count > 0:
            self._last_used = self._frame + count - 1
            self._floor = max(self._floor, self._frame) + count

    def _end(self, frame: int, now: int, events: list[Event], *, forced: bool) -> None:
        self._use(frame)
        probability = self._mean.close(frame + 1)
        segment = Segment(self._start * FRAME_MS, (frame + 1) * FRAME_MS, forced, probability)
        events.append(SpeechEnd(segment, (now + 1) * FRAME_MS))
        self._wait()
        # At the end of the last call's frames none is at hand any more, and none follows.
        if self._frame - self._first < len(self._window.sums):
            self._window.forget(self._frame - self._first)
        self._over = self._options.detect_mode == 0
