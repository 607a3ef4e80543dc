"""`POST /vad` and its compatible alias: audio in, segments out, in any form."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from app.api.answers import answer, warning_header
from app.api.call import open_call
from app.api.connection import while_connected
from app.api.parameters import documented_body, documented_parameters
from app.formats.documents import DetectionDocument, FunasrDocument, Problem, Timestamp
from app.models import Models
from app.registry import Registry
from app.vad.errors import InvalidOption
from app.vad.segmenters.hysteresis import TightOptions
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
_TIMESTAMP_OPTIONS = ("model", *TightOptions.names())
_FOREIGN_HINT = "silero"
"""Clients of speaches call their model by its file's name there, such as `silero_vad_v5`."""


def answer_forms(registry: Registry) -> dict[str, dict[str, Any]]:
    """OpenAPI's content types beside JSON."""
    json, *others = registry.formats
    return {form.media_type.split(";")[0]: {} for form in others if form.media_type != json.media_type}


def new_router(registry: Registry) -> APIRouter:
    """The endpoints, documented with what the registry has."""
    router = APIRouter(tags=["detection"])
    answers = DetectionDocument | list[DetectionDocument | Problem] | list[FunasrDocument]
    router.post(
        "/vad",
        responses={200: {"model": answers, "content": answer_forms(registry)}, **PROBLEMS},
        openapi_extra={
            "parameters": documented_parameters(registry),
            "requestBody": documented_body(registry),
        },
    )(detect)
    # The same for what tools send by themselves: a slash at the end; PUT, with the file's name behind it (`curl -T`).
    router.api_route("/vad/", methods=["POST", "PUT"], include_in_schema=False)(detect)
    router.api_route("/vad", methods=["PUT"], include_in_schema=False)(detect)
    router.api_route("/vad/{filename}", methods=["PUT"], include_in_schema=False)(detect)
    router.post(
        "/v1/audio/speech/timestamps",
        responses={200: {"model": list[Timestamp]}, **PROBLEMS},
        openapi_extra={
            "parameters": documented_parameters(registry, only=_TIMESTAMP_OPTIONS),
            "requestBody": documented_body(registry, only=_TIMESTAMP_OPTIONS),
        },
    )(timestamps)
    return router


async def detect(request: Request) -> Response:
    """Speech segments of the audio in the form field `file`, or in the body itself.

    Several files are answered by an array, each its own answer or problem. Audio is taken from the request alone: a URL
    is not fetched.
    """
    async with open_call(request) as call:
        return await answer(call)


async def timestamps(request: Request) -> Response:
    """Speech timestamps as speaches answers them: Silero's option names in, bare `[{"start", "end"}]` in ms out.

    `model` may be any name: one that is not known here means the default model, or Silero where it says so and Silero
    is there.
    """
    async with open_call(request, {MODE: TightOptions.mode}, _by_foreign_name) as call:
        if len(call.jobs) > 1:
            raise InvalidOption("file", "one file a call")
        work = call.detector.detect(call.jobs[0])
        report = await while_connected(request, work, call.service.request_timeout_s)
        found = [Timestamp.model_construct(start=each.start_ms, end=each.end_ms) for _, each in report.in_order()]
        return JSONResponse([timestamp.dump() for timestamp in found], headers=warning_header(report.warnings))


def _by_foreign_name(models: Models, asked: str | None) -> str | None:
    if asked is None or models.is_known(asked):
        return asked
    loaded = [model.info.name for model in models]
    return _FOREIGN_HINT if _FOREIGN_HINT in asked.lower() and _FOREIGN_HINT in loaded else None
