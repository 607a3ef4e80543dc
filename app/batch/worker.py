"""One engine and what it does with a shard: rows in order, one output file, and then the mark that it is done."""

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from app.answer import report_of, stream, write
from app.audio.source import SourcePasses
from app.batch import reason_of
from app.batch.collection import Collection, Entry, Shard
from app.batch.ledger import PER_FILE, Outcome, Store, mark_done, output_name
from app.batch.rows import FAILED, ROW_FORMATS, UNREADABLE, Row, failed_row, found_row, row_of_error
from app.batch.run import BatchPlan
from app.detection import FileJob, Run
from app.formats.report import Report
from app.vad.errors import InvalidModel, VadError

FILES_AT_ONCE = 4
"""While one is scored, the others are fetched and decoded."""


@dataclass(frozen=True, slots=True)
class ShardJob:
    """A shard to do."""

    shard: Shard
    skip: Mapping[int, str]
    """Files, by their place in the shard, that are not opened again, with the reason for their rows."""
    one_by_one: bool
    """So that, if the process dies, it is known at which file."""


@dataclass(frozen=True, slots=True)
class FileStarted:
    """A file, by its place in the shard, is being worked on."""

    index: int


@dataclass(frozen=True, slots=True)
class FileFinished:
    """It is done, or has failed."""

    index: int


class ShardWorker:
    """Used by one thread at a time, not always the same one."""

    def __init__(self, plan: BatchPlan) -> None:
        """Load the model. Raises what `plan.build` raises, `WrongPlace`, `ModelError`s, `InvalidOption`, and
        `InvalidModel` when its weights are others: elsewhere, or by now, something else may have the same name."""
        job = self._job = plan.job
        self._collection, self._store = Collection(job.source), Store(job.destination)
        self._loop = asyncio.new_event_loop()
        self._runtime = self._loop.run_until_complete(plan.build())
        models, formats = self._runtime.models, self._runtime.registry.formats
        self._plan = self._loop.run_until_complete(job.request.resolve(models, formats))
        found = self._plan.chosen.model.info
        if found.fingerprint != plan.info.fingerprint:
            self.close()
            wanted = plan.info.fingerprint
            raise InvalidModel(
                f"{found.id} has weights with the fingerprint {found.fingerprint} on this machine, not {wanted}"
            )
        # About the choice that was made for all workers.
        chosen = replace(self._plan.chosen, warnings=plan.warnings)
        self._plan = replace(self._plan, chosen=chosen)
        self._per_file = [job.request.changed(format=name).plan(chosen, formats) for name in job.per_file]
        # Its order is that in which things are found, so it is written while a file is detected.
        self._streamed = next((plan for plan in self._per_file if plan.form.streams), None)

    def run(
        self, shard_job: ShardJob, notify: Callable[[FileStarted | FileFinished], None] = lambda step: None
    ) -> Outcome:
        """Do a shard. What is wrong with a file becomes its row; raises what the destination raises."""
        shard = shard_job.shard
        limit = asyncio.Semaphore(1 if shard_job.one_by_one else FILES_AT_ONCE)

        async def one(index: int, entry: Entry) -> Row:
            if index in shard_job.skip:
                return failed_row(entry, FAILED, shard_job.skip[index])
            async with limit:
                notify(FileStarted(index))
                row = await self._row(entry)
                notify(FileFinished(index))
                return row

        async def all_rows() -> list[Row]:
            return await asyncio.gather(*(one(index, entry) for index, entry in enumerate(shard.entries)))

        rows = self._loop.run_until_complete(all_rows())
        form = self._job.format
        self._store.write(output_name(shard.number, form), [ROW_FORMATS[form](rows)])
        outcome = Outcome(
            shard=shard.number,
            files=len(rows),
            failed=sum(row.error is not None for row in rows),
            retryable=sum(row.may_succeed_later for row in rows),
            segments=sum(len(row.segments) for row in rows),
            audio_ms=sum(row.duration_ms or 0 for row in rows),
            speech_ms=sum(row.speech_ms or 0 for row in rows),
        )
        # Only now: a process that is killed before this line leaves a shard that is done again.
        mark_done(self._store, outcome)
        return outcome

    def close(self) -> None:
        """End the worker's threads and its event loop."""
        self._runtime.close()
        self._loop.close()

    async def _row(self, entry: Entry) -> Row:
        detector = self._runtime.detector
        with ExitStack() as held:
            on_disk = self._collection.on_disk(entry, self._job.scratch)
            try:
                path = await detector.engine.readers.run(held.enter_context, on_disk)
            except Exception as error:  # noqa: BLE001 - each storage has errors of its own
                return failed_row(entry, UNREADABLE, reason_of(error))
            try:
                job = FileJob(self._job.request.input(path), entry.path, "batch")
                lines: list[bytes] = []
                if self._streamed is None:
                    run = await detector.run(self._plan, job)
                else:
                    run = Run(detector, self._streamed, job)
                    lines = [line async for line in stream(run, run.steps(), report_of, _raise)]
                report = run.report()
                if self._per_file:
                    await detector.engine.readers.run(self._write_answers, entry, job, report, lines)
                return found_row(entry, report)
            except Exception as error:  # noqa: BLE001 - one file never ends the run
                return row_of_error(entry, error)

    def _write_answers(self, entry: Entry, job: FileJob, report: Report, lines: list[bytes]) -> None:
        """Write the file's answer in each format, under the file's own whole name: two files that differ in their
        suffix alone keep apart, whichever shards they are in. `lines`: the answer that was written while detecting."""
        with SourcePasses(job.source, self._runtime.detector.audio, self._job.request.excerpt_rate) as passes:
            for plan in self._per_file:
                answer, name = write(plan, [report], passes.blocks), f"{PER_FILE}/{entry.path}.{plan.form.extension}"
                self._store.write(name, lines if plan is self._streamed else answer.pieces)
                if answer.time_map is not None:
                    # The service has a header for it.
                    self._store.write(f"{name}.map.json", [json.dumps(answer.time_map).encode()])


def _raise(error: VadError) -> Mapping[str, Any]:
    raise error
