"""Answers: whole, line by line, or the speech itself."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import quote

from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from app.api.call import Call
from app.api.connection import while_connected
from app.api.errors import problem_of
from app.detection import Job, Progress, Run, SourcePasses
from app.formats.excerpts import stream_wav, stream_zip
from app.formats.ndjson import MEDIA_TYPE as NDJSON
from app.formats.ndjson import NdjsonWriter
from app.formats.registry import Format
from app.formats.report import Report
from app.formats.structured import funasr_documents, json_document
from app.vad.errors import DeadlineExceeded, VadError

_PROGRESS_EVERY_S = 1.0
_PROGRESS_EVERY_SHARE = 0.05


async def whole_answer(call: Call) -> Response:
    """The whole answer at once."""
    if len(call.jobs) > 1:
        return JSONResponse([await _one_of_many(call, job) for job in call.jobs])
    run = await call.detector.run(call.jobs[0])
    report = run.report()
    headers = {"Content-Disposition": _disposition("inline", report, call.format)}
    if call.format.text is not None:
        text = await call.detector.engine.in_reader(call.format.text, report, call.answer.lang)
        return Response(text, media_type=call.format.media_type, headers=headers)
    if call.format.name == "funasr":
        return JSONResponse(funasr_documents(report))
    return JSONResponse({**json_document(report), **_kept(call, call.jobs[0], run)})


async def _one_of_many(call: Call, job: Job) -> dict[str, Any]:
    """One file's answer or problem: a bad file spoils nothing."""
    try:
        run = await call.detector.run(job)
    except VadError as error:
        return {"name": job.name, **problem_of(error, job.request_id)}
    report = run.report()
    if call.format.name == "funasr":
        return funasr_documents(report)[0]
    return {**json_document(report), **_kept(call, job, run)}


def _kept(call: Call, job: Job, run: Run) -> dict[str, str | None]:
    """The id under which the scores are kept, if that was asked for; null when there is no room for them."""
    if job.keep_for is None:
        return {}
    return {"analysis_id": call.service.analyses.keep(run.analysis(), job.keep_for)}


async def ndjson_answer(call: Call) -> Response:
    """Lines as things are found. What fails before the first block is answered with its own status."""
    run = call.detector.start(call.jobs[0])
    steps = run.steps()
    call.resources.push_async_callback(steps.aclose)
    first = await while_connected(call.request, anext(steps, None), call.service.request_timeout_s)
    lines = _ndjson_lines(call, run, steps, first)
    return OwningResponse(lines, NDJSON, call.resources.pop_all(), {"X-Accel-Buffering": "no"})


async def _ndjson_lines(
    call: Call, run: Run, steps: AsyncGenerator[Progress, None], first: Progress | None
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
        yield writer.summary(run.report(), **_kept(call, call.jobs[0], run))
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


async def excerpts_answer(call: Call) -> Response:
    """Speech cut out of the upload, which is decoded a second time and streamed."""
    job, engine = call.jobs[0], call.detector.engine
    report = await while_connected(call.request, call.detector.detect(job), call.service.request_timeout_s)
    passes = call.resources.enter_context(SourcePasses(job.path, call.detector.audio))
    if call.format.name == "wav":
        pieces = stream_wav(report, await engine.in_reader(passes.blocks))
    else:
        pieces = stream_zip(report, passes.blocks)
    first = await engine.in_reader(next, pieces, b"")
    headers = {"Content-Disposition": _disposition("attachment", report, call.format)}
    return OwningResponse(_in_reader(call, first, pieces), call.format.media_type, call.resources.pop_all(), headers)


async def _in_reader(call: Call, first: bytes, pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
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
