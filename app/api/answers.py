"""Answers: whole, piece by piece while the detection runs, or made from the audio itself. What a format needs decides,
not its name."""

import io
import json
import time
import zipfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from app.api.call import Call
from app.api.connection import while_connected
from app.api.errors import problem_of
from app.audio.passes import SourcePasses
from app.detection import Job, Progress, Run
from app.formats.excerpts import with_time_map
from app.formats.rendering import Format, RenderContext, Renderer
from app.formats.report import Report, unique_names
from app.vad.errors import DeadlineExceeded, VadError
from app.warnings import AnswerWarning, codes_of

_SHORT = 64
"""Segments, chunks and probabilities of an answer that is written on the event loop: some tenths of a millisecond."""
WARNINGS_HEADER = "X-VAD-Warnings"
PROBLEMS_HEADER = "X-VAD-Problems"
"""Of answers to several files that have no room for a problem: `name=code` of each that could not be answered."""
_PROGRESS_EVERY_S = 1.0
_PROGRESS_EVERY_SHARE = 0.05
"""A line of progress each second of the clock or each twentieth of the audio: enough for a bar that moves."""


async def answer(call: Call) -> Response:
    """The call's answer in its format. Raises what can go wrong before the first piece."""
    if call.format.streams:
        return await _streamed_answer(call)
    if call.format.needs_audio:
        return await _audio_answer(call)
    return await while_connected(call.request, _whole_answer(call), call.service.request_timeout_s)


async def _whole_answer(call: Call) -> Response:
    if len(call.jobs) > 1:
        return await _answer_to_many(call)
    run = await call.detector.run(call.jobs[0])
    report = _report(call, call.jobs[0], run)
    renderer = call.format.new(RenderContext(call.answer.lang))
    # A short answer takes less time to write than to hand to a thread and back.
    short = report.size <= _SHORT
    content = _joined(renderer, report) if short else await call.service.threads.run(_joined, renderer, report)
    headers = {"Content-Disposition": disposition("inline", report, call.format), **warning_header(report.warnings)}
    return Response(content, media_type=call.format.media_type, headers=headers)


def _joined(renderer: Renderer, report: Report) -> bytes:
    return b"".join(renderer.finish(report))


async def _answer_to_many(call: Call) -> Response:
    """Each file's answer or problem: in an array, in one text, or in a zip. A bad file spoils nothing."""
    reports: list[Report | Mapping[str, Any]] = []
    warnings: list[AnswerWarning] = []
    for job in call.jobs:
        try:
            report = _report(call, job, await call.detector.run(job))
        except VadError as error:
            reports.append({"name": job.name, **problem_of(error, job.request_id)})
            continue
        warnings += report.warnings
        reports.append(report)
    form, headers = call.format, warning_header(warnings)
    if form.entries is not None:
        entries = [entry for each in reports for entry in (form.entries(each) if isinstance(each, Report) else [each])]
        return JSONResponse(entries, headers=headers)
    good = [each for each in reports if isinstance(each, Report)]
    problems = [each for each in reports if not isinstance(each, Report)]
    if problems:
        headers[PROBLEMS_HEADER] = ", ".join(f"{quote(each['name'])}={each['code']}" for each in problems)
    if form.together is not None:
        content = (await call.service.threads.run(form.together, good)).encode()
        return Response(content, media_type=form.media_type, headers=headers)
    renderer = RenderContext(call.answer.lang)
    content = await call.service.threads.run(_zip_of, form, renderer, good, problems)
    return Response(content, media_type="application/zip", headers=headers)


