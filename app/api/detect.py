"""`POST /vad` and its compatible alias: audio in, segments out, in any form."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from app.analyses import Analysis
from app.answer import SHORT, Answer, Failure, stream, warning_headers, write
from app.api.admission import holder_of, lease_of, request_id_of, with_place
from app.api.errors import problem_of
from app.api.headers import form_boundary
from app.api.openapi import PROBLEMS, answer_forms, documented_body, documented_parameters
from app.api.service import Service, query_options, service_of
from app.audio.source import SourcePasses
from app.detection import FileJob, Progress, Results, Run
from app.formats.documents import DetectionDocument, FunasrDocument, Problem, Timestamp
from app.formats.report import Report
from app.registry import Registry
from app.request import DetectionRequest, Plan
from app.runtime import Runtime
from app.vad.errors import DeadlineExceeded, InvalidOption, VadError
from app.vad.segmenters.hysteresis import TightOptions
from app.vad.segmenters.registry import MODE

_T = TypeVar("_T")
_TIMESTAMP_OPTIONS = ("model", *TightOptions.names())


class _Route(APIRoute):
    """Documented as any route, and called with the request alone: no parameters are looked for that none declares."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The endpoint itself."""
        handler: Callable[[Request], Coroutine[Any, Any, Response]] = self.endpoint
        return handler


def new_router(registry: Registry) -> APIRouter:
    """Make the endpoints, documented with what the registry has."""
    router = APIRouter(tags=["detection"], route_class=_Route)
    # FunASR's first: what reads an answer by trying may take anything for one of several documents or a problem.
    answers = DetectionDocument | list[FunasrDocument] | list[DetectionDocument | Problem]
    router.post(
        "/vad",
        operation_id="detect_speech",
        summary="Detect speech in a file",
        responses={200: {"model": answers, "content": answer_forms(registry)}, **PROBLEMS},
        openapi_extra={"parameters": documented_parameters(registry), "requestBody": documented_body()},
    )(detect)
    # The same for what tools send by themselves: a slash at the end; PUT, with the file's name behind it (`curl -T`).
    router.api_route("/vad/", methods=["POST", "PUT"], include_in_schema=False)(detect)
    router.api_route("/vad", methods=["PUT"], include_in_schema=False)(detect)
    router.api_route("/vad/{filename}", methods=["PUT"], include_in_schema=False)(detect)
    router.post(
        "/v1/audio/speech/timestamps",
        operation_id="detect_speech_timestamps",
        summary="Detect speech in a file, with the answer of speaches",
        responses={200: {"model": list[Timestamp]}, **PROBLEMS},
        openapi_extra={
            "parameters": documented_parameters(registry, only=_TIMESTAMP_OPTIONS),
            "requestBody": documented_body(),
        },
    )(timestamps)
    return router


async def detect(request: Request) -> Response:
    """Find the speech segments of the audio in the form field `file`.

    Several files give an array with one answer or problem per file. `format` chooses the form of the answer:
    `ndjson` is sent during detection, `wav` and `zip` are the speech itself. The service does not fetch URLs.
    """

    async def plan(service: Service, runtime: Runtime, asked: DetectionRequest) -> Plan:
        return await asked.resolve(runtime.models, service.registry.formats, accept=request.headers.get("accept"))

    async with _received(request, plan) as call:
        if call.plan.form.streams:
            return await _answer_while_detecting(call)
        if call.plan.form.needs_audio:
            return await _answer_from_audio(call)
        return await call.with_place(partial(_answer_whole, call))


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
            raise InvalidOption("file", "send one file per request")
        report = (await call.with_place(partial(call.runtime.detector.run, call.plan, call.jobs[0]))).report()
        found = [Timestamp.model_construct(start=each.start_ms, end=each.end_ms) for _, each in report.in_order()]
        return JSONResponse([timestamp.dump() for timestamp in found], headers=warning_headers(report.warnings))


MakePlan = Callable[[Service, Runtime, DetectionRequest], Awaitable[Plan]]


