"""What OpenAPI, the page and the documents say of options: drawn from the classes that define them.

`/openapi.json` is read by programs that make clients of it. Some send the default of every parameter, and a request may
only have options of the mode in force: so no parameter has a `default` there, and its description says what holds where
it is left out. Some know no infinity, which JSON has not either: where there is no limit the option is left out. Some
take a body or an answer for bytes, or for a stream, as soon as one of its content types is: so a body is a form there,
and an answer JSON or text. The form has one part, the file: some send every part, set or not. What else the service
takes and gives (raw bodies, options in forms, lines while they are found, audio) is told in words.
"""

import json
import math
from collections.abc import Collection
from typing import Any

from fastapi import FastAPI

from app.api.admission import METRICS, policy_of
from app.api.errors import PROBLEM_JSON
from app.audio.options import InputOptions
from app.presets import NONE, PRESET
from app.registry import Registry
from app.request import OVERLAP, STREAM_ONLY, DetectionRequest
from app.vad.chunks import ChunkOptions
from app.vad.options import Options
from app.vad.segmenters.options import SegmenterOptions
from app.vad.segmenters.registry import MODE


def problem(description: str) -> dict[str, Any]:
    """An OpenAPI response that is a problem document."""
    return {
        "description": description,
        "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: problem("No audio, or a malformed body."),
    401: problem("The key is missing or wrong."),
    406: problem("No format fits `Accept`."),
    408: problem("The upload is too slow."),
    413: problem("The upload is too large."),
    415: problem("Not audio, or in a format that cannot be decoded."),
    422: problem("Broken or too long audio, or a wrong option."),
    429: problem("This client sends too many requests."),
    500: problem("The service made an error."),
    503: problem("The service is full or not ready. `Retry-After` says when to try again."),
    504: problem("The request took too long."),
}
"""Of every request that brings audio."""


_KEYS = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "One of the service's keys."},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same in another header."},
}
"""OpenAPI's security schemes, of which a request needs one."""


def declare_keys(app: FastAPI, *, guard_metrics: bool) -> None:
    """Have the document of an application with keys say which operations need one, and how it is sent."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = made()
            document["components"]["securitySchemes"] = _KEYS
            for path, operations in document["paths"].items():
                if not policy_of(path).open or (path == METRICS and guard_metrics):
                    for operation in operations.values():
                        operation["security"] = [{name: []} for name in _KEYS]
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]


def answer_forms(registry: Registry) -> dict[str, dict[str, Any]]:
    """OpenAPI's content types beside JSON: those that are text."""
    first, *others = registry.formats
    left_out = {first.media_type, *(form.media_type for form in others if form.needs_audio or form.streams)}
    return {
        form.media_type.split(";")[0]: {"schema": {"type": "string"}}
        for form in others
        if form.media_type not in left_out
    }


def option_schema(options: type[Options]) -> dict[str, dict[str, Any]]:
    """JSON Schema of every option of a class: type, default, range, `unit`, description."""
    properties = options.model_json_schema()["properties"]
    return {name: _plain(properties[name]) for name in options.names()}


def audio_schema() -> dict[str, dict[str, Any]]:
    """The same for the options of reading a file and its channels."""
    schemas = option_schema(DetectionRequest)
    return {name: schemas[name] for name in ("channel", *InputOptions.model_fields)}


def overlap_schema() -> dict[str, dict[str, Any]]:
    """The same of the options that ask when several people talk at once."""
    schemas = option_schema(DetectionRequest)
    return {name: schemas[name] for name in OVERLAP}


def documented_parameters(registry: Registry, only: Collection[str] | None = None) -> list[dict[str, Any]]:
    """OpenAPI query parameters: every option (or `only` some) with range and meaning."""
    schemas = {name: schema for name, schema in option_schema(DetectionRequest).items() if name not in STREAM_ONLY}
    schemas["format"]["enum"] = registry.formats.names
    schemas[PRESET]["enum"] = [*registry.presets.names, NONE]
    titles = " ".join(f"`{kind.mode}`: {kind.title}" for kind in registry.segmenters)
    schemas[MODE] = {
        "type": "string",
        "enum": registry.segmenters.modes,
        "description": f"How segments are made. Default: the model's own mode. {titles}",
    }
    for _, kind in registry.segmenters.variants():
        for name, schema in option_schema(kind.options).items():
            everywhere = name in SegmenterOptions.model_fields
            description = schema["description"] if everywhere else f"`mode={kind.mode}`. {schema['description']}"
            of_models = _defaults_of_models(registry, kind.mode, name)
            schemas.setdefault(name, {**schema, "description": description, "of_models": of_models})
    schemas |= option_schema(ChunkOptions)
    return [_parameter(name, schema) for name, schema in schemas.items() if only is None or name in only]


def documented_body() -> dict[str, Any]:
    """OpenAPI request body: a form with the `file`."""
    form = {
        "type": "object",
        "required": ["file"],
        "properties": {"file": {"type": "string", "format": "binary", "description": "The audio file."}},
    }
    return {
        "required": True,
        "description": "Audio in any common format. Where `file` is repeated, the answer is an array. The file's bytes "
        "may also be the body itself, and options be form fields.",
        "content": {"multipart/form-data": {"schema": form}},
    }


def _parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """One of OpenAPI's, its default in words."""
    default, of_models = schema.pop("default", None), schema.pop("of_models", {})
    description = schema.pop("description", "")
    if default == "inf":
        schema |= schema.pop("anyOf")[0]
        description += " Default: no limit."
    elif schema.pop("anyOf", None):  # a number or a word: text, for clients that know no unions
        schema = {"type": "string", **schema}
    if default not in (None, "inf"):
        values = {json.dumps(default).strip('"'): ""}
        for model, value in of_models.items():
            words = json.dumps(value).strip('"')
            values[words] = f"{values[words]}, `{model}`" if values.get(words) else f" with `{model}`"
        description += f" Default: {'; '.join(f'`{value}`{models}' for value, models in values.items())}."
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _defaults_of_models(registry: Registry, mode: str, option: str) -> dict[str, Any]:
    """What known models take for an option where nobody sets it, by their names, if it is not the mode's default."""
    found = {known.name: known.option_defaults.get(mode, {}).get(option) for _, known in registry.catalogue.known()}
    default = registry.segmenters.kind(mode).options.model_fields.get(option)
    usual = None if default is None else default.default
    return {name: value for name, value in found.items() if value is not None and value != usual}


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """A pydantic property as programs that send queries want it: without null, which nobody sends, and without
    infinity, which JSON has not."""
    schema = {name: value for name, value in schema.items() if name != "title"}
    if schema.get("default", 0) is None:
        kinds = [kind for kind in schema.get("anyOf", []) if kind != {"type": "null"}]
        kind = kinds[0] if len(kinds) == 1 else {"anyOf": kinds} if kinds else {}
        schema = {**kind, **{name: schema[name] for name in schema if name not in ("anyOf", "default")}}
    if schema.get("default") not in (math.inf, "inf"):
        return schema
    # The option takes infinity as text.
    plain: dict[str, Any] = {name: schema[name] for name in ("description", "unit") if name in schema}
    plain["anyOf"] = [{"type": "number", "minimum": schema["minimum"]}, {"const": "inf"}]
    return {**plain, "default": "inf"}
