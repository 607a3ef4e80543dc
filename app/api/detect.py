"""`POST /vad` and its compatible alias: audio in, segments out, in any form."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from app.answer import Answer, Failure, stream, write
from app.api.access import client_of
from app.api.admission import take_place
from app.api.connection import while_connected
from app.api.errors import problem_of
from app.api.openapi import PROBLEMS, answer_forms, documented_body, documented_parameters
from app.api.request_id import request_id_of
from app.api.service import Service, service_of
from app.audio.passes import SourcePasses
from app.detection import FileJob, Progress, Run
from app.formats.documents import DetectionDocument, FunasrDocument, Problem, Timestamp
from app.formats.report import Report, safe_name
from app.registry import Registry
from app.request import DetectionRequest, Plan
from app.runtime import Runtime
from app.vad.errors import DeadlineExceeded, InvalidOption, VadError
from app.vad.segmenters.hysteresis import TightOptions
from app.vad.segmenters.registry import MODE

_TIMESTAMP_OPTIONS = ("model", *TightOptions.names())


def new_router(registry: Registry) -> APIRouter:
    """Make the endpoints, documented with what the registry has."""
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

    async def plan(service: Service, runtime: Runtime, asked: DetectionRequest) -> Plan:
        return await asked.resolve(runtime.models, service.registry.formats, accept=request.headers.get("accept"))

    async with _received(request, plan) as call:
        if call.plan.form.streams:
            return await _answer_while_detecting(call)
        if call.plan.form.needs_audio:
            return await _answer_from_audio(call)
        return await while_connected(request, _answer_whole(call), call.service.request_timeout_s)


async def timestamps(request: Request) -> Response:
    """Speech timestamps as speaches answers them: Silero's option names in, bare `[{"start", "end"}]` in ms out.

    `model` may be any name: one that is not known here means the default model, or Silero where it says so and Silero
    is there.
    """

    async def plan(service: Service, runtime: Runtime, asked: DetectionRequest) -> Plan:
        if asked.segmenter_options.get(MODE, TightOptions.mode) != TightOptions.mode:
            raise InvalidOption(MODE, "segments are always tight here; for other modes send the file to /vad")
        options = {**asked.segmenter_options, MODE: TightOptions.mode}
        asked = asked.model_copy(update={"segmenter_options": options}).with_foreign_model(runtime.models, hint=True)
        return await asked.resolve(runtime.models)

    async with _received(request, plan) as call:
        if len(call.jobs) > 1:
            raise InvalidOption("file", "one file a call")
        run = await while_connected(request, call.detector.run(call.plan, call.jobs[0]), call.service.request_timeout_s)
        report = run.report()
        found = [Timestamp.model_construct(start=each.start_ms, end=each.end_ms) for _, each in report.in_order()]
        return JSONResponse([timestamp.dump() for timestamp in found], headers=warning_headers(report.warnings))


@dataclass(frozen=True, slots=True)
class _Call:
    """A request whose body has come and which has a place for computing."""

    request: Request
    service: Service
    runtime: Runtime
    plan: Plan
    jobs: Sequence[FileJob]
    resources: AsyncExitStack
    """Gives the upload back; a streamed answer takes it over by `pop_all`."""

    @property
    def detector(self):
        return self.runtime.detector

    def report(self, run: Run) -> Report:
        """The run's report, with the id under which its posteriors are kept if that was asked for; null when there is
        no room for them."""
        if not self.plan.request.keep:
            return run.report()
        analysis = run.analysis()
        identifier = None if analysis is None else self.service.analyses.keep(analysis, run.job.client)
        return replace(run.report(), extras={"analysis_id": identifier})

    def problem(self, error: VadError) -> dict[str, Any]:
        return problem_of(error, request_id_of(self.request.scope))
