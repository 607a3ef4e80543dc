"""What every output format is made from: one finished detection, free of any framework."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from app.vad.chunks import Chunk
from app.vad.grid import FRAME_MS
from app.vad.models.family import ModelInfo
from app.vad.segment import SPEECH, Segment
from app.warnings import AnswerWarning

_MAX_NAME = 64
"""Characters: enough to recognise a file by, short enough for any table."""
_MAX_NAME_BYTES = 192
"""In UTF-8. File systems take 255 for a name, of which endings and numbers need some."""
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
    track: int = 0
    """Which of the file's sounds was heard, from 0."""
    tracks: int = 1
    """How many it has."""
    late_start_ms: int = 0
    """How long after the file's beginning, by its own clock, the sound begins."""
    time_gap_ms: int = 0
    """Time that the file's clock has in pauses and the samples have not."""
    time_gaps: tuple[tuple[int, int], ...] = ()
    """(at_ms, duration_ms) of the first pauses."""
    clock_map: tuple[tuple[int, int, int], ...] = ()
    """Where the count of samples and the file's clock run alike: start by the one, start by the other, length, ms."""


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
    member_probabilities: Mapping[str, Sequence[float]] | None = None
    """The same of each of a model's members, or for each of its labels, by name, when asked for."""
    ratios: Mapping[str, float] | None = None
    """Of a model with labels: the share of frames that reach each label's threshold, 0-1."""
    chunks: tuple[Chunk, ...] | None = None
    """For a recogniser, where they are asked for; their segments are places among those that are speech."""

    @property
    def speech_ms(self) -> int:
        """Sum of the speech segments' lengths; they do not overlap."""
        return sum(segment.duration_ms for segment in self.segments if segment.is_speech)


@dataclass(frozen=True, slots=True)
class Track:
    """Segments that do not overlap: of one channel, and of one label where there are several."""

    channel: int | None
    label: str | None
    segments: tuple[Segment, ...]

    @property
    def name(self) -> str:
        """`speech`, `speech_ch0`, `music`, `music_ch0`."""
        return track_name(self.channel, self.label)


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of audio for a recogniser: a chunk where chunks are asked for, else a segment of speech."""

    index: int
    """From 1, by start, over all channels; a segment's is that of the segment."""
    channel: int | None
    start_ms: int
    end_ms: int
    segments: tuple[int, ...]
    """Indexes of the segments in it, or in part in it."""

    @property
    def duration_ms(self) -> int:
        """Length of the piece in milliseconds."""
        return self.end_ms - self.start_ms


@dataclass(frozen=True, slots=True)
class Report:
    """One finished detection: the file, the model, what was found and how it was asked for."""

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
    labels: tuple[str, ...] = ()
    """What the model tells apart, speech first; none where it tells speech alone."""
    frame_ms: int = FRAME_MS
    """Distance of two frames, of the probabilities."""
    extras: Mapping[str, Any] = field(default_factory=dict)
    """Members that the door adds to documents."""
    warnings: tuple[AnswerWarning, ...] = ()
    """Everything that was odd."""

    def in_order(self) -> Iterator[tuple[int | None, Segment]]:
        """(channel, segment) of all channels, by start."""
        pairs = [(entry.channel, segment) for entry in self.channels for segment in entry.segments]
        yield from sorted(pairs, key=lambda pair: (pair[1].start_ms, pair[0] or 0))

    def apart(self) -> "Iterator[Report]":
        """A report of each channel alone."""
        for entry in self.channels:
            yield replace(self, channels=(entry,))

    @property
    def has_chunks(self) -> bool:
        """Whether they were asked for."""
        return any(entry.chunks is not None for entry in self.channels)

    def chunks(self) -> list[Piece]:
        """Those of all channels, by start."""
        spoken: dict[int | None, list[int]] = {entry.channel: [] for entry in self.channels}
        for index, (channel, segment) in enumerate(self.in_order(), 1):
            if segment.is_speech:
                spoken[channel].append(index)
        found = [(entry.channel, chunk) for entry in self.channels for chunk in entry.chunks or ()]
        found.sort(key=lambda pair: (pair[1].start_ms, pair[0] or 0))
        return [
            Piece(
                index, channel, chunk.start_ms, chunk.end_ms, tuple(spoken[channel][place] for place in chunk.segments)
            )
            for index, (channel, chunk) in enumerate(found, 1)
        ]

    def pieces(self) -> list[Piece]:
        """What a recogniser is handed, by start."""
        if self.has_chunks:
            return self.chunks()
        return [
            Piece(index, channel, segment.start_ms, segment.end_ms, (index,))
            for index, (channel, segment) in enumerate(self.in_order(), 1)
            if segment.is_speech
        ]

    def tracks(self) -> Iterator[Track]:
        """Every channel's, label by label."""
        for entry in self.channels:
            for label in self.labels or (None,):
                yield Track(
                    entry.channel, label, tuple(segment for segment in entry.segments if segment.label == label)
                )

    @property
    def size(self) -> int:
        """How much there is to write: segments, chunks and probabilities."""
        parts = [(entry.segments, entry.chunks or (), entry.probabilities or ()) for entry in self.channels]
        return sum(len(part) for entry in parts for part in entry)

    @property
    def speech_ms(self) -> int:
        """Time in which any channel speaks."""
        total = reached = 0
        for _, segment in self.in_order():
            if not segment.is_speech:
                continue
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


def forced_cuts(channels: Iterable[ChannelSegments]) -> Iterator[AnswerWarning]:
    """The warning that some of their segments were cut, if any were."""
    starts = sorted(segment.start_ms for entry in channels for segment in entry.segments if segment.forced_end)
    if starts:
        what = "1 segment was" if len(starts) == 1 else f"{len(starts)} segments were"
        yield AnswerWarning(
            "forced_cuts", f"{what} cut at the longest allowed duration; the first begins at {starts[0]} ms"
        )


def track_name(channel: int | None, label: str | None) -> str:
    """What a segment is called where a format wants a word."""
    return (label or SPEECH) + ("" if channel is None else f"_ch{channel}")


def safe_name(filename: str | None) -> str:
    """A client's file name without folders and extension, fit for file names, labels and every format here.

    Letters and digits of any script, `.`, `-` and `_` stay; at most 64 characters and 192 bytes of UTF-8, so that a
    file system's 255 have room for what follows; `audio` when nothing is left.
    """
    base = PurePosixPath((filename or "").replace("\\", "/")).name
    stem = base.rsplit(".", 1)[0] if "." in base[1:] else base
    name = _UNSAFE.sub("_", unicodedata.normalize("NFC", stem)).strip("._-")
    return name[:_MAX_NAME].encode()[:_MAX_NAME_BYTES].decode(errors="ignore").rstrip("._-") or "audio"
