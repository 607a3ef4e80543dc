"""Shards on this machine's cores: a process for each worker, looked after, so that a crash costs a file and no more."""

import multiprocessing
from collections import deque
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from app.batch.ledger import Outcome
from app.batch.listing import Shard
from app.batch.problems import WorkerLost
from app.batch.worker import Began, Ended, Order, Task
from app.batch.worker_process import GivenUp, Ready, work

_MAX_LOSSES = 2
"""Times that a worker may be lost between two files of one shard before the run gives up."""


@dataclass(slots=True)
class _Hand:
    """A worker's process."""

    process: SpawnProcess
    pipe: Connection
    order: Order | None = None
    begun: set[int] = field(default_factory=set)


class LocalRun:
    """One run over shards."""

    def __init__(self, task: Task, shards: Iterable[Shard], workers: int) -> None:
        self._task = task
        self._orders = deque(Order(shard, skip={}, one_by_one=False) for shard in shards)
        self._workers = min(workers, len(self._orders))
        self._hands: dict[Connection, _Hand] = {}
        self._losses: dict[int, int] = {}

    def outcomes(self) -> Generator[Outcome, None, None]:
        """As shards are finished, in any order. Raises `WorkerLost`. Closing it ends the workers."""
        try:
            for _ in range(self._workers):
                self._hire()
            while self._hands:
                for pipe in wait(list(self._hands)):
                    outcome = self._hear(self._hands[pipe])  # type: ignore[index]
                    if outcome is not None:
                        yield outcome
        finally:
            self._dismiss()

    def _hire(self) -> None:
        context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
        here, there = context.Pipe()
        process = context.Process(target=work, args=(self._task, there), name="batch-worker")
        process.start()
        there.close()
        self._hands[here] = _Hand(process, here)

    def _hear(self, hand: _Hand) -> Outcome | None:
        try:
            message = hand.pipe.recv()
        except (EOFError, OSError):
            self._replace(hand)
            return None
        match message:
            case Began(index):
                hand.begun.add(index)
            case Ended(index):
                hand.begun.discard(index)
            case GivenUp(reason):
                raise WorkerLost(f"a worker gave up: {reason}")
            case Ready():
                self._give(hand)
            case Outcome():
                self._give(hand)
                return message
        return None

    def _give(self, hand: _Hand) -> None:
        """The next order, or the end."""
        hand.order = self._orders.popleft() if self._orders else None
        hand.begun.clear()
        hand.pipe.send(hand.order)
        if hand.order is None:
            self._let_go(hand)

    def _let_go(self, hand: _Hand) -> None:
        del self._hands[hand.pipe]
        hand.process.join()
        hand.pipe.close()

    def _replace(self, hand: _Hand) -> None:
        """Another in the place of one that died; its shard is begun again, with more care."""
        self._let_go(hand)
        how = f"exit status {hand.process.exitcode}"
        if hand.order is None:
            raise WorkerLost(f"a worker died before it began: {how}")
        self._orders.appendleft(self._careful(hand.order, hand.begun, how))
        self._hire()

    def _careful(self, order: Order, begun: set[int], how: str) -> Order:
        if order.one_by_one and begun:
            reason = f"the process that read it died twice ({how}): out of memory, or a fault in the decoder"
            return replace(order, skip={**order.skip, **dict.fromkeys(begun, reason)})
        number = order.shard.number
        self._losses[number] = self._losses.get(number, 0) + 1
        if self._losses[number] > _MAX_LOSSES:
            raise WorkerLost(f"a worker died again and again at shard {number}: {how}")
        return replace(order, one_by_one=True)

    def _dismiss(self) -> None:
        """End those that are left at once; what they were at is not marked done."""
        for hand in self._hands.values():
            hand.process.kill()
        for hand in list(self._hands.values()):
            self._let_go(hand)
