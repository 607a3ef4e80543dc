"""`POST /vad` and its compatible alias: audio in, segments out, in any form."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from app.api.answers import excerpts_answer, ndjson_answer, whole_answer
from app.api.call import open_call
from app.api.connection import while_connected
from app.api.parameters import documented_body, documented_parameters
from app.api.schemas import DetectionAnswer, Problem, Timestamp
from app.formats.registry import FORMATS
from app.vad.errors import InvalidOption

router = APIRouter(tags=["detection"])

ANSWER_FORMS: dict[str, dict[str, Any]] = {
    form.media_type.split(";")[0]: {} for form in FORMATS.values() if form.name != "json"
}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"description": meaning, "model": Problem}
    for status, meaning in {
        400: "No audio, or a malformed body.",
        401: "Key missing or wrong.",
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


@router.post(
    "/vad",
    responses={200: {"model": DetectionAnswer | list[DetectionAnswer | Problem], "content": ANSWER_FORMS}, **PROBLEMS},
    openapi_extra={"parameters": documented_parameters(), "requestBody": documented_body()},
)
async def detect(request: Request) -> Response:
    """Speech segments of the audio in the form field `file`, or in the body itself.

    Several files are answered by an array, each its own answer or problem. Audio is taken from the request alone: a URL
    is not fetched.
    """
    async with open_call(request) as call:
        if call.format.name == "ndjson":
            return await ndjson_answer(call)
        if call.format.name in ("wav", "zip"):
            return await excerpts_answer(call)
        return await while_connected(request, whole_answer(call), call.service.request_timeout_s)


_TIMESTAMP_OPTIONS = (
    "threshold",
    "neg_threshold",
    "min_speech_duration_ms",
    "max_speech_duration_s",
    "min_silence_duration_ms",
    "speech_pad_ms",
)


@router.post(
    "/v1/audio/speech/timestamps",
    responses={200: {"model": list[Timestamp]}, **PROBLEMS},
    openapi_extra={
        "parameters": documented_parameters(only=_TIMESTAMP_OPTIONS),
        "requestBody": documented_body(only=_TIMESTAMP_OPTIONS),
    },
)
async def timestamps(request: Request) -> Response:
    """Speech timestamps as speaches answers them: Silero's option names in, bare `[{"start", "end"}]` in ms out.

    `model` is taken and not used: this service has one.
    """
    async with open_call(request, {"mode": "tight"}) as call:
        if len(call.jobs) > 1:
            raise InvalidOption("file", "one file a call")
        work = call.detector.detect(call.jobs[0])
        report = await while_connected(request, work, call.service.request_timeout_s)
        return JSONResponse([{"start": found.start_ms, "end": found.end_ms} for _, found in report.in_order()])
