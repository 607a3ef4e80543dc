"""Shards on this machine's cores: worker processes, looked after, so that a crash costs a file and no more.

Each worker sits at the other end of a pipe. It says `Ready` when its model is loaded, is sent an `Order`, tells each
file's begin and end, gives the shard's `Outcome`, and is sent the next order, or None. When it dies instead:

    first time                    another worker does the shard again, one file after the other
    again, within a file          another one does it again without that file, whose row says what happened
    again, between two files      the same, a few times; then the run ends
    before its first order        the run ends: the next one would die, too

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

from app.batch.ledger import Outcome
from app.batch.listing import Shard
from app.batch.problems import WorkerLost, reason_of
from app.batch.worker import Began, Ended, Order, ShardWorker, Task

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
    order: Order | None = None
    begun: set[int] = field(default_factory=set)
    """Files of the order that it is at, by their place in the shard."""


class LocalRun:
    """One run over shards."""

    def __init__(self, task: Task, shards: Iterable[Shard], workers: int) -> None:
        self._task = task
        self._orders = deque(Order(shard, skip={}, one_by_one=False) for shard in shards)
        self._count = min(workers, len(self._orders))
        self._workers: dict[Connection, _Worker] = {}
        self._losses: dict[int, int] = {}
        self._context = _context(task)

    def outcomes(self) -> Generator[Outcome, None, None]:
        """As shards are finished, in any order. Raises `WorkerLost`. Closing it ends the workers."""
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
        process = self._context.Process(target=work, args=(self._task, there), name="batch-worker")  # type: ignore[attr-defined]
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
            case Began(index):
                worker.begun.add(index)
            case Ended(index):
                worker.begun.discard(index)
            case GivenUp(reason):
                raise WorkerLost(f"a worker gave up: {reason}")
            case Ready():
                self._send_next(worker)
            case Outcome():
                self._send_next(worker)
                return message
        return None

    def _send_next(self, worker: _Worker) -> None:
        """The next order, or None, at which the worker ends."""
        worker.order = self._orders.popleft() if self._orders else None
        worker.begun.clear()
        worker.pipe.send(worker.order)
        if worker.order is None:
            self._join(worker)

    def _join(self, worker: _Worker) -> None:
        del self._workers[worker.pipe]
        worker.process.join()
        worker.pipe.close()

    def _replace(self, worker: _Worker) -> None:
        """Start another in the place of one that died; its shard is begun again, with more care."""
        self._join(worker)
        how = f"exit status {worker.process.exitcode}"
        if worker.order is None:
            raise WorkerLost(f"a worker died before it began: {how}")
        self._orders.appendleft(self._more_careful(worker.order, worker.begun, how))
        self._start()

    def _more_careful(self, order: Order, begun: set[int], how: str) -> Order:
        if order.one_by_one and begun:
            reason = f"the process that read it died twice ({how}): out of memory, or a fault in the decoder"
            return replace(order, skip={**order.skip, **dict.fromkeys(begun, reason)})
        number = order.shard.number
        self._losses[number] = self._losses.get(number, 0) + 1
        if self._losses[number] > _MAX_LOSSES:
            raise WorkerLost(f"a worker died again and again at shard {number}: {how}")
        return replace(order, one_by_one=True)

    def _kill_all(self) -> None:
        """End those that are left at once; what they were at is not marked done."""
        for worker in self._workers.values():
            worker.process.kill()
        for worker in list(self._workers.values()):
            self._join(worker)


def work(task: Task, pipe: Connection) -> None:
    """The life of a worker process: do the orders that come, telling each file's begin and end and each shard's
    outcome."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; whoever holds the pipe decides
    try:
        worker = ShardWorker(task)
    except Exception as error:  # noqa: BLE001 - told in words at the other end
        _send(pipe, GivenUp(reason_of(error)))
        return
    _send(pipe, Ready())
    while (order := _next_order(pipe)) is not None:
        try:
            outcome = worker.run(order, lambda step: _send(pipe, step))
        except Exception as error:  # noqa: BLE001 - the destination's own errors
            _send(pipe, GivenUp(reason_of(error)))
            break
        _send(pipe, outcome)
    worker.close()


def _context(task: Task) -> BaseContext:
    """How processes are started.

    Not by forking this one: threads of torch's would be missing in the copy. Where there is a fork server it has
    imported torch once, without running anything of it, and each worker is a copy of that: it starts at once and
    shares the memory.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    build = getattr(task.build, "func", task.build)  # a partial has no module of its own
    context.set_forkserver_preload([__name__, build.__module__])
    return context


def _send(pipe: Connection, message: Ready | GivenUp | Began | Ended | Outcome) -> None:
    try:
        pipe.send(message)
    except OSError:
        os._exit(1)  # nobody waits any more for what is under way


def _next_order(pipe: Connection) -> Order | None:
    try:
        order: Order | None = pipe.recv()
    except (EOFError, OSError):
        os._exit(1)
    return order
