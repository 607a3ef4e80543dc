"""From reports to bytes: what every door gives its caller.

`write` makes one answer from what was found in one file or in several: a document, a text, a WAV, a zip. `stream`
writes while the detection runs, for formats that tell things as they are found. A file that could not be detected is a
`Failure` among the reports: it spoils nothing for the others.
"""

import asyncio
import io
import json
import time
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

from app.detection import Progress, Run
from app.formats.excerpts import HEADER_BYTES, SourceBlocks, with_time_map
from app.formats.registry import Format, RenderContext, json_bytes
from app.formats.report import Report, unique_names
from app.request import Plan
from app.vad.errors import VadError
from app.warnings import AnswerWarning, codes_of

WARNINGS_HEADER = "X-VAD-Warnings"
WARNING_DETAILS_HEADER = "X-VAD-Warning-Details"
"""The details, as JSON."""
_MOST_DETAIL = 300
"""Characters of a detail in a header: a file's tracks may be called anything."""
PROBLEMS_HEADER = "X-VAD-Problems"
"""For answers to several files that have no room for a problem: `name=code` of each file that has no answer, names in
percent-encoded UTF-8; with as many as fit into `HEADER_BYTES`, and how many more there are."""
_MORE = ", and {} more"
SHORT = 64
"""Segments, chunks and probabilities (`Report.size`) of an answer that takes some tenths of a millisecond to write."""
_MOST_DETAILED = 8
"""Warnings whose details are in a header, of all files of a request together: some kilobytes of header are the most
that proxies take."""
_PROGRESS_EVERY_S = 1.0
_PROGRESS_EVERY_SHARE = 0.05
"""A line of progress each second of the clock or each twentieth of the audio: enough for a bar that moves."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A file without an answer."""

    name: str
    problem: Mapping[str, Any]
    """The problem document, with the file's name."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Bytes, and what a door says beside them."""

    media_type: str
    pieces: Iterator[bytes]
    filename: str | None = None
    """What the bytes may be saved as; None where the answer is about several files."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """`X-VAD-…`, for what the form has no room for."""
    time_map: Sequence[Sequence[float]] | None = None
    """Of a WAV, if it was asked for: whole, also if it is too long for a header."""


def warning_headers(warnings: Iterable[AnswerWarning]) -> dict[str, str]:
    """The codes and the details, for forms of answer that have no room for warnings; nothing where there are none."""
    warnings = list(warnings)
    if not warnings:
        return {}
    details = [{"code": warning.code, "detail": warning.detail[:_MOST_DETAIL]} for warning in warnings[:_MOST_DETAILED]]
    return {WARNINGS_HEADER: ", ".join(codes_of(warnings)), WARNING_DETAILS_HEADER: json.dumps(details)}


def write(plan: Plan, found: Sequence[Report | Failure], blocks: SourceBlocks = lambda: ()) -> Answer:
    """Write the answer to the files of one request, in order. `blocks`: begins a pass over the audio of a single file,
    for forms that hold audio. Raises `InvalidOption` where the form cannot hold what was found."""
    form, context = plan.form, RenderContext(plan.request.lang, blocks, plan.request)
    if plan.request.time_map:
        found = [with_time_map(each, plan.request) if isinstance(each, Report) else each for each in found]
    reports = [each for each in found if isinstance(each, Report)]
    failures = [each for each in found if isinstance(each, Failure)]
    headers = warning_headers(warning for report in reports for warning in report.warnings)
    if len(found) == 1 and reports:
        renderer, [report] = form.new(context), reports
        headers |= renderer.headers(report)
        time_map = report.extras.get("time_map") if form.media_type == "audio/wav" else None
        filename = f"{report.name}.{form.extension}"
        return Answer(form.media_type, renderer.finish(report), filename, headers, time_map)
    if form.entries is not None:
        entries = [
            entry for each in found for entry in (form.entries(each) if isinstance(each, Report) else [each.problem])
        ]
        return Answer("application/json", iter([json_bytes(entries)]), headers=headers)
    if failures:
        headers[PROBLEMS_HEADER] = _as_header([f"{quote(each.name)}={each.problem['code']}" for each in failures])
    if form.together is not None:
        # Lines of one text are told apart by their file's name alone.
        names = unique_names([report.name for report in reports])
        together = form.together()
        texts = [
            together.add(name, b"".join(form.new(context).finish(replace(report, name=name))).decode())
            for name, report in zip(names, reports, strict=True)
        ]
        return Answer(form.media_type, iter(["".join([*texts, together.finish()]).encode()]), headers=headers)
    return Answer("application/zip", _zip(form, context, reports, failures), headers=headers)


def _as_header(entries: Sequence[str]) -> str:
    """As many as fit, and the count of the rest."""
    text = ", ".join(entries)
    shown = len(entries)
    while len(text) > HEADER_BYTES:
        shown -= 1
        text = ", ".join(entries[:shown]) + _MORE.format(len(entries) - shown)
    return text


def _zip(
    form: Format, context: RenderContext, reports: Sequence[Report], failures: Sequence[Failure]
) -> Iterator[bytes]:
    """A file for each report, numbered where names are alike, and the problems of the others."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, report in zip(unique_names([report.name for report in reports]), reports, strict=True):
            archive.writestr(f"{name}.{form.extension}", b"".join(form.new(context).finish(report)))
        if failures:
            problems = [dict(failure.problem) for failure in failures]
            archive.writestr("problems.json", json.dumps(problems, ensure_ascii=False))
    yield written.getvalue()


async def report_of(run: Run) -> Report:
    """The report of a run that has ended, where nothing has to be done with it before it is written."""
    return run.report()


async def stream(
    run: Run,
    steps: AsyncIterator[Progress],
    complete: Callable[[Run], Awaitable[Report]],
    describe: Callable[[VadError], Mapping[str, Any]],
) -> AsyncIterator[bytes]:
    """Write a file's answer while it is detected: segments and chunks when they are found, progress now and then, the
    rest at the end.

    `steps`: those of the run. `complete`: makes the report of the finished run. `describe`: makes the problem document
    of what goes wrong on the way, which then ends the answer.
    """
    plan = run.plan
    renderer = plan.form.new(RenderContext(plan.request.lang, excerpts=plan.request))
    reported_at, reported_ms = time.monotonic(), 0
    try:
        async for step in steps:
            for segment in step.segments:
                yield renderer.segment(segment, step.channel)
            for chunk in step.chunks:
                yield renderer.chunk(chunk, step.channel)
            share = (step.expected_ms or 0) * _PROGRESS_EVERY_SHARE
            now = time.monotonic()
            if now - reported_at >= _PROGRESS_EVERY_S or 0 < share <= step.done_ms - reported_ms:
                reported_at, reported_ms = now, step.done_ms
                yield renderer.progress(step.done_ms, step.expected_ms)
        report = await complete(run)
        rest = renderer.finish(with_time_map(report, plan.request) if plan.request.time_map else report)
        # A million probabilities take a second to write.
        for piece in rest if report.values <= SHORT else await asyncio.to_thread(list, rest):
            yield piece
    except VadError as error:
        yield renderer.failed(describe(error))
