"""`/analyses/{id}`: a kept file's posteriors under other options, and what a picture of it needs."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from app.api.access import client_of
from app.api.admission import take_place
from app.api.answers import disposition, warning_header
from app.api.detect import PROBLEMS, answer_forms
from app.api.parameters import documented_parameters, read_parameters
from app.api.request_id import request_id_of
from app.api.service import service_of
from app.formats.documents import CurveDocument, DetectionDocument, Problem
from app.formats.excerpts import with_time_map
from app.formats.rendering import Format, RenderContext
from app.formats.report import Report
from app.registry import Registry
from app.vad.errors import InvalidOption

_MAX_POINTS = 20_000
"""More than any screen has columns; each costs an answer's bytes."""
_GONE: dict[int | str, dict[str, Any]] = {404: {"description": "There is none, or not any more.", "model": Problem}}


def new_router(registry: Registry) -> APIRouter:
    """The endpoints, documented with what the registry has."""
    router = APIRouter(tags=["kept analyses"])
    router.get(
        "/analyses/{identifier}/segments",
        responses={200: {"model": DetectionDocument, "content": answer_forms(registry)}, **PROBLEMS, **_GONE},
        openapi_extra={"parameters": documented_parameters(registry)},
    )(segments)
    router.get("/analyses/{identifier}/curve", responses={200: {"model": CurveDocument}, **PROBLEMS, **_GONE})(curve)
    return router


async def segments(request: Request, identifier: str) -> Response:
    """The file's segments under these options: only the segmenter runs."""
    service = service_of(request)
    models = service.ready().models
    parameters = read_parameters(request, {})
    form = service.registry.formats.choose(parameters.answer.format, request.headers.get("accept"))
    if form.needs_audio or form.streams:
        raise InvalidOption("format", f"{form.name} needs the audio, which is not kept; send the file to /vad")
    asked = parameters.answer.model
    model = None if asked is None else await models.get(asked)
    analysis = service.analyses.get(identifier, client_of(request.scope))
    if model is not None and model is not analysis.model:
        kept = analysis.model.info.name
        raise InvalidOption("model", f"the posteriors kept are those of {kept}; for others send the file to /vad")
    preset = parameters.answer.preset
    segmentation = models.with_preset(analysis.model, preset).segmentation(parameters.segmenter)
    await take_place(request)
    report = await service.threads.run(analysis.segment, segmentation, request_id_of(request.scope), identifier)
    report = with_time_map(report, parameters.answer)
    content = await service.threads.run(_rendered, form, RenderContext(parameters.answer.lang), report)
    headers = {"Content-Disposition": disposition("inline", report, form), **warning_header(report.warnings)}
    return Response(content, media_type=form.media_type, headers=headers)


def _rendered(form: Format, answering: RenderContext, report: Report) -> bytes:
    return b"".join(form.new(answering).finish(report))


async def curve(
    request: Request, identifier: str, points: int = 2000, start_ms: int = 0, end_ms: int | None = None
) -> JSONResponse:
    """Speech probability and amplitude of a stretch, in at most `points` steps."""
    service = service_of(request)
    service.ready()
    analysis = service.analyses.get(identifier, client_of(request.scope))
    duration_ms = analysis.report.audio.duration_ms
    stop_ms = duration_ms if end_ms is None else end_ms
    if not 1 <= points <= _MAX_POINTS:
        raise InvalidOption("points", f"1 to {_MAX_POINTS}")
    if not 0 <= start_ms < stop_ms:
        raise InvalidOption("start_ms", "must not be negative, and below end_ms")
    await take_place(request)
    found = await service.threads.run(analysis.curve, start_ms, min(stop_ms, duration_ms), points)
    answer = CurveDocument.model_construct(
        frame_ms=analysis.model.grid.frame_ms,
        duration_ms=duration_ms,
        probabilities=found.probabilities,
        peaks=found.peaks,
    )
    return JSONResponse(answer.dump())
