"""One file through the engine: its blocks are read ahead, cut in order, scored side by side, and committed in order."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from app.engine.backend import Backend, Cost
from app.engine.permits import Turn
from app.engine.threads import Threads
from app.vad.blocks import Scored
from app.vad.posteriors import NO_POSTERIORS, FloatArray, Posteriors
from app.vad.segment import Event
from app.vad.stream import VadStream

_MarkedBlock = tuple[FloatArray, bool]


class SampleSource(Protocol):
    """Blocks of samples at the model's rate: float32 [rows, n], each row a stream of its own."""

    def __iter__(self) -> Iterator[FloatArray]: ...

    def close(self) -> None:
        """Stop reading; a read under way in another thread ends soon."""


@dataclass(frozen=True, slots=True)
class RowEvents:
    """Events of one row, in order."""

    row: int
    events: list[Event]
    posteriors: Posteriors
    """Those behind these events."""


@dataclass(slots=True)
class _Pending:
    row: int
    final: bool
    scored: "asyncio.Future[Scored[Any]] | None"


async def walk(
    backend: Backend, source: SampleSource, new_stream: Callable[[], VadStream], cost: Cost
) -> AsyncGenerator[RowEvents, None]:
    """Events of every row of `source` as they are found; closes `source` in the end.

    Closing this iterator, or cancelling its task, stops the work within one block. Raises whatever reading the source
    raises, and `NotReady` when the engine is closed.
    """
    streams: list[VadStream] = []
    pending: deque[_Pending] = deque()
    turn = Turn()
    try:
        async with contextlib.aclosing(_read(source, backend.engine.readers)) as blocks:
            async for rows, final in blocks:
                streams = streams or [new_stream() for _ in rows]
                for row, samples in enumerate(rows):
                    block = streams[row].cut(samples, final=final)
                    scored = None
                    if block is not None:
                        scored = asyncio.ensure_future(backend.score_file_block(block, turn, cost))
                    pending.append(_Pending(row, final, scored))
                while pending and (final or len(pending) > _most_in_flight(backend, streams)):
                    yield await _commit(pending.popleft(), streams)
    finally:
        for item in pending:
            if item.scored is not None:
                item.scored.cancel()


def _most_in_flight(backend: Backend, streams: list[VadStream]) -> int:
    # Full batches for every thread, and one block that waits for the first free one. A chained stream's next block
    # needs the state that its last one leaves, so nothing of it may be under way.
    return backend.engine.workers * backend.batch + 1 if streams[0].isolated else 0


async def _commit(item: _Pending, streams: list[VadStream]) -> RowEvents:
    scored = None if item.scored is None else await item.scored
    events = streams[item.row].commit(scored, final=item.final)
    return RowEvents(item.row, events, NO_POSTERIORS if scored is None else scored.posteriors)


async def _read(source: SampleSource, readers: Threads) -> AsyncGenerator[_MarkedBlock, None]:
    """Blocks of the source, each with whether it is the last; one is read while the one before it is used."""
    marked = _mark_last(source)
    ahead = asyncio.ensure_future(readers.run(next, marked, None))
    try:
        while (found := await asyncio.shield(ahead)) is not None:
            block, last = found
            if not last:
                ahead = asyncio.ensure_future(readers.run(next, marked, None))
            yield block, last
            if last:
                return
    finally:
        source.close()
        await asyncio.wait([ahead])
        if not ahead.cancelled():
            ahead.exception()  # seen, so that asyncio does not report an error that nobody can use any more


def _mark_last(source: SampleSource) -> Iterator[_MarkedBlock]:
    """Each block with whether it is the last. One block ahead, so that a short file is read in one go."""
    held: FloatArray | None = None
    for block in source:
        if held is not None:
            yield held, False
        held = block
    if held is not None:
        yield held, True
