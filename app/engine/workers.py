"""Threads that make calls for an event loop, and wake it once when a call is over.

Work goes to the thread that has become idle last, and not, as in the standard library's pools, to the one that has been
idle longest: what a scoring thread has touched is still in its core's caches, and the other threads go on sleeping. Two
threads that take turns with short clips took a third more processor time than one that makes all of the calls.
"""

import asyncio
import contextlib
import threading
import weakref
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any


class Work:
    """A call, and where its outcome is wanted."""

    def __init__(
        self,
        call: Callable[[], Any],
        loop: asyncio.AbstractEventLoop,
        end: Callable[[Any, BaseException | None], None],
    ) -> None:
        """`end`: called once in the loop with the call's result or with what it has raised."""
        self._call: Callable[[], Any] | None = call
        self._loop, self._end = loop, end

    def make(self) -> None:
        """Make the call, in the present thread."""
        call, self._call = self._call, None  # what it holds is free when it is over, not when its thread has the next
        result, error = None, None
        try:
            if call is not None:
                result = call()
        except BaseException as raised:  # noqa: BLE001 - it belongs to who waits
            error = raised
        del call
        self._tell(result, error)

    def drop(self, error: BaseException) -> None:
        """Have it end by an error, without the call. From any thread."""
        self._call = None
        self._tell(None, error)

    def _tell(self, result: Any, error: BaseException | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, and with it everything that waited
            self._loop.call_soon_threadsafe(self._end, result, error)


class _State:
    """What the threads share. It knows nothing of the object that users have: that may go, and they then end."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.waiting: deque[Work] = deque()
        self.idle: list[SimpleQueue[Work | None]] = []
        """Of each idle thread where its next work is put; the one that became idle last is at the end."""
        self.closed = False

    def next_work(self, box: "SimpleQueue[Work | None]") -> Work | None:
        """Wait for work, as the thread that has this box; None: there will be no more."""
        with self.lock:
            if self.waiting:
                return self.waiting.popleft()
            if self.closed:
                return None
            self.idle.append(box)
        return box.get()

    def close(self) -> list[Work]:
        """Let threads end when they have done what they are at; what waits is given back."""
        with self.lock:
            self.closed = True
            waiting, self.waiting = list(self.waiting), deque()
            idle, self.idle = self.idle, []
        for box in idle:
            box.put(None)
        return waiting


class Workers:
    """A fixed number of threads, all of which run from the beginning. Safe to use from any thread."""

    def __init__(self, name: str, count: int, begin: Callable[[], None] = lambda: None) -> None:
        """`begin`: called by each thread before anything else."""
        self._state = _State()
        self._threads = [
            threading.Thread(target=_work, args=(self._state, begin), name=f"{name}_{number}", daemon=True)
            for number in range(count)
        ]
        # Also at the interpreter's end: a thread that is then amid a network must be waited for.
        self._finalizer = weakref.finalize(self, _end, self._state, self._threads)
        for thread in self._threads:
            thread.start()

    def submit(self, work: Work) -> None:
        """Have work done by the thread that has become idle last, or by the first one that does. Raises RuntimeError
        when closed."""
        state = self._state
        with state.lock:
            if state.closed:
                raise RuntimeError("closed")
            if not state.idle:
                state.waiting.append(work)
                return
            box = state.idle.pop()
        box.put(work)

    def withdraw(self, work: Work) -> bool:
        """Whether work had not begun, and will not be."""
        with self._state.lock:
            try:
                self._state.waiting.remove(work)
            except ValueError:
                return False
        return True

    def close(self, error: BaseException) -> None:
        """Take no more work, have what waits end by an error, and return when all that has begun is done."""
        for work in self._state.close():
            work.drop(error)
        for thread in self._threads:
            thread.join()


def _work(state: _State, begin: Callable[[], None]) -> None:
    begin()
    box: SimpleQueue[Work | None] = SimpleQueue()
    while (work := state.next_work(box)) is not None:
        work.make()
        del work


def _end(state: _State, threads: list[threading.Thread]) -> None:
    state.close()
    for thread in threads:
        if thread is not threading.current_thread():  # one of them may have held the last reference
            thread.join()
