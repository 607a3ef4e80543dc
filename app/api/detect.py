"""`POST /vad`: audio in, segments out, in any form."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from app.api.connection import while_connected
from app.api.errors import problem_of
from app.api.parameters import Parameters, documented_body, documented_parameters, read_parameters
from app.api.request_id import request_id_of
from app.api.schemas import DetectionAnswer, Problem
from app.api.service import Service, service_of
from app.api.uploads import Upload
from app.detection import Detector, Job, Progress, Run, SourcePasses
from app.formats.excerpts import stream_wav, stream_zip
from app.formats.ndjson import MEDIA_TYPE as NDJSON
from app.formats.ndjson import NdjsonWriter
from app.formats.registry import FORMATS, Format, choose
from app.formats.report import Report, safe_name
from app.formats.structured import funasr_documents, json_document
from app.vad.errors import DeadlineExceeded, InvalidOption, VadError

router = APIRouter(tags=["detection"])

_PROGRESS_EVERY_S = 1.0
_PROGRESS_EVERY_SHARE = 0.05
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


@dataclass(frozen=True, slots=True)
class _Call:
    """A request whose body has been received."""

    request: Request
    service: Service
    detector: Detector
    parameters: Parameters
    format: Format
    jobs: Sequence[Job]


@router.post(
    "/vad",
    responses={200: {"model": DetectionAnswer, "content": ANSWER_FORMS}, **PROBLEMS},
    openapi_extra={"parameters": documented_parameters(), "requestBody": documented_body()},
)
async def detect(request: Request) -> Response:
    """Speech segments of the audio in the form field `file`, or in the body itself."""
    service = service_of(request)
    detector = service.ready_detector()
    detector.options(read_parameters(request, {}).detection)  # a wrong option is told before the upload
    async with AsyncExitStack() as stack:
        upload = await stack.enter_async_context(service.ready_uploads().receive(request))
        stack.callback(detector.engine.cleanup)
        call = _prepare(request, service, detector, upload)
        if call.format.name == "ndjson":
            return await _stream_ndjson(call, stack)
        if call.format.name in ("wav", "zip"):
            return await _stream_excerpts(call, stack)
        return await while_connected(request, _answer(call), service.request_timeout_s)


def _prepare(request: Request, service: Service, detector: Detector, upload: Upload) -> _Call:
    parameters = read_parameters(request, upload.fields)
    options = detector.options(parameters.detection)
    chosen = choose(parameters.answer.format, request.headers.get("accept"))
    if len(upload.files) > 1 and chosen.name not in ("json", "funasr"):
        raise InvalidOption("format", f"{chosen.name} takes one file a call; several are answered as json or funasr")
    jobs = [
        Job(
            path=file.path,
            name=safe_name(file.filename),
            request_id=request_id_of(request.scope),
            options=options,
            channel=parameters.answer.channel_choice,
            probabilities=parameters.answer.probabilities,
        )
        for file in upload.files
    ]
    return _Call(request, service, detector, parameters, chosen, jobs)


async def _answer(call: _Call) -> Response:
    """The whole answer at once."""
    if len(call.jobs) > 1:
        return JSONResponse([await _one_of_many(call, job) for job in call.jobs])
    report = await call.detector.detect(call.jobs[0])
    headers = {"Content-Disposition": _disposition("inline", report, call.format)}
    if call.format.text is not None:
        text = await call.detector.engine.in_reader(call.format.text, report, call.parameters.answer.lang)
        return Response(text, media_type=call.format.media_type, headers=headers)
    if call.format.name == "funasr":
        return JSONResponse(funasr_documents(report))
    return JSONResponse(json_document(report))


async def _one_of_many(call: _Call, job: Job) -> dict[str, Any]:
    """One file's answer or problem: a bad file spoils nothing."""
    try:
        report = await call.detector.detect(job)
    except VadError as error:
        return {"name": job.name, **problem_of(error, job.request_id)}
    return funasr_documents(report)[0] if call.format.name == "funasr" else json_document(report)


async def _stream_ndjson(call: _Call, stack: AsyncExitStack) -> Response:
    """Lines as things are found. What fails before the first block is answered with its own status."""
    run = call.detector.start(call.jobs[0])
    steps = run.steps()
    stack.push_async_callback(steps.aclose)
    first = await while_connected(call.request, anext(steps, None), call.service.request_timeout_s)
    lines = _ndjson_lines(call, run, steps, first)
    return OwningResponse(lines, NDJSON, stack.pop_all(), {"X-Accel-Buffering": "no"})


async def _ndjson_lines(
    call: _Call, run: Run, steps: AsyncGenerator[Progress, None], first: Progress | None
) -> AsyncIterator[bytes]:
    writer, pace = NdjsonWriter(), _Pace()
    deadline = time.monotonic() + call.service.request_timeout_s
    step = first
    try:
        while step is not None:
            for segment in step.segments:
                yield writer.segment(segment, step.channel)
            if pace.due(step):
                yield writer.progress(step.done_ms, step.expected_ms)
            if time.monotonic() > deadline:
                raise DeadlineExceeded(f"the request took longer than {call.service.request_timeout_s:g} s")
            step = await anext(steps, None)
        yield writer.summary(run.report())
    except VadError as error:
        yield writer.problem(problem_of(error, call.jobs[0].request_id))


class _Pace:
    """When the next progress line is due: each second, or each twentieth of the audio."""

    def __init__(self) -> None:
        self._at, self._done_ms = time.monotonic(), 0

    def due(self, step: Progress) -> bool:
        """Whether to tell this step."""
        now = time.monotonic()
        share = (step.expected_ms or 0) * _PROGRESS_EVERY_SHARE
        if now - self._at < _PROGRESS_EVERY_S and not 0 < share <= step.done_ms - self._done_ms:
            return False
        self._at, self._done_ms = now, step.done_ms
        return True


async def _stream_excerpts(call: _Call, stack: AsyncExitStack) -> Response:
    """Speech cut out of the upload, which is decoded a second time and streamed."""
    job, engine = call.jobs[0], call.detector.engine
    report = await while_connected(call.request, call.detector.detect(job), call.service.request_timeout_s)
    passes = stack.enter_context(SourcePasses(job.path, call.detector.audio))
    if call.format.name == "wav":
        pieces = stream_wav(report, await engine.in_reader(passes.blocks))
    else:
        pieces = stream_zip(report, passes.blocks)
    first = await engine.in_reader(next, pieces, b"")
    headers = {"Content-Disposition": _disposition("attachment", report, call.format)}
    return OwningResponse(_in_reader(call, first, pieces), call.format.media_type, stack.pop_all(), headers)


async def _in_reader(call: _Call, first: bytes, pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    piece = first
    while piece:
        yield piece
        piece = await call.detector.engine.in_reader(next, pieces, b"")


class OwningResponse(StreamingResponse):
    """A streamed answer that gives its resources back when it ends, however it ends."""

    def __init__(
        self, content: AsyncIterator[bytes], media_type: str, stack: AsyncExitStack, headers: Mapping[str, str]
    ) -> None:
        super().__init__(content, media_type=media_type, headers=dict(headers))
        self._stack = stack

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        async with self._stack:
            await super().__call__(scope, receive, send)


def _disposition(kind: str, report: Report, form: Format) -> str:
    return f"{kind}; filename*=UTF-8''{quote(f'{report.name}.{form.extension}')}"
