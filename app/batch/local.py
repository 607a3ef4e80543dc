"""Shards on this machine's cores: worker processes, looked after, so that a crash costs a file and no more.

Each worker sits at the other end of a pipe. It sends `Ready` when its model is loaded, is sent a `ShardJob`, sends
`FileStarted` and `FileFinished` for each file and the shard's `Outcome`, and is sent the next job, or None. When it
dies instead:

    first time                    another worker does the shard again, one file after the other
    again, within a file          another one does it again without that file, whose row says what happened
    again, between two files      the same, a few times; then the run ends
    before its first job          the run ends: the next one would die, too

A worker ends by itself when its pipe does, so none is left over when the run's own process is killed.
"""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess

from app.batch import WorkerLost, reason_of
from app.batch.collection import Shard
from app.batch.ledger import Outcome
from app.batch.run import BatchPlan
from app.batch.worker import FileFinished, FileStarted, ShardJob, ShardWorker

_MAX_LOSSES = 2
"""Times that a worker may be lost between two files of one shard before the run gives up."""


class Ready:
    """The model is loaded."""


@dataclass(frozen=True, slots=True)
class GivenUp:
    """The worker cannot start, or cannot put its results in place, and another try would be no better."""

    reason: str


@dataclass(slots=True)
class _Worker:
    """A worker's process, from here."""

    process: BaseProcess
    pipe: Connection
    job: ShardJob | None = None
    started: set[int] = field(default_factory=set)
    """Files of the job that it is at, by their place in the shard."""


class LocalRun:
    """One run over shards."""

    def __init__(self, plan: BatchPlan, shards: Iterable[Shard], workers: int) -> None:
        self._plan = plan
        self._jobs = deque(ShardJob(shard, skip={}, one_by_one=False) for shard in shards)
        self._count = min(workers, len(self._jobs))
        self._workers: dict[Connection, _Worker] = {}
        self._losses: dict[int, int] = {}
        self._context = _context(plan)

    def outcomes(self) -> Generator[Outcome, None, None]:
        """Yield outcomes as shards are finished, in any order. Raises `WorkerLost`. Closing it ends the workers."""
        try:
            for _ in range(self._count):
                self._start()
            while self._workers:
                for pipe in wait(list(self._workers)):
                    outcome = self._receive(self._workers[pipe])  # type: ignore[index]
                    if outcome is not None:
                        yield outcome
        finally:
            self._kill_all()

    def _start(self) -> None:
        here, there = self._context.Pipe()
        process = self._context.Process(target=work, args=(self._plan, there), name="batch-worker")  # type: ignore[attr-defined]
        # A worker does not hear Ctrl-C, which reaches the whole group, while it still imports, either.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        there.close()
        self._workers[here] = _Worker(process, here)

    def _receive(self, worker: _Worker) -> Outcome | None:
        try:
            message = worker.pipe.recv()
        except (EOFError, OSError):
            self._replace(worker)
            return None
        match message:
            case FileStarted(index):
                worker.started.add(index)
            case FileFinished(index):
                worker.started.discard(index)
            case GivenUp(reason):
                raise WorkerLost(f"a worker gave up: {reason}")
            case Ready():
                self._send_next(worker)
            case Outcome():
                self._send_next(worker)
                return message
        return None

    def _send_next(self, worker: _Worker) -> None:
        """Send the next job, or None, at which the worker ends."""
        worker.job = self._jobs.popleft() if self._jobs else None
        worker.started.clear()
        worker.pipe.send(worker.job)
        if worker.job is None:
            self._join(worker)

    def _join(self, worker: _Worker) -> None:
        del self._workers[worker.pipe]
        worker.process.join()
        worker.pipe.close()

    def _replace(self, worker: _Worker) -> None:
        """Start another in the place of one that died; its shard is started again, with more care."""
        self._join(worker)
        how = f"exit status {worker.process.exitcode}"
        if worker.job is None:
            raise WorkerLost(f"a worker died before it began: {how}")
        self._jobs.appendleft(self._more_careful(worker.job, worker.started, how))
        self._start()

    def _more_careful(self, job: ShardJob, started: set[int], how: str) -> ShardJob:
        if job.one_by_one and started:
            reason = f"the process that read it died twice ({how}): out of memory, or a fault in the decoder"
            return replace(job, skip={**job.skip, **dict.fromkeys(started, reason)})
        number = job.shard.number
        self._losses[number] = self._losses.get(number, 0) + 1
        if self._losses[number] > _MAX_LOSSES:
            raise WorkerLost(f"a worker died repeatedly at shard {number}: {how}")
        return replace(job, one_by_one=True)

    def _kill_all(self) -> None:
        """End those that are left at once; what they were at is not marked done."""
        for worker in self._workers.values():
            worker.process.kill()
        for worker in list(self._workers.values()):
            self._join(worker)


def work(plan: BatchPlan, pipe: Connection) -> None:
    """The life of a worker process: do the jobs that come, and send what the module's head says."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; whoever holds the pipe decides
    try:
        worker = ShardWorker(plan)
    except Exception as error:  # noqa: BLE001 - the other end gets its words
        _send(pipe, GivenUp(reason_of(error)))
        return
    _send(pipe, Ready())
    while (job := _next_job(pipe)) is not None:
        try:
            outcome = worker.run(job, lambda step: _send(pipe, step))
        except Exception as error:  # noqa: BLE001 - the destination's own errors
            _send(pipe, GivenUp(reason_of(error)))
            break
        _send(pipe, outcome)
    worker.close()


def _context(plan: BatchPlan) -> BaseContext:
    """How processes are started.

    Not by forking this one: threads of torch's would be missing in the copy. Where there is a fork server it has
    imported torch once, without running anything of it, and each worker is a copy of that: it starts at once and
    shares the memory.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    build = getattr(plan.build, "func", plan.build)  # a partial has no module of its own
    context.set_forkserver_preload([__name__, build.__module__])
    return context


def _send(pipe: Connection, message: Ready | GivenUp | FileStarted | FileFinished | Outcome) -> None:
    try:
        pipe.send(message)
    except OSError:
        os._exit(1)  # nobody waits any more for what is under way


def _next_job(pipe: Connection) -> ShardJob | None:
    try:
        job: ShardJob | None = pipe.recv()
    except (EOFError, OSError):
        os._exit(1)
    return job
