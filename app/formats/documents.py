"""The wire models: every JSON answer is made from these classes, and OpenAPI is their schema.

`of` makes a document from what the rooms work with. Answers are made by `model_construct`, because their values need no
validation. A member that an answer does not have is left out, not null: `dump` writes what was set.
"""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import Self

from app.formats.report import AudioSummary, ChannelSegments, Piece, Report, Turns, base_name, conversation
from app.vad.models.family import ModelInfo
from app.vad.segment import Segment
from app.warnings import MEANINGS, AnswerWarning


class Document(BaseModel):
    """Base of the wire models."""

    model_config = ConfigDict(ser_json_inf_nan="null")

    @classmethod
    def model_construct(cls, _fields_set: set[str] | None = None, **values: Any) -> Self:  # type: ignore[override]  # pydantic's plugin writes one with kwargs
        """Make a document of values that are known to be right.

        Unlike pydantic's own it fills in no defaults, which are never dumped: the half of what an answer costs to
        write.
        """
        document = cls.__new__(cls)
        in_order = {name: values[name] for name in cls.__pydantic_fields__ if name in values}
        object.__setattr__(document, "__dict__", in_order)
        object.__setattr__(document, "__pydantic_fields_set__", set(in_order))
        object.__setattr__(document, "__pydantic_extra__", None)
        object.__setattr__(document, "__pydantic_private__", None)
        return document

    def dump(self) -> dict[str, Any]:
        """Return what was set, in plain Python values."""
        return self.model_dump(mode="json", exclude_unset=True)


class Problem(Document):
    """RFC 9457 problem document: the form of every error."""

    model_config = ConfigDict(extra="allow")

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str = Field(description="Stable, for programs.")
    request_id: str
    option: str | None = Field(None, description="With `invalid_option`: the name of the option.")


class ModelDocument(Document):
    """The model that answered."""

    name: str = Field(description="As `model=` takes it.")
    id: str
    revision: str | None
    fingerprint: str = Field(description="SHA-256 of its weights.")

    @classmethod
    def of(cls, model: ModelInfo) -> "ModelDocument":
        return cls.model_construct(name=model.name, id=model.id, revision=model.revision, fingerprint=model.fingerprint)

    def info(self) -> ModelInfo:
        """Read a document that a client gave back."""
        return ModelInfo(self.name, self.id, self.revision, self.fingerprint)


class SegmentTimes(Document):
    """One stretch of speech, as every door tells it."""

    start_ms: int
    end_ms: int
    duration_ms: int
    forced_end: bool = Field(description="Cut by the longest allowed duration, not by silence.")
    speech_probability: float = Field(description="Mean over the segment's frames, 0-1.")

    @classmethod
    def of(cls, segment: Segment, **members: Any) -> Self:
        """Describe a segment; `members` are those of a subclass."""
        made: Self = cls.model_construct(  # type: ignore[assignment]  # pydantic's plugin loses Self here
            start_ms=segment.start_ms,
            end_ms=segment.end_ms,
            duration_ms=segment.duration_ms,
            forced_end=segment.forced_end,
            speech_probability=round(segment.speech_probability, 4),
            **members,
        )
        return made


class _Numbered(Document):
    index: int = Field(description="From 1, in order of start.")


class SegmentDocument(SegmentTimes, _Numbered):
    """One stretch of speech in a file. Members are dumped from the last base on: the index goes first."""

    channel: int | None = Field(None, description="With `channel=split` or a number; with `track=all` the track.")
    label: str | None = Field(None, description="For models with labels besides speech: the label.")

    @classmethod
    def numbered(cls, index: int, segment: Segment, channel: int | None) -> Self:
        members: dict[str, Any] = {} if channel is None else {"channel": channel}
        if segment.label is not None:
            members["label"] = segment.label
        return cls.of(segment, index=index, **members)


