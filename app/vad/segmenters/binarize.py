"""pyannote.audio's post-processing of speech probabilities, under its own option names: a `Segmenter`.

Theory of operation (`pyannote.audio.utils.signal.Binarize` of version 4.0), on the frames of the network itself. Frame
i stands for one moment, its middle t(i).

1. Speech begins at a frame above `onset`, and ends at the next one below `offset`: both at the frame's moment, both
   strictly. What is open when the audio ends goes on to its last frame's moment.
2. Each region grows by `pad_onset` and `pad_offset`. One without length is dropped.
3. Regions that touch or overlap, or lie less than `min_duration_off` apart, become one: where there is padding or such
   a duration.
4. What is then shorter than `min_duration_on` is dropped.

Unlike the package this runs frame by frame, an `offset` of 0 is 0 and not `onset`, and no segment begins before the
audio or ends after it. Invariant: events do not depend on how the frames were grouped into calls.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from pydantic import Field
from typing_extensions import Self

from app.vad.grid import Grid, Windows
from app.vad.posteriors import Posteriors, Segmenter
from app.vad.segment import Event, Segment, SpeechEnd, SpeechStart
from app.vad.segmenters.options import SegmenterOptions
from app.vad.segmenters.wrappers import OnOwnFrames

_PRECISION_S = 1e-6
"""pyannote.core's: what is not longer has no length."""
_SECONDS: dict[str, Any] = {"json_schema_extra": {"unit": "s"}}


