"""Scores the chunks of many live streams together.

Theory of operation. A turn begins when chunks wait and a scoring thread is about to be free, but not before the batch
delay has passed since the first of them came, unless a stream is far behind already. What has gathered by then is cut
into blocks, one for each member of each stream's model, and each model's blocks are scored in batches of about a tile.
So a quiet service answers after the delay, and a busy one gathers more in each turn: batches grow, and the cost of a
chunk falls, as load rises.

A stream has at most one piece of work under way (`Slot.scoring`). It advances, or ends, when the blocks of all members
have been scored, and not before. So the blocks of a batch that fails can be scored again, one by one, and only the
streams end whose own blocks fail.

Where a model gains by it, the states of its streams are the rows of a pool. A row is given back when the stream is over
and nothing of it is under way.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import structlog

from app.engine.backend import Backend, Cost
from app.engine.engine import Turn
from app.engine.shares import Holder, Ticket
from app.live.session import LiveSession, PendingBlock, next_blocks
from app.observe import Observer
from app.vad.blocks import Block, Scored
from app.vad.errors import VadError
from app.vad.models.family import Pool

log = structlog.get_logger(__name__)

_SLICE = 64
"""Streams that are seen to in a row, some milliseconds' work, before other tasks of the event loop get a turn."""


class Connection(Protocol):
    """What connects a session to its client."""

    def wake(self) -> None:
        """The session has messages, or room for more audio, or has ended."""
        ...

    def dismiss(self) -> None:
        """Leave the session at once and close."""
        ...


@dataclass(frozen=True, slots=True)
class PoolRow:
    """Where the state of one of the model's members is kept."""

    pool: Pool[Any] | None
    """None for a member that gains nothing by a pool."""
    row: int


@dataclass(slots=True, eq=False)
class Slot:
    """A session's place in the service. The session manager changes it; the batcher changes `rows` and `scoring`."""

    name: str
    """What the client comes back with. Whoever knows it can take the session over."""
    holder: Holder
    """Whose client may come back."""
    session: LiveSession
    connection: Connection
    since: float
    """The manager's clock when it was opened."""
    seen: float
    """When the client last sent something."""
    ticket: Ticket
    """Its place among all sessions."""
    left: float | None = None
    """When the client went; None while it is connected."""
    warned: bool = False
    """Whether the session's warnings have been counted."""
    forgotten: bool = False
    """Whether it is too late to come back."""
    rows: list[PoolRow] = field(default_factory=list)
    """One for each member of the model; empty once they have been given back."""
    scoring: bool = False
    """Whether a piece of work is under way."""


@dataclass(slots=True)
class _Work:
    """A stream's piece of work while its blocks are scored."""

    slot: Slot
    pending: PendingBlock
    scored: list[Scored[Any] | None]
    missing: int
    """How many blocks are still to be scored."""
    error: Exception | None = None


@dataclass(slots=True, eq=False)
class _Item:
    """One member's block of a piece of work."""

    work: _Work
    member: int
    block: Block[Any]
    backend: Backend
    frames: int
    """About as many as it has."""

    @property
    def place(self) -> PoolRow:
        return self.work.slot.rows[self.member]


