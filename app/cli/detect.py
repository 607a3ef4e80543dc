"""`fsmn-vad detect`: files on this machine, detected by the service's engine without HTTP, or by a server.

Either way the answer is the service's: here `app.answer` writes it, there the server does, and this command puts its
bytes where they are wanted. What is asked is one `DetectionRequest`, or, for a server, the options as they were typed.
"""

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.cli.files import TABLE, FileAnswer, Input, Output, Progress, find_inputs, told_apart
from app.cli.local import check, planned
from app.cli.terminal import ALL_WELL, SOME_FAILED, UsageError, failed, note, run_command
from app.config import Settings
from app.formats.registry import Format
from app.registry import Registry, installed
from app.request import DetectionRequest
from app.vad.errors import VadError
from app.warnings import MEANINGS, AnswerWarning

if TYPE_CHECKING:
    from app.detection import Progress as Step
    from app.detection import Run

Answers = Callable[[Input, Progress], AbstractAsyncContextManager[FileAnswer]]
"""Detects a file; its answer may be read while the context lasts."""
_DECIDED_BY_THE_FILE = frozenset({"channel", "track", "probabilities"})
"""Options that may be right for one file and wrong for another; other refusals are of the request, for all files."""
_TIME_MAP, _TIME_MAP_COUNT = "X-VAD-Time-Map", "X-VAD-Time-Map-Stretches"


def run(
    sources: list[str], options: Mapping[str, Any], *, folder: Path | None, jobs: int, url: str | None, key: str | None
) -> int:
    """Detect everything asked for; the exit status. `options`: as they were typed."""

    def command(settings: Settings) -> int:
        """All that can be wrong with the command line is found before a model is loaded or a server asked."""
        registry = installed()
        name = options.get("format") or (TABLE if sys.stdout.isatty() and folder is None else "json")
        if name == TABLE and folder is not None:
            raise UsageError("--format table is for the terminal. With --out choose json, csv, srt or another form")
        as_table, name = name == TABLE, "json" if name == TABLE else str(name)
        asked = {**options, "format": name}
        request = DetectionRequest.parse(asked)
        if url is None:
            check(request, registry, settings)
        form = _form(request, registry)
        if form is not None and form.needs_audio and folder is None:
            raise UsageError(f"--format {name} needs --out FOLDER")
        with tempfile.TemporaryDirectory(prefix="fsmn-vad-") as directory:
            found = find_inputs(sources, Path(directory))
            for problem in found.problems:
                failed(problem, SOME_FAILED)
            inputs = found.inputs
            if folder is None and form is not None and form.together is not None:
                inputs = told_apart(inputs)
            output = Output(inputs, folder, name if form is None else form, as_table=as_table)
            if url is None:
                answers = local_answers(request, settings, registry)
            else:
                answers = remote_answers(asked, url, key, form, timeout_s=settings.request_timeout_s)
            status = asyncio.run(_detect_all(inputs, answers, output, jobs))
            return SOME_FAILED if found.problems else status

    return run_command(command)


def _form(request: DetectionRequest, registry: Registry) -> Format | None:
    """The form of the answers; None for one that only the server knows."""
    if request.format not in registry.formats.names:
        return None
    form = registry.formats[request.format]
    return form.split or form if request.splits else form


async def _detect_all(
    inputs: Sequence[Input], answers: AbstractAsyncContextManager[Answers], output: Output, jobs: int
) -> int:
    limit = asyncio.Semaphore(jobs)

    async def one(answer_of: Answers, item: Input) -> bool:
        async with limit:
            try:
                with output.progress(item.shown) as progress:
                    async with answer_of(item, progress) as answer:
                        await output.show(item, answer)
            except (VadError, OSError) as error:
                output.failed(item, str(error))
                return False
            return True

    with output:
        async with answers as answer_of:
            tasks = [asyncio.ensure_future(one(answer_of, item)) for item in inputs]
            try:
                done = await asyncio.gather(*tasks)
            finally:
                # What is wrong for every file is said once.
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
    return ALL_WELL if all(done) else SOME_FAILED


# ---- here


@asynccontextmanager
async def local_answers(request: DetectionRequest, settings: Settings, registry: Registry) -> AsyncIterator[Answers]:
    """Answers of the engine in this process. Raises what starting it raises."""
    from app.answer import write
    from app.audio.source import SourcePasses
    from app.detection import FileJob, Run

    async with planned(request, registry, settings) as (runtime, plan):
        detector = runtime.detector

        @asynccontextmanager
        async def answer_of(item: Input, progress: Progress) -> AsyncIterator[FileAnswer]:
            job = FileJob(request.input(item.path), item.file_name, "cli")
            run = Run(detector, plan, job)
            async with aclosing(run.steps()) as steps:
                # What fails before anything is found has no answer, here as over HTTP.
                first = await anext(steps, None)

                async def all_steps() -> "AsyncIterator[Step]":
                    if first is not None:
                        yield first
                    async for step in steps:
                        progress(step.done_ms, step.expected_ms)
                        yield step

                if plan.form.streams:
                    answer = FileAnswer(plan.form.media_type)
                    answer.pieces = _while_detecting(run, all_steps(), answer)
                    yield answer
                    return
                async for _ in all_steps():
                    pass
            report = run.report()
            with SourcePasses(job.source, detector.audio, request.excerpt_rate) as passes:
                written = await asyncio.to_thread(write, plan, [report], passes.blocks)
                yield FileAnswer(
                    written.media_type,
                    _in_threads(written.pieces),
                    warnings=report.warnings,
                    time_map=written.time_map,
                )

        yield answer_of


