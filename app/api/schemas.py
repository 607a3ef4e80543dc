"""Wire models, for the documentation of the answers."""

from typing import Any

from pydantic import BaseModel, Field


class Problem(BaseModel):
    """RFC 9457 problem document: the form of every error."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str = Field(description="Stable, for programs.")
    request_id: str
    option: str | None = Field(None, description="With `invalid_option`: which one.")


class ModelAnswer(BaseModel):
    """The model that answered."""

    id: str
    revision: str | None
    fingerprint: str


class HealthAnswer(BaseModel):
    """State of the service."""

    status: str = Field(description="ready, loading, draining or failed.")
    version: str
    uptime_s: float
    model: ModelAnswer | None
    fallback: str | None = Field(description="Why another model serves than the one that was asked for; else null.")
    device: str | None
    workers: int | None
    inflight: int = Field(description="Requests inside.")
    queue: int = Field(description="Requests waiting to get in.")
    limits: dict[str, Any]


class StateAnswer(BaseModel):
    """Answer of a probe."""

    status: str


class SegmentAnswer(BaseModel):
    """One stretch of speech."""

    index: int = Field(description="From 1.")
    start_ms: int
    end_ms: int
    duration_ms: int
    forced_end: bool = Field(description="Cut by the longest allowed duration, not by silence.")
    speech_probability: float = Field(description="Mean over the segment's frames, 0-1.")
    channel: int | None = Field(None, description="With `channel=split` or a number.")


class AudioAnswer(BaseModel):
    """What was sent."""

    duration_ms: int
    sample_rate: int
    channels: int
    format: str
    subtype: str
    truncated: bool


class TimingAnswer(BaseModel):
    """Where the time went."""

    queue_ms: int
    decode_ms: int
    inference_ms: int
    total_ms: int
    rtf: float = Field(description="total_ms over duration_ms.")


class DetectionAnswer(BaseModel):
    """Answer of `POST /vad` with `format=json`."""

    request_id: str
    model: ModelAnswer
    device: str
    degraded: bool
    audio: AudioAnswer
    segments: list[SegmentAnswer]
    speech_ms: int
    speech_ratio: float
    options: dict[str, Any]
    timing: TimingAnswer


class Timestamp(BaseModel):
    """One stretch of speech, as speaches answers it; ms."""

    start: int
    end: int


class CurveAnswer(BaseModel):
    """A picture of an analysis; both lists are of equal length and cover the stretch evenly."""

    frame_ms: int
    duration_ms: int = Field(description="Of the whole file.")
    probabilities: list[float] = Field(description="Mean speech probability of each step, 0-1.")
    peaks: list[float] = Field(description="Amplitude of each step, 0-1.")
