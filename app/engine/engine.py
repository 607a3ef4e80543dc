"""The engine: many requests, few threads. It schedules calls and knows no model.

A bounded pool of threads makes the calls that score. A semaphore guards it and is taken per *block*, so a short clip
never waits behind the whole of a long recording. One more thread is kept for requests' first blocks: they find it free
while long files hold all others, and while a clip's call waits for the interpreter it keeps the core busy with the
next. A permit is given back when the thread has finished, never when the waiting coroutine was cancelled: a cancelled
request thus stops within one block, and no thread is ever uncounted.

The order in which waiters get a permit is not first come, first served: that would put a five-second clip behind every
block that three-hour recordings have queued. Instead each block carries a tag, and the least tag goes first: a job's
first block is tagged with the present virtual time, each further one as much later as the one before cost, in blocks of
the quickest model (start-time fair queueing, Goyal et al., 1996). So jobs take turns by what their blocks cost, and a
new one goes next. Of a client whose jobs' first blocks wait already, a further one is tagged as if it were a block
behind those: a client with one clip passes one with many. Virtual time itself moves a little with every block let in,
so that not even an endless run of new clips can hold up a long file for ever.

Reading audio runs in a second bounded pool beside it.
"""

import asyncio
import contextlib
import heapq
import itertools
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from app.engine.memory import DeviceMemory, Upkeep, hand_out_heaps
from app.engine.workers import Work, Workers
from app.vad.errors import NotReady

_T = TypeVar("_T")
_NICENESS = 5
"""Enough that the event loop and the readers go first on a busy machine, and not so much that other processes'
ordinary work would starve scoring."""
_MEAN_BLOCKS = 8
"""Over how many blocks, about, what a model's cost is averaged: a busy moment must not change the order for long."""
_MOST_COST = 32.0
"""Blocks of the quickest model. The slowest one there is costs ten; more is a disturbed measurement."""
_CLOSED = "the service is shutting down"
_STEP = 1 / 8
"""Virtual time that passes with each block: of nine blocks let in, at least one is a waiting long file's. Larger
makes long files quicker beside a run of clips, and clips slower."""


@dataclass(slots=True)
class Turn:
    """One job's place in the order."""

    client: str = ""
    """Whose job it is; empty: nobody's in particular."""
    tag: float | None = None
    """Of its last block."""
    next_tag: float = 0.0
    """Least tag of its next one."""


class BlockCosts:
    """What a block of each model costs, measured while they are scored."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        """For a second of audio, by model."""

    def add(self, model: str, seconds: float) -> None:
        """Count a measurement: so long was scored for a second of audio."""
        mean = self._seconds.get(model, seconds)
        self._seconds[model] = mean + (seconds - mean) / _MEAN_BLOCKS

    def of(self, model: str) -> float:
        """In blocks of the quickest model that has been measured, from 1 on."""
        seconds = self._seconds.get(model)
        return 1.0 if seconds is None else min(_MOST_COST, seconds / min(self._seconds.values()))


@dataclass(order=True, slots=True)
class _Waiter:
    tag: float
    number: int
    """Of equal tags the one that came first goes first."""
    granted: "asyncio.Future[bool]" = field(compare=False)


@dataclass(slots=True)
class _Waits:
    """One client's first blocks that wait."""

    count: int = 0
    last_tag: float = 0.0
    """Of the one that came last."""


class FairSemaphore:
    """A number of permits for any block, and some kept for first blocks. Every `acquire` that returns needs one
    `release`; used from one event loop."""

    def __init__(self, count: int, kept: int = 0) -> None:
        self.free, self.kept_free = count, kept
        """Permits that nobody holds."""
        self._now = 0.0
        """Virtual time: the tag of a block that would go in at once."""
        self._numbers = itertools.count()
        self._first: list[_Waiter] = []
        """Heap of the jobs' first blocks that wait."""
        self._later: list[_Waiter] = []
        """Heap of all other blocks that wait."""
        self._first_of: dict[str, _Waits] = {}
        """Of each client whose first blocks wait."""

    @property
    def waiting(self) -> int:
        """How many wait for a permit."""
        return sum(not waiter.granted.done() for waiter in (*self._first, *self._later))

    async def acquire(self, turn: Turn, cost: float = 1.0) -> bool:
        """Wait for a permit; whether it is one of those kept for first blocks. Cancelling gives back what had been
        granted meanwhile. `cost`: of the block, in those of the quickest model."""
        if turn.tag is not None:
            return await self._wait(self._later, turn, max(turn.next_tag, self._now), cost)
        if not (self._first or self._later) and (self.free or self.kept_free):  # as usual: nobody is before it
            kept = not self.free
            self.free, self.kept_free = self.free - (not kept), self.kept_free - kept
            turn.tag, turn.next_tag = self._now, self._now + cost
            self._now += _STEP
            return kept
        # Nobody's jobs are each for themselves.
        waits = self._first_of.setdefault(turn.client, _Waits()) if turn.client else _Waits()
        # Not before those of the same client that came sooner, when it was behind more of its own than this one is.
        waits.last_tag = max(waits.last_tag, self._now + waits.count * cost)
        waits.count += 1
        try:
            return await self._wait(self._first, turn, waits.last_tag, cost)
        finally:
            waits.count -= 1
            if not waits.count:
                self._first_of.pop(turn.client, None)

    async def _wait(self, queue: list[_Waiter], turn: Turn, tag: float, cost: float) -> bool:
        turn.tag, turn.next_tag = tag, tag + cost
        granted: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        heapq.heappush(queue, _Waiter(tag, next(self._numbers), granted))
        self._let_in()
        try:
            return await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self.release(kept=granted.result())
            raise

    def release(self, *, kept: bool) -> None:
        """Give a permit back; the next waiter has it at once. `kept`: as `acquire` returned."""
        if kept:
            self.kept_free += 1
        else:
            self.free += 1
        self._let_in()

    def _let_in(self) -> None:
        while self.free and (waiter := self._pop(self._first, self._later)):
            self.free -= 1
            self._grant(waiter, kept=False)
        while self.kept_free and (waiter := self._pop(self._first)):
            self.kept_free -= 1
            self._grant(waiter, kept=True)

    def _pop(self, *queues: list[_Waiter]) -> _Waiter | None:
        """Take the least waiter out of its queue."""
        for queue in queues:
            while queue and queue[0].granted.done():  # cancelled
                heapq.heappop(queue)
        waiting = [queue for queue in queues if queue]
        return heapq.heappop(min(waiting, key=lambda queue: queue[0])) if waiting else None

    def _grant(self, waiter: _Waiter, *, kept: bool) -> None:
        self._now = max(self._now, waiter.tag) + _STEP
        waiter.granted.set_result(kept)


