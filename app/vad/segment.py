"""What a detector says: whole segments, and the two events from which they are made.

All times are integer milliseconds from the start of the stream.
"""

from dataclasses import dataclass

SPEECH = "speech"
"""The label of speech, among others."""


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
        """Whether it is what recognisers are for."""
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


def segments_of(events: list[Event]) -> list[Segment]:
    """The complete segments among `events`, in order."""
    return [event.segment for event in events if isinstance(event, SpeechEnd)]
