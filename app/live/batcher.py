"""Scores the chunks of many live streams together.

A turn begins when chunks wait and a scoring thread is about to be free, but not before the batch delay has passed
since the first of them came: what has gathered by then is cut into blocks, and each model's blocks are scored in
batches of about a tile each. So a quiet service answers after the delay, and a busy one gathers more with each turn:
batches grow, and the cost of a chunk falls, as load rises.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import structlog

from app.engine.backend import Backend, Cost
from app.engine.engine import Turn
from app.live.seat import Seat
from app.live.session import PendingBlock
from app.observe import Observer
from app.vad.blocks import Block, Scored
from app.vad.errors import VadError

log = structlog.get_logger(__name__)

_SLICE = 64
"""Streams looked after before the event loop may turn to others: some milliseconds' work."""
INTERNAL = "internal"


@dataclass(slots=True)
class _Work:
    """A stream's piece of work, while the blocks of its model's members are scored."""

    seat: Seat
    pending: PendingBlock
    found: list[Scored[Any] | None]
    missing: int
    """Members whose blocks are still to be scored."""
    error: Exception | None = None


_Item = tuple[_Work, int]
"""One member's block of a piece of work."""


class Batcher:
    """One for all streams of an engine; `run` is its life."""

    def __init__(
        self,
        workers: int,
        delay_s: float,
        clock: Callable[[], float],
        observer: Observer,
        on_idle: Callable[[Seat], None],
    ) -> None:
        """`workers`: batches that are worth having under way. `on_idle`: told of every seat none of whose work is under
        way any more."""
        self._workers, self._delay_s, self._clock = workers, delay_s, clock
        self._observer, self._on_idle = observer, on_idle
        self._waiting: dict[Seat, None] = {}
        self._something = asyncio.Event()
        self._batches: set[asyncio.Task[None]] = set()

    def notify(self, seat: Seat) -> None:
        """The session has work."""
        if not seat.scoring:
            self._waiting[seat] = None
            self._something.set()

    async def run(self) -> None:
        """Score what streams bring, until this is cancelled."""
        while True:
            await self._something.wait()
            if not any(seat.session.has_backlog for seat in self._waiting):
                await asyncio.sleep(self._delay_s)
            while len(self._batches) > self._workers:
                await asyncio.wait(self._batches, return_when=asyncio.FIRST_COMPLETED)
            self._something.clear()
            seats, self._waiting = list(self._waiting), {}
            for batch in _batches(await self._take(seats)):
                task = asyncio.create_task(self._score(batch))
                self._batches.add(task)
                task.add_done_callback(self._batches.discard)

    async def _take(self, seats: list[Seat]) -> list[_Item]:
        items = []
        for count, seat in enumerate(seats, 1):
            # One that was told of again during a pause below stands here a second time.
            if not seat.scoring:
                pending = self._next_block(seat)
                if pending is not None:
                    seat.scoring = True
                    items += _items(seat, pending)
                else:
                    self._on_idle(seat)
                seat.connection.wake()
            if count % _SLICE == 0:
                await asyncio.sleep(0)
        return items

    def _next_block(self, seat: Seat) -> PendingBlock | None:
        try:
            return seat.session.next_block()
        except Exception as error:  # noqa: BLE001 - it ends this stream, not the others; logged there
            _fail(seat, error)
            return None

    async def _score(self, items: list[_Item]) -> None:
        self._observer.live_batch(len(items))
        try:
            found = await _score(items)
        except Exception as error:  # noqa: BLE001 - scored again one by one, where it is told
            await self._score_alone(items, error)
            return
        for count, (item, scored) in enumerate(zip(items, found, strict=True), 1):
            self._arrived(item, scored)
            if count % _SLICE == 0:
                await asyncio.sleep(0)

    async def _score_alone(self, items: list[_Item], error: Exception) -> None:
        """After a failed batch, none of whose streams has moved on: one bad stream must not end the others."""
        for item in items:
            self._arrived(item, error if len(items) == 1 else await _score_one(item))

    def _arrived(self, item: _Item, found: Scored[Any] | Exception) -> None:
        """A member's block is scored, or cannot be; with the last one the stream moves on, or ends."""
        work, member = item
        work.missing -= 1
        if isinstance(found, Exception):
            work.error = work.error or found
        else:
            work.found[member] = found
        if work.missing == 0:
            self._finish(work)

    def _finish(self, work: _Work) -> None:
        seat = work.seat
        try:
            if work.error is not None:
                raise work.error
            seat.session.commit(work.pending, work.found)
        except Exception as error:  # noqa: BLE001 - it ends this stream, not the others; logged there
            _fail(seat, error)
        now = self._clock()
        for received in work.pending.received:
            self._observer.live_chunk(now - received)
        seat.scoring = False
        if seat.session.has_work:
            self.notify(seat)
        else:
            self._on_idle(seat)
        seat.connection.wake()


def _items(seat: Seat, pending: PendingBlock) -> list[_Item]:
    members = [member for member, block in enumerate(pending.blocks) if block is not None]
    work = _Work(seat, pending, [None] * len(pending.blocks), len(members))
    return [(work, member) for member in members]


def _block(item: _Item) -> Block[Any]:
    work, member = item
    return cast("Block[Any]", work.pending.blocks[member])  # no item is made without one


def _backend(item: _Item) -> Backend:
    work, member = item
    return work.seat.model.backends[member]


async def _score(items: list[_Item]) -> list[Scored[Any]]:
    def keep(found: list[Scored[Any]]) -> list[Scored[Any]]:
        return _in_pool(items, found)

    cost = Cost()
    found = await _backend(items[0]).score([_block(item) for item in items], Turn(), cost, keep)
    if cost.degraded:
        for work, _ in items:
            work.seat.session.degraded = True
    return found


async def _score_one(item: _Item) -> Scored[Any] | Exception:
    try:
        return (await _score([item]))[0]
    except Exception as error:  # noqa: BLE001 - told to its client
        return error


def _in_pool(items: list[_Item], found: list[Scored[Any]]) -> list[Scored[Any]]:
    """The same, with the streams' states in their rows of the backend's pool, if it has one."""
    places = [work.seat.rows[member] for work, member in items]
    pool = places[0].pool
    going_on = [at for at, scored in enumerate(found) if scored.state is not None]
    if pool is None or not going_on:
        return found
    states = pool.store([places[at].row for at in going_on], [found[at].state for at in going_on])
    kept = dict(zip(going_on, states, strict=True))
    return [replace(scored, state=kept.get(at)) for at, scored in enumerate(found)]


def _fail(seat: Seat, error: Exception) -> None:
    if isinstance(error, VadError) and error.code != INTERNAL:
        seat.session.fail(error.code, str(error))
        return
    log.error("a live stream failed", session=seat.token[:8], exc_info=error)
    seat.session.fail(INTERNAL, "Something went wrong here. The log has the details.")


def _batches(items: list[_Item]) -> list[list[_Item]]:
    """Batches of about a tile's frames each, of one backend, of blocks as alike as can be."""
    batches: list[list[_Item]] = []
    frames, present = 0, None
    for item in sorted(items, key=lambda item: (_backend(item).name, len(_block(item).samples))):
        backend = _backend(item)
        length = max(1, len(_block(item).samples) // backend.grid.shift_samples)
        if backend is not present or frames + length > backend.scorer.tile_frames:
            batches.append([])
            frames, present = 0, backend
        batches[-1].append(item)
        frames += length
    return batches