class ChunkDocument(Document):
    """A piece of the audio for a recogniser: segments and the pauses between them."""

    index: int = Field(description="From 1, in order of start.")
    start_ms: int
    end_ms: int
    duration_ms: int
    segments: list[int] = Field(
        description="Indexes of its segments. A segment that is longer than a chunk is in several chunks."
    )
    channel: int | None = Field(None, description="With `channel=split` or a number; with `track=all` the track.")

    @classmethod
    def of(cls, piece: Piece) -> "ChunkDocument":
        members: dict[str, Any] = {} if piece.channel is None else {"channel": piece.channel}
        return cls.model_construct(
            index=piece.index,
            start_ms=piece.start_ms,
            end_ms=piece.end_ms,
            duration_ms=piece.duration_ms,
            segments=list(piece.segments),
            **members,
        )


class ProbabilitiesDocument(Document):
    """With `probabilities=true`: the speech probability of every frame."""

    frame_ms: int = Field(description="Time from one frame to the next.")
    values: list[float]
    members: dict[str, list[float]] | None = Field(
        None, description="With `members=true`: the same for each member of the model, or for each of its labels."
    )


class ChannelDocument(Document):
    """With `channel=split`: the totals of one channel."""

    channel: int | None
    segment_count: int
    speech_ms: int
    speech_ratio: float
    silence_ms: int = Field(description="How long this channel does not speak.")
    overlap_ms: int = Field(description="How long this channel speaks while another one speaks.")
    interruptions: int = Field(description="Segments of this channel that begin while another channel speaks.")
    probabilities: ProbabilitiesDocument | None = None
    events: dict[str, float] | None = Field(None, description="As in the answer itself.")
    overlap_ratio: float | None = Field(None, description="As in the answer itself, of this channel.")


class TimeGapDocument(Document):
    """A gap in a file's time stamps."""

    at_ms: int = Field(description="Where the gap is, in the times of the answer.")
    duration_ms: int


class AudioDocument(Document):
    """The audio that was sent: its container, rate, channels and length."""

    duration_ms: int
    sample_rate: int
    channels: int
    format: str
    subtype: str
    truncated: bool
    track: int | None = Field(
        None, description="In a file with several sound tracks: the track that was used, from 0. Absent if all were."
    )
    tracks: int | None = Field(None, description="Number of sound tracks, if there are several.")
    late_start_ms: int | None = Field(
        None, description="How long after the beginning of the file the sound begins, by the file's own clock."
    )
    time_gap_ms: int | None = Field(
        None, description="Total length of the gaps in the file's time stamps, if there are any."
    )
    time_gaps: list[TimeGapDocument] | None = Field(None, description="The first hundred gaps.")
    clock_map: list[tuple[int, int, int]] | None = Field(
        None,
        description="Where both clocks run alike, if they part at all: [start by the samples, start by the file's own "
        "clock, length], ms. It leads from the times of either `clock` to those of the other.",
    )
    file_name: str | None = Field(None, description="The file's own name with its ending, if the request contains it.")

    @classmethod
    def of(cls, audio: AudioSummary) -> "AudioDocument":
        """Describe a source; members that say the usual are left out."""
        members: dict[str, Any] = {}
        if audio.tracks > 1:
            members |= (
                {"tracks": audio.tracks} if audio.track is None else {"track": audio.track, "tracks": audio.tracks}
            )
        if audio.late_start_ms:
            members["late_start_ms"] = audio.late_start_ms
        if audio.time_gap_ms:
            gaps = [TimeGapDocument.model_construct(at_ms=at, duration_ms=length) for at, length in audio.time_gaps]
            members |= {"time_gap_ms": audio.time_gap_ms, "time_gaps": gaps}
        if audio.clock_map:
            members["clock_map"] = list(audio.clock_map)
        if audio.file_name:
            members["file_name"] = audio.file_name
        return cls.model_construct(
            duration_ms=audio.duration_ms,
            sample_rate=audio.sample_rate,
            channels=audio.channels,
            format=audio.format,
            subtype=audio.subtype,
            truncated=audio.truncated,
            **members,
        )

    def summary(self) -> AudioSummary:
        """Read a document that a client gave back."""
        members = self.model_dump(exclude_none=True, exclude={"time_gaps", "clock_map", "file_name"})
        gaps = tuple((gap.at_ms, gap.duration_ms) for gap in self.time_gaps or ())
        return AudioSummary(
            **members, time_gaps=gaps, clock_map=tuple(self.clock_map or ()), file_name=base_name(self.file_name)
        )


