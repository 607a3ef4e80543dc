"""What the service answers, typed: documents, live events, and errors as exceptions.

Names are those of the JSON members, times are milliseconds. A member that this version does not know is kept: it is an
attribute like the others, and stands in `model_extra`. A member that an answer does not have is None.
`model_dump(exclude_unset=True)` gives the answer's members.
"""

import base64
from typing import Any

from pydantic import BaseModel, ConfigDict


class ClientError(Exception):
    """Base of every error that this package raises on its own account."""


class ConnectionFailed(ClientError):
    """The service could not be reached, or the connection broke before the answer was whole."""


class UnexpectedAnswer(ClientError):
    """Something answered, but not as the service does: a proxy's page, or another program at this address."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class ServiceError(ClientError):
    """The service refused, or failed; raised as the subclass for its code, if there is one."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        status: int | None = None,
        option: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(code, detail)
        self.code = code
        """Stable, for programs; docs/api.md lists them."""
        self.detail = detail
        """What is wrong, for people."""
        self.status = status
        """Of HTTP; None if an open stream ended with this error."""
        self.option = option
        """With `invalid_option`: the name of the option."""
        self.request_id = request_id
        """Under which the service's log has it."""
        self.retry_after = retry_after
        """Seconds after which another attempt may succeed, if the service says so."""

    def __str__(self) -> str:
        return f"{self.detail} ({self.code if self.status is None else f'{self.status} {self.code}'})"


class InvalidOption(ServiceError):
    """An option is unknown, out of range, of another mode, or contradicts another one; `option` names it."""


class Unauthorized(ServiceError):
    """The key is missing or wrong."""


class AudioRefused(ServiceError):
    """There is no audio, or it is damaged, too long, too large, or in a form that cannot be decoded."""


class Unavailable(ServiceError):
    """The service is full or not ready, or this client asks too often: try again after `retry_after` seconds."""


_BY_CODE: dict[str, type[ServiceError]] = {
    "invalid_option": InvalidOption,
    "unauthorized": Unauthorized,
    **dict.fromkeys(
        ("no_audio", "unsupported_audio", "invalid_audio", "audio_too_long", "upload_too_large"), AudioRefused
    ),
    **dict.fromkeys(("overloaded", "not_ready", "too_many_requests"), Unavailable),
}


def service_error(code: str, detail: str, **members: Any) -> ServiceError:
    """Make the exception for an error's code; `members` as `ServiceError` has them."""
    return _BY_CODE.get(code, ServiceError)(code, detail, **members)


class Document(BaseModel):
    """Base of the typed answers."""

    model_config = ConfigDict(frozen=True, extra="allow")


class Model(Document):
    """The model that answered."""

    name: str
    """As `model=` takes it."""
    id: str
    revision: str | None
    fingerprint: str
    """SHA-256 of its weights."""


class SegmentTimes(Document):
    """A stretch of speech."""

    start_ms: int
    end_ms: int
    duration_ms: int
    forced_end: bool
    """Cut by the longest allowed duration, not by silence."""
    speech_probability: float
    """Mean over its frames, 0-1."""


class Segment(SegmentTimes):
    """A stretch of speech in a file."""

    index: int
    """From 1, in order of start."""
    channel: int | None = None
    """With `channel=split` or a number."""
    label: str | None = None
    """For models with labels besides speech."""


class Chunk(Document):
    """A piece of the audio for a recogniser: segments and the pauses between them."""

    index: int
    """From 1, in order of start."""
    start_ms: int
    end_ms: int
    duration_ms: int
    segments: tuple[int, ...]
    """Indexes of its segments."""
    channel: int | None = None


class Probabilities(Document):
    """With `probabilities=True`: the speech probability of every frame."""

    frame_ms: int
    """Time between two frames."""
    values: tuple[float, ...]
    members: dict[str, tuple[float, ...]] | None = None
    """With `members=True`: of each of the model's members, or labels."""


