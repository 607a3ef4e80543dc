"""A request's options: query parameters and form fields under the same names, taken apart and documented."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request

from app.detection import Channel
from app.formats.registry import FORMATS
from app.vad.errors import InvalidOption
from app.vad.segmenters.options import VadOptions


class RequestOptions(BaseModel):
    """Options that say what to answer, beside those that shape the segments."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: str | None = Field(
        None,
        json_schema_extra={"enum": list(FORMATS)},
        description="Form of the answer; without it the `Accept` header decides, else `json`.",
    )
    channel: str = Field(
        "mix",
        pattern=r"^(mix|split|[0-7])$",
        description="`mix`: the mean of all channels. A number: that channel, from 0. `split`: each by itself.",
    )
    probabilities: bool = Field(
        False,
        description="Adds the speech probability of every frame (`format=json` and the ndjson summary): 10 ms with "
        "FSMN-VAD.",
    )
    lang: Literal["zh", "en"] = Field("zh", description="Language of the headings of `format=md`.")
    keep: bool = Field(
        False, description="Keeps the frame scores for a while: the JSON answer carries an `analysis_id`."
    )

    @property
    def channel_choice(self) -> Channel:
        """`channel` as the detector takes it."""
        return self.channel if self.channel in ("mix", "split") else int(self.channel)  # type: ignore[return-value]


_IGNORED = ("model",)
"""Sent by clients of compatible services; there is one model here."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """A request's options, taken apart."""

    answer: RequestOptions
    detection: Mapping[str, str]
    """Raw values for `VadOptions`."""


def read_parameters(request: Request, fields: Mapping[str, str]) -> Parameters:
    """From the query and the form; the form wins. Raises `InvalidOption` for the answer's options.

    Unknown names go on to `VadOptions`, which refuses them.
    """
    given = {**request.query_params, **fields}
    for name in _IGNORED:
        given.pop(name, None)
    mine = {name: given.pop(name) for name in RequestOptions.model_fields if name in given}
    return Parameters(read_answer_options(mine), given)


def read_answer_options(given: Mapping[str, str]) -> RequestOptions:
    """From raw values. Raises `InvalidOption`."""
    try:
        return RequestOptions.model_validate(given)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise InvalidOption(str(problem["loc"][0]), problem["msg"][:1].lower() + problem["msg"][1:]) from None


def documented_parameters(only: Collection[str] | None = None) -> list[dict[str, Any]]:
    """OpenAPI query parameters: every option (or `only` some) with default, range and meaning."""
    parameters = []
    for model in (RequestOptions, VadOptions):
        for name, property_schema in model.model_json_schema()["properties"].items():
            if only is not None and name not in only:
                continue
            schema = _infinity_as_text(property_schema)
            schema.pop("title", None)
            description = schema.pop("description", "")
            parameters.append({"name": name, "in": "query", "description": description, "schema": schema})
    return parameters


def _infinity_as_text(schema: dict[str, Any]) -> dict[str, Any]:
    """JSON has no infinity; the option takes it as text."""
    if schema.get("default") not in (math.inf, "inf"):
        return schema
    kinds = [{"type": "number", "minimum": schema["minimum"]}, {"const": "inf"}]
    return {"anyOf": kinds, "default": "inf", "description": schema["description"]}


def documented_body(only: Collection[str] | None = None) -> dict[str, Any]:
    """OpenAPI request body: a form with `file` and the options, or the raw bytes."""
    options = {parameter["name"]: parameter["schema"] for parameter in documented_parameters(only)}
    file = {"type": "array", "items": {"type": "string", "format": "binary"}, "description": "Audio; may be repeated."}
    form = {"type": "object", "required": ["file"], "properties": {"file": file, **options}}
    binary = {"schema": {"type": "string", "format": "binary"}}
    return {
        "required": True,
        "description": "Audio in any common format, as form field `file` or as the body itself.",
        "content": {"multipart/form-data": {"schema": form}, "application/octet-stream": binary, "audio/*": binary},
    }
