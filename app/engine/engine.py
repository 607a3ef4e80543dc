"""The engine: many requests, few threads.

A bounded pool of threads scores blocks; an asyncio semaphore guards it and is taken per *block*, so a short clip never
waits behind the whole of a long recording, and one more thread is kept for requests' first blocks while long files hold
all others. Reading the audio runs in a second bounded pool beside it. A slot is given back when the thread has
finished, never when the waiting coroutine was cancelled: a cancelled request thus stops within one block, and no thread
is ever uncounted.

Blocks of one file are isolated and scored side by side; only cutting and segmenting happen in order.
"""

import asyncio
import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

import numpy as np

from app.engine.device import DevicePolicy
from app.engine.gather import Gatherer
from app.engine.permits import Slots, Turn
from app.vad.blocks import Block, BlockScorer
from app.vad.errors import NotReady
from app.vad.posteriors import NO_SCORES, FloatArray, FrameScores
from app.vad.segment import Event
from app.vad.segmenters.options import VadOptions
from app.vad.stream import VadStream

_T = TypeVar("_T")
_NICENESS = 5
_MarkedBlock = tuple[FloatArray, bool]


class SampleSource(Protocol):
    """Blocks of samples at the scorer's rate: float32 [rows, n], each row a stream of its own."""

    def __iter__(self) -> Iterator[FloatArray]: ...

    def close(self) -> None:
        """Stop reading; a read under way in another thread ends soon."""


@dataclass(frozen=True, slots=True)
class RowEvents:
    """Events of one row, in order."""

    row: int
    events: list[Event]
    scores: FrameScores
    """The scores behind these events."""


@dataclass(slots=True)
class Usage:
    """What one detection cost; filled in as it runs."""

    queue_s: float = 0.0
    """The longest that one of its blocks waited for a slot."""
    inference_s: float = 0.0
    degraded: bool = False
    turn: Turn = field(default_factory=Turn)
    """The detection's place among others."""


@dataclass(slots=True)
class EngineStatus:
    """A snapshot for health and metrics."""

    workers: int
    busy: int
    waiting: int
    requests: int


@dataclass(slots=True)
class _Pending:
    row: int
    final: bool
    scores: "asyncio.Future[list[FrameScores]] | None"


@dataclass(frozen=True, slots=True)
class _Lane:
    """By which way a block got in."""

    express: bool
    long: bool
    """Whether it is not its request's first block."""


@dataclass(slots=True)
class _Observers:
    inference: list[Callable[[float], None]] = field(default_factory=list)
    queue: list[Callable[[float], None]] = field(default_factory=list)


