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
past the limit, and the next segment begins at that frame: what was heard since the cut is lost to neither. Only where
nothing since the cut was speech, and the window has turned silent, does none begin before speech comes back.
"""

from collections import deque
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator
from typing_extensions import Self

from app.vad.errors import InvalidOption
from app.vad.grid import FRAME_MS, Grid
from app.vad.posteriors import Posteriors, Segmenter
from app.vad.segment import Event, Segment, SpeechEnd, SpeechStart
from app.vad.segmenters.options import SegmenterOptions
from app.vad.segmenters.regrid import OnTenMs
from app.vad.segmenters.speech_mean import SpeechMean

_NOISE_UNSET_DB = -100.0
"""The running noise level before the first frame sets it."""


class EndpointOptions(SegmenterOptions):
    """Options of `mode=endpoint`, under FunASR's names."""

    mode: ClassVar[str] = "endpoint"

    max_end_silence_time: int = Field(
        800,
        ge=200,
        le=10_000,
        description="Silence that ends a segment. Lower cuts earlier and more often.",
        json_schema_extra={"unit": "ms"},
    )
    speech_noise_thres: float = Field(
        0.6,
        ge=-1,
        le=1,
        description="How far the speech posterior must exceed the silence posterior for a frame to count as speech. "
        "Higher is stricter.",
    )
    max_single_segment_time: int = Field(
        60_000,
        ge=1_000,
        le=3_600_000,
        description="Longer segments are cut (`forced_end` is true).",
        json_schema_extra={"unit": "ms"},
    )
    split: Literal["hard", "pause"] = Field(
        "hard",
        description="Where a segment that gets too long is cut. `hard`: right there, as FunASR does. `pause`: at its "
        "least speech-like frame of the last `split_window_ms`.",
    )
    split_window_ms: int = Field(
        2_000,
        ge=10,
        le=60_000,
        description="How far before the limit `split=pause` looks for a place to cut; at most half the limit is used.",
        json_schema_extra={"unit": "ms"},
    )
    window_size_ms: int = Field(
        200, ge=50, le=1_000, description="Smoothing window over the frame decisions.", json_schema_extra={"unit": "ms"}
    )
    sil_to_speech_time_thres: int = Field(
        150,
        ge=0,
        le=1_000,
        description="Speech in the window that opens a segment; at most `window_size_ms`.",
        json_schema_extra={"unit": "ms"},
    )
    speech_to_sil_time_thres: int = Field(
        150,
        ge=0,
        le=1_000,
        description="Speech in the window at or below which the window counts as silence; at most `window_size_ms`, "
        "and below `max_end_silence_time`.",
        json_schema_extra={"unit": "ms"},
    )
    lookback_time_start_point: int = Field(
        200,
        ge=0,
        le=2_000,
        description="A segment's start is moved back by this (with `do_extend`).",
        json_schema_extra={"unit": "ms"},
    )
    lookahead_time_end_point: int = Field(
        100,
        ge=0,
        le=2_000,
        description="Kept after a segment's end (with `do_extend`).",
        json_schema_extra={"unit": "ms"},
    )
    do_extend: bool = Field(
        True, description="Whether `lookback_time_start_point` and `lookahead_time_end_point` apply."
    )
    detect_mode: int = Field(1, ge=0, le=1, description="1: every utterance. 0: stop after the first one.")
    max_start_silence_time: int = Field(
        3_000,
        ge=0,
        le=3_600_000,
        description="With `detect_mode=0`: give up after this much leading silence.",
        json_schema_extra={"unit": "ms"},
    )
    decibel_thres: float = Field(
        -100.0,
        ge=-200,
        le=200,
        description="Energy of a frame. Quieter ones are always silence.",
        json_schema_extra={"unit": "dB"},
    )
    snr_thres: float = Field(
        -100.0,
        ge=-200,
        le=200,
        description="How far a frame must stand above the running noise level to be speech.",
        json_schema_extra={"unit": "dB"},
    )
    noise_frame_num_used_for_snr: int = Field(
        100, ge=1, le=100_000, description="Memory of the running noise level.", json_schema_extra={"unit": "frames"}
    )
    speech_2_noise_ratio: float = Field(
        1.0, gt=0, le=100, description="Exponent on the silence posterior. Above 1 favours speech."
    )

    @property
    def limit_ms(self) -> float:
        """Longest segment, ms: `max_single_segment_time`."""
        return self.max_single_segment_time

    def frame_speaks(self, probability: float) -> bool | None:
        """As `SegmenterOptions`; levels are left out."""
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
    """The machine for posteriors on a grid; on longer frames than its own it counts in pieces of them."""
    machine = EndPointer(options)
    return machine if grid.frame_ms == FRAME_MS else OnTenMs(machine, grid.frame_ms)


