"""Who speaks when on the channels of a call: silence, overlap, interruptions. From segments alone."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from app.formats.report import ChannelSegments


@dataclass(slots=True)
class Turns:
    """One side's figures; ms."""

    silence_ms: int = 0
    """While it does not speak."""
    overlap_ms: int = 0
    """While it speaks and another side does, too."""
    interruptions: int = 0
    """Segments of its that begin while another side is speaking already."""


@dataclass(slots=True)
class Conversation:
    """All sides' figures; ms."""

    silence_ms: int
    """While nobody speaks."""
    overlap_ms: int
    """While more than one side speaks."""
    interruptions: int
    sides: dict[int | None, Turns] = field(default_factory=dict)


def conversation(channels: Iterable[ChannelSegments], duration_ms: int) -> Conversation:
    """The figures of channels that were detected each by itself."""
    entries = list(channels)
    sides = {entry.channel: Turns(silence_ms=max(0, duration_ms - entry.speech_ms)) for entry in entries}
    # Ends before starts of the same moment: who answers at once interrupts nobody.
    marks = sorted(
        (time, starts, index)
        for index, entry in enumerate(entries)
        for segment in entry.segments
        if segment.is_speech
        for time, starts in ((segment.start_ms, True), (segment.end_ms, False))
    )
    speaking: dict[int, int] = {}
    """Channels that speak, with the moment since when."""
    reached = spoken = overlap = 0
    for time, starts, index in marks:
        if speaking:
            spoken += time - reached
        if len(speaking) > 1:
            overlap += time - reached
            for other in speaking:
                sides[entries[other].channel].overlap_ms += time - reached
        reached = time
        if not starts:
            speaking.pop(index, None)
            continue
        if any(since < time for since in speaking.values()):
            sides[entries[index].channel].interruptions += 1
        speaking[index] = time
    interruptions = sum(turns.interruptions for turns in sides.values())
    return Conversation(max(0, duration_ms - spoken), overlap, interruptions, sides)
