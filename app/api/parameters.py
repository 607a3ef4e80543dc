"""A request's options: query parameters and form fields under the same names, taken apart and documented."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field
from starlette.requests import Request

from app.audio.channel import CHANNEL_PATTERN, Channel, parse_channel
from app.audio.options import InputOptions
from app.formats.rendering import ExcerptOptions
from app.presets import NONE, PRESET, PRESETS
from app.registry import Registry
from app.vad.chunks import ChunkOptions
from app.vad.options import Options
from app.vad.segmenters.options import SegmenterOptions
from app.vad.segmenters.registry import MODE, Segmenters


class RequestOptions(ExcerptOptions, InputOptions):
    """Options that say what to answer, beside those that shape the segments."""

    format: str | None = Field(
        None, description="Form of the answer; without it the `Accept` header decides, else `json`."
    )
    model: str | None = Field(
        None, description="Which model detects; `GET /models` lists them. Without it the service's default one."
    )
    preset: str | None = Field(
        None,
        description="A named set of model, mode and options, under those that the request sets itself; `GET /options` "
        "tells each. `none`: not the service's either.",
    )
    channel: str = Field(
        "mix",
        pattern=CHANNEL_PATTERN,
        description="`mix`: the mean of all channels. A number: that channel, from 0. `split`: each by itself. "
        "`loudest`: in every half second the one with the most energy.",
    )
    probabilities: bool = Field(
        False,
        description="Adds the speech probability of every frame of the model (`format=json` and the ndjson summary).",
    )
    members: bool = Field(
        False,
        description="With `probabilities`: those of each member of a sum of models, or for each label, too.",
    )
    lang: Literal["zh", "en"] = Field("zh", description="Language of the headings of `format=md`.")
    keep: bool = Field(False, description="Keeps the posteriors for a while: the JSON answer carries an `analysis_id`.")

    @classmethod
    def names(cls) -> list[str]:
        """Every option's name: those of every request, those of the audio, then those of excerpts."""
        shared = [*InputOptions.model_fields, *ExcerptOptions.model_fields]
        return [*(name for name in cls.model_fields if name not in shared), *shared]

    @property
    def channel_choice(self) -> Channel:
        """`channel` as the detector takes it."""
        return parse_channel(self.channel)


@dataclass(frozen=True, slots=True)
class Parameters:
    """A request's options, taken apart."""

    answer: RequestOptions
    segmenter: Mapping[str, str]
    """Raw values for the segmenter in force, and `mode`."""


def read_parameters(request: Request, fields: Mapping[str, str]) -> Parameters:
    """From the query and the form; the form wins. Raises `InvalidOption` for the answer's options.

    Unknown names go on to the segmenter's options, which refuse them.
    """
    given = {**request.query_params, **fields}
    mine = {name: given.pop(name) for name in RequestOptions.model_fields if name in given}
    return Parameters(read_answer_options(mine), given)


def read_answer_options(given: Mapping[str, str]) -> RequestOptions:
    """From raw values. Raises `InvalidOption`."""
    return RequestOptions.parse(given)


def option_schema(options: type[Options]) -> dict[str, dict[str, Any]]:
    """JSON Schema of every option of a class: type, default, range, `unit`, description."""
    properties = options.model_json_schema()["properties"]
    return {name: _plain(properties[name]) for name in options.names()}


def audio_schema() -> dict[str, dict[str, Any]]:
    """The same of the options that say how a file is read, and which of its channels are heard."""
    schemas = option_schema(RequestOptions)
    return {name: schemas[name] for name in ("channel", *InputOptions.model_fields)}


def documented_parameters(registry: Registry, only: Collection[str] | None = None) -> list[dict[str, Any]]:
    """OpenAPI query parameters: every option (or `only` some) with default, range and meaning."""
    schemas = option_schema(RequestOptions)
    schemas["format"]["enum"] = registry.formats.names
    schemas[PRESET]["enum"] = [*(preset.name for preset in PRESETS), NONE]
    schemas[MODE] = _mode_schema(registry.segmenters)
    for _, kind in registry.segmenters.variants():
        for name, schema in option_schema(kind.options).items():
            everywhere = name in SegmenterOptions.model_fields
            told = schema["description"] if everywhere else f"`mode={kind.mode}`. {schema['description']}"
            schemas.setdefault(name, {**schema, "description": told})
    schemas |= option_schema(ChunkOptions)
    return [
        {"name": name, "in": "query", "description": schema.pop("description", ""), "schema": schema}
        for name, schema in schemas.items()
        if only is None or name in only
    ]


def documented_body(registry: Registry, only: Collection[str] | None = None) -> dict[str, Any]:
    """OpenAPI request body: a form with `file` and the options, or the raw bytes."""
    options = {parameter["name"]: parameter["schema"] for parameter in documented_parameters(registry, only)}
    file = {"type": "array", "items": {"type": "string", "format": "binary"}, "description": "Audio; may be repeated."}
    form = {"type": "object", "required": ["file"], "properties": {"file": file, **options}}
    binary = {"schema": {"type": "string", "format": "binary"}}
    return {
        "required": True,
        "description": "Audio in any common format, as form field `file` or as the body itself.",
        "content": {"multipart/form-data": {"schema": form}, "application/octet-stream": binary, "audio/*": binary},
    }


def _mode_schema(segmenters: Segmenters) -> dict[str, Any]:
    told = " ".join(f"`{kind.mode}`: {kind.title}" for kind in segmenters)
    return {
        "type": "string",
        "enum": segmenters.modes,
        "description": f"How segments are made; without it the model's own way. {told}",
    }


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    schema = {name: value for name, value in schema.items() if name != "title"}
    if schema.get("default", 0) is None:
        schema = _without_null(schema)
    if schema.get("default") not in (math.inf, "inf"):
        return schema
    # JSON has no infinity; the option takes it as text.
    plain: dict[str, Any] = {name: schema[name] for name in ("description", "unit") if name in schema}
    plain["anyOf"] = [{"type": "number", "minimum": schema["minimum"]}, {"const": "inf"}]
    return {**plain, "default": "inf"}


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """What is not set is left out of a query; none sends a null."""
    kinds = [kind for kind in schema.get("anyOf", []) if kind != {"type": "null"}]
    rest = {name: value for name, value in schema.items() if name not in ("anyOf", "default")}
    return {**kinds[0], **rest} if len(kinds) == 1 else schema
