"""The engine: many requests, few threads. It schedules calls and knows no model.

A bounded pool of threads makes the calls that score. A semaphore guards it and is taken per *block*, so a short clip
never waits behind the whole of a long recording; one more thread is kept for requests' first blocks while long files
hold all others. A permit is given back when the thread has finished, never when the waiting coroutine was cancelled: a
cancelled request thus stops within one block, and no thread is ever uncounted.

The order in which waiters get a permit is not first come, first served: that would put a five-second clip behind every
block that three-hour recordings have queued. Instead each block carries a tag, and the least tag goes first: a job's
first block is tagged with the present virtual time, each further one at least one unit later than the one before
(start-time fair queueing, Goyal et al., 1996). So jobs take turns block by block, and a new one goes next. Virtual time
itself moves a little with every block let in, so that not even an endless run of new clips can hold up a long file for
ever.

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
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from app.engine.device import DeviceMemory
from app.vad.errors import NotReady

_T = TypeVar("_T")
_NICENESS = 5
"""Enough that the event loop and the readers go first on a busy machine, and not so much that other processes'
ordinary work would starve scoring."""
_STEP = 1 / 8
"""Virtual time that passes with each block: of nine blocks let in, at least one is a waiting long file's. Larger
makes long files quicker beside a run of clips, and clips slower."""


@dataclass(slots=True)
class Turn:
    """One job's place in the order."""

    tag: float | None = None


class FairSemaphore:
    """A fixed number of permits. Every `acquire` that returns needs one `release`; used from one event loop."""

    def __init__(self, count: int) -> None:
        self.free = count
        """Permits that nobody holds."""
        self.now = 0.0
        """Virtual time: the tag of a block that would go in at once."""
        self._order = itertools.count()
        self._queue: list[tuple[float, int, asyncio.Future[None]]] = []

    @property
    def waiting(self) -> int:
        """How many wait for a permit."""
        return sum(not future.done() for _, _, future in self._queue)

    async def acquire(self, turn: Turn) -> None:
        """Wait for a permit. Cancelling gives back what had been granted meanwhile."""
        turn.tag = self.now if turn.tag is None else max(turn.tag + 1, self.now)
        granted = asyncio.get_running_loop().create_future()
        heapq.heappush(self._queue, (turn.tag, next(self._order), granted))
        self._let_in()
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self.release()
            raise

    def release(self) -> None:
        """Give a permit back; the next waiter has it at once."""
        self.free += 1
        self._let_in()

    def _let_in(self) -> None:
        while self.free and self._queue:
            tag, _, granted = heapq.heappop(self._queue)
            if not granted.done():
                self.free -= 1
                self.now = max(self.now, tag) + _STEP
                granted.set_result(None)


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


@dataclass(frozen=True, slots=True)
class _Permit:
    express: bool
    """Whether it is the one of the express thread."""
    long: bool
    """Whether it is for a block that is not its request's first."""


class Engine:
    """One for a process, however many models there are; used from one event loop. `close` ends its threads."""

    def __init__(self, *, workers: int, readers: int = 4, memory: DeviceMemory | None = None) -> None:
        """`workers`: threads that score. `readers`: threads that read; mostly they wait for a child that decodes, or
        for a disk."""
        self.workers = workers
        self.memory = memory or DeviceMemory()
        self.readers = Threads("read", readers)
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="score", initializer=_be_nice)
        # One permit more than threads: a thread that is done goes on at once, not when the event loop has time for it.
        self._permits = FairSemaphore(workers + 1)
        self._express = ThreadPoolExecutor(1, thread_name_prefix="express")
        self._express_is_free = True
        self._long_busy = 0
        self._busy = self._waiting = 0
        self._closed = False
        self._cleaning: asyncio.TimerHandle | None = None

    def status(self) -> EngineStatus:
        """What is going on right now."""
        return EngineStatus(self.workers, self._busy, self._waiting)

    async def run(self, call: Callable[[], _T], turn: Turn, on_end: Callable[[], None] = lambda: None) -> Done[_T]:
        """Make a call in a scoring thread when its turn comes. Raises what the call raises, and `NotReady` when the
        engine is closed.

        Cancelling withdraws a call that has not begun; one that has begun is finished, and its result dropped. The
        permit is held until then. `on_end`: called once in the event loop when the call is over or will never be made,
        to give back what the call needs while it runs.
        """
        loop, asked = asyncio.get_running_loop(), time.perf_counter()
        with contextlib.ExitStack() as held:
            held.callback(on_end)
            permit = await self._acquire(turn)
            held.callback(self._give_back, permit)
            waited = time.perf_counter() - asked
            try:
                work = (self._express if permit.express else self._pool).submit(call)
            except RuntimeError:
                raise NotReady("the service is shutting down") from None
            held_by_call = held.pop_all()
        answered: asyncio.Future[_T] = loop.create_future()

        def end() -> None:
            held_by_call.close()
            if not answered.done():
                _copy_outcome(work, answered)

        # One wake-up of the loop for everything that the call's end brings.
        work.add_done_callback(lambda _: _call_soon(loop, end))
        try:
            return Done(await answered, waited)
        except asyncio.CancelledError:
            work.cancel()
            raise

    def cleanup(self) -> None:
        """Clean the device up after a call of the service, off the event loop: now, or as soon as it is due again. The
        last call's memory is given back, too, when no other follows."""
        wait_s = self.memory.cleanup_due_in_s()
        if not self._closed and wait_s is not None and self._cleaning is None:
            self._cleaning = asyncio.get_running_loop().call_later(wait_s, self._clean_up)

    def _clean_up(self) -> None:
        self._cleaning = None
        if not self._closed:
            self.readers.submit(self.memory.cleanup)

    def close(self) -> None:
        """Take no more work and end the threads; blocks being scored are finished."""
        self._closed = True
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._express.shutdown(wait=True, cancel_futures=True)
        self.readers.close()

    async def _acquire(self, turn: Turn) -> _Permit:
        """A permit; or the express thread, for a request's first block while long files hold all permits."""
        first = turn.tag is None
        if first and self._long_busy and self._express_is_free and not self._permits.free:
            self._express_is_free = False
            turn.tag = self._permits.now
            permit = _Permit(express=True, long=False)
        else:
            self._waiting += 1
            try:
                await self._permits.acquire(turn)
            finally:
                self._waiting -= 1
            permit = _Permit(express=False, long=not first)
        self._busy += 1
        self._long_busy += permit.long
        return permit

    def _give_back(self, permit: _Permit) -> None:
        self._busy -= 1
        self._long_busy -= permit.long
        if permit.express:
            self._express_is_free = True
        else:
            self._permits.release()


def _copy_outcome(work: Future[_T], answered: "asyncio.Future[_T]") -> None:
    if work.cancelled():  # by `close`, before it began
        answered.set_exception(NotReady("the service is shutting down"))
    elif (error := work.exception()) is not None:
        answered.set_exception(error)
    else:
        answered.set_result(work.result())


def _be_nice() -> None:
    """Lower the priority of this thread below the event loop's and the readers': answers stay quick on a busy
    machine."""
    if hasattr(os, "setpriority"):
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


def _call_soon(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed, and with it everything that waited
        loop.call_soon_threadsafe(call)
