"""One engine and what it does with a shard: rows in order, one output file, and then the mark that it is done."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from app.audio.channel import Channel
from app.audio.options import InputOptions
from app.audio.source import SourcePasses
from app.batch.ledger import PER_FILE, Outcome, mark_done, output_name
from app.batch.listing import Entry, Shard
from app.batch.problems import reason_of
from app.batch.rows import FAILED, UNREADABLE, Row, failed_row, found_row, row_of_error
from app.batch.source import Source
from app.batch.store import Store
from app.batch.writers import FORMATS
from app.detection import Detector, FileJob
from app.formats.rendering import ExcerptOptions, RenderContext
from app.formats.report import Report, safe_name
from app.models import Models
from app.registry import installed
from app.request import DetectionRequest
from app.warnings import AnswerWarning

FILES_AT_ONCE = 4
"""While one is scored, the others are fetched and decoded."""


class Runtime(Protocol):
    """What a worker detects with."""

    @property
    def models(self) -> Models:
        """Of which the default one is used."""
        ...

    @property
    def detector(self) -> Detector:
        """Reads files for it."""
        ...

    def close(self) -> None:
        """End its threads; blocking."""
        ...


Build = Callable[[], Awaitable[Runtime]]
"""Makes a worker's runtime, inside its event loop."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is done with every file; goes to other processes and machines, so everything in it can be pickled."""

    source: str
    destination: str
    format: str
    options: Mapping[str, Any]
    """Detection options that were set, and `mode`."""
    preset: str | None
    """Laid under them."""
    per_file: tuple[str, ...]
    """Formats in which each file's answer is written beside the rows."""
    audio: Mapping[str, Any]
    """How files are read, as `InputOptions` has it."""
    excerpts: Mapping[str, Any]
    """How those of audio are cut."""
    channel: Channel
    scratch: Path | None
    """Where copies of remote files are kept while they are used; None: the system's place."""
    build: Build
    warnings: tuple[AnswerWarning, ...] = ()
    """Of the model, for every row."""


@dataclass(frozen=True, slots=True)
class Order:
    """A shard to do."""

    shard: Shard
    skip: Mapping[int, str]
    """Files, by their place in the shard, that are not opened again, with the reason for their rows."""
    one_by_one: bool
    """So that, if the process dies, it is known at which file."""


@dataclass(frozen=True, slots=True)
class Began:
    """A file, by its place in the shard, is being worked on."""

    index: int


@dataclass(frozen=True, slots=True)
class Ended:
    """It is no more."""

    index: int


Tell = Callable[[Began | Ended], None]


class ShardWorker:
    """Used by one thread at a time, not always the same one."""

    def __init__(self, task: Task) -> None:
        """Loads the model. Raises what `task.build` raises, `WrongPlace`, `InvalidOption`."""
        self._task = task
        self._source, self._store = Source(task.source), Store(task.destination)
        formats = installed().formats
        self._forms = [formats[name] for name in task.per_file]
        self._excerpts = ExcerptOptions.parse(task.excerpts)
        self._audio = InputOptions.parse(task.audio)
        self._loop = asyncio.new_event_loop()
        self._runtime = self._loop.run_until_complete(_built(task.build))
        models = self._runtime.models
        chosen = replace(models.with_preset(models.default, task.preset), warnings=task.warnings)
        request = DetectionRequest.parse(task.options, task.audio, task.excerpts, {"channel": task.channel})
        self._plan = request.plan(chosen)

    def run(self, order: Order, tell: Tell = lambda step: None) -> Outcome:
        """Do a shard. What is wrong with a file becomes its row; raises what the destination raises."""
        rows = self._loop.run_until_complete(self._rows(order, tell))
        outcome = _outcome(order.shard, rows)
        self._store.write(output_name(order.shard.number, self._task.format), FORMATS[self._task.format](rows))
        # Only now: a process that is killed before this line leaves a shard that is done again.
        mark_done(self._store, outcome)
        return outcome

    def close(self) -> None:
        """End the worker's threads and its event loop."""
        self._runtime.close()
        self._loop.close()

    async def _rows(self, order: Order, tell: Tell) -> list[Row]:
        limit = asyncio.Semaphore(1 if order.one_by_one else FILES_AT_ONCE)

        async def one(index: int, entry: Entry) -> Row:
            if index in order.skip:
                return failed_row(entry, FAILED, order.skip[index])
            async with limit:
                tell(Began(index))
                row = await self._row(entry)
                tell(Ended(index))
                return row

        return await asyncio.gather(*(one(index, entry) for index, entry in enumerate(order.shard.entries)))

    async def _row(self, entry: Entry) -> Row:
        detector = self._runtime.detector
        with ExitStack() as held:
            on_disk = self._source.on_disk(entry, self._task.scratch)
            try:
                path = await detector.engine.readers.run(held.enter_context, on_disk)
            except Exception as error:  # noqa: BLE001 - each storage has errors of its own
                return failed_row(entry, UNREADABLE, reason_of(error))
            try:
                job = FileJob(self._audio.source(path), safe_name(entry.path), "batch")
                report = (await detector.run(self._plan, job)).report()
                if self._forms:
                    await detector.engine.readers.run(self._write_forms, entry, path, report)
                return found_row(entry, report)
            except Exception as error:  # noqa: BLE001 - one file never ends the run
                return row_of_error(entry, error)

    def _write_forms(self, entry: Entry, path: Path, report: Report) -> None:
        """The file's answer in each format, under its own name: two files that differ in their suffix alone keep apart,
        whichever shards they are in."""
        with SourcePasses(
            self._audio.source(path), self._runtime.detector.audio, self._excerpts.excerpt_rate
        ) as passes:
            for form in self._forms:
                renderer = form.new(RenderContext(blocks=passes.blocks, excerpts=self._excerpts))
                self._store.write(f"{PER_FILE}/{entry.path}.{form.extension}", b"".join(renderer.finish(report)))


async def _built(build: Build) -> Runtime:
    return await build()


def _outcome(shard: Shard, rows: list[Row]) -> Outcome:
    return Outcome(
        shard=shard.number,
        files=len(rows),
        failed=sum(row.error is not None for row in rows),
        retryable=sum(row.may_succeed_later for row in rows),
        segments=sum(len(row.segments) for row in rows),
        audio_ms=sum(row.duration_ms or 0 for row in rows),
        speech_ms=sum(row.speech_ms or 0 for row in rows),
    )
