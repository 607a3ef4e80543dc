"""`/analyses/{id}`: a kept file's scores under other options, and what a picture of it needs."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from app.api.access import client_of
from app.api.detect import ANSWER_FORMS, PROBLEMS
from app.api.parameters import documented_parameters, read_parameters
from app.api.request_id import request_id_of
from app.api.schemas import CurveAnswer, DetectionAnswer, Problem
from app.api.service import service_of
from app.formats.registry import choose
from app.formats.structured import funasr_documents, json_document
from app.vad.errors import InvalidOption

router = APIRouter(tags=["kept analyses"])

_MAX_POINTS = 20_000
_GONE: dict[int | str, dict[str, Any]] = {404: {"description": "There is none, or not any more.", "model": Problem}}


@router.get(
    "/analyses/{identifier}/segments",
    responses={200: {"model": DetectionAnswer, "content": ANSWER_FORMS}, **PROBLEMS, **_GONE},
    openapi_extra={"parameters": documented_parameters()},
)
async def segments(request: Request, identifier: str) -> Response:
    """The file's segments under these options: only the segmenter runs."""
    service = service_of(request)
    detector = service.ready_detector()
    parameters = read_parameters(request, {})
    options = detector.options(parameters.detection)
    form = choose(parameters.answer.format, request.headers.get("accept"))
    if form.name in ("wav", "zip", "ndjson"):
        raise InvalidOption("format", f"{form.name} needs the audio, which is not kept; send the file to /vad")
    analysis = service.analyses.get(identifier, client_of(request.scope))
    report = await detector.engine.in_reader(analysis.segment, options, request_id_of(request.scope))
    if form.text is not None:
        return Response(form.text(report, parameters.answer.lang), media_type=form.media_type)
    if form.name == "funasr":
        return JSONResponse(funasr_documents(report))
    return JSONResponse({**json_document(report), "analysis_id": identifier})


@router.get("/analyses/{identifier}/curve", responses={200: {"model": CurveAnswer}, **PROBLEMS, **_GONE})
async def curve(
    request: Request, identifier: str, points: int = 2000, start_ms: int = 0, end_ms: int | None = None
) -> JSONResponse:
    """Speech probability and amplitude of a stretch, in at most `points` steps."""
    service = service_of(request)
    detector = service.ready_detector()
    analysis = service.analyses.get(identifier, client_of(request.scope))
    duration_ms = analysis.report.audio.duration_ms
    stop_ms = duration_ms if end_ms is None else end_ms
    if not 1 <= points <= _MAX_POINTS:
        raise InvalidOption("points", f"1 to {_MAX_POINTS}")
    if not 0 <= start_ms < stop_ms:
        raise InvalidOption("start_ms", "must not be negative, and below end_ms")
    found = await detector.engine.in_reader(analysis.curve, start_ms, min(stop_ms, duration_ms), points)
    answer = CurveAnswer(
        frame_ms=analysis.grid.frame_ms,
        duration_ms=duration_ms,
        probabilities=found.probabilities,
        peaks=found.peaks,
    )
    return JSONResponse(answer.model_dump())
