"""One file through the engine.

A file of several blocks is read ahead in a reader's thread; its blocks are cut in order, scored side by side, and
committed in order (`walk`). Where a file is so short that one call in a scoring thread can read, score and segment all
of it, that call does (`score_whole`): each change of threads costs a short clip more than its arithmetic.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from app.engine.backend import Backend, Cost, Score
from app.engine.engine import Threads, Turn
from app.vad.blocks import Scored
from app.vad.posteriors import FloatArray, Posteriors, join_posteriors
from app.vad.segment import Event
from app.vad.stream import Stream


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
    final_ms: int
    """No later event is about a segment that begins before this."""


@dataclass(slots=True)
class _Pending:
    row: int
    final: bool
    scoring: "Sequence[asyncio.Future[Scored[Any]] | None]"
    """Of each member's block."""


async def walk(
    backends: Sequence[Backend],
    source: SampleSource,
    new_stream: Callable[[], Stream],
    cost: Cost,
    client: str = "",
) -> AsyncGenerator[RowEvents, None]:
    """Events of every row of `source` as they are found; closes `source` in the end.

    `backends`: those of the streams' members. `client`: whose turns its blocks take.

    Closing this iterator, or cancelling its task, stops the work within one block. Raises whatever reading the source
    raises, and `NotReady` when the engine is closed.
    """
    first = backends[0]
    streams: list[Stream] = []
    pending: deque[_Pending] = deque()
    turn = Turn(client)
    try:
        async with contextlib.aclosing(_read_ahead(source, first.engine.readers)) as found:
            async for rows, final in found:
                streams = streams or [new_stream() for _ in rows]
                for row, samples in enumerate(rows):
                    blocks = streams[row].cut_blocks(samples, final=final)
                    scoring = [
                        None if block is None else asyncio.ensure_future(backend.score_file_block(block, turn, cost))
                        for backend, block in zip(backends, blocks, strict=True)
                    ]
                    pending.append(_Pending(row, final, scoring))
                # Full batches for every thread, and one block that waits for the first free one. A chained stream's
                # next block needs the state that its last one leaves, so nothing of it may be under way.
                most = first.engine.workers * first.batch + 1 if streams[0].isolated else 0
                while pending and (final or len(pending) > most):
                    oldest = pending.popleft()
                    stream = streams[oldest.row]
                    scored = [None if future is None else await future for future in oldest.scoring]
                    events = stream.commit_scores(scored, final=oldest.final)
                    yield RowEvents(oldest.row, events, stream.posteriors, stream.final_ms)
    finally:
        for item in pending:
            for future in item.scoring:
                if future is not None:
                    future.cancel()


def blocks_in_flight(backend: Backend) -> int:
    """Blocks of each row that a walk has in memory at most: one read ahead, one held back until it is known whether it
    is the last, one being cut, and those that are scored or wait for it."""
    return 3 + backend.engine.workers * backend.batch + 1


def samples_beside(backends: Sequence[Backend]) -> int:
    """Samples of each row that a walk has in memory beside those blocks: what models that hear windows keep until a
    group of them is whole, and the group that is made of it."""
    found = [backend.grid.windows for backend in backends]
    return sum(2 * (windows.samples + windows.group * windows.hop_samples) for windows in found if windows is not None)


def score_whole(source: SampleSource, stream: Stream, score: Score) -> RowEvents:
    """All events of a source of one row, in the calling thread, one block after the other.

    `stream`: a fresh one of a single model. `score`: what `Backend.run` hands to its call.
    """
    events: list[Event] = []
    parts: list[Posteriors] = []
    for rows, final in _mark_last(source):
        [block] = stream.cut_blocks(rows[0], final=final)
        events += stream.commit_scores([None] if block is None else score([block]), final=final)
        parts.append(stream.posteriors)
    posteriors = parts[0] if len(parts) == 1 else join_posteriors(parts)
    return RowEvents(0, events, posteriors, stream.final_ms)


async def _read_ahead(source: SampleSource, readers: Threads) -> AsyncGenerator[tuple[FloatArray, bool], None]:
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


def _mark_last(source: SampleSource) -> Iterator[tuple[FloatArray, bool]]:
    """Each block with whether it is the last. One block ahead, so that a short file is read in one go."""
    held: FloatArray | None = None
    for block in source:
        if held is not None:
            yield held, False
        held = block
    if held is not None:
        yield held, True
