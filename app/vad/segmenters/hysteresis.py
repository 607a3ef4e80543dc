"""Tight segmentation of speech posteriors by hysteresis: a `Segmenter` beside the end-point machine.

Theory of operation: the law of Silero VAD's `get_speech_timestamps` (version 6), with its option names, on frames of
any length. Frame t of F ms stands for [Ft, Ft + F) ms.

1. Speech begins at the first frame whose speech probability is at least `threshold`. A frame below `neg_threshold`
   begins a silence, which the next frame of at least `threshold` ends.
2. A frame below `neg_threshold` that begins `min_silence_duration_ms` or more after its silence did ends the speech, at
   the beginning of that silence. Speech of `min_speech_duration_ms` or less is dropped. What is open when the audio
   ends goes on to the very end.
3. Speech that would grow past `max_speech_duration_s`, padding included, is cut (`forced_end`), in either way:
   - *In the longest silence* of more than 98 ms since it began, which is then left out; else right there.
   - *At the least speech-like frame* of the last 2 s, or where a silence under way began. What follows is the same
     speech, and is not dropped for being short. So for frames of 10 ms, which show pauses far shorter than 98 ms.
4. Each segment is padded by `speech_pad_ms`; two neighbours closer than two pads meet in the middle.

Unlike Silero's function this runs frame by frame: an event comes as soon as nothing that follows could change it. A
start waits for more than `min_speech_duration_ms` of speech; an end until no neighbour can come within two pads.
Beyond it there is one difference: padding never leaves less than 500 ms of the longest duration.
Invariant: events do not depend on how the frames were grouped into calls.
"""

import math
from collections import deque
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field, field_serializer, model_validator
from typing_extensions import Self

from app.vad.errors import InvalidOption
from app.vad.grid import FRAME_MS, Grid
from app.vad.posteriors import Posteriors
from app.vad.segment import Event, Segment, SpeechEnd, SpeechMean, SpeechStart
from app.vad.segmenters.options import UNIT_MS, SegmenterOptions

_CUT_SEARCH_MS = 2_000
"""How far before the limit the least speech-like frame is looked for, at most half the limit."""
_CUT_SILENCE_MS = 98
"""Silences up to this are no place to cut."""
_LEAST_LIMIT_MS = 500.0
"""Padding must not eat a whole limit: so much speech fits into a segment, however large the padding."""
_NONE = -1


