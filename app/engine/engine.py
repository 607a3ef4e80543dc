"""The engine: many requests, few threads. It schedules calls and knows no model.

A bounded pool of threads makes the calls that score; a semaphore guards it and is taken per *block*, so a short clip
never waits behind the whole of a long recording, and one more thread is kept for requests' first blocks while long
files hold all others. A permit is given back when the thread has finished, never when the waiting coroutine was
cancelled: a cancelled request thus stops within one block, and no thread is ever uncounted.

Reading audio runs in a second bounded pool beside it.
"""

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from app.engine.device import DeviceMemory
from app.engine.permits import FairSemaphore, Turn
from app.engine.threads import Threads
from app.vad.errors import NotReady

_T = TypeVar("_T")
_NICENESS = 5
"""Enough that the event loop and the readers go first on a busy machine, and not so much that other processes'
ordinary work would starve scoring."""


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """A snapshot for health and metrics."""

    workers: int
    busy: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Done(Generic[_T]):
    """A call's result, and what it cost."""

    result: _T
    waited_s: float
    """For a permit."""
    took_s: float


@dataclass(frozen=True, slots=True)
class _Permit:
    """By which way a block got in."""

    express: bool
    long: bool
    """Whether it is not its request's first block."""


class Engine:
    """One for a process, however many models there are; used from one event loop. `close` ends its threads."""

    def __init__(self, *, workers: int, readers: int = 4, memory: DeviceMemory | None = None) -> None:
        """`workers`: threads that score. `readers`: those that read; mostly they wait, for a child that decodes, for a
        disk."""
        self.workers = workers
        self.memory = memory or DeviceMemory()
        self.readers = Threads("read", readers)
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="score", initializer=_yield_to_others)
        # One block more than threads: a thread that is done goes on at once, not when the event loop has time for it.
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

    async def run(self, call: Callable[[], _T], turn: Turn) -> Done[_T]:
        """Make a call in a scoring thread when its turn comes. The permit is held until the thread is done, whatever
        becomes of the caller. Raises what the call raises, and `NotReady` when the engine is closed."""
        started = time.perf_counter()
        permit = await self._acquire(turn)
        waited = time.perf_counter() - started
        result, took = await asyncio.wrap_future(self._submit(call, permit))
        return Done(result, waited, took)

    def cleanup(self) -> None:
        """Device cleanup after a call of the service, off the event loop: now, or as soon as it is due again. The last
        call's memory is given back, too, when no other follows."""
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
            return _Permit(express=True, long=False)
        self._waiting += 1
        try:
            await self._permits.acquire(turn)
        finally:
            self._waiting -= 1
        return _Permit(express=False, long=not first)

    def _submit(self, call: Callable[[], _T], permit: _Permit) -> "Future[tuple[_T, float]]":
        loop = asyncio.get_running_loop()
        self._busy += 1
        self._long_busy += permit.long
        try:
            future = (self._express if permit.express else self._pool).submit(_timed, call)
        except RuntimeError:
            self._give_back(permit)
            raise NotReady("the service is shutting down") from None
        future.add_done_callback(lambda _: _call_soon(loop, lambda: self._give_back(permit)))
        return future

    def _give_back(self, permit: _Permit) -> None:
        self._busy -= 1
        self._long_busy -= permit.long
        if permit.express:
            self._express_is_free = True
        else:
            self._permits.release()


def _timed(call: Callable[[], _T]) -> tuple[_T, float]:
    started = time.perf_counter()
    result = call()
    return result, time.perf_counter() - started


def _yield_to_others() -> None:
    """Scoring threads take what the event loop and the readers leave: answers then stay quick on a busy machine."""
    if hasattr(os, "setpriority"):
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


def _call_soon(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is gone, and with it whoever waited
        loop.call_soon_threadsafe(call)
