"""What OpenAPI, the page and the documents say of options: drawn from the classes that define them."""

import math
from collections.abc import Collection
from typing import Any

from app.audio.options import InputOptions
from app.formats.documents import Problem
from app.presets import NONE, PRESET
from app.registry import Registry
from app.request import STREAM_ONLY, DetectionRequest
from app.vad.chunks import ChunkOptions
from app.vad.options import Options
from app.vad.segmenters.options import SegmenterOptions
from app.vad.segmenters.registry import MODE

PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"description": meaning, "model": Problem}
    for status, meaning in {
        400: "No audio, or a malformed body.",
        401: "Key missing or wrong.",
        406: "No format fits `Accept`.",
        408: "The upload is too slow.",
        413: "The upload is too large.",
        415: "Not audio, or in a form that cannot be decoded.",
        422: "Broken or too long audio, or a wrong option.",
        429: "This client asks too often.",
        500: "Something went wrong here.",
        503: "Full, or not ready; `Retry-After` says when to come back.",
        504: "The request took too long.",
    }.items()
}
"""Of every request that brings audio."""


def answer_forms(registry: Registry) -> dict[str, dict[str, Any]]:
    """OpenAPI's content types beside JSON."""
    json, *others = registry.formats
    return {form.media_type.split(";")[0]: {} for form in others if form.media_type != json.media_type}


def option_schema(options: type[Options]) -> dict[str, dict[str, Any]]:
    """JSON Schema of every option of a class: type, default, range, `unit`, description."""
    properties = options.model_json_schema()["properties"]
    return {name: _plain(properties[name]) for name in options.names()}


def audio_schema() -> dict[str, dict[str, Any]]:
    """The same of the options that say how a file is read, and which of its channels are heard."""
    schemas = option_schema(DetectionRequest)
    return {name: schemas[name] for name in ("channel", *InputOptions.model_fields)}


def documented_parameters(registry: Registry, only: Collection[str] | None = None) -> list[dict[str, Any]]:
    """OpenAPI query parameters: every option (or `only` some) with default, range and meaning."""
    schemas = {name: schema for name, schema in option_schema(DetectionRequest).items() if name not in STREAM_ONLY}
    schemas["format"]["enum"] = registry.formats.names
    schemas[PRESET]["enum"] = [*registry.presets.names, NONE]
    titles = " ".join(f"`{kind.mode}`: {kind.title}" for kind in registry.segmenters)
    schemas[MODE] = {
        "type": "string",
        "enum": registry.segmenters.modes,
        "description": f"How segments are made. Without it the model's own way. {titles}",
    }
    for _, kind in registry.segmenters.variants():
        for name, schema in option_schema(kind.options).items():
            everywhere = name in SegmenterOptions.model_fields
            description = schema["description"] if everywhere else f"`mode={kind.mode}`. {schema['description']}"
            schemas.setdefault(name, {**schema, "description": description})
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


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """A pydantic property as programs that send queries want it: without null, which nobody sends, and without
    infinity, which JSON has not."""
    schema = {name: value for name, value in schema.items() if name != "title"}
    if schema.get("default", 0) is None:
        kinds = [kind for kind in schema.get("anyOf", []) if kind != {"type": "null"}]
        if len(kinds) == 1:
            schema = {**kinds[0], **{name: schema[name] for name in schema if name not in ("anyOf", "default")}}
    if schema.get("default") not in (math.inf, "inf"):
        return schema
    # The option takes infinity as text.
    plain: dict[str, Any] = {name: schema[name] for name in ("description", "unit") if name in schema}
    plain["anyOf"] = [{"type": "number", "minimum": schema["minimum"]}, {"const": "inf"}]
    return {**plain, "default": "inf"}
