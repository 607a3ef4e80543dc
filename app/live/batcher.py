"""Scores the chunks of many live streams together.

A turn begins when chunks wait and a scoring thread is about to be free, but not before the batch delay has passed
since the first of them came: what has gathered by then is cut into blocks, and each model's blocks are scored in
batches of about a tile each. So a quiet service answers after the delay, and a busy one gathers more with each turn:
batches grow, and the cost of a chunk falls, as load rises.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import structlog

from app.engine.backend import Cost
from app.engine.permits import Turn
from app.live.seat import Seat
from app.live.session import PendingBlock
from app.observe import Observer
from app.vad.blocks import Scored
from app.vad.errors import VadError

log = structlog.get_logger(__name__)

_SLICE = 64
"""Streams looked after before the event loop may turn to others: some milliseconds' work."""
INTERNAL = "internal"

_Item = tuple[Seat, PendingBlock]


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
        """Until cancelled."""
        while True:
            await self._something.wait()
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
                    items.append((seat, pending))
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
        for count, ((seat, pending), scored) in enumerate(zip(items, found, strict=True), 1):
            self._commit(seat, pending, scored)
            if count % _SLICE == 0:
                await asyncio.sleep(0)

    async def _score_alone(self, items: list[_Item], error: Exception) -> None:
        """After a failed batch, none of whose streams has moved on: one bad stream must not end the others."""
        for seat, pending in items:
            found = error if len(items) == 1 else await _score_one(seat, pending)
            if isinstance(found, Exception):
                _fail(seat, found)
                self._release(seat)
            else:
                self._commit(seat, pending, found)

    def _commit(self, seat: Seat, pending: PendingBlock, scored: Scored[Any]) -> None:
        try:
            seat.session.commit(pending, scored)
        except Exception as error:  # noqa: BLE001 - it ends this stream, not the others; logged there
            _fail(seat, error)
        now = self._clock()
        for received in pending.received:
            self._observer.live_chunk(now - received)
        self._release(seat)

    def _release(self, seat: Seat) -> None:
        seat.scoring = False
        if seat.session.has_work:
            self.notify(seat)
        else:
            self._on_idle(seat)
        seat.connection.wake()


async def _score(items: list[_Item]) -> list[Scored[Any]]:
    backend = items[0][0].model.backend

    def keep(found: list[Scored[Any]]) -> list[Scored[Any]]:
        return _in_pool(items, found)

    return await backend.score([pending.block for _, pending in items], Turn(), Cost(), keep)


async def _score_one(seat: Seat, pending: PendingBlock) -> Scored[Any] | Exception:
    try:
        return (await _score([(seat, pending)]))[0]
    except Exception as error:  # noqa: BLE001 - told to its client
        return error


def _in_pool(items: list[_Item], found: list[Scored[Any]]) -> list[Scored[Any]]:
    """The same, with the streams' states in their rows of the model's pool, if it has one."""
    pool = items[0][0].pool
    going_on = [at for at, scored in enumerate(found) if scored.state is not None]
    if pool is None or not going_on:
        return found
    states = pool.store([items[at][0].row for at in going_on], [found[at].state for at in going_on])
    kept = dict(zip(going_on, states, strict=True))
    return [replace(scored, state=kept.get(at)) for at, scored in enumerate(found)]


def _fail(seat: Seat, error: Exception) -> None:
    if isinstance(error, VadError) and error.code != INTERNAL:
        seat.session.fail(error.code, str(error))
        return
    log.error("a live stream failed", session=seat.token[:8], exc_info=error)
    seat.session.fail(INTERNAL, "Something went wrong here. The log has the details.")


def _batches(items: list[_Item]) -> list[list[_Item]]:
    """Batches of about a tile's frames each, of one model, of blocks as alike as can be."""
    batches: list[list[_Item]] = []
    frames, model = 0, None
    for item in sorted(items, key=lambda item: (item[0].model.info.name, len(item[1].block.samples))):
        backend = item[0].model.backend
        length = max(1, len(item[1].block.samples) // backend.grid.shift_samples)
        if item[0].model is not model or frames + length > backend.scorer.tile_frames:
            batches.append([])
            frames, model = 0, item[0].model
        batches[-1].append(item)
        frames += length
    return batches