class Channel(Document):
    """With `channel="split"`: the totals of one channel."""

    channel: int | None
    segment_count: int
    speech_ms: int
    speech_ratio: float
    silence_ms: int
    overlap_ms: int
    interruptions: int
    probabilities: Probabilities | None = None
    events: dict[str, float] | None = None
    overlap_ratio: float | None = None


class TimeGap(Document):
    """A pause in the file's time stamps."""

    at_ms: int
    duration_ms: int


class Audio(Document):
    """The audio that was sent."""

    duration_ms: int
    sample_rate: int
    """Hz."""
    channels: int
    format: str
    subtype: str
    truncated: bool
    track: int | None = None
    tracks: int | None = None
    late_start_ms: int | None = None
    time_gap_ms: int | None = None
    time_gaps: tuple[TimeGap, ...] | None = None
    clock_map: tuple[tuple[int, int, int], ...] | None = None
    file_name: str | None = None


class AnswerWarning(Document):
    """Something odd about the audio or the answer, though the audio was answered."""

    code: str
    """Stable, for programs; there may be new ones."""
    detail: str


class Timing(Document):
    """How long each step took."""

    queue_ms: int
    decode_ms: int
    inference_ms: int
    total_ms: int
    rtf: float
    """`total_ms` over the audio's duration."""


class Detection(Document):
    """The answer to one file."""

    request_id: str
    name: str
    model: Model
    device: str
    degraded: bool
    audio: Audio
    segments: tuple[Segment, ...]
    """Of all channels, by start."""
    speech_ms: int
    speech_ratio: float
    options: dict[str, Any]
    """The mode and its options in force, whoever set them."""
    timing: Timing
    warnings: tuple[AnswerWarning, ...]
    chunks: tuple[Chunk, ...] | None = None
    """With `max_chunk_s`."""
    time_map: tuple[tuple[float, float, float], ...] | None = None
    """With `time_map=True`: (time in the WAV of `format=wav`, time in the source, length)."""
    channels: tuple[Channel, ...] | None = None
    """With `channel="split"`, as are the three figures that follow."""
    silence_ms: int | None = None
    overlap_ms: int | None = None
    interruptions: int | None = None
    probabilities: Probabilities | None = None
    events: dict[str, float] | None = None
    overlap_ratio: float | None = None
    """With `overlap=True`: share of the audio in which several people talk at once."""
    analysis_id: str | None = None
    """With `keep=True`."""


class Accuracy(Document):
    """How well a model's tight segments fit labelled speech (docs/accuracy.md)."""

    frame_f1: float
    threshold: float
    neg_threshold: float


class ListedModel(Document):
    """A model, or a sum of models, that is known to the service."""

    name: str
    title: str
    alias: str | None = None
    """A short name that `model=` also takes."""
    members: tuple[str, ...] | None = None
    weights: tuple[int, ...] | None = None
    """How often each member counts; None: all alike."""
    note: str | None = None
    """What it is good for, and what it costs."""
    state: str
    """`loaded`, `available` (loaded at its first use) or `absent`."""
    default: bool
    accuracy: Accuracy | None
    cost: float | None = None
    """Processor time for the same audio, where that of `fsmn` is 1; None: not measured."""
    id: str
    revision: str | None
    fingerprint: str | None = None
    licence: str | None
    device: str | None = None
    sample_rate: int
    frame_ms: int | None = None
    look_ahead_ms: int | None = None
    live: bool
    """Whether it follows live streams."""
    overlap: bool
    """Whether it tells when several people talk at once."""
    default_mode: str


class Mode(Document):
    """A way of making segments."""

    mode: str
    use: str
    """`file`, `live` or `labelled`."""
    title: str
    options: dict[str, dict[str, Any]]
    """JSON Schema of each option."""


class ModelOptions(Document):
    """What a model sets where a request sets nothing."""

    default_mode: str
    use: str
    defaults: dict[str, dict[str, Any]]
    """For each mode the value of every option."""


class Preset(Document):
    """A named set of settings."""

    name: str
    title: str
    model: str
    live_model: str
    mode: str
    options: dict[str, Any]
    live_options: dict[str, Any] | None
    reasons: dict[str, str]


