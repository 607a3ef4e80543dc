"""Scores the chunks of many live streams together.

Theory of operation. A turn begins when chunks wait and a scoring thread is about to be free, but not before the batch
delay has passed since the first of them came, unless a stream is far behind already. What has gathered by then is cut
into blocks, one for each member of each stream's model, and the blocks of each model are scored in batches of about a
tile. So a quiet service answers after the delay, and a busy one gathers more with each turn: batches grow, and the cost
of a chunk falls, as load rises.

A stream has at most one piece of work under way (`Slot.scoring`). It moves on, or ends, when the blocks of all members
are scored. Nothing of it has moved before, so the streams of a batch that fails are scored once more, one by one, and
only those end that fail alone.

The states of streams lie in a pool for each model, a row for each stream, where the model gains by it: rows are given
back when the stream is over and nothing of it is under way.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import structlog

from app.engine.backend import Backend, Cost
from app.engine.engine import Turn
from app.live.session import LiveSession, PendingBlock
from app.observe import Observer
from app.vad.blocks import Block, Scored
from app.vad.errors import VadError
from app.vad.models.family import Pool

log = structlog.get_logger(__name__)

_SLICE = 64
"""Streams looked after before the event loop may turn to others: some milliseconds' work."""


class Connection(Protocol):
    """The client's end of a session."""

    def wake(self) -> None:
        """Tell it that the session has messages, or room for more audio, or has ended."""
        ...

    def dismiss(self) -> None:
        """Tell it to let go of the session at once and to close."""
        ...


@dataclass(frozen=True, slots=True)
class PoolRow:
    """Where one member's state is kept."""

    pool: Pool[Any] | None
    """None where the model gains nothing by it."""
    row: int


@dataclass(slots=True, eq=False)
class Slot:
    """A session's place in the service. The session manager changes it, but for `rows` and `scoring`."""

    name: str
    """What a client that comes back calls it; known to nobody else."""
    client: str
    """Who may come back to it."""
    session: LiveSession
    connection: Connection
    since: float
    """The manager's clock when it was opened."""
    seen: float
    """When its client last sent something."""
    left: float | None = None
    """When its client went; None while it is connected."""
    warned: bool = False
    """Whether its warnings have been counted."""
    forgotten: bool = False
    """Whether nobody can come back to it any more."""
    rows: list[PoolRow] = field(default_factory=list)
    """One for each member of its model; empty when they have been given back."""
    scoring: bool = False
    """Whether a piece of its work is under way."""


@dataclass(slots=True)
class _Work:
    """A stream's piece of work, while the blocks of its model's members are scored."""

    slot: Slot
    pending: PendingBlock
    scored: list[Scored[Any] | None]
    missing: int
    """Blocks still to be scored."""
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class _Item:
    """One member's block of a piece of work."""

    work: _Work
    member: int
    block: Block[Any]
    backend: Backend

    @property
    def place(self) -> PoolRow:
        return self.work.slot.rows[self.member]