class BinarizeOptions(SegmenterOptions):
    """Options of `mode=binarize`, under pyannote.audio's names."""

    mode: ClassVar[str] = "binarize"

    onset: float = Field(0.5, ge=0, le=1, description="Speech begins when its probability rises above this value.")
    offset: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Speech ends when its probability falls below this value. Where only `onset` is set, `onset`.",
    )
    min_duration_on: float = Field(0.0, ge=0, le=60, description="Shorter speech is dropped.", **_SECONDS)
    min_duration_off: float = Field(0.0, ge=0, le=60, description="Shorter gaps are filled.", **_SECONDS)
    pad_onset: float = Field(0.0, ge=0, le=2, description="Added before each segment.", **_SECONDS)
    pad_offset: float = Field(0.0, ge=0, le=2, description="Added after each segment.", **_SECONDS)

    def unpadded(self) -> tuple[Self, int, int]:
        """As `SegmenterOptions`; gaps are then measured without what is replaced."""
        before, after = self.pad_start_ms, self.pad_end_ms
        changes = {"pad_onset": 0.0} if before is not None else {}
        changes |= {"pad_offset": 0.0} if after is not None else {}
        return self.model_copy(update=changes), before or 0, after or 0

    def frame_speaks(self, probability: float) -> bool | None:
        """As `SegmenterOptions`."""
        if probability > self.onset:
            return True
        return False if probability < self.offset else None

    def frame_threshold(self, label: str) -> float:
        """As `SegmenterOptions`."""
        return self.onset

    @classmethod
    def adapt_defaults(cls, merged: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """An `offset` that is not set is `onset`."""
        if "onset" in merged and "offset" not in given and ("onset" in given or "offset" not in merged):
            merged["offset"] = merged["onset"]
        return merged


def new_binarize(options: BinarizeOptions, grid: Grid) -> Segmenter:
    """For posteriors on a grid: of a network with frames of its own, on those."""
    if grid.windows is not None:
        return on_own_frames(options, grid.windows)
    shift_s, frame_s = grid.shift_samples / grid.sample_rate, grid.frame_samples / grid.sample_rate
    return Binarize(options, lambda frame: 0.5 * (frame * shift_s + (frame * shift_s + frame_s)), grid.frame_ms)


def new_overlap(options: SegmenterOptions, threshold: float, windows: Windows) -> Segmenter:
    """For the probability that several people talk at once, told by a network with windows, beside speech segmented by
    these options: with the same least durations and padding where they are of this mode; else with 0.1 s of both
    durations, under which overlap flickers."""
    if isinstance(options, BinarizeOptions):
        own = options.model_copy(update={"onset": threshold, "offset": threshold})
    else:
        own = BinarizeOptions(onset=threshold, offset=threshold, min_duration_on=0.1, min_duration_off=0.1)
    return on_own_frames(own, windows)


def on_own_frames(options: BinarizeOptions, windows: Windows) -> Segmenter:
    """For 10 ms frames that repeat the values of a network's own frames."""
    shift_ms = windows.shift_samples * 1000 / windows.sample_rate
    return OnOwnFrames(Binarize(options, windows.time_s, shift_ms), windows)


class Binarize:
    """A `Segmenter`; see the module's head. Its times are seconds, as pyannote.core's."""

    def __init__(self, options: BinarizeOptions, time_s: Callable[[int], float], shift_ms: float) -> None:
        """`time_s`: the moment of a frame; `shift_ms`: from one frame to the next."""
        self._time_s, self._shift_ms = time_s, shift_ms
        self.use_options(options)
        self.reset()

    def use_options(self, options: BinarizeOptions) -> None:
        """As `Segmenter`."""
        self._options = options
        self._joins = options.min_duration_off > 0 or options.pad_onset > 0 or options.pad_offset > 0

    def reset(self) -> None:
        """Forget everything: the next frame is frame 0 of a new stream."""
        self._frame = 0
        """The next one."""
        self._total = 0.0
        """Sum of all frames' speech probability: one after the other, so that it does not depend on calls."""
        self._active = False
        """Whether speech is under way."""
        self._onset_frame = 0
        """The frame at which it began."""
        self._start: float | None = None
        """Where the segment begins that is under way, or that waits for what may join it; None without one."""
        self._begun = (0, 0.0)
        """Its first frame, and `_total` before that."""
        self._end: float | None = None
        """Where its last complete region ends, padding included; None without one."""
        self._ended = (0, 0.0)
        """The frame there, and `_total` before that."""
        self._announced = False
        self._given_ms = 0
        """End of the last segment that was given out."""

    @property
    def final_ms(self) -> int:
        """As `Segmenter`."""
        first = self._time_s(self._frame) - self._options.pad_onset if self._start is None else self._start
        return max(self._given_ms, int(1000 * first))

    def accept(self, posteriors: Posteriors, *, final: bool) -> list[Event]:
        """As `Segmenter`."""
        speech, events, index = posteriors.speech.tolist(), list[Event](), 0
        while index < len(speech):
            index = self._pass(speech, index)
            if index < len(speech):
                self._step(speech[index], events)
                self._frame += 1
                self._total += speech[index]
                index += 1
        if final:
            self._finish(self._frame * self._shift_ms - posteriors.short_ms, events)
        return events

    def _pass(self, speech: list[float], index: int) -> int:
        """Take the frames, from `index` on, that change nothing, and return the first that may."""
        onset, offset = self._options.onset, self._options.offset
        first, stop = index, len(speech)
        if self._start is None:
            index = next((at for at in range(first, stop) if speech[at] > onset), stop)
        elif self._active and self._announced:
            index = next((at for at in range(first, stop) if speech[at] < offset), stop)
        self._frame += index - first
        for probability in speech[first:index]:
            self._total += probability
        return index

    def _step(self, probability: float, events: list[Event]) -> None:
        now, options = self._time_s(self._frame), self._options
        if self._active:
            if probability < options.offset:
                self._close(now)
                if not self._joins:
                    self._give_out(events)
            else:
                self._announce(now + options.pad_offset, events)
        elif probability > options.onset:
            start = now - options.pad_onset
            if self._is_apart(start):
                self._give_out(events)
            if self._start is None:
                self._start, self._begun = start, (self._frame, self._total)
            self._active, self._onset_frame = True, self._frame
        elif self._is_apart(now - options.pad_onset):
            self._give_out(events)

    def _close(self, now: float) -> None:
        self._active = False
        end = now + self._options.pad_offset
        self._end = end if self._end is None else max(self._end, end)
        self._ended = (self._frame, self._total)

    def _is_apart(self, start: float) -> bool:
        """Whether a region that begins there would not join the segment that waits."""
        if self._end is None:
            return False
        gap = start - self._end
        return gap > _PRECISION_S and gap >= self._options.min_duration_off

    def _announce(self, end: float, events: list[Event], known_ms: float | None = None) -> None:
        """Tell of the segment, once it is certain to be kept: it ends there or later."""
        if self._announced or self._start is None:
            return
        length = end - self._start
        if length > _PRECISION_S and length >= self._options.min_duration_on:
            self._announced = True
            known_ms = (self._frame + 1) * self._shift_ms if known_ms is None else known_ms
            events.append(SpeechStart(self._start_ms, int(known_ms)))

    @property
    def _start_ms(self) -> int:
        return max(self._given_ms, round(1000 * (self._start or 0.0)))

    def _give_out(self, events: list[Event], audio_ms: float | None = None) -> None:
        """Give out the segment that waits, unless it is too short. `audio_ms`: the audio's length, at its end."""
        start, end = self._start, self._end
        if start is not None and end is not None:
            known_ms = (self._frame + 1) * self._shift_ms if audio_ms is None else audio_ms
            end_ms = round(1000 * end) if audio_ms is None else min(round(1000 * end), int(audio_ms))
            if self._announced or end_ms > self._start_ms:
                self._announce(end, events, known_ms)
            if self._announced:
                frames = max(1, self._ended[0] - self._begun[0])
                mean = min(1.0, max(0.0, (self._ended[1] - self._begun[1]) / frames))
                end_ms = max(end_ms, self._start_ms)
                events.append(SpeechEnd(Segment(self._start_ms, end_ms, False, mean), int(known_ms)))
                self._given_ms = end_ms
        self._start = self._end = None
        self._announced = False

    def _finish(self, audio_ms: float, events: list[Event]) -> None:
        """The audio has ended, after `_frame` frames."""
        if self._active:
            start, last = self._time_s(self._onset_frame), self._time_s(self._frame - 1)
            # What began with the last frame has no length, unless it is padded, and joins nothing.
            if last + self._options.pad_offset - (start - self._options.pad_onset) > _PRECISION_S:
                self._close(last)
            self._active = False
        self._give_out(events, audio_ms)
