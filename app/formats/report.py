"""What every output format is made from: one finished detection, free of any framework."""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from app.vad.grid import FRAME_MS
from app.vad.models.family import ModelInfo
from app.vad.segment import Segment

_MAX_NAME = 64
_MAX_NAME_BYTES = 192
_UNSAFE = re.compile(r"[^\w.-]+")


@dataclass(frozen=True, slots=True)
class AudioSummary:
    """The file as it was decoded."""

    duration_ms: int
    sample_rate: int
    """Hz, of the source."""
    channels: int
    format: str
    subtype: str
    truncated: bool


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the time went, ms."""

    queue_ms: int
    decode_ms: int
    inference_ms: int
    total_ms: int


@dataclass(frozen=True, slots=True)
class ChannelSegments:
    """Segments of one channel."""

    channel: int | None
    """None for the mix of all channels."""
    segments: tuple[Segment, ...]
    probabilities: Sequence[float] | None = None
    """Speech probability of each frame, when asked for."""

    @property
    def speech_ms(self) -> int:
        """Sum of the segments' lengths; they do not overlap."""
        return sum(segment.duration_ms for segment in self.segments)


@dataclass(frozen=True, slots=True)
class Report:
    """One finished detection."""

    request_id: str
    name: str
    """Made by `safe_name`."""
    model: ModelInfo
    device: str
    degraded: bool
    audio: AudioSummary
    channels: tuple[ChannelSegments, ...]
    options: Mapping[str, Any]
    timing: Timing
    frame_ms: int = FRAME_MS
    """Distance of two frames, of the probabilities."""
    extras: Mapping[str, Any] = field(default_factory=dict)
    """Members that the door adds to documents."""

    def in_order(self) -> Iterator[tuple[int | None, Segment]]:
        """(channel, segment) of all channels, by start."""
        pairs = [(entry.channel, segment) for entry in self.channels for segment in entry.segments]
        yield from sorted(pairs, key=lambda pair: (pair[1].start_ms, pair[0] or 0))

    @property
    def speech_ms(self) -> int:
        """Time in which any channel speaks."""
        total = reached = 0
        for _, segment in self.in_order():
            total += max(0, segment.end_ms - max(reached, segment.start_ms))
            reached = max(reached, segment.end_ms)
        return total

    @property
    def speech_ratio(self) -> float:
        """`speech_ms` over the duration, 0-1."""
        return round(self.speech_ms / self.audio.duration_ms, 4) if self.audio.duration_ms else 0.0

    @property
    def real_time_factor(self) -> float:
        """Time taken over the duration."""
        return round(self.timing.total_ms / self.audio.duration_ms, 6) if self.audio.duration_ms else 0.0


def safe_name(filename: str | None) -> str:
    """A client's file name without folders and extension, fit for file names, labels and every format here.

    Letters and digits of any script, `.`, `-` and `_` stay; at most 64 characters and 192 bytes of UTF-8, so that a
    file system's 255 have room for what follows; `audio` when nothing is left.
    """
    base = PurePosixPath((filename or "").replace("\\", "/")).name
    stem = base.rsplit(".", 1)[0] if "." in base[1:] else base
    name = _UNSAFE.sub("_", unicodedata.normalize("NFC", stem)).strip("._-")
    return name[:_MAX_NAME].encode()[:_MAX_NAME_BYTES].decode(errors="ignore").rstrip("._-") or "audio"