class WarningDocument(Document):
    """Something unusual about audio that was answered."""

    code: str = Field(
        description="Stable, for programs; there may be new ones. "
        + " ".join(f"`{code}`: {meaning}" for code, meaning in MEANINGS.items()),
        json_schema_extra={"examples": list(MEANINGS)},
    )
    detail: str = Field(description="What was found, with figures.")

    @classmethod
    def of(cls, warning: AnswerWarning) -> "WarningDocument":
        return cls.model_construct(code=warning.code, detail=warning.detail)

    @classmethod
    def all_of(cls, warnings: Iterable[AnswerWarning]) -> "list[WarningDocument]":
        return [cls.of(warning) for warning in warnings]


class TimingDocument(Document):
    """How long each step took."""

    queue_ms: int
    decode_ms: int
    inference_ms: int
    total_ms: int
    rtf: float = Field(description="total_ms over duration_ms.")


class DetectionDocument(Document):
    """Answer of `POST /vad` with `format=json`."""

    request_id: str
    name: str = Field(description="Name of the file, without characters that could do harm.")
    model: ModelDocument
    device: str
    degraded: bool = Field(description="Whether the CPU did the work instead of the device.")
    audio: AudioDocument
    segments: list[SegmentDocument]
    speech_ms: int
    speech_ratio: float
    options: dict[str, Any] = Field(description="The mode and its options in force.")
    timing: TimingDocument
    warnings: list[WarningDocument] = Field(description="What was unusual about the audio. Usually empty.")
    chunks: list[ChunkDocument] | None = Field(None, description="With `max_chunk_s`.")
    time_map: list[tuple[float, float, float]] | None = Field(
        None,
        description="With `time_map=true`, of the WAV that `format=wav` gives under the same options: [its own time, "
        "the source's, length], ms.",
    )
    channels: list[ChannelDocument] | None = Field(None, description="With `channel=split`.")
    silence_ms: int | None = Field(None, description="With `channel=split`: how long nobody speaks.")
    overlap_ms: int | None = Field(None, description="With `channel=split`: how long more than one channel speaks.")
    interruptions: int | None = Field(None, description="With `channel=split`: interruptions of all channels.")
    probabilities: ProbabilitiesDocument | None = Field(None, description="With `probabilities=true`.")
    events: dict[str, float] | None = Field(
        None, description="For models with labels besides speech: the share of frames that reach each threshold."
    )
    overlap_ratio: float | None = Field(
        None,
        description="With `overlap=true`: the share of the audio in which several people talk at once, in any channel.",
    )
    analysis_id: str | None = Field(
        None, description="With `keep=true`: the name of the kept analysis. Null if there is no room for it."
    )

    @classmethod
    def of(cls, report: Report) -> "DetectionDocument":
        """Describe a detection; `segments` has those of all channels by start."""
        members: dict[str, Any] = dict(report.extras)
        if report.has_chunks:
            members["chunks"] = [ChunkDocument.of(piece) for piece in report.chunks()]
        if len(report.channels) > 1:
            members |= _conversation(report)
        elif report.channels:
            members |= _frame_members(report.channels[0], report)
        if report.overlap_ratio is not None:
            members["overlap_ratio"] = report.overlap_ratio
        timing = report.timing
        return cls.model_construct(
            request_id=report.request_id,
            name=report.name,
            model=ModelDocument.of(report.model),
            device=report.device,
            degraded=report.degraded,
            audio=AudioDocument.of(report.audio),
            segments=[
                SegmentDocument.numbered(index, segment, channel)
                for index, (channel, segment) in enumerate(report.in_order(), 1)
            ],
            speech_ms=report.speech_ms,
            speech_ratio=report.speech_ratio,
            options=dict(report.options),
            timing=TimingDocument.model_construct(
                queue_ms=timing.queue_ms,
                decode_ms=timing.decode_ms,
                inference_ms=timing.inference_ms,
                total_ms=timing.total_ms,
                rtf=report.real_time_factor,
            ),
            warnings=WarningDocument.all_of(report.warnings),
            **members,
        )