class Threads:
    """A bounded pool of threads for one kind of blocking call; further calls wait."""

    def __init__(self, name: str, count: int) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)

    async def run(self, call: Callable[..., _T], *arguments: Any) -> _T:
        """The call's result. Cancelling does not stop a call that has begun. Raises RuntimeError when closed."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, call, *arguments)

    def submit(self, call: Callable[[], object]) -> None:
        """Make the call some time; its result is dropped."""
        self._pool.submit(call)

    def close(self) -> None:
        """Take no more calls, drop those that wait, and return when the others are done."""
        self._pool.shutdown(wait=True, cancel_futures=True)


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """A snapshot for health and metrics."""

    workers: int
    busy: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Done(Generic[_T]):
    """A call's result, and how long it waited for a permit."""

    result: _T
    waited_s: float


def scoring_threads(workers: int) -> int:
    """How many threads an engine scores in: its workers and the one that is kept for first blocks."""
    return workers + 1


class Engine:
    """One for a process, however many models there are; used from one event loop. `close` ends its threads."""

    def __init__(self, *, workers: int, readers: int = 4, memory: DeviceMemory | None = None) -> None:
        """`workers`: threads that score. `readers`: threads that read; mostly they wait for a child that decodes, or
        for a disk."""
        self.workers = workers
        self.memory = memory or DeviceMemory()
        self.readers = Threads("read", readers)
        self.costs = BlockCosts()
        hand_out_heaps()
        self._pool = Workers("score", workers, _be_nice)
        self._express = Workers("express", 1)
        # One permit more than threads: a thread that is done goes on at once, not when the event loop has time for it.
        self._permits = FairSemaphore(workers + 1, kept=1)
        self._busy = 0
        self._closed = False
        self._upkeep = Upkeep(self.memory, self.readers.submit, is_busy=lambda: self._busy > 0)

    def status(self) -> EngineStatus:
        """What is going on right now."""
        return EngineStatus(self.workers, self._busy, self._permits.waiting)

    async def run(
        self, call: Callable[[], _T], turn: Turn, on_end: Callable[[], None] = lambda: None, *, cost: float = 1.0
    ) -> Done[_T]:
        """Make a call in a scoring thread when its turn comes. Raises what the call raises, and `NotReady` when the
        engine is closed.

        Cancelling withdraws a call that has not begun; one that has begun is finished, and its result dropped. The
        permit is held until then. `on_end`: called once in the event loop when the call is over or will never be made,
        to give back what the call needs while it runs.
        """
        loop, asked = asyncio.get_running_loop(), time.perf_counter()
        try:
            express = await self._permits.acquire(turn, cost)
        except BaseException:
            on_end()
            raise
        waited = time.perf_counter() - asked
        self._busy += 1
        answered: asyncio.Future[_T] = loop.create_future()

        def end(result: Any, error: BaseException | None) -> None:
            """Once, in the event loop: the only wake-up that the call's end costs it."""
            self._busy -= 1
            self._permits.release(kept=express)
            on_end()
            if answered.done():
                return
            if error is None:
                answered.set_result(result)
            else:
                answered.set_exception(error)

        threads, work = self._express if express else self._pool, Work(call, loop, end)
        try:
            threads.submit(work)
        except RuntimeError:
            end(None, NotReady(_CLOSED))
        try:
            return Done(await answered, waited)
        except asyncio.CancelledError:
            if threads.withdraw(work):
                end(None, None)
            raise

    def cleanup(self) -> None:
        """Give memory back after a call of the service, in time (`app/engine/memory.py`) and off the event loop. To be
        called when nothing of the call is left."""
        self._upkeep.call_ended()

    def close(self) -> None:
        """Take no more work and end the threads; blocks being scored are finished."""
        self._closed = True
        self._upkeep.close()
        for threads in (self._pool, self._express):
            threads.close(NotReady(_CLOSED))
        self.readers.close()


def _be_nice() -> None:
    """Lower the priority of this thread below the event loop's and the readers': answers stay quick on a busy
    machine."""
    if hasattr(os, "setpriority"):
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
