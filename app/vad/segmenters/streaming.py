"""FireRedVAD's post-processing of streams, under its own option names: its Stream-VAD's, and any model's live.

Theory of operation (fireredvad 0.0.2, Apache-2.0; report arXiv 2603.10420), on frames of 10 ms. A frame's probability
is the mean over the last `smooth_window_size` frames; at least the threshold is speech. A machine of four states takes
`min_speech_frame` frames of speech to begin a segment, which then starts `pad_start_frame` earlier, and
`min_silence_frame` of silence to end it. Nothing needs the future: a start is told as soon as it is known, an end at
its own frame, and a segment over `max_speech_frame` is cut where it is, at a frame of speech.

Invariant: events do not depend on how the frames were grouped into calls.
"""

from typing import ClassVar

from pydantic import Field

from app.vad.grid import FRAME_MS, Grid
from app.vad.posteriors import Posteriors, Segmenter
from app.vad.segment import Event, Segment, SpeechEnd, SpeechStart
from app.vad.segmenters.options import SegmenterOptions
from app.vad.segmenters.smoothed import FRAMES, MOST_FRAMES, Smoother, State, on_ten_ms
from app.vad.segmenters.speech_mean import SpeechMean


class StreamingOptions(SegmenterOptions):
    """Of the machine for streams; frames are 10 ms."""

    mode: ClassVar[str] = "smoothed"

    smooth_window_size: int = Field(
        5, ge=0, le=1_000, description="Smoothing of the probabilities; below 2: none.", **FRAMES
    )
    speech_threshold: float = Field(0.5, ge=0, le=1, description="Smoothed probability from which on it is speech.")
    pad_start_frame: int = Field(
        5, ge=0, le=1_000, description="A start is moved back by this, by the smoothing window at least.", **FRAMES
    )
    min_speech_frame: int = Field(8, ge=0, le=10_000, description="Shorter speech is dropped.", **FRAMES)
    max_speech_frame: int = Field(
        2_000, ge=2, le=MOST_FRAMES, description="Longer segments are cut (`forced_end` is true).", **FRAMES
    )
    min_silence_frame: int = Field(
        20, ge=0, le=10_000, description="Silence that ends a segment, and stays in it.", **FRAMES
    )

    @property
    def limit_ms(self) -> float:
        """Longest segment, ms: `max_speech_frame` frames."""
        return self.max_speech_frame * FRAME_MS

    def frame_speaks(self, probability: float) -> bool | None:
        """Whether a frame by itself is speech under these options (`SegmenterOptions`)."""
        return probability >= self.speech_threshold


def new_streaming(options: StreamingOptions, grid: Grid) -> Segmenter:
    """The machine for streams, for posteriors on a grid."""
    return on_ten_ms(StreamingMachine(options), grid)


class StreamingMachine:
    """A `Segmenter`: the machine for streams. Frames are counted from 1 here, as the package does."""

    def __init__(self, options: StreamingOptions) -> None:
        self._take(options)
        self.reset()

    def use_options(self, options: StreamingOptions) -> None:
        """Go on with other options from the next frame on (`Adjustable`)."""
        self._take(options)
        self._smoother.use_window(max(1, options.smooth_window_size))
        self._mean.use_reach(self._mean_reach)

    def _take(self, options: StreamingOptions) -> None:
        self._options = options
        self._pad = max(1, options.smooth_window_size, options.pad_start_frame)
        self._mean_reach = options.min_speech_frame + self._pad + 3

    def reset(self) -> None:
        """Forget everything: the next frame is the first of a new stream."""
        options = self._options
        self._smoother = Smoother(max(1, options.smooth_window_size))
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
    def settled_ms(self) -> int:
        """How far no later frame can change what was said, ms (`Segmenter`)."""
        if self._start:
            return (self._start - 1) * FRAME_MS
        if self._goes_on:
            return self._n * FRAME_MS
        first = self._n + 1 - (self._speech if self._state == "maybe speech" else 0)
        return max(0, first - self._pad - 1) * FRAME_MS

    def accept(self, posteriors: Posteriors, *, final: bool) -> list[Event]:
        """Events that the next frames decide. `final`: no frame follows, and an open segment is given out."""
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
        elif self._state == "maybe speech":
            self._step_maybe_speech(speech, events)
        else:
            self._step_in_speech(speech, events)

    def _step_maybe_speech(self, speech: bool, events: list[Event]) -> None:
        if not speech:
            self._state, self._speech = "silence", 0
            return
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