class Batcher:
    """Scores for all streams of an engine as long as `run` runs. Used from one event loop."""

    def __init__(
        self, workers: int, delay_s: float, capacity: int, clock: Callable[[], float], observer: Observer
    ) -> None:
        """`workers`: how many batches are worth having under way. `capacity`: most streams."""
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
        """Score what waits in the session, soon."""
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
        """Score what comes, until this is cancelled."""
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
        """Take the next piece of work of each stream, as blocks."""
        items: list[_Item] = []
        for first in range(0, len(slots), _SLICE):
            if first:
                await asyncio.sleep(0)
            # A stream that was notified again during a pause is in a later turn, too, and has work under way by then.
            some = [slot for slot in slots[first : first + _SLICE] if not slot.scoring]
            for slot, pending in zip(some, next_blocks([slot.session for slot in some]), strict=True):
                if isinstance(pending, PendingBlock):
                    slot.scoring = True
                    items += _items_of(slot, pending)
                else:
                    if pending is not None:
                        fail_stream(slot, pending)
                    self.release(slot)
                slot.connection.wake()
        return items

    async def _score(self, items: list[_Item]) -> None:
        """Score a batch. If that fails, score each of its blocks alone: one bad stream must not end the others."""
        self._observer.live_batch(len(items))
        found: Sequence[Scored[Any] | Exception]
        try:
            found = await _score_together(items)
        except Exception as error:  # noqa: BLE001 - scored again one by one, which reports it
            found = [error] if len(items) == 1 else [await _score_alone(item) for item in items]
        for first in range(0, len(items), _SLICE):
            if first:
                await asyncio.sleep(0)
            received: list[float] = []
            for at in range(first, min(first + _SLICE, len(items))):
                self._arrived(items[at], found[at], received)
            now = self._clock()
            self._observer.live_chunks([now - each for each in received])

    def _arrived(self, item: _Item, found: Scored[Any] | Exception, received: list[float]) -> None:
        """Take what scoring a block gave. With the last one of a piece of work the stream advances, or ends. Add to
        `received` when the chunks came whose events are known now."""
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
            fail_stream(slot, error)
        received += work.pending.received
        slot.scoring = False
        if slot.session.has_work:
            self.notify(slot)
        else:
            self.release(slot)
        slot.connection.wake()


async def _score_together(items: list[_Item]) -> list[Scored[Any]]:
    """Score blocks of one backend, and store the states that they leave in the streams' rows of its pool."""
    cost = Cost()
    found = await items[0].backend.score([item.block for item in items], Turn(), cost, partial(_stored, items))
    if cost.degraded:
        for item in items:
            item.work.slot.session.degraded = True
    return found


def _stored(items: list[_Item], found: list[Scored[Any]]) -> list[Scored[Any]]:
    """What was found, with the states in the streams' rows of the pool."""
    pool = items[0].place.pool
    going_on = [at for at, scored in enumerate(found) if scored.state is not None]
    if pool is None or not going_on:
        return found
    states = pool.store([items[at].place.row for at in going_on], [found[at].state for at in going_on])
    kept = dict(zip(going_on, states, strict=True))
    return [Scored(scored.posteriors, kept.get(at)) for at, scored in enumerate(found)]


async def _score_alone(item: _Item) -> Scored[Any] | Exception:
    try:
        return (await _score_together([item]))[0]
    except Exception as error:  # noqa: BLE001 - ends its stream
        return error


def _items_of(slot: Slot, pending: PendingBlock) -> list[_Item]:
    """The blocks of a stream's piece of work."""
    backends = slot.session.plan.chosen.model.backends
    work = _Work(slot, pending, [None] * len(backends), len(backends) - pending.blocks.count(None))
    return [
        _Item(work, member, block, backend, max(1, len(block.samples) // backend.grid.shift_samples))
        for member, (block, backend) in enumerate(zip(pending.blocks, backends, strict=True))
        if block is not None
    ]


def _batches(items: list[_Item]) -> list[list[_Item]]:
    """Form batches of about a tile's frames, each of one backend and of blocks of similar length."""
    batches: list[list[_Item]] = []
    frames, present = 0, None
    for item in sorted(items, key=lambda item: (item.backend.name, item.frames)):
        if item.backend is not present or frames + item.frames > item.backend.scorer.tile_frames:
            batches.append([])
            frames, present = 0, item.backend
        batches[-1].append(item)
        frames += item.frames
    return batches


def fail_stream(slot: Slot, error: Exception) -> None:
    """End a stream, and tell its client as much of the error as concerns it."""
    if isinstance(error, VadError) and error.code != VadError.code:
        slot.session.fail(error.code, str(error))
        return
    log.error("a live stream failed", session=slot.name[:8], exc_info=error)
    slot.session.fail(VadError.code, "The service made an error. The log has the details.")
