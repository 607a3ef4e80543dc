"""Bounded pools of threads, for calls that block, beside the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

_T = TypeVar("_T")


class Threads:
    """A number of threads for one kind of call; more calls wait."""

    def __init__(self, name: str, count: int) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)

    async def run(self, call: Callable[..., _T], *arguments: Any) -> _T:
        """The call's result. Cancelling does not stop a call that has begun. Raises RuntimeError when closed."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, call, *arguments)

    def submit(self, call: Callable[[], object]) -> None:
        """Have it done; nobody waits for it."""
        self._pool.submit(call)

    def close(self) -> None:
        """Take no more calls, drop those that wait, and return when the others are done."""
        self._pool.shutdown(wait=True, cancel_futures=True)
