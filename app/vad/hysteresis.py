"""Tight segmentation of speech posteriors by hysteresis: a `Segmenter` beside the end-point machine.

Theory of operation, with Silero VAD's option names. Frame t stands for [10t, 10t + 10) ms.

1. Speech begins at the first frame whose speech probability is at least `threshold`, and goes on until one is below
   `neg_threshold`.
2. Silence shorter than `min_silence_duration_ms` is bridged; speech then shorter than `min_speech_duration_ms` is
   dropped.
3. What would grow past `max_speech_duration_s` is cut (`forced_end`) at the least speech-like frame among those near
   the limit, or where a silence under way began. What follows a cut is the same speech, and is not dropped for being
   short.
4. Each segment is padded by `speech_pad_ms`, but not at a cut; two neighbours closer than two pads meet in the middle.

Unlike Silero's function this runs frame by frame: an event comes as soon as nothing that follows could change it. A
start waits for `min_speech_duration_ms` of speech; an end for `min_silence_duration_ms`, or two pads, of silence.
Invariant: events do not depend on how the frames were grouped into calls.
"""

import math
from collections import deque

import numpy as np

from app.vad.options import FRAME_MS, VadOptions
from app.vad.scores import FrameScores
from app.vad.segment import Event, Segment, SpeechEnd, SpeechStart
from app.vad.speech_mean import SpeechMean

_CUT_SEARCH_FRAMES = 200
"""How far before the limit a cut is looked for (2 s), at most half the limit."""


class Hysteresis:
    """A `Segmenter`; see the module's head."""

    def __init__(self, options: VadOptions) -> None:
        self._on, self._off = options.threshold, options.neg_threshold
        self._min_speech = math.ceil(options.min_speech_duration_ms / FRAME_MS)
        self._min_silence = math.ceil(options.min_silence_duration_ms / FRAME_MS)
        self._pad = options.speech_pad_ms // FRAME_MS
        self._settled_silence = max(self._min_silence, 2 * self._pad, 1)
        limit = options.max_speech_duration_s * 1000 / FRAME_MS - 2 * self._pad
        self._limit = max(50.0, limit)
        self._cut_search = int(min(_CUT_SEARCH_FRAMES, self._limit // 2))
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next frame is frame 0 of a new stream."""
        reach = self._min_speech + self._settled_silence + 2 * self._pad + _CUT_SEARCH_FRAMES + 2
        self._mean = SpeechMean(reach=2 * reach)
        self._recent: deque[float] = deque(maxlen=self._cut_search)
        self._frame = 0
        self._start = -1
        """First frame of the speech under way; -1 in silence."""
        self._silence_from = -1
        """First frame of the silence that the speech under way is in; -1 in none."""
        self._announced = False
        self._segment_start = 0
        """First frame, padding included, of the last announced segment."""
        self._closed_at = -1
        """End of an announced segment whose padding is not settled; -1 if none."""
        self._padded_to = 0

    def accept(self, scores: FrameScores, *, final: bool) -> list[Event]:
        """Events that the next frames decide. `final`: no frame follows, and an open segment is given out."""
        self._mean.extend(scores.silence)
        events: list[Event] = []
        for probability in (1.0 - scores.silence.astype(np.float64)).tolist():
            self._recent.append(probability)
            if self._start < 0:
                self._in_silence(probability, events)
            if self._start >= 0:
                self._in_speech(probability, events)
            self._frame += 1
        if final:
            self._finish(events)
        return events

    def _in_silence(self, probability: float, events: list[Event]) -> None:
        if probability >= self._on:
            self._start, self._silence_from, self._announced = self._frame, -1, False
        elif self._closed_at >= 0 and self._frame + 1 - self._closed_at >= self._settled_silence:
            self._emit_end(self._closed_at + self._pad, events)

    def _in_speech(self, probability: float, events: list[Event]) -> None:
        if probability >= self._on:
            self._silence_from = -1
        elif probability < self._off and self._silence_from < 0:
            self._silence_from = self._frame
        if self._silence_from < 0 and self._frame + 1 - self._start >= self._min_speech:
            self._announce(events)
        if self._silence_from >= 0 and self._frame + 1 - self._silence_from >= self._min_silence:
            self._close(self._silence_from, events)
        elif self._frame + 1 - self._start > self._limit:
            self._cut(events)

    def _announce(self, events: list[Event]) -> None:
        if self._announced:
            return
        self._announced = True
        start = max(0, self._start - self._pad)
        if self._closed_at >= 0:
            gap = self._start - self._closed_at
            if gap < 2 * self._pad:
                start = self._start - gap // 2
                self._emit_end(self._closed_at + gap // 2, events)
            else:
                self._emit_end(self._closed_at + self._pad, events)
        self._emit_start(max(start, self._padded_to), events)

    def _close(self, frame: int, events: list[Event]) -> None:
        if self._announced:
            self._closed_at = frame
        self._start = -1
        if self._closed_at >= 0 and self._frame + 1 - self._closed_at >= self._settled_silence:
            self._emit_end(self._closed_at + self._pad, events)

    def _cut(self, events: list[Event]) -> None:
        self._announce(events)
        if self._silence_from >= 0:
            self._emit_end(self._silence_from, events, forced=True)
            self._start = -1
            return
        near = list(self._recent)
        lowest = min(range(len(near)), key=lambda index: (near[index], -index))
        self._start = self._frame + 1 - len(near) + lowest
        self._emit_end(self._start, events, forced=True)
        self._emit_start(self._start, events)

    def _finish(self, events: list[Event]) -> None:
        if self._start >= 0:
            self._close(self._silence_from if self._silence_from >= 0 else self._frame, events)
        if self._closed_at >= 0:
            self._emit_end(min(self._closed_at + self._pad, self._frame), events)

    def _emit_start(self, frame: int, events: list[Event]) -> None:
        self._segment_start = frame
        self._mean.open(frame)
        events.append(SpeechStart(frame * FRAME_MS, (self._frame + 1) * FRAME_MS))

    def _emit_end(self, frame: int, events: list[Event], *, forced: bool = False) -> None:
        self._closed_at = -1
        self._padded_to = frame
        segment = Segment(self._segment_start * FRAME_MS, frame * FRAME_MS, forced, self._mean.close(frame))
        events.append(SpeechEnd(segment, (self._frame + 1) * FRAME_MS))
