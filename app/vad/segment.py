"""What a detector says: whole segments, and the two events from which they are made.

All times are integer milliseconds from the start of the stream.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

SPEECH = "speech"
"""The label of speech, among others."""
OVERLAP = "overlap"
"""The label of times at which several people talk at once. They are part of speech, and counted nowhere as speech."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of speech, [start_ms, end_ms)."""

    start_ms: int
    end_ms: int
    forced_end: bool
    """True when the longest allowed duration cut it, not silence."""
    speech_probability: float
    """Mean speech probability of its frames, 0-1; of a labelled one, the mean probability of what it is."""
    label: str | None = None
    """What it is, where a model tells more than speech; None: speech."""

    @property
    def duration_ms(self) -> int:
        """Length of the segment in milliseconds."""
        return self.end_ms - self.start_ms

    @property
    def is_speech(self) -> bool:
        """Whether it is speech, and not another label's."""
        return self.label in (None, SPEECH)


@dataclass(frozen=True, slots=True)
class SpeechStart:
    """Speech began at `start_ms`; known once the frames up to `at_ms` had been scored."""

    start_ms: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class SpeechEnd:
    """The segment opened by the last `SpeechStart` is complete; known at `at_ms`."""

    segment: Segment
    at_ms: int


Event = SpeechStart | SpeechEnd


def segments_of(events: Sequence[Event]) -> list[Segment]:
    """The complete segments among `events`, in order."""
    return [event.segment for event in events if isinstance(event, SpeechEnd)]


def clip(segment: Segment, limit_ms: int) -> Segment:
    """The segment, ending no later than the audio does.

    A segmenter counts whole frames, and the last one of an audio may reach beyond its end. Its events stay as its law
    has them; whoever knows the length of the audio clips them.
    """
    return segment if segment.end_ms <= limit_ms else replace(segment, end_ms=max(segment.start_ms, limit_ms))


class SpeechMean:
    """Mean speech probability of a segment whose ends are only known afterwards.

    Keeps running sums just far enough back for a segment's start and end. They are made one frame after the other in
    float64, so they do not depend on how frames were grouped into calls.
    """

    def __init__(self, reach: int) -> None:
        """`reach`: how many frames before the newest one a start or an end may lie."""
        self._reach = reach
        self._base = 0
        self._sums = [0.0]
        self._open_at = 0
        self._open_sum = 0.0

    def extend(self, speech: list[float], oldest: int | None = None) -> None:
        """Append the next frames' speech probabilities. `oldest`: a frame before the reach that a start or an end may
        still lie at."""
        self._forget(oldest)
        self._sums.extend(accumulate(speech, initial=self._sums.pop()))

    def use_reach(self, reach: int, oldest: int | None = None) -> None:
        """Keep so many frames from now on; those that are gone do not come back. `oldest`: as for `extend`."""
        # Now and not with the next frames: what is kept must not depend on when frames came.
        self._forget(oldest)
        self._reach = reach

    def _forget(self, oldest: int | None) -> None:
        newest = self._base + len(self._sums) - 1
        first = max(self._base, min(newest - self._reach, newest if oldest is None else oldest))
        del self._sums[: first - self._base]
        self._base = first

    def open(self, frame: int) -> None:
        """Start a segment at `frame`. If its first frames are not kept any more, because the reach has grown since,
        the mean is that of the others."""
        self._open_at = max(frame, self._base)
        self._open_sum = self._sums[self._open_at - self._base]

    def close(self, frame: int) -> float:
        """Mean over the frames from `open`'s up to `frame` (not included), 0-1."""
        frame = max(frame, self._open_at)
        total = self._sums[frame - self._base] - self._open_sum
        return min(1.0, max(0.0, total / max(1, frame - self._open_at)))