@dataclass(frozen=True, slots=True)
class _Call:
    """A request whose body has come."""

    request: Request
    service: Service
    runtime: Runtime
    plan: Plan
    jobs: Sequence[FileJob]
    results: Results
    """What it has in memory until its answer has been sent."""
    resources: AsyncExitStack
    """Gives the upload back; a streamed answer takes it over by `pop_all`."""

    async def with_place(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """As `app.api.admission.with_place`; of work that begins again nothing is left in memory."""

        async def begin() -> _T:
            self.results.start()
            for job in self.jobs:
                if job.keeping is not None:
                    job.keeping.drop()
            return await work()

        return await with_place(self.request, begin, self.service.request_timeout_s)

    def report(self, run: Run) -> Report:
        """The run's report, with the id under which its posteriors are kept if that was asked for; null when there is
        no room for them."""
        if not self.plan.request.keep:
            return run.report()
        analysis, keeping = Analysis.of(run), run.job.keeping
        identifier = None if analysis is None or keeping is None else keeping.keep(analysis)
        return replace(run.report(), extras={"analysis_id": identifier})

    def problem(self, error: VadError) -> dict[str, Any]:
        return problem_of(error, request_id_of(self.request.scope))


@asynccontextmanager
async def _received(request: Request, make_plan: MakePlan) -> AsyncIterator[_Call]:
    """Receive the body.

    Everything that is wrong with a raw body's request is refused before its body is read. A form may still change what
    the query says, so only names that no source could mend are refused before it. Raises what can be wrong with any of
    it.
    """
    service = service_of(request)
    runtime = service.ready()
    media_type = request.headers.get("content-type", "")
    query = query_options(request)
    DetectionRequest.refuse_unknown_names(query, service.registry.segmenters)
    plan = None
    if form_boundary(request) is None:
        plan = await make_plan(service, runtime, DetectionRequest.parse(query))
        plan.request.input(Path(), media_type)
    async with AsyncExitStack() as resources:
        upload = await resources.enter_async_context(service.uploads.receive(request))
        if plan is None:
            plan = await make_plan(service, runtime, DetectionRequest.parse(query, upload.fields))
        plan.refuse_several_files(len(upload.files), service.registry.formats)
        holder, request_id = holder_of(request.scope), request_id_of(request.scope)
        results = Results(runtime.detector, holder)
        lease_of(request.scope).at_end(results.close)
        jobs = []
        for file in upload.files:
            keeping = service.analyses.begin(holder) if plan.request.keep else None
            if keeping is not None:
                resources.callback(keeping.drop)
            source = file.audio_input(plan.request.input, media_type)
            name = file.filename or request.path_params.get("filename")
            jobs.append(FileJob(source, name, request_id, holder, keeping, results))
        yield _Call(request, service, runtime, plan, jobs, results, resources)


async def _answer_whole(call: _Call) -> Response:
    detector, found = call.runtime.detector, list[Report | Failure]()
    for job in call.jobs:
        try:
            found.append(call.report(await detector.run(call.plan, job)))
        except VadError as error:  # noqa: PERF203 - a bad file spoils nothing for the others
            if len(call.jobs) == 1:
                raise
            found.append(Failure(job.name, {"name": job.name, **call.problem(error)}))
    if sum(each.size for each in found if isinstance(each, Report)) <= SHORT and len(found) == 1:
        # A short answer takes less time to write than to hand to a thread and back.
        answer, content = _written(call.plan, found)
    else:
        await call.results.start_writing(sum(each.values for each in found if isinstance(each, Report)))
        answer, content = await call.service.threads.run(_written, call.plan, found)
        call.results.wrote(len(content))
    return Response(content, media_type=answer.media_type, headers=answer_headers(answer, "inline"))


def _written(plan: Plan, found: Sequence[Report | Failure]) -> tuple[Answer, bytes]:
    answer = write(plan, found)
    return answer, b"".join(answer.pieces)


async def _answer_while_detecting(call: _Call) -> Response:
    """Pieces as things are found. What fails before the first block is answered with its own status."""
    timeout_s, lease = call.service.request_timeout_s, lease_of(call.request.scope)

    async def begin() -> tuple[Run, AsyncGenerator[Progress, None], list[Progress]]:
        run, first = Run(call.runtime.detector, call.plan, call.jobs[0]), list[Progress]()
        steps = run.steps()
        call.resources.push_async_callback(steps.aclose)
        async for step in steps:
            first.append(step)
            if not lease.on_trial:  # what has been sent cannot begin again
                break
        return run, steps, first

    run, steps, first = await call.with_place(begin)
    started = time.monotonic()

    async def limited() -> AsyncIterator[Progress]:
        for step in first:
            yield step
        async for step in steps:
            if time.monotonic() - started > timeout_s:
                raise DeadlineExceeded(f"the request took longer than {timeout_s:g} s")
            yield step

    async def complete(run: Run) -> Report:
        report = call.report(run)
        await call.results.start_writing(report.values)
        return report

    pieces = stream(run, limited(), complete, call.problem)
    return _OwningResponse(pieces, call.plan.form.media_type, {"X-Accel-Buffering": "no"}, call.resources.pop_all())


async def _answer_from_audio(call: _Call) -> Response:
    """Pieces cut out of the upload, which is decoded a second time and streamed."""
    threads, job = call.service.threads, call.jobs[0]
    report = call.report(await call.with_place(partial(call.runtime.detector.run, call.plan, job)))
    audio, rate = call.runtime.detector.audio, call.plan.request.excerpt_rate
    passes = call.resources.enter_context(SourcePasses(job.source, audio, rate))
    answer = await threads.run(write, call.plan, [report], passes.blocks)
    # What cannot be written is refused here, with a status of its own.
    first = await threads.run(next, answer.pieces, b"")

    async def pieces() -> AsyncIterator[bytes]:
        piece = first
        while piece:
            yield piece
            piece = await threads.run(next, answer.pieces, b"")

    headers = answer_headers(answer, "attachment")
    return _OwningResponse(pieces(), answer.media_type, headers, call.resources.pop_all())


class _OwningResponse(StreamingResponse):
    """A streamed answer that gives its resources back when it ends, however it ends."""

    def __init__(
        self, content: AsyncIterator[bytes], media_type: str, headers: Mapping[str, str], resources: AsyncExitStack
    ) -> None:
        super().__init__(content, media_type=media_type, headers=dict(headers))
        self._resources = resources

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer, then let go of what it was read from, sent or not."""
        async with self._resources:
            await super().__call__(scope, receive, send)


def answer_headers(answer: Answer, disposition: Literal["inline", "attachment"]) -> dict[str, str]:
    """The head of an answer: its name as a file, and what its form has no room for."""
    if answer.filename is None:
        return dict(answer.headers)
    return {"Content-Disposition": f"{disposition}; filename*=UTF-8''{quote(answer.filename)}", **answer.headers}