async def _while_detecting(run: "Run", steps: "AsyncIterator[Step]", answer: FileAnswer) -> AsyncIterator[bytes]:
    """Write an answer while the file is detected. Raises what went wrong on the way, after the piece that says so."""
    from app.answer import report_of, stream
    from app.api.errors import problem_of

    failures: list[VadError] = []

    def describe(error: VadError) -> Mapping[str, Any]:
        failures.append(error)
        return problem_of(error, run.job.request_id)

    async for piece in stream(run, steps, report_of, describe):
        yield piece
    if failures:
        raise failures[0]
    answer.warnings = run.report().warnings


async def _in_threads(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(next, pieces, b""):
        yield piece


# ---- at a server


@asynccontextmanager
async def remote_answers(
    options: Mapping[str, Any], url: str, key: str | None, form: Format | None, *, timeout_s: float
) -> AsyncIterator[Answers]:
    """Answers of the server at `url`, its bytes untouched, its refusals in its own words. `form`: what its answers
    should be, if that is known."""
    from fsmn_vad_client import AsyncClient, ClientError
    from fsmn_vad_client import InvalidOption as Refused  # of the extra [cli]: files on this machine do without

    name, rest = options["format"], {option: value for option, value in options.items() if option != "format"}
    try:
        client = AsyncClient(url, key, timeout=timeout_s)
    except ValueError as error:
        raise UsageError(str(error)) from None
    async with client:

        @asynccontextmanager
        async def answer_of(item: Input, progress: Progress) -> AsyncIterator[FileAnswer]:
            progress(0, None)
            try:
                async with client.open_answer(item.path, name, filename=item.file_name, **rest) as reply:
                    if form is not None and reply.media_type != form.media_type:
                        kind = reply.media_type or "something without a type"
                        raise VadError(f"the server answered with {kind} instead of {form.media_type}")
                    told = _told(reply.warnings, reply.headers)
                    answer = FileAnswer(reply.media_type, reply.pieces, warnings=told)
                    if "json" in reply.media_type:
                        members = ("audio", "segments") if name == "json" else ()
                        answer.pieces = _judged(reply.pieces, answer, members)
                    answer.time_map = _time_map(reply.headers)
                    yield answer
            except Refused as error:
                if error.option in _DECIDED_BY_THE_FILE:
                    raise VadError(str(error)) from None
                raise UsageError(str(error)) from None
            except ClientError as error:
                raise VadError(str(error)) from None

        yield answer_of


async def _judged(pieces: AsyncIterator[bytes], answer: FileAnswer, members: Sequence[str]) -> AsyncIterator[bytes]:
    """Pass on a JSON answer, and read what its last line says: warnings with their figures, or what went wrong on the
    way, which is raised; so is an answer without these `members`."""
    last_line = bytearray()
    async for piece in pieces:
        yield piece
        last_line += piece
        del last_line[: last_line.rstrip(b"\n").rfind(b"\n") + 1]
    if not last_line and not members:
        return  # as of a form that has a line for each segment
    try:
        document = json.loads(last_line)
        for member in members:
            document[member]
        if isinstance(document, dict) and "warnings" in document:
            answer.warnings = [AnswerWarning(each["code"], each["detail"]) for each in document["warnings"]]
    except (ValueError, KeyError, TypeError):
        raise VadError("the server's answer has an unknown form") from None
    if isinstance(document, dict) and document.get("type") == "error":
        raise VadError(f"{document.get('detail')} ({document.get('code')})")


def _told(codes: Sequence[str], headers: Mapping[str, str]) -> list[AnswerWarning]:
    """The warnings beside an answer, with their figures where the server gives them."""
    details: dict[str, str] = {}
    with suppress(ValueError, TypeError, KeyError):
        details = {each["code"]: str(each["detail"]) for each in json.loads(headers.get("x-vad-warning-details", "[]"))}
    return [AnswerWarning(code, details.get(code, MEANINGS.get(code, ""))) for code in codes]


def _time_map(headers: Mapping[str, str]) -> list[list[float]] | None:
    """A WAV's time map, from the header; none where it was not asked for, or does not fit into one."""
    if _TIME_MAP in headers:
        return [[float(ms) for ms in stretch.split(",")] for stretch in headers[_TIME_MAP].split(";") if stretch]
    if _TIME_MAP_COUNT in headers:
        reason = f"{headers[_TIME_MAP_COUNT]} stretches are too many for a header; --format json has all of them"
        note(f"no time map: {reason}")
    return None
