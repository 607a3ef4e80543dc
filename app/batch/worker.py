"""One engine and what it does with a shard: rows in order, one output file, and then the mark that it is done."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.batch.ledger import Outcome, mark_done, output_name
from app.batch.listing import Entry, Shard
from app.batch.rows import FAILED, UNREADABLE, Row, error_code, failed_row, found_row
from app.batch.source import Source
from app.batch.store import Store
from app.batch.writers import FORMATS
from app.detection import Channel, Detector, Job
from app.formats.report import safe_name

FILES_AT_ONCE = 4
"""While one is scored, the others are fetched and decoded."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is done with every file; goes to other processes and machines, so everything in it can be pickled."""

    source: str
    destination: str
    format: str
    options: Mapping[str, Any]
    """Detection options that were set."""
    channel: Channel
    scratch: Path | None
    """Where copies of remote files are kept while they are used; None: the system's place."""
    build: Callable[[], Detector]
    """Makes the worker's engine, inside its event loop."""


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
        self._loop = asyncio.new_event_loop()
        self._detector = self._loop.run_until_complete(self._build())
        self._options = self._detector.options(task.options)

    def run(self, order: Order, tell: Tell = lambda step: None) -> Outcome:
        """Do a shard. What is wrong with a file becomes its row; raises what the destination raises."""
        rows = self._loop.run_until_complete(self._rows(order, tell))
        outcome = _outcome(order.shard, rows)
        self._store.write(output_name(order.shard.number, self._task.format), FORMATS[self._task.format](rows))
        mark_done(self._store, outcome)
        return outcome

    def close(self) -> None:
        """End its threads."""
        self._detector.engine.close()
        self._loop.close()

    async def _build(self) -> Detector:
        return self._task.build()

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
        engine = self._detector.engine
        with ExitStack() as held:
            try:
                path = await engine.in_reader(held.enter_context, self._source.on_disk(entry, self._task.scratch))
            except Exception as error:  # noqa: BLE001 - each storage has errors of its own
                return failed_row(entry, UNREADABLE, _words(error))
            try:
                job = Job(path, safe_name(entry.path), "batch", self._options, self._task.channel)
                return found_row(entry, await self._detector.detect(job))
            except Exception as error:  # noqa: BLE001 - one file never ends the run
                return failed_row(entry, error_code(error), _words(error))


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


def _words(error: Exception) -> str:
    return str(error).strip() or type(error).__name__