class FrameDecider:
    """Step 1: whether each frame is speech. Keeps the running noise level."""

    def __init__(self, options: EndpointOptions) -> None:
        self._options = options
        self._noise_db = _NOISE_UNSET_DB
        self._loudest_db = _NOISE_UNSET_DB

    def use_options(self, options: EndpointOptions) -> None:
        """Decide the next frames by these; what has been learnt of the noise stays."""
        self._options = options

    def decide(self, posteriors: Posteriors) -> list[bool]:
        """One decision per frame."""
        options = self._options
        silence = posteriors.silence
        decibel = posteriors.decibel.astype(np.float64)
        loud = decibel >= options.decibel_thres
        likely = posteriors.speech >= silence**options.speech_2_noise_ratio + options.speech_noise_thres
        if self._noise_cannot_matter(decibel):
            self._follow_noise(decibel[loud & ~likely].tolist())
            return (loud & likely).tolist()  # type: ignore[no-any-return]
        return self._decide_against_noise(decibel.tolist(), loud.tolist(), likely.tolist())

    def _noise_cannot_matter(self, decibel: np.ndarray) -> bool:
        # The noise level is a mean of frame levels, so it is never above the loudest frame so far.
        self._loudest_db = max(self._loudest_db, float(decibel.max(initial=_NOISE_UNSET_DB)))
        return float(decibel.min(initial=np.inf)) - self._loudest_db >= self._options.snr_thres

    def _follow_noise(self, levels: list[float]) -> None:
        memory = self._options.noise_frame_num_used_for_snr
        noise = self._noise_db
        for level in levels:
            noise = level if noise < _NOISE_UNSET_DB + 0.1 else (level + noise * (memory - 1)) / memory
        self._noise_db = noise

    def _decide_against_noise(self, decibel: list[float], loud: list[bool], likely: list[bool]) -> list[bool]:
        decisions = []
        for level, is_loud, is_likely in zip(decibel, loud, likely, strict=True):
            decisions.append(is_loud and is_likely and level - self._noise_db >= self._options.snr_thres)
            if is_loud and not is_likely:
                self._follow_noise([level])
        return decisions


class EndPointer:
    """Steps 2 and 3: a `Segmenter`."""

    def __init__(self, options: EndpointOptions) -> None:
        self._take(options)
        self.reset()

    def _take(self, options: EndpointOptions) -> None:
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
        self._frame = 0
        self._floor = 0
        self._over = False
        self._wait()

    @property
    def settled_ms(self) -> int:
        """How far no later frame can change what was said, ms (`Segmenter`)."""
        if self._start >= 0:
            return self._start * FRAME_MS
        return max(self._floor, self._frame - self._latency) * FRAME_MS

    def accept(self, posteriors: Posteriors, *, final: bool) -> list[Event]:
        """Events that the next frames decide. `final`: no frame follows, and an open segment is given out."""
        speech = posteriors.speech
        self._mean.extend(speech)
        events: list[Event] = []
        decisions = self._decider.decide(posteriors)
        last = self._frame + len(decisions) - 1 if final else -1
        for probability, decision in zip(speech.tolist(), decisions, strict=True):
            if self._over:
                break
            if self._in_pause:
                self._recent.append((probability, decision))
            self._step(decision, last, events)
            self._frame += 1
        if final and self._start >= 0:
            self._end(self._last_used, self._frame - 1, events, forced=False)
        return events

    def _wait(self) -> None:
        self._window: deque[bool] = deque([False] * self._window_frames, maxlen=self._window_frames)
        self._window_sum = 0
        self._window_speaks = False
        self._silent_frames = 0
        self._start = -1
        self._last_used = -1

    def use_options(self, options: EndpointOptions) -> None:
        """As `Adjustable`. With `detect_mode=0` a stream whose utterance is over stays over."""
        self._take(options)
        self._decider.use_options(options)
        self._mean.use_reach(self._mean_reach)
        self._recent = deque(self._recent, maxlen=self._split_reach)
        kept = list(self._window)[-self._window_frames :]
        self._window = deque([False] * (self._window_frames - len(kept)) + kept, maxlen=self._window_frames)
        self._window_sum = sum(self._window)

    def _step(self, decision: bool, last: int, events: list[Event]) -> None:
        self._window_sum += decision - self._window[0]
        self._window.append(decision)
        if self._window_speaks:
            self._window_speaks = self._window_sum > self._off_frames
            turned_or_speaks = True
        else:
            self._window_speaks = turned_or_speaks = self._window_sum >= self._on_frames
        if turned_or_speaks:
            self._silent_frames = 0
            if self._start >= 0:
                self._continue_speech(last, events)
            elif self._window_speaks:
                self._open(events)
        else:
            self._silent_frames += 1
            if self._start >= 0:
                self._continue_silence(last, events)
            else:
                self._continue_waiting()

    def _open(self, events: list[Event]) -> None:
        self._start = max(self._floor, self._frame - self._latency)
        self._use(self._frame)
        self._mean.open(self._start)
        events.append(SpeechStart(self._start * FRAME_MS, (self._frame + 1) * FRAME_MS))

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

    def _continue_waiting(self) -> None:
        options = self._options
        if options.detect_mode == 0 and self._silent_frames * FRAME_MS > options.max_start_silence_time:
            self._over = True
        self._floor = max(self._floor, self._frame - self._latency)

    def _too_long(self) -> bool:
        return (self._frame - self._start + 1) * FRAME_MS > self._options.max_single_segment_time

    def _goes_on_after_cut(self, events: list[Event]) -> bool:
        """End the segment by force; whether another one is open now, which the present frame belongs to."""
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

    def _end(self, frame: int, now: int, events: list[Event], *, forced: bool) -> None:
        self._use(frame)
        probability = self._mean.close(frame + 1)
        segment = Segment(self._start * FRAME_MS, (frame + 1) * FRAME_MS, forced, probability)
        events.append(SpeechEnd(segment, (now + 1) * FRAME_MS))
        self._wait()
        self._over = self._options.detect_mode == 0