class Engine:
    """Built once, inside a running event loop; `close` ends its threads."""

    def __init__(self, scorer: BlockScorer, policy: DevicePolicy, *, workers: int, batch: int = 1) -> None:
        """`batch`: files' blocks that are scored together; more than 1 pays on a GPU only."""
        self.scorer = scorer
        self.policy = policy
        self.workers = workers
        self.observers = _Observers()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="score", initializer=_yield_to_others)
        self._readers = ThreadPoolExecutor(max(4, 2 * workers), thread_name_prefix="read")
        # One block more than threads: a thread that is done goes on at once, not when the event loop has time for it.
        self._slots = Slots(workers + 1)
        self._express = ThreadPoolExecutor(1, thread_name_prefix="express")
        self._express_is_free = True
        self._long_busy = 0
        self._busy = self._waiting = self._requests = 0
        self._closed = False
        self._batch = batch
        self._gatherer = Gatherer(self._score_gathered, batch, at_once=workers)

    def status(self) -> EngineStatus:
        """What is going on right now."""
        return EngineStatus(self.workers, self._busy, self._waiting, self._requests)

    async def warm_up(self) -> None:
        """One inference, so that the first request does not pay for lazy initialisation."""
        rate = self.scorer.grid.sample_rate
        block = Block(np.zeros(rate, dtype=np.float32), discard=0, final=True, state=None)
        if self.scorer.grid.warm_up_frames is None:
            block = replace(block, state=self.scorer.new_state())
        await self.score([block], Usage())

    async def detect(self, source: SampleSource, options: VadOptions, usage: Usage) -> AsyncGenerator[RowEvents, None]:
        """Events of every row of `source` as they are found; closes `source` in the end.

        Closing this iterator, or cancelling its task, stops the work within one block. Raises whatever reading the
        source raises, and `NotReady` when the engine is closed.
        """
        self._requests += 1
        streams: list[VadStream] = []
        pending: deque[_Pending] = deque()
        try:
            async with contextlib.aclosing(self._read(source)) as blocks:
                async for block, final in blocks:
                    streams = streams or [VadStream(self.scorer, options, isolated=True) for _ in block]
                    for row, samples in enumerate(block):
                        pending.append(self._begin(streams[row], row, samples, final, usage))
                    while pending and (final or len(pending) > self._in_flight(streams)):
                        yield await self._settle(pending.popleft(), streams)
        finally:
            self._requests -= 1
            for item in pending:
                if item.scores is not None:
                    item.scores.cancel()

    async def score(self, blocks: list[Block], usage: Usage) -> list[FrameScores]:
        """Score blocks in one slot. The slot is held until the thread is done, whatever becomes of the caller."""
        started = time.perf_counter()
        lane = await self._acquire(usage.turn)
        waited = time.perf_counter() - started
        usage.queue_s = max(usage.queue_s, waited)
        future = self._submit(blocks, lane)
        scores, degraded, seconds = await asyncio.wrap_future(future)
        usage.inference_s += seconds
        usage.degraded |= degraded
        for observe in self.observers.queue:
            observe(waited)
        for observe in self.observers.inference:
            observe(seconds)
        return scores

    async def in_reader(self, call: Callable[..., _T], *arguments: Any) -> _T:
        """Run blocking input or output beside inference, in the readers' pool."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, call, *arguments)

    def cleanup(self) -> None:
        """Device cleanup after a call of the service, off the event loop."""
        if not self._closed and self.policy.cleanup_is_due:
            self._readers.submit(self.policy.cleanup)

    def close(self) -> None:
        """Take no more work and end the threads; blocks being scored are finished."""
        self._closed = True
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._express.shutdown(wait=True, cancel_futures=True)
        self._readers.shutdown(wait=True, cancel_futures=True)

    async def _acquire(self, turn: Turn) -> _Lane:
        """A slot; or the express thread, for a request's first block while long files hold all slots."""
        first = turn.tag is None
        if first and self._long_busy and self._express_is_free and not self._slots.free:
            self._express_is_free = False
            turn.tag = self._slots.now
            return _Lane(express=True, long=False)
        self._waiting += 1
        try:
            await self._slots.acquire(turn)
        finally:
            self._waiting -= 1
        return _Lane(express=False, long=not first)

    def _submit(self, blocks: list[Block], lane: _Lane) -> "Future[tuple[list[FrameScores], bool, float]]":
        loop = asyncio.get_running_loop()
        self._busy += 1
        self._long_busy += lane.long
        try:
            future = (self._express if lane.express else self._pool).submit(self._score_in_thread, blocks)
        except RuntimeError:
            self._give_back(lane)
            raise NotReady("the service is shutting down") from None
        future.add_done_callback(lambda _: _call_soon(loop, lambda: self._give_back(lane)))
        return future

    def _score_in_thread(self, blocks: list[Block]) -> tuple[list[FrameScores], bool, float]:
        started = time.perf_counter()
        scores, degraded = self.policy.score(blocks)
        return scores, degraded, time.perf_counter() - started

    def _give_back(self, lane: _Lane) -> None:
        self._busy -= 1
        self._long_busy -= lane.long
        if lane.express:
            self._express_is_free = True
        else:
            self._slots.release()

    def _begin(self, stream: VadStream, row: int, samples: FloatArray, final: bool, usage: Usage) -> _Pending:
        block = stream.cut(samples, final=final)
        scores = None if block is None else asyncio.ensure_future(self._score_file_block(block, usage))
        return _Pending(row, final, scores)

    async def _score_file_block(self, block: Block, usage: Usage) -> list[FrameScores]:
        if self._batch == 1:
            return await self.score([block], usage)
        scores, shared = await self._gatherer.score(block)
        usage.queue_s = max(usage.queue_s, shared.queue_s)
        usage.inference_s += shared.inference_s
        usage.degraded |= shared.degraded
        return [scores]

    async def _score_gathered(self, blocks: list[Block]) -> list[tuple[FrameScores, Usage]]:
        usage = Usage()
        scores = await self.score(blocks, usage)
        usage.inference_s /= len(blocks)
        return [(found, usage) for found in scores]

    async def _settle(self, item: _Pending, streams: list[VadStream]) -> RowEvents:
        scores = NO_SCORES if item.scores is None else (await item.scores)[0]
        stream = streams[item.row]
        return RowEvents(item.row, stream.segment(scores, final=item.final), scores)

    def _in_flight(self, streams: list[VadStream]) -> int:
        # Full batches for every thread, and one block that waits for the first free one. A chained stream's next block
        # needs the state that its last one leaves, so nothing of it may be under way.
        return self.workers * self._batch + 1 if streams[0].isolated else 0

    async def _read(self, source: SampleSource) -> AsyncGenerator[tuple[FloatArray, bool], None]:
        """Blocks of the source, each with whether it is the last; one is read while the one before it is used."""
        marked = _mark_last(source)
        ahead = self._read_next(marked)
        try:
            while (found := await asyncio.shield(ahead)) is not None:
                block, last = found
                if not last:
                    ahead = self._read_next(marked)
                yield block, last
                if last:
                    return
        finally:
            source.close()
            await asyncio.wait([ahead])
            _retrieve(ahead)

    def _read_next(self, blocks: Iterator[_MarkedBlock]) -> "asyncio.Future[_MarkedBlock | None]":
        return asyncio.ensure_future(self.in_reader(next, blocks, None))


def _yield_to_others() -> None:
    """Scoring threads take what the event loop and the readers leave: answers then stay quick on a busy machine."""
    if hasattr(os, "setpriority"):
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


def _mark_last(source: SampleSource) -> Iterator[_MarkedBlock]:
    """Each block with whether it is the last. One block ahead, so that a short file is read in one go."""
    held: FloatArray | None = None
    for block in source:
        if held is not None:
            yield held, False
        held = block
    if held is not None:
        yield held, True


def _call_soon(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is gone, and with it whoever waited
        loop.call_soon_threadsafe(call)


def _retrieve(future: "asyncio.Future[Any]") -> None:
    """Mark a result as seen, so that asyncio does not report an error that nobody can use any more."""
    if not future.cancelled():
        future.exception()
