"""What can be told of a segment before it is complete: that it is certain, and that it may be at its end.

Theory of operation. Frames of the model and the segmenter's own events come in, hints go out, in the order of time.

- A segment under way is *confirmed* by the first frame of speech that ends `confirm_ms` or more after its start: who
  reacts at the start, and cheaply, may do now what is dear.
- It *may be at its end* when its frames have been silent for `maybe_end_ms` on end: who has to think about an answer
  may begin, while the segmenter waits out the silence that it was told to wait for.
- A frame of speech after that confirms the segment once more: what was begun was begun too early.

What a frame is by itself, speech or silence, is the mode's own decision before any smoothing
(`SegmenterOptions.frame_speaks`). Invariant: hints do not depend on how frames were grouped into calls.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.vad.posteriors import DoubleArray
from app.vad.segment import Event, SpeechEnd, SpeechStart
from app.vad.segmenters.options import SegmenterOptions


@dataclass(frozen=True, slots=True)
class Hint:
    """Of the segment under way. Times are ms from the start of the utterance."""

    start_ms: int
    """Of the segment."""
    at_ms: int
    """End of the frame that gave the hint."""
    silent_from_ms: int | None = None
    """Where the silence began in which it may end; None: the segment is confirmed."""

    def moved(self, by_ms: int) -> "Hint":
        """The same in a time that began so much earlier."""
        silent_from_ms = None if self.silent_from_ms is None else self.silent_from_ms + by_ms
        return replace(self, start_ms=self.start_ms + by_ms, silent_from_ms=silent_from_ms)


class Hints:
    """One for each stream whose client asked for them."""

    def __init__(self, confirm_ms: int, maybe_end_ms: int, frame_ms: int) -> None:
        """0 for either: that hint is not given. `frame_ms`: distance of the frames that will come."""
        self._confirm_ms, self._maybe_end_ms, self._frame_ms = confirm_ms, maybe_end_ms, frame_ms
        self.restart()

    def restart(self) -> None:
        """The next frame is the first of an utterance."""
        self._frames = 0
        self._wait()

    def accept(self, speech: DoubleArray, events: Sequence[Event], options: SegmenterOptions) -> list[Event | Hint]:
        """`events` with the hints among them, where their frames are. `speech`: probabilities of the frames that
        decided the events."""
        waiting = list(reversed(events))
        found: list[Event | Hint] = []
        for probability in speech.tolist():
            self._frames += 1
            now_ms = self._frames * self._frame_ms
            while waiting and waiting[-1].at_ms <= now_ms:
                found.append(self._follow(waiting.pop()))
            if self._start_ms is not None:
                found += self._step(now_ms, options.frame_speaks(probability))
        # At the end of an utterance the segmenter may tell more than the last frame did.
        found += [self._follow(event) for event in reversed(waiting)]
        return found

    def _wait(self) -> None:
        self._start_ms: int | None = None
        """Of the segment under way."""
        self._certain = self._may_end = False
        self._silent_from_ms: int | None = None

    def _follow(self, event: Event) -> Event:
        if isinstance(event, SpeechEnd):
            self._wait()
        elif isinstance(event, SpeechStart):
            self._wait()
            self._start_ms = event.start_ms
        return event

    def _step(self, now_ms: int, speaks: bool | None) -> list[Hint]:
        start_ms = self._start_ms or 0
        if speaks:
            self._silent_from_ms = None
            due = self._confirm_ms and not self._certain and now_ms - start_ms >= self._confirm_ms
            if due or self._may_end:
                self._certain, self._may_end = True, False
                return [Hint(start_ms, now_ms)]
            return []
        if self._silent_from_ms is None:
            if speaks is None:
                return []  # between the thresholds nothing begins
            self._silent_from_ms = now_ms - self._frame_ms
        if self._maybe_end_ms and not self._may_end and now_ms - self._silent_from_ms >= self._maybe_end_ms:
            self._may_end = True
            return [Hint(start_ms, now_ms, self._silent_from_ms)]
        return []