class Batcher:
    """Scores for all streams of an engine while `run` runs. Used from one event loop."""

    def __init__(
        self, workers: int, delay_s: float, capacity: int, clock: Callable[[], float], observer: Observer
    ) -> None:
        """`workers`: batches that are worth having under way. `capacity`: most streams."""
        self._workers, self._delay_s, self._clock, self._observer = workers, delay_s, clock, observer
        self._capacity = capacity
        self._pools: dict[Backend, Pool[Any] | None] = {}
        self._waiting: dict[Slot, None] = {}
        self._something = asyncio.Event()
        self._batches: set[asyncio.Task[None]] = set()

    def add(self, slot: Slot) -> None:
        """Give a new stream its rows."""
        for backend in slot.session.plan.chosen.model.backends:
            if backend not in self._pools:
                # A stream that is forgotten keeps its row until its last block has been scored.
                self._pools[backend] = backend.scorer.new_pool(2 * self._capacity)
            pool = self._pools[backend]
            slot.rows.append(PoolRow(pool, -1 if pool is None else pool.open()))

    def notify(self, slot: Slot) -> None:
        """Score what its session has to be scored."""
        if not slot.scoring:
            self._waiting[slot] = None
            self._something.set()

    def release(self, slot: Slot) -> None:
        """Give back the rows of a stream that is over or forgotten, once nothing of it is under way."""
        if slot.scoring or (slot.session.ended is None and not slot.forgotten):
            return
        for place in slot.rows:
            if place.pool is not None:
                place.pool.close(place.row)
        slot.rows = []

    async def run(self) -> None:
        """Score what streams bring, until this is cancelled."""
        while True:
            await self._something.wait()
            if not any(slot.session.has_backlog for slot in self._waiting):
                await asyncio.sleep(self._delay_s)
            while len(self._batches) > self._workers:
                await asyncio.wait(self._batches, return_when=asyncio.FIRST_COMPLETED)
            self._something.clear()
            slots, self._waiting = list(self._waiting), {}
            for batch in _batches(await self._cut(slots)):
                task = asyncio.create_task(self._score(batch))
                self._batches.add(task)
                task.add_done_callback(self._batches.discard)

    async def _cut(self, slots: list[Slot]) -> list[_Item]:
        """The next piece of work of each stream, as blocks."""
        items: list[_Item] = []
        for count, slot in enumerate(slots, 1):
            # One that was notified again during a pause below stands here a second time.
            if not slot.scoring:
                try:
                    pending = slot.session.next_block()
                except Exception as error:  # noqa: BLE001 - it ends this stream, not the others; logged there
                    pending = None
                    _fail(slot, error)
                if pending is None:
                    self.release(slot)
                else:
                    slot.scoring = True
                    backends = slot.session.plan.chosen.model.backends
                    work = _Work(slot, pending, [None] * len(backends), 0)
                    for member, (block, backend) in enumerate(zip(pending.blocks, backends, strict=True)):
                        if block is not None:
                            work.missing += 1
                            items.append(_Item(work, member, block, backend))
                slot.connection.wake()
            if count % _SLICE == 0:
                await asyncio.sleep(0)
        return items

    async def _score(self, items: list[_Item]) -> None:
        """Score a batch; where that fails, each of its blocks alone: one bad stream must not end the others."""
        self._observer.live_batch(len(items))
        try:
            found = await _score_together(items)
        except Exception as error:  # noqa: BLE001 - scored again one by one, where it is told
            for item in items:
                self._arrived(item, error if len(items) == 1 else await _score_alone(item))
            return
        for count, (item, scored) in enumerate(zip(items, found, strict=True), 1):
            self._arrived(item, scored)
            if count % _SLICE == 0:
                await asyncio.sleep(0)

    def _arrived(self, item: _Item, found: Scored[Any] | Exception) -> None:
        """Take what scoring a block gave; with the last one of a piece of work the stream moves on, or ends."""
        work, slot = item.work, item.work.slot
        work.missing -= 1
        if isinstance(found, Exception):
            work.error = work.error or found
        else:
            work.scored[item.member] = found
        if work.missing:
            return
        try:
            if work.error is not None:
                raise work.error
            slot.session.commit(work.pending, work.scored)
        except Exception as error:  # noqa: BLE001 - it ends this stream, not the others; logged there
            _fail(slot, error)
        now = self._clock()
        for received in work.pending.received:
            self._observer.live_chunk(now - received)
        slot.scoring = False
        if slot.session.has_work:
            self.notify(slot)
        else:
            self.release(slot)
        slot.connection.wake()


async def _score_together(items: list[_Item]) -> list[Scored[Any]]:
    """Score blocks of one model, and keep the states that they leave in the streams' rows of its pool."""

    def keep(found: list[Scored[Any]]) -> list[Scored[Any]]:
        pool = items[0].place.pool
        going_on = [at for at, scored in enumerate(found) if scored.state is not None]
        if pool is None or not going_on:
            return found
        states = pool.store([items[at].place.row for at in going_on], [found[at].state for at in going_on])
        kept = dict(zip(going_on, states, strict=True))
        return [replace(scored, state=kept.get(at)) for at, scored in enumerate(found)]

    cost = Cost()
    found = await items[0].backend.score([item.block for item in items], Turn(), cost, keep)
    if cost.degraded:
        for item in items:
            item.work.slot.session.degraded = True
    return found


async def _score_alone(item: _Item) -> Scored[Any] | Exception:
    try:
        return (await _score_together([item]))[0]
    except Exception as error:  # noqa: BLE001 - told to its client
        return error


def _batches(items: list[_Item]) -> list[list[_Item]]:
    """Batches of about a tile's frames each, of one backend, of blocks as alike as can be."""
    batches: list[list[_Item]] = []
    frames, present = 0, None
    for item in sorted(items, key=lambda item: (item.backend.name, len(item.block.samples))):
        length = max(1, len(item.block.samples) // item.backend.grid.shift_samples)
        if item.backend is not present or frames + length > item.backend.scorer.tile_frames:
            batches.append([])
            frames, present = 0, item.backend
        batches[-1].append(item)
        frames += length
    return batches


def _fail(slot: Slot, error: Exception) -> None:
    """End a stream, and tell its client as much as concerns it."""
    if isinstance(error, VadError) and error.code != VadError.code:
        slot.session.fail(error.code, str(error))
        return
    log.error("a live stream failed", session=slot.name[:8], exc_info=error)
    slot.session.fail(VadError.code, "Something went wrong here. The log has the details.")
