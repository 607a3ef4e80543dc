"""One file through the engine: its blocks are read ahead, cut in order, scored side by side, and committed in order."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from app.engine.backend import Backend, Cost
from app.engine.engine import Threads, Turn
from app.vad.blocks import Block, Scored
from app.vad.posteriors import FloatArray, Posteriors
from app.vad.segment import Event
from app.vad.stream import Stream

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
    settled_ms: int
    """No later event is about a segment that begins before this."""


@dataclass(slots=True)
class _Pending:
    row: int
    final: bool
    scoring: "list[asyncio.Future[Scored[Any]] | None]"
    """Of each member's block."""


async def walk(
    backends: Sequence[Backend], source: SampleSource, new_stream: Callable[[], Stream], cost: Cost
) -> AsyncGenerator[RowEvents, None]:
    """Events of every row of `source` as they are found; closes `source` in the end.

    `backends`: those of the streams' members.

    Closing this iterator, or cancelling its task, stops the work within one block. Raises whatever reading the source
    raises, and `NotReady` when the engine is closed.
    """
    streams: list[Stream] = []
    pending: deque[_Pending] = deque()
    turn = Turn()
    try:
        async with contextlib.aclosing(_read(source, backends[0].engine.readers)) as found:
            async for rows, final in found:
                streams = streams or [new_stream() for _ in rows]
                for row, samples in enumerate(rows):
                    blocks = streams[row].cut_blocks(samples, final=final)
                    scoring = [
                        _begin(backend, block, turn, cost) for backend, block in zip(backends, blocks, strict=True)
                    ]
                    pending.append(_Pending(row, final, scoring))
                while pending and (final or len(pending) > _most_in_flight(backends[0], streams)):
                    yield await _commit(pending.popleft(), streams)
    finally:
        for item in pending:
            for future in item.scoring:
                if future is not None:
                    future.cancel()


def blocks_in_flight(backend: Backend) -> int:
    """Blocks of each row that a walk has in memory at most: one read ahead, one held back until it is known whether it
    is the last, one being cut, and those that are scored or wait for it."""
    return 3 + backend.engine.workers * backend.batch + 1


def _begin(backend: Backend, block: Block[Any] | None, turn: Turn, cost: Cost) -> "asyncio.Future[Scored[Any]] | None":
    return None if block is None else asyncio.ensure_future(backend.score_file_block(block, turn, cost))


def _most_in_flight(backend: Backend, streams: list[Stream]) -> int:
    # Full batches for every thread, and one block that waits for the first free one. A chained stream's next block
    # needs the state that its last one leaves, so nothing of it may be under way.
    return backend.engine.workers * backend.batch + 1 if streams[0].isolated else 0


async def _commit(item: _Pending, streams: list[Stream]) -> RowEvents:
    stream = streams[item.row]
    events = stream.commit_scores(
        [None if future is None else await future for future in item.scoring], final=item.final
    )
    return RowEvents(item.row, events, stream.heard, stream.settled_ms)


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