class Form(Document):
    """A format of answer."""

    name: str
    media_type: str
    extension: str
    needs_audio: bool
    streams: bool


class Input(Document):
    """A type of file that the service reads."""

    name: str
    title: str
    suffixes: tuple[str, ...]


class Options(Document):
    """Everything that can be asked for."""

    modes: tuple[Mode, ...]
    chunks: dict[str, dict[str, Any]]
    """JSON Schema of each option, as in `modes`; so are `audio` and `overlap`."""
    audio: dict[str, dict[str, Any]]
    overlap: dict[str, dict[str, Any]]
    presets: tuple[Preset, ...]
    default_preset: str | None
    models: dict[str, ModelOptions]
    default_model: str
    formats: tuple[str, ...]
    inputs: tuple[Input, ...]
    forms: tuple[Form, ...]


class Health(Document):
    """The service's state."""

    status: str
    """`ready`, `loading`, `draining`, `failed` or `unwritable`."""
    version: str
    uptime_s: float
    model: Model | None
    models: tuple[str, ...]
    """Names of those that are loaded."""
    fallback: str | None
    device: str | None
    workers: int | None
    uploads: int
    inflight: int
    queue: int
    limits: dict[str, Any]


class Event(Document):
    """A message of a live stream; of this class itself if this version does not know its type."""

    type: str
    seq: int | None = None
    """Number within the session; `after=` names the last one that arrived when a client comes back."""


class Ready(Event):
    """The stream is open."""

    session: str
    """A secret, with which its client may come back."""
    offset_ms: int
    offset_samples: int
    """The next sample to send; 0 for a new session."""
    sample_rate: int
    encoding: str
    channels: int
    model: Model
    options: dict[str, Any]


class SpeechStart(Event):
    """Speech has begun."""

    start_ms: int
    at_ms: int
    """How much audio had been received when it was known; so in all events."""


class SpeechConfirmed(Event):
    """With `confirm_ms`: the segment is certain, or goes on after all."""

    start_ms: int
    at_ms: int


class SpeechMaybeEnd(Event):
    """With `maybe_end_ms`: the segment may be at its end."""

    start_ms: int
    end_ms: int
    at_ms: int


class Utterance(Document):
    """With `audio=True`: the samples of a segment."""

    encoding: str
    sample_rate: int
    truncated: bool
    data: str

    @property
    def samples(self) -> bytes:
        """PCM, 16 bits, mono."""
        return base64.b64decode(self.data)


class SpeechEnd(Event, SegmentTimes):
    """A segment is complete."""

    at_ms: int
    audio: Utterance | None = None


class OptionsInForce(Event):
    """The answer to `Stream.change`: all that is in force from the next frame on."""

    options: dict[str, Any]
    at_ms: int


class ProbabilityEvent(Event):
    """With `probabilities=True`: means of consecutive intervals from `start_ms` on."""

    start_ms: int
    interval_ms: int
    values: tuple[float, ...]


class Flushed(Event):
    """The answer to `Stream.flush`."""

    at_ms: int


class Reset(Event):
    """The answer to `Stream.reset`."""


class Pong(Event):
    """The answer to `Stream.ping`."""

    received_ms: int


class Done(Event):
    """The last event: all segments since the beginning or the last reset."""

    segments: tuple[SegmentTimes, ...]
    warnings: tuple[AnswerWarning, ...]
    duration_ms: int
    chunks: int
    """Binary messages received."""


class Rejected(Event):
    """A message that was sent is none, or its options cannot be set (`option` names the first); the stream goes on."""

    code: str
    detail: str
    option: str | None = None


EVENTS: dict[str, type[Event]] = {
    "ready": Ready,
    "speech_start": SpeechStart,
    "speech_confirmed": SpeechConfirmed,
    "speech_maybe_end": SpeechMaybeEnd,
    "speech_end": SpeechEnd,
    "options": OptionsInForce,
    "probability": ProbabilityEvent,
    "flushed": Flushed,
    "reset": Reset,
    "pong": Pong,
    "done": Done,
    "error": Rejected,
}
"""By `type`."""