class TightOptions(SegmenterOptions):
    """Options of `mode=tight`, under Silero's names."""

    mode: ClassVar[str] = "tight"

    threshold: float = Field(0.5, gt=0, le=1, description="Speech begins when its probability reaches this value.")
    neg_threshold: float = Field(
        0.35, ge=0, le=1, description="Speech ends when its probability falls below this value. At most `threshold`."
    )
    min_speech_duration_ms: int = Field(100, ge=0, le=60_000, description="Shorter speech is dropped.", **UNIT_MS)
    min_silence_duration_ms: int = Field(
        100, ge=0, le=60_000, description="Shorter silence does not end a segment.", **UNIT_MS
    )
    speech_pad_ms: int = Field(
        20,
        ge=0,
        le=2_000,
        description="Added on both sides of a segment. Stops at the neighbouring segment.",
        **UNIT_MS,
    )
    max_speech_duration_s: float = Field(
        math.inf,
        ge=1,
        description="Longer segments are cut near this limit, at the frame least like speech.",
        json_schema_extra={"unit": "s"},
    )

    @property
    def limit_ms(self) -> float:
        """As `SegmenterOptions`, padding included."""
        return self.max_speech_duration_s * 1000

    def unpadded(self) -> tuple[Self, int, int]:
        """As `SegmenterOptions`; what is added counts towards the longest duration, as `speech_pad_ms` does."""
        before, after = (self.speech_pad_ms if pad is None else pad for pad in (self.pad_start_ms, self.pad_end_ms))
        longest = self.max_speech_duration_s - (max(0, before) + max(0, after)) / 1000
        return self.model_copy(update={"speech_pad_ms": 0, "max_speech_duration_s": longest}), before, after

    def frame_speaks(self, probability: float) -> bool | None:
        """As `SegmenterOptions`."""
        if probability >= self.threshold:
            return True
        return None if probability >= self.neg_threshold else False

    @field_serializer("max_speech_duration_s", when_used="json")
    def _inf_as_text(self, value: float) -> float | str:
        return "inf" if math.isinf(value) else value

    @model_validator(mode="after")
    def _no_contradiction(self) -> Self:
        if self.neg_threshold > self.threshold:
            raise InvalidOption("neg_threshold", f"must be at most threshold ({self.threshold:g})")
        return self

    @classmethod
    def adapt_defaults(cls, merged: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """Lower a `neg_threshold` that was not set on purpose to `threshold` at most."""
        try:
            if "neg_threshold" not in given:
                default = cls.model_fields["neg_threshold"].default
                most = float(merged.get("threshold", math.inf))
                merged["neg_threshold"] = min(float(merged.get("neg_threshold", default)), most)
        except (TypeError, ValueError):
            pass  # refused below, with the option's name
        return merged


def new_hysteresis(options: TightOptions, grid: Grid) -> "Hysteresis":
    """For posteriors on a grid. Frames of more than 10 ms show no pause under 98 ms, so speech is cut in a pause."""
    return Hysteresis(options, frame_ms=grid.frame_ms, cut_in_longest_silence=grid.frame_ms > FRAME_MS)


class Hysteresis:
    """A `Segmenter`; see the module's head. All its times are ms; -1 stands for none."""

    def __init__(
        self, options: TightOptions, *, frame_ms: int = FRAME_MS, cut_in_longest_silence: bool = False
    ) -> None:
        """`frame_ms`: distance of the frames that will come. The flag picks the way of step 3."""
        self._frame_ms = frame_ms
        self._in_longest_silence = cut_in_longest_silence
        self._set_options(options)
        self.reset()

    def _set_options(self, options: TightOptions) -> None:
        frame_ms = self._frame_ms
        self._cuts_in_silence = self._in_longest_silence and math.isfinite(options.max_speech_duration_s)
        self._on, self._off = options.threshold, options.neg_threshold
        self._min_speech, self._min_silence = options.min_speech_duration_ms, options.min_silence_duration_ms
        self._pad = options.speech_pad_ms
        self._limit = max(_LEAST_LIMIT_MS, options.max_speech_duration_s * 1000 - 2 * self._pad) - frame_ms
        self._search_frames = int(min(_CUT_SEARCH_MS, self._limit / 2) // frame_ms)

    def reset(self) -> None:
        """Forget everything: the next frame is frame 0 of a new stream."""
        self._mean = SpeechMean(reach=self._search_frames + 2)
        self._recent: deque[float] = deque(maxlen=self._search_frames)
        self._now = 0
        """Where the present frame begins."""
        self._known: float = 0
        """Where the frames seen so far end."""
        self._start = self._silence = _NONE
        """Where the speech under way began, and the silence that it is in."""
        self._announced = False
        """Whether nothing can drop the speech under way any more."""
        self._longest = (_NONE, 0)
        """Beginning and length of the longest silence that the speech under way went through."""
        self._segment_start = 0
        """Beginning, padding included, of the last announced segment."""
        self._closed: float = _NONE
        """End of an announced segment whose padding is not decided yet."""
        self._closed_by_force = False
        self._given_out = 0
        """End of the last segment that was given out: with other options, padding could reach into it."""

    def use_options(self, options: TightOptions) -> None:
        """As `Segmenter`."""
        oldest = self._oldest_frame()
        self._set_options(options)
        self._mean.use_reach(self._search_frames + 2, oldest)
        self._recent = deque(self._recent, maxlen=self._search_frames)

    @property
    def final_ms(self) -> int:
        """As `Segmenter`."""
        if self._closed >= 0 or (self._start >= 0 and self._announced):
            return self._segment_start
        return max(0, (self._now if self._start < 0 else self._start) - self._pad)

    @property
    def end_from_ms(self) -> int:
        """As `Segmenter`."""
        if self._start < 0 or math.isfinite(self._limit):
            return 0  # a forced cut goes back to wherever the speech was least
        return int(self._known if self._silence < 0 else self._silence)

    def accept(self, posteriors: Posteriors, *, final: bool) -> list[Event]:
        """As `Segmenter`."""
        speech = posteriors.speech.tolist()
        self._mean.extend(speech, self._oldest_frame())
        end = self._now + len(speech) * self._frame_ms - posteriors.short_ms
        events: list[Event] = []
        index = 0
        while index < len(speech):
            passed = self._pass(speech, index)
            self._recent.extend(speech[index : index + passed + 1])
            index += passed
            self._now += passed * self._frame_ms
            if index < len(speech):
                self._known = min(self._now + self._frame_ms, end)
                self._step(speech[index], events)
                self._give_waiting_end(events)
                index += 1
                self._now += self._frame_ms
        # Frames that were passed are known as well.
        self._known = min(self._now, end) if speech else self._known
        if final:
            self._finish(events)
        return events

    def _pass(self, speech: list[float], first: int) -> int:
        """How many frames, from the `first` of these on, change nothing: they go on with silence, or with speech that
        is announced and has no silence in it."""
        stop = len(speech)
        if self._closed >= 0:
            return 0
        if self._start < 0:
            return next((index for index in range(first, stop) if speech[index] >= self._on), stop) - first
        if not self._announced or self._silence >= 0:
            return 0
        if math.isfinite(self._limit):
            stop = min(stop, first + 1 + int((self._limit - (self._now - self._start)) // self._frame_ms))
        return max(0, next((index for index in range(first, stop) if speech[index] < self._off), stop) - first)

    def _step(self, probability: float, events: list[Event]) -> None:
        if self._start < 0:
            if probability < self._on:
                return
            self._begin(self._now)
        if probability >= self._on:
            self._leave_silence()
        if self._now - self._start > self._limit and not self._cut(probability, events):
            return
        silent = probability < self._off
        if silent and self._silence < 0:
            self._silence = self._now
        earliest_end = self._known if self._silence < 0 else self._silence
        if earliest_end - self._start > self._min_speech:
            self._announce(events)
        if silent and self._now - self._silence >= self._min_silence:
            self._close(self._silence)

    def _begin(self, start: int) -> None:
        self._start, self._silence, self._announced, self._longest = start, _NONE, False, (_NONE, 0)

    def _leave_silence(self) -> None:
        if self._silence >= 0:
            length = self._now - self._silence
            if self._cuts_in_silence and length > max(_CUT_SILENCE_MS, self._longest[1]):
                self._longest = (self._silence, length)
            self._silence = _NONE

    def _cut(self, probability: float, events: list[Event]) -> bool:
        """End the segment by force. Return whether its speech goes on in the present frame."""
        self._announce(events)
        silence, length = self._longest
        if not self._in_longest_silence:
            return self._cut_at_least_speech(probability, events)
        self._close(silence if silence >= 0 else self._now, by_force=True)
        if silence >= 0:
            self._begin(silence + length)
        return silence >= 0

    def _cut_at_least_speech(self, probability: float, events: list[Event]) -> bool:
        if self._silence >= 0 or probability < self._off:
            self._close(self._silence if self._silence >= 0 else self._now, by_force=True)
            return False
        near = list(self._recent)
        lowest = min(range(len(near)), key=lambda index: (near[index], -index))
        place = self._now - (len(near) - 1 - lowest) * self._frame_ms
        self._close(place, by_force=True)
        self._begin(place)
        self._announce(events)
        return True

    def _close(self, end: float, *, by_force: bool = False) -> None:
        if self._announced:
            self._closed, self._closed_by_force = end, by_force
        self._start = _NONE

    def _announce(self, events: list[Event]) -> None:
        if self._announced:
            return
        self._announced = True
        pad = self._pad
        if self._closed >= 0:
            pad = int(min(pad, (self._start - self._closed) // 2))
            self._emit_end(self._closed + pad, events)
        self._segment_start = max(self._given_out, self._start - pad)
        self._mean.open(self._segment_start // self._frame_ms)
        events.append(SpeechStart(self._segment_start, int(self._known)))

    def _give_waiting_end(self, events: list[Event]) -> None:
        """Give out the end that waits, if no segment can begin within two pads of it any more."""
        if self._closed >= 0:
            next_start = self._known if self._start < 0 else self._start
            if next_start - self._closed >= 2 * self._pad:
                self._emit_end(self._closed + self._pad, events)

    def _finish(self, events: list[Event]) -> None:
        if self._start >= 0:
            if self._known - self._start > self._min_speech:
                self._announce(events)
            self._close(self._known)
        if self._closed >= 0:
            self._emit_end(min(self._closed + self._pad, self._known), events)

    def _emit_end(self, end: float, events: list[Event]) -> None:
        self._closed = _NONE
        probability = self._mean.close(-(-int(end) // self._frame_ms))
        segment = Segment(self._segment_start, int(end), self._closed_by_force, probability)
        self._closed_by_force, self._given_out = False, int(end)
        events.append(SpeechEnd(segment, int(self._known)))

    def _oldest_frame(self) -> int:
        """The first frame that a start or an end may still lie at."""
        # An announced start has been taken into the mean already.
        start = _NONE if self._announced else self._start
        places = (start, self._silence if self._start >= 0 else _NONE, self._longest[0], self._closed)
        first = min([self._now, *(place for place in places if place >= 0)])
        return int(max(0, first - self._pad)) // self._frame_ms