class FunasrDocument(Document):
    """Answer of `POST /vad` with `format=funasr`: an entry for each channel."""

    key: str
    value: list[tuple[int, int]] = Field(description="[start_ms, end_ms] of each segment.")

    @classmethod
    def all_of(cls, report: Report) -> "list[FunasrDocument]":
        many = len(report.channels) > 1
        return [
            cls.model_construct(
                key=report.name + (f"-ch{track.channel}" if many else "") + (f"-{track.label}" if track.label else ""),
                value=[(segment.start_ms, segment.end_ms) for segment in track.segments],
            )
            for track in report.tracks()
        ]


class Timestamp(Document):
    """One segment in the form of speaches; ms."""

    start: int
    end: int


class ChannelCurveDocument(Document):
    """The curve of one channel."""

    channel: int = Field(description="From 0.")
    probabilities: list[float] = Field(description="Speech probability of the channel at each step, 0-1.")


class CurveDocument(Document):
    """The curve of an analysis. All lists have the same length and cover the part evenly."""

    frame_ms: int
    duration_ms: int = Field(description="Length of the whole file.")
    probabilities: list[float] = Field(description="Mean speech probability of each step, 0-1.")
    peaks: list[float] = Field(description="Amplitude of each step, 0-1.")
    channels: list[ChannelCurveDocument] | None = Field(
        None, description="With `channel=split`: the curve of each channel. `probabilities` is then their mean."
    )


def json_document(report: Report) -> dict[str, Any]:
    """Make the document of `format=json`."""
    return DetectionDocument.of(report).dump()


def funasr_documents(report: Report) -> list[dict[str, Any]]:
    """Make FunASR's list of `{"key", "value": [[start_ms, end_ms], ...]}`: an entry for each channel and label."""
    return [document.dump() for document in FunasrDocument.all_of(report)]


def _conversation(report: Report) -> dict[str, Any]:
    found = conversation(report.channels, report.audio.duration_ms)
    return {
        "channels": [_channel(entry, report, found.sides[entry.channel]) for entry in report.channels],
        "silence_ms": found.silence_ms,
        "overlap_ms": found.overlap_ms,
        "interruptions": found.interruptions,
    }


def _channel(entry: ChannelSegments, report: Report, turns: Turns) -> ChannelDocument:
    members = _frame_members(entry, report)
    if report.overlap_ratio is not None:
        members["overlap_ratio"] = report.share(entry.overlap_ms)
    return ChannelDocument.model_construct(
        channel=entry.channel,
        segment_count=len(entry.segments),
        speech_ms=entry.speech_ms,
        speech_ratio=report.share(entry.speech_ms),
        silence_ms=turns.silence_ms,
        overlap_ms=turns.overlap_ms,
        interruptions=turns.interruptions,
        **members,
    )


def _frame_members(entry: ChannelSegments, report: Report) -> dict[str, Any]:
    """Return the members about a channel's frames, if they were asked for."""
    members: dict[str, Any] = {}
    if entry.probabilities is not None:
        described: dict[str, Any] = {"frame_ms": report.frame_ms, "values": list(entry.probabilities)}
        if entry.member_probabilities is not None:
            described["members"] = {name: list(values) for name, values in entry.member_probabilities.items()}
        members["probabilities"] = ProbabilitiesDocument.model_construct(**described)
    if entry.ratios is not None:
        members["events"] = dict(entry.ratios)
    return members