def _zip_of(
    form: Format, answering: RenderContext, reports: Sequence[Report], problems: Sequence[Mapping[str, Any]]
) -> bytes:
    """A file for each report, and the problems of the others."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, report in zip(unique_names([report.name for report in reports]), reports, strict=True):
            archive.writestr(f"{name}.{form.extension}", _joined(form.new(answering), report))
        if problems:
            archive.writestr("problems.json", json.dumps(problems, ensure_ascii=False))
    return written.getvalue()


def _report(call: Call, job: Job, run: Run) -> Report:
    """With the id under which the posteriors are kept, if that was asked for; null when there is no room for them."""
    report, extras = run.report(), dict[str, Any]()
    if job.keep_for is not None:
        analysis = run.analysis()
        extras["analysis_id"] = None if analysis is None else call.service.analyses.keep(analysis, job.keep_for)
    return with_time_map(replace(report, extras=extras), call.answer)


async def _streamed_answer(call: Call) -> Response:
    """Pieces as things are found. What fails before the first block is answered with its own status."""
    run = call.detector.start(call.jobs[0])
    steps = run.steps()
    call.resources.push_async_callback(steps.aclose)
    first = await while_connected(call.request, anext(steps, None), call.service.request_timeout_s)
    pieces = _pieces(call, run, steps, first)
    return OwningResponse(pieces, call.format.media_type, call.resources.pop_all(), {"X-Accel-Buffering": "no"})


async def _pieces(
    call: Call, run: Run, steps: AsyncGenerator[Progress, None], first: Progress | None
) -> AsyncIterator[bytes]:
    renderer, pace = call.format.new(RenderContext(call.answer.lang)), _Pace()
    deadline = time.monotonic() + call.service.request_timeout_s
    step = first
    try:
        while step is not None:
            for segment in step.segments:
                yield renderer.segment(segment, step.channel)
            for chunk in step.chunks:
                yield renderer.chunk(chunk, step.channel)
            if pace.due(step):
                yield renderer.progress(step.done_ms, step.expected_ms)
            if time.monotonic() > deadline:
                raise DeadlineExceeded(f"the request took longer than {call.service.request_timeout_s:g} s")
            step = await anext(steps, None)
        for piece in renderer.finish(_report(call, call.jobs[0], run)):
            yield piece
    except VadError as error:
        yield renderer.failed(problem_of(error, call.jobs[0].request_id))


class _Pace:
    """When the next progress is due."""

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


async def _audio_answer(call: Call) -> Response:
    """Pieces cut out of the upload, which is decoded a second time and streamed."""
    job, threads = call.jobs[0], call.service.threads
    run = await while_connected(call.request, call.detector.run(job), call.service.request_timeout_s)
    report = _report(call, job, run)
    rate = call.answer.excerpt_rate
    passes = call.resources.enter_context(SourcePasses(job.source, call.detector.audio, rate))
    renderer = call.format.new(RenderContext(call.answer.lang, passes.blocks, call.answer))
    pieces = await threads.run(renderer.finish, report)
    first = await threads.run(next, pieces, b"")
    headers = {
        "Content-Disposition": disposition("attachment", report, call.format),
        **warning_header(report.warnings),
        **renderer.headers(report),
    }
    content = _in_thread(call, first, pieces)
    return OwningResponse(content, call.format.media_type, call.resources.pop_all(), headers)


async def _in_thread(call: Call, first: bytes, pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    piece = first
    while piece:
        yield piece
        piece = await call.service.threads.run(next, pieces, b"")


class OwningResponse(StreamingResponse):
    """A streamed answer that gives its resources back when it ends, however it ends."""

    def __init__(
        self, content: AsyncIterator[bytes], media_type: str, stack: AsyncExitStack, headers: Mapping[str, str]
    ) -> None:
        super().__init__(content, media_type=media_type, headers=dict(headers))
        self._stack = stack

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: sends the answer, then lets go of what it was read from, sent or not."""
        async with self._stack:
            await super().__call__(scope, receive, send)


def warning_header(warnings: Iterable[AnswerWarning]) -> dict[str, str]:
    """The codes, for forms of answer that have no room for them; nothing where there are none."""
    codes = codes_of(warnings)
    return {WARNINGS_HEADER: ", ".join(codes)} if codes else {}


def disposition(kind: str, report: Report, form: Format) -> str:
    """The header that names a file for what the answer holds."""
    return f"{kind}; filename*=UTF-8''{quote(f'{report.name}.{form.extension}')}"
