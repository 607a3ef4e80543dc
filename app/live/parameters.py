"""What a client asks for when it opens a live stream."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from typing_extensions import Self

from app.audio.pcm import ENCODINGS, RawForm, find_encoding, raw_form
from app.vad.errors import InvalidOption
from app.vad.grid import FRAME_MS

CONTAINERS = {"webm": "webm", "ogg": "ogg"}
"""Files that a stream may bring, by what `encoding=` calls them: ffmpeg's demuxer of each. Only those whose bytes can
be decoded as they come."""
_DECODED = "pcm_f32be"
"""What a container's decoder gives out."""
_OPUS_RATE = 48_000
"""Opus is decoded at this rate, whatever it was made from (RFC 7845)."""
LIVE_CHANNEL_PATTERN = r"^(mix|loudest|[0-7])$"
"""A stream has one row of segments, so nothing is split."""


class StreamParameters(BaseModel):
    """Options of a live stream beside those that shape the segments."""

    model_config = ConfigDict(frozen=True)

    encoding: str = Field(
        "pcm_s16le",
        description=f"Samples of the binary frames: {', '.join(f'`{name}`' for name in ENCODINGS)}; `s16le`, `ulaw`, "
        "`pcmu` and the like are taken too. Or a file's bytes, in order: "
        f"{' or '.join(f'`{name}`' for name in CONTAINERS)} with Opus, as browsers' MediaRecorder makes them.",
    )
    sample_rate: int = Field(16_000, ge=8_000, le=48_000, description="Hz; without it 8000 for mu-law and A-law.")
    channels: int = Field(1, ge=1, le=8, description="Interleaved in the binary frames.")
    channel: str = Field(
        "mix",
        pattern=LIVE_CHANNEL_PATTERN,
        description="Of several: `mix` (their mean), a number from 0, or `loudest`.",
    )
    protocol: Literal["vad", "funasr"] = Field(
        "vad", description="`vad`: messages with a type. `funasr`: `[[70,-1]]` and `[[-1,2340]]`."
    )
    confirm_ms: int = Field(
        0, ge=0, le=60_000, description="ms. `speech_confirmed` is sent when a segment is so long; 0: never."
    )
    maybe_end_ms: int = Field(
        0,
        ge=0,
        le=10_000,
        description="ms. `speech_maybe_end` is sent when a segment has been silent for so long; 0: never.",
    )
    audio: bool = Field(False, description="Whether `speech_end` brings the utterance's samples.")
    probabilities: bool = Field(False, description="Whether `probability` messages are sent.")
    probability_interval_ms: int = Field(
        100, ge=FRAME_MS, le=10_000, multiple_of=FRAME_MS, description="ms. One mean speech probability for each."
    )
    model: str | None = Field(None, max_length=200, description="Which model; without it the default one.")
    preset: str | None = Field(None, max_length=64, description="A named set of model, mode and options.")
    session: str = Field("", max_length=64, description="A session to go on with, as `ready` named it.")
    after: int | None = Field(
        None, ge=0, description="With `session`: the last `seq` that arrived. Later messages are sent again."
    )

    @model_validator(mode="before")
    @classmethod
    def _usual_rate(cls, given: Any) -> Any:
        if not isinstance(given, dict) or "encoding" not in given or "sample_rate" in given:
            return given
        name = _encoding(str(given["encoding"]))
        return {**given, "sample_rate": _OPUS_RATE if name in CONTAINERS else find_encoding(name).usual_rate}

    @field_validator("encoding")
    @classmethod
    def _known(cls, value: str) -> str:
        return _encoding(value)

    @model_validator(mode="after")
    def _has_a_form(self) -> Self:
        told = {"audio": self.audio, "confirm_ms": self.confirm_ms, "maybe_end_ms": self.maybe_end_ms}
        asked = next((name for name, value in told.items() if value), None)
        if asked is not None and self.protocol != "vad":
            raise InvalidOption(asked, f"protocol={self.protocol} has no message for it")
        return self

    @model_validator(mode="after")
    def _can_be_resumed(self) -> Self:
        if self.session and self.container:
            raise InvalidOption(
                "session", f"a stream of encoding={self.encoding} cannot be gone on with: begin a new one"
            )
        return self

    @model_validator(mode="after")
    def _channel_is_there(self) -> Self:
        # A container says how many there are when it comes.
        if self.container is None and self.channel.isdigit() and int(self.channel) >= self.channels:
            raise InvalidOption("channel", f"the stream has {self.channels} channels, counted from 0")
        return self

    @property
    def form(self) -> RawForm:
        """Of the samples that come."""
        return raw_form(_DECODED if self.container else self.encoding, self.sample_rate, self.channels)

    @property
    def container(self) -> str | None:
        """The demuxer of what comes, where that is a file's bytes; None for samples."""
        return CONTAINERS.get(self.encoding)

    @property
    def hints(self) -> bool:
        """Whether anything is told of a segment between its start and its end."""
        return bool(self.confirm_ms or self.maybe_end_ms)

    @property
    def bytes_per_sample(self) -> int:
        """Of a sample of every channel."""
        return self.form.frame_bytes

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> tuple[Self, Mapping[str, str]]:
        """These parameters, and what is left for the segmenter. Raises `InvalidOption`."""
        mine = {name: value for name, value in given.items() if name in cls.model_fields}
        rest = {name: value for name, value in given.items() if name not in cls.model_fields}
        try:
            return cls.model_validate(mine), rest
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            raise InvalidOption(str(problem["loc"][0]), problem["msg"][:1].lower() + problem["msg"][1:]) from None


def _encoding(name: str) -> str:
    """Its first name. Raises `InvalidOption`."""
    if name in CONTAINERS:
        return name
    try:
        return find_encoding(name).name
    except InvalidOption as error:
        files = f"{', '.join(CONTAINERS)}; other files are heard whole: send them to POST /vad"
        raise InvalidOption("encoding", f"{error.reason}, {files}") from None
