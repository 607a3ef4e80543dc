"""Blocks of many requests as one batch, for a device that is quickest with many at a time.

While a batch is being scored the next one gathers: whatever waits when a thread is free goes together, up to the
batch's size. So a lone request is not delayed, and a busy device is filled.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from app.vad.blocks import Block

_T = TypeVar("_T")


@dataclass(slots=True)
class _Waiting(Generic[_T]):
    block: Block[Any]
    scores: "asyncio.Future[_T]"


class Gatherer(Generic[_T]):
    """Used from one event loop."""

    def __init__(self, score_many: Callable[[list[Block[Any]]], Awaitable[list[_T]]], size: int, at_once: int) -> None:
        """`score_many`: one result for each block of a batch. `size`: most blocks in a batch. `at_once`: batches under
        way at a time."""
        self._score_many, self._size, self._at_once = score_many, size, at_once
        self._waiting: deque[_Waiting[_T]] = deque()
        self._pumps: set[asyncio.Task[None]] = set()

    async def score(self, block: Block[Any]) -> _T:
        """The block's result. Cancelling takes it out of the queue. Raises what scoring its batch raises."""
        item: _Waiting[_T] = _Waiting(block, asyncio.get_running_loop().create_future())
        self._waiting.append(item)
        if len(self._pumps) < self._at_once:
            pump = asyncio.create_task(self._pump())
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)
        return await item.scores

    async def _pump(self) -> None:
        await asyncio.sleep(0)  # who asks in the same turn of the loop comes along
        while batch := self._next():
            await self._score_batch(batch)

    async def _score_batch(self, batch: list[_Waiting[_T]]) -> None:
        try:
            results = await self._score_many([item.block for item in batch])
        except Exception as error:  # noqa: BLE001 - it belongs to those who wait
            for item in batch:
                if not item.scores.done():
                    item.scores.set_exception(error)
            return
        for item, found in zip(batch, results, strict=True):
            if not item.scores.done():
                item.scores.set_result(found)

    def _next(self) -> list[_Waiting[_T]]:
        batch: list[_Waiting[_T]] = []
        while self._waiting and len(batch) < self._size:
            item = self._waiting.popleft()
            if not item.scores.done():
                batch.append(item)
        return batch
