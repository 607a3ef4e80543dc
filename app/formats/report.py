"""One finished detection, which every format is written from, and what follows from it: order, totals, names.

`Report` holds segments by channel. Formats read it in order of time over all channels (`in_order`), by channel and
label (`tracks`), or as the pieces that a recogniser takes (`pieces`). Times are ms of the source.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from app.vad.chunks import Chunk
from app.vad.grid import FRAME_MS
from app.vad.models.family import ModelInfo
from app.vad.segment import OVERLAP, SPEECH, Segment
from app.warnings import AnswerWarning

_MAX_NAME = 64
"""Characters: enough to recognise a file by, short enough for any table."""
_MAX_NAME_BYTES = 192
"""In UTF-8. File systems take 255 for a name, of which endings and numbers need some."""
_UNSAFE = re.compile(r"[^\w.-]+")
_MAX_BASE_NAME = 255
"""Characters of a file's own name; file systems take no more."""


@dataclass(frozen=True, slots=True)
class AudioSummary:
    """The source file, as it was decoded."""

    duration_ms: int
    sample_rate: int
    """Hz, of the source."""
    channels: int
    format: str
    subtype: str
    truncated: bool
    track: int | None = 0
    """Which of the file's audio tracks was read, from 0; None: all of them."""
    tracks: int = 1
    """How many audio tracks it has."""
    late_start_ms: int = 0
    """How long after the file's beginning, by its own clock, the sound begins."""
    time_gap_ms: int = 0
    """Time that the file's clock has in pauses and the samples have not."""
    time_gaps: tuple[tuple[int, int], ...] = ()
    """(at_ms, duration_ms) of the first pauses."""
    clock_map: tuple[tuple[int, int, int], ...] = ()
    """Where the count of samples and the file's clock run alike: start by the one, start by the other, length, ms."""
    file_name: str = ""
    """Made by `base_name`: the file's own name with its ending; empty where nobody has said it."""


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
    """Speech probability of each frame, if asked for."""
    member_probabilities: Mapping[str, Sequence[float]] | None = None
    """The same for each member of a fused model, or each label, by name, if asked for."""
    ratios: Mapping[str, float] | None = None
    """Of a model with labels: the share of frames that reach each label's threshold, 0-1."""
    chunks: tuple[Chunk, ...] | None = None
    """If asked for. `Chunk.segments` are positions among the segments that are speech."""

    @property
    def speech_ms(self) -> int:
        """Sum of the speech segments' lengths; they do not overlap."""
        return sum(segment.duration_ms for segment in self.segments if segment.is_speech)

    @property
    def overlap_ms(self) -> int:
        """Sum of the lengths of the stretches in which several people talk at once."""
        return sum(segment.duration_ms for segment in self.segments if segment.label == OVERLAP)


@dataclass(frozen=True, slots=True)
class SegmentTrack:
    """Segments of one channel and one label; they do not overlap."""

    channel: int | None
    label: str | None
    segments: tuple[Segment, ...]

    @property
    def name(self) -> str:
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
    """Labels of the model, speech first; empty if it detects speech alone."""
    frame_ms: int = FRAME_MS
    """Time between two probabilities."""
    extras: Mapping[str, Any] = field(default_factory=dict)
    """Further members of the JSON document, such as `analysis_id`."""
    warnings: tuple[AnswerWarning, ...] = ()

    def in_order(self) -> Iterator[tuple[int | None, Segment]]:
        """Yield (channel, segment) of all channels by start."""
        pairs = [(entry.channel, segment) for entry in self.channels for segment in entry.segments]
        yield from sorted(pairs, key=lambda pair: (pair[1].start_ms, pair[0] or 0))

    def by_channel(self) -> "Iterator[Report]":
        """Yield a report for each channel alone."""
        for entry in self.channels:
            yield replace(self, channels=(entry,))

    @property
    def has_chunks(self) -> bool:
        """Whether chunks were asked for."""
        return any(entry.chunks is not None for entry in self.channels)

    def chunks(self) -> list[Piece]:
        """Return the chunks of all channels by start, with the indexes of their segments."""
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
        """Return what a recogniser is handed, by start: chunks if asked for, else the segments of speech."""
        if self.has_chunks:
            return self.chunks()
        return [
            Piece(index, channel, segment.start_ms, segment.end_ms, (index,))
            for index, (channel, segment) in enumerate(self.in_order(), 1)
            if segment.is_speech
        ]

    def tracks(self) -> Iterator[SegmentTrack]:
        """Yield the segments of each channel, label by label."""
        for entry in self.channels:
            by_label: dict[str | None, list[Segment]] = {label: [] for label in self.labels or (None,)}
            for segment in entry.segments:
                by_label[segment.label].append(segment)
            for label, segments in by_label.items():
                yield SegmentTrack(entry.channel, label, tuple(segments))

    @property
    def size(self) -> int:
        """How much there is to write: the number of segments, chunks and probabilities."""
        parts = [(entry.segments, entry.chunks or (), entry.probabilities or ()) for entry in self.channels]
        return sum(len(part) for entry in parts for part in entry)

    @property
    def values(self) -> int:
        """How many probabilities there are to write, those of members, too."""
        columns = [
            column
            for entry in self.channels
            for column in (entry.probabilities, *(entry.member_probabilities or {}).values())
        ]
        return sum(len(column or ()) for column in columns)

    @property
    def speech_ms(self) -> int:
        """Time in which at least one channel speaks."""
        return self._covered_ms(lambda segment: segment.is_speech)

    @property
    def overlap_ratio(self) -> float | None:
        """Share of the duration in which several people talk at once in at least one channel, 0-1; None where that was
        not asked for."""
        if OVERLAP not in self.labels:
            return None
        return self.share(self._covered_ms(lambda segment: segment.label == OVERLAP))

    def share(self, time_ms: int) -> float:
        """That time over the duration, 0-1."""
        return round(time_ms / self.audio.duration_ms, 4) if self.audio.duration_ms else 0.0

    def _covered_ms(self, counts: Callable[[Segment], bool]) -> int:
        """Time that at least one of the segments that count covers, over all channels."""
        total = reached = 0
        for _, segment in self.in_order():
            if counts(segment):
                total += max(0, segment.end_ms - max(reached, segment.start_ms))
                reached = max(reached, segment.end_ms)
        return total

    @property
    def speech_ratio(self) -> float:
        """`speech_ms` over the duration, 0-1."""
        return self.share(self.speech_ms)

    @property
    def real_time_factor(self) -> float:
        """Time taken over the duration."""
        return round(self.timing.total_ms / self.audio.duration_ms, 6) if self.audio.duration_ms else 0.0


