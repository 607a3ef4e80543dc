"""What a client asks for when it opens a live stream."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from typing_extensions import Self

from app.vad.errors import InvalidOption
from app.vad.grid import FRAME_MS

_ALIASES = {"s16le": "pcm_s16le", "f32le": "pcm_f32le"}


class StreamParameters(BaseModel):
    """Options of a live stream beside those that shape the segments."""

    model_config = ConfigDict(frozen=True)

    encoding: Literal["pcm_s16le", "pcm_f32le"] = Field(
        "pcm_s16le", description="Samples of the binary frames, one channel; `s16le` and `f32le` are taken too."
    )
    sample_rate: int = Field(16_000, ge=8_000, le=48_000, description="Hz.")
    protocol: Literal["vad", "funasr"] = Field(
        "vad", description="`vad`: messages with a type. `funasr`: `[[70,-1]]` and `[[-1,2340]]`."
    )
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

    @field_validator("encoding", mode="before")
    @classmethod
    def _known_by_another_name(cls, value: object) -> object:
        return _ALIASES.get(value, value) if isinstance(value, str) else value

    @property
    def bytes_per_sample(self) -> int:
        """Of one sample."""
        return 2 if self.encoding == "pcm_s16le" else 4

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
