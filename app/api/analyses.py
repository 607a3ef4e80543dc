"""`/analyses/{id}`: a kept file's posteriors under other options, and what a picture of it needs."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from app.answer import Answer, write
from app.api.admission import holder_of, lease_of, request_id_of, with_place
from app.api.detect import answer_headers
from app.api.openapi import PROBLEMS, answer_forms, documented_parameters, problem
from app.api.service import blank_is, query_options, service_of
from app.detection import Results
from app.formats.documents import ChannelCurveDocument, CurveDocument, DetectionDocument
from app.registry import Registry
from app.request import DetectionRequest
from app.vad.errors import InvalidOption

_MAX_POINTS = 20_000
"""More than any screen has columns; each costs an answer's bytes."""
_GONE: dict[int | str, dict[str, Any]] = {404: problem("The analysis does not exist or has expired.")}


def new_router(registry: Registry) -> APIRouter:
    """Make the endpoints, documented with what the registry has."""
    router = APIRouter(tags=["kept analyses"])
    router.get(
        "/analyses/{identifier}/segments",
        operation_id="segment_analysis",
        summary="Segment a kept analysis under other options",
        responses={200: {"model": DetectionDocument, "content": answer_forms(registry)}, **PROBLEMS, **_GONE},
        openapi_extra={"parameters": documented_parameters(registry)},
    )(segments)
    router.get(
        "/analyses/{identifier}/curve",
        operation_id="get_analysis_curve",
        summary="Get a kept analysis as a curve of speech probability and amplitude",
        responses={200: {"model": CurveDocument}, **PROBLEMS, **_GONE},
    )(curve)
    return router


async def segments(request: Request, identifier: str) -> Response:
    """New segments of a kept file with these options. Only the segmenter runs."""
    service = service_of(request)
    runtime = service.ready()
    models, formats = runtime.models, service.registry.formats
    query = query_options(request)
    asked = DetectionRequest.parse(query)
    asked.refuse_unknown_names(query, service.registry.segmenters)
    model = None if asked.model is None else await models.get(asked.model)
    analysis = service.analyses.get(identifier, holder_of(request.scope))
    if model is not None and model is not analysis.model:
        kept = analysis.model.info.name
        raise InvalidOption(
            "model", f"the kept posteriors are those of {kept}; for another choice send the file to /vad"
        )
    chosen = models.with_preset(analysis.model, asked.preset)
    plan = asked.plan(chosen, formats, accept=request.headers.get("accept"))
    analysis.check(plan)
    request_id, results = request_id_of(request.scope), Results(runtime.detector, holder_of(request.scope))
    lease_of(request.scope).at_end(results.close)

    def answer() -> tuple[Answer, bytes]:
        report = analysis.segment(plan, request_id, identifier)
        written = write(plan, [report])
        return written, b"".join(written.pieces)

    async def work() -> tuple[Answer, bytes]:
        results.start()
        await results.start_writing(analysis.count(plan, results))
        return await service.threads.run(answer)

    written, content = await with_place(request, work, service.request_timeout_s)
    results.wrote(len(content))
    return Response(content, media_type=written.media_type, headers=answer_headers(written, "inline"))


async def curve(
    request: Request,
    identifier: str,
    points: Annotated[int, blank_is(2000)] = 2000,
    start_ms: Annotated[int, blank_is(0)] = 0,
    end_ms: Annotated[int | None, blank_is(None)] = None,
) -> JSONResponse:
    """Speech probability and amplitude of a part of the file, in at most `points` steps."""
    service = service_of(request)
    service.ready()
    analysis = service.analyses.get(identifier, holder_of(request.scope))
    duration_ms = analysis.report.audio.duration_ms
    stop_ms = duration_ms if end_ms is None else end_ms
    if not 1 <= points <= _MAX_POINTS:
        raise InvalidOption("points", f"1 to {_MAX_POINTS}")
    # Audio shorter than a millisecond has no stretch but the empty one.
    if not (0 <= start_ms < stop_ms or start_ms == stop_ms == duration_ms == 0):
        raise InvalidOption("start_ms", "must be at least 0 and below end_ms")
    work = partial(service.threads.run, analysis.curve, start_ms, min(stop_ms, duration_ms), points)
    found = await with_place(request, work, service.request_timeout_s)
    answer = CurveDocument.model_construct(
        frame_ms=analysis.model.grid.frame_ms,
        duration_ms=duration_ms,
        probabilities=found.probabilities,
        peaks=found.peaks,
    )
    if found.by_channel:
        answer.channels = [
            ChannelCurveDocument.model_construct(channel=channel, probabilities=values)
            for channel, values in found.by_channel
        ]
    return JSONResponse(answer.dump())