@dataclass(slots=True)
class Turns:
    """Turn-taking of one channel of a call."""

    silence_ms: int = 0
    """While it does not speak."""
    overlap_ms: int = 0
    """While it and another channel speak."""
    interruptions: int = 0
    """How many of its segments begin while another channel is already speaking."""


@dataclass(slots=True)
class Conversation:
    """Turn-taking over all channels of a call."""

    silence_ms: int
    """While nobody speaks."""
    overlap_ms: int
    """While more than one channel speaks."""
    interruptions: int
    sides: dict[int | None, Turns]
    """By channel."""


def conversation(channels: Iterable[ChannelSegments], duration_ms: int) -> Conversation:
    """Measure who speaks when on channels that were detected separately, from their segments alone."""
    entries = list(channels)
    sides = {entry.channel: Turns(silence_ms=max(0, duration_ms - entry.speech_ms)) for entry in entries}
    # Ends sort before starts of the same moment: an answer without a pause interrupts nobody.
    marks = sorted(
        (time, starts, index)
        for index, entry in enumerate(entries)
        for segment in entry.segments
        if segment.is_speech
        for time, starts in ((segment.start_ms, True), (segment.end_ms, False))
    )
    speaking: dict[int, int] = {}  # entries that speak at the moment, with the time since when
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


def forced_cuts(channels: Iterable[ChannelSegments]) -> Iterator[AnswerWarning]:
    """Yield a warning if any segment was cut at the longest allowed duration."""
    starts = sorted(segment.start_ms for entry in channels for segment in entry.segments if segment.forced_end)
    if starts:
        what = "1 segment was" if len(starts) == 1 else f"{len(starts)} segments were"
        yield AnswerWarning(
            "forced_cuts", f"{what} cut at the longest allowed duration; the first begins at {starts[0]} ms"
        )


_FORMULA_STARTS = "=+-@＝＋－＠ "


def track_name(channel: int | None, label: str | None) -> str:
    """Name a segment or track: `speech`, `speech_ch0`, `music`, `music_ch0`."""
    return (label or SPEECH) + ("" if channel is None else f"_ch{channel}")


def base_name(filename: str | None) -> str:
    """Return a client's file name as it is, with its ending, for programs that look for the file by it: without
    folders and control characters. Bytes that are no UTF-8 are U+FFFD, as in a request that brings them."""
    told = (filename or "").encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    base = PurePosixPath(told.replace("\\", "/")).name
    return "".join(letter for letter in base if letter.isprintable())[:_MAX_BASE_NAME]


def safe_name(filename: str | None) -> str:
    """Make a client's file name, without folders and extension, fit for file names, labels and every format here.

    Letters and digits of any script, `.`, `-` and `_` stay; at most 64 characters and 192 bytes of UTF-8, so that a
    file system's 255 have room for what follows; `audio` when nothing is left.
    """
    base = PurePosixPath((filename or "").replace("\\", "/")).name
    stem = base.rsplit(".", 1)[0] if "." in base[1:] else base
    name = _UNSAFE.sub("_", unicodedata.normalize("NFC", stem)).strip("._-")
    return name[:_MAX_NAME].encode()[:_MAX_NAME_BYTES].decode(errors="ignore").rstrip("._-") or "audio"


def safe_label(label: str) -> str:
    """Make a label that was given harmless where a spreadsheet opens a table of them: a cell that begins with `=`, `+`,
    `-` or `@` is a formula there. Names of files begin with none, by `safe_name`; `speech` when nothing is left."""
    return label.lstrip(_FORMULA_STARTS) or SPEECH


def unique_names(names: Sequence[str]) -> list[str]:
    """Number repeated names, so that files of these names can lie in one folder, also where `A` and `a` are the same.

    The first of a kind keeps its name, and no numbered name is one that another file has by itself: `a, a, a-2` becomes
    `a, a-3, a-2`.
    """
    taken = {_folded(name) for name in names}
    count = Counter[str]()
    unique = []
    for name in names:
        candidate, kind = name, _folded(name)
        count[kind] += 1
        while count[kind] > 1 and _folded(candidate := f"{name}-{count[kind]}") in taken:
            count[kind] += 1
        taken.add(_folded(candidate))
        unique.append(candidate)
    return unique


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name.casefold())
