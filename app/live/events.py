"""What a stream's messages hold besides its segments: hints, the probability curve, samples, and when an event was
known.

Each class here follows the utterance under way, in bounded memory; `restart` begins another. Times are ms from the
start of the utterance unless they say otherwise.
"""

import base64
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.vad.grid import Grid
from app.vad.posteriors import DoubleArray, FloatArray
from app.vad.segment import Event, SpeechEnd, SpeechStart
from app.vad.segmenters.options import SegmenterOptions

Pcm = NDArray[np.int16]

UTTERANCE_BYTES = 640_000
"""Most bytes of samples of one utterance: 20 s at 16 kHz. In base64 that is 0.81 MiB, so the whole message stays below
the 1 MiB that WebSocket clients accept by default (Python's websockets, among others)."""
_RECENT_S = 10
"""A block of a stream that is behind has 5 s, and a start may be found at its head. With usual options starts and cuts
lie at most 5 s further back; with unusual ones the utterance says that it is truncated."""
_MANY_CHUNKS = 16
"""Chunks that are remembered at least: to look for those that nothing needs any more costs more than to keep a few."""
_FULL_SCALE = 32_768
"""1.0 in signed 16-bit samples."""


class Arrivals:
    """When audio came, and so which chunk made an event known.

    An event's time depends on the audio alone, not on how chunks happened to be gathered for scoring: it is the end of
    the first chunk with which all samples had come that the event's last frame needs, look-ahead included.
    """

    def __init__(self, grid: Grid, source_rate: int) -> None:
        """`source_rate`: rate of the client's samples, Hz."""
        self._grid, self._source_rate = grid, source_rate
        self._source_samples = self._model_samples = 0
        self._chunks: deque[tuple[int, int]] = deque()
        """For each chunk that is not scored to its end: samples at the model's rate up to its end, and `received_ms`
        there."""

    @property
    def received_ms(self) -> int:
        """Audio read since the start of the session or its last reset, ms."""
        return self._source_samples * 1000 // self._source_rate

    def add(self, source_samples: int, model_samples: int) -> None:
        """Record a chunk of `source_samples`, which became `model_samples` at the model's rate."""
        self._source_samples += source_samples
        self._model_samples += model_samples
        self._chunks.append((self._model_samples, self.received_ms))

    def known_at_ms(self, at_ms: int) -> int:
        """Return what `received_ms` was when the frames up to `at_ms` could first be scored."""
        self._forget(at_ms)
        return self._chunks[0][1] if self._chunks else self.received_ms

    def scored(self, until_ms: int) -> None:
        """Frames up to `until_ms` have been scored: forget, now and then, the chunks that only they need."""
        if len(self._chunks) > _MANY_CHUNKS:
            self._forget(until_ms)

    def _forget(self, until_ms: int) -> None:
        frames = -(-until_ms // self._grid.frame_ms)
        needed = self._grid.span(frames + self._grid.look_ahead_frames)
        while self._chunks and self._chunks[0][0] < needed:
            self._chunks.popleft()

    def restart(self, *, at_zero: bool = False) -> None:
        """Begin an utterance with the next sample. `at_zero`: the session's time begins with it, too."""
        self._model_samples = 0
        self._chunks.clear()
        if at_zero:
            self._source_samples = 0


class ProbabilityCurve:
    """Means of the speech probability over consecutive intervals of whole frames."""

    def __init__(self, interval_ms: int, frame_ms: int) -> None:
        self.interval_ms = max(1, interval_ms // frame_ms) * frame_ms
        self._frames = self.interval_ms // frame_ms
        self.restart()

    def restart(self) -> None:
        self.next_ms = 0
        """Start of the interval that comes next."""
        self._sum, self._count = 0.0, 0

    def accept(self, speech: DoubleArray, *, final: bool) -> tuple[int, list[float]]:
        """Return where the first interval starts that these frames complete, and the mean of each interval, rounded to
        4 places. `final`: no frame follows, so an interval that has begun is complete."""
        start_ms, values = self.next_ms, []
        for probability in speech.tolist():
            self._sum += probability
            self._count += 1
            if self._count == self._frames:
                values.append(round(self._sum / self._count, 4))
                self._sum, self._count = 0.0, 0
        if final and self._count:
            values.append(round(self._sum / self._count, 4))
            self._sum, self._count = 0.0, 0
        self.next_ms += len(values) * self.interval_ms
        return start_ms, values


@dataclass(frozen=True, slots=True)
class Hint:
    """The segment under way is confirmed, or may be at its end."""

    start_ms: int
    """Start of the segment."""
    at_ms: int
    """End of the frame that gave the hint."""
    silent_from_ms: int | None = None
    """Where the silence began in which the segment may end. None: the segment is confirmed."""

    def moved(self, by_ms: int) -> "Hint":
        """Shift all but `at_ms`, which is only compared with frames."""
        silent_from_ms = None if self.silent_from_ms is None else self.silent_from_ms + by_ms
        return replace(self, start_ms=self.start_ms + by_ms, silent_from_ms=silent_from_ms)


class Hints:
    """What is known of a segment before it is complete: that it is certain, and that it may be at its end.

    Theory of operation. Probabilities of frames and the segmenter's events come in, hints go out, in the order of time.

    - A segment under way is *confirmed* by the first frame of speech that ends `confirm_ms` or more after its start. A
      client that has reacted to the start in a way that can be taken back may now react for good.
    - It *may be at its end* when its frames have been silent for `maybe_end_ms` on end. A client may begin to think
      about its answer while the segmenter waits out the rest of its silence.
    - A frame of speech after that confirms the segment once more: what the client began was too early.

    What a frame is by itself, speech or silence, is the mode's own decision before any smoothing
    (`SegmenterOptions.frame_speaks`). Invariant: hints do not depend on how frames were grouped into calls.
    """

    def __init__(self, confirm_ms: int, maybe_end_ms: int, frame_ms: int) -> None:
        """0 turns either hint off. `frame_ms`: distance of two frames."""
        self._confirm_ms, self._maybe_end_ms, self._frame_ms = confirm_ms, maybe_end_ms, frame_ms
        self.restart()

    def restart(self) -> None:
        self._frames = 0
        self._begin(None)

    def accept(self, speech: DoubleArray, events: Sequence[Event], options: SegmenterOptions) -> list[Event | Hint]:
        """Return `events` with the hints between them, in the order of their frames. `speech`: probabilities of the
        frames that decided the events."""
        waiting = list(reversed(events))
        found: list[Event | Hint] = []
        for probability in speech.tolist():
            self._frames += 1
            now_ms = self._frames * self._frame_ms
            while waiting and waiting[-1].at_ms <= now_ms:
                found.append(self._follow(waiting.pop()))
            if self._start_ms is not None:
                hint = self._step(self._start_ms, now_ms, options.frame_speaks(probability))
                if hint is not None:
                    found.append(hint)
        # At the end of an utterance the segmenter may decide more than its last frame did.
        found += [self._follow(event) for event in reversed(waiting)]
        return found

    def _begin(self, start_ms: int | None) -> None:
        """Follow the segment that begins there, or wait for one."""
        self._start_ms = start_ms
        self._certain = self._may_end = False
        self._silent_from_ms: int | None = None

    def _follow(self, event: Event) -> Event:
        if isinstance(event, SpeechEnd):
            self._begin(None)
        elif isinstance(event, SpeechStart):
            self._begin(event.start_ms)
        return event

    def _step(self, start_ms: int, now_ms: int, speaks: bool | None) -> Hint | None:
        """The hint that one more frame gives. `speaks`: None for a frame between the thresholds."""
        if speaks:
            self._silent_from_ms = None
            due = self._confirm_ms and not self._certain and now_ms - start_ms >= self._confirm_ms
            if due or self._may_end:
                self._certain, self._may_end = True, False
                return Hint(start_ms, now_ms)
            return None
        if self._silent_from_ms is None:
            if speaks is None:
                return None  # between the thresholds nothing begins
            self._silent_from_ms = now_ms - self._frame_ms
        if self._maybe_end_ms and not self._may_end and now_ms - self._silent_from_ms >= self._maybe_end_ms:
            self._may_end = True
            return Hint(start_ms, now_ms, self._silent_from_ms)
        return None


@dataclass(frozen=True, slots=True)
class Recorded:
    """An utterance's samples: mono, 16 bits, at the model's rate."""

    pcm: bytes
    sample_rate: int
    truncated: bool
    """Whether samples are missing at either end, because there were too many."""

    def document(self) -> dict[str, Any]:
        """As a message's JSON has it."""
        return {
            "encoding": "pcm_s16le",
            "sample_rate": self.sample_rate,
            "truncated": self.truncated,
            "data": base64.b64encode(self.pcm).decode(),
        }


class Recording:
    """The samples of the segment under way, for a client that wants them with its end.

    The *recent* samples are always there, because a segment's start lies before the moment at which it is known. Once
    it is known, the samples from the start on are *kept* until there are too many: memory is bounded, however long
    somebody speaks.
    """

    def __init__(self, sample_rate: int) -> None:
        """`sample_rate`: the model's, Hz."""
        self._rate, self._most = sample_rate, UTTERANCE_BYTES // 2
        self.restart()

    def restart(self) -> None:
        self._recent: deque[Pcm] = deque()
        self._recent_from = self._total = 0
        self._kept: list[Pcm] | None = None
        """Samples of the segment under way; None between segments."""
        self._kept_from = self._kept_count = 0

    def add(self, samples: FloatArray) -> None:
        """Take the next samples, float32 [n] in [-1, 1]."""
        pcm = np.clip(np.rint(samples * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1).astype("<i2")
        self._keep(pcm)
        self._recent.append(pcm)
        self._total += len(pcm)
        while self._recent and self._total - self._recent_from - len(self._recent[0]) >= _RECENT_S * self._rate:
            self._recent_from += len(self._recent.popleft())

    def open(self, start_ms: int) -> None:
        """Begin to keep a segment that has started at `start_ms`."""
        self._kept, self._kept_count = [], 0
        self._kept_from = max(self._at(start_ms), self._recent_from)
        first = self._recent_from
        for pcm in self._recent:
            self._keep(pcm[max(0, self._kept_from - first) :])
            first += len(pcm)

    def close(self, start_ms: int, end_ms: int) -> Recorded:
        """Return the samples of the segment as far as they are kept, and wait for the next one."""
        start, end = self._at(start_ms), min(self._at(end_ms), self._total)
        held = self._kept or [np.zeros(0, dtype="<i2")]
        pcm = np.concatenate(held)[: max(0, end - self._kept_from)]
        self._kept, self._kept_count = None, 0
        return Recorded(pcm.tobytes(), self._rate, truncated=len(pcm) < end - start)

    def _keep(self, pcm: Pcm) -> None:
        if self._kept is not None and self._kept_count < self._most:
            piece = pcm[: self._most - self._kept_count]
            self._kept.append(piece)
            self._kept_count += len(piece)

    def _at(self, time_ms: int) -> int:
        return time_ms * self._rate // 1000
