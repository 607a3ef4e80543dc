"""Scores the chunks of many live streams together.

A turn begins when chunks wait and a scoring thread is about to be free, but not before the batch delay has passed
since the first of them came: what has gathered by then is cut into blocks, and blocks are scored in batches of about
a tile each. So a quiet service answers after the delay, and a busy one gathers more with each turn: batches grow, and
the cost of a chunk falls, as load rises.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from app.engine.engine import Engine, Usage
from app.live.session import LiveSession, Work
from app.vad.errors import VadError
from app.vad.models.fsmn.scorer import TILE_FRAMES
from app.vad.posteriors import FrameScores

log = structlog.get_logger(__name__)

_INVALID_DATA = 1007
_INTERNAL_ERROR = 1011
_SLICE = 64
"""Streams looked after before the event loop may turn to others."""


@dataclass(slots=True)
class BatchObservers:
    """Told what happens; for metrics."""

    batch: Callable[[float], None] = lambda streams: None
    chunks: Callable[[float], None] = lambda chunks: None
    lag: Callable[[float], None] = lambda seconds: None


_Item = tuple[LiveSession, Work]


class Batcher:
    """One for all streams of an engine; `run` is its life."""

    def __init__(self, engine: Engine, delay_s: float) -> None:
        self.observers = BatchObservers()
        self.on_idle: Callable[[LiveSession], None] = lambda session: None
        """Told of every session none of whose work is under way any more."""
        self._engine, self._delay_s = engine, delay_s
        self._waiting: dict[LiveSession, None] = {}
        self._something = asyncio.Event()
        self._batches: set[asyncio.Task[None]] = set()
        self._shift_samples = engine.scorer.grid.shift_samples

    def notify(self, session: LiveSession) -> None:
        """The session has work."""
        if not session.busy:
            self._waiting[session] = None
            self._something.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._something.wait()
            await asyncio.sleep(self._delay_s)
            while len(self._batches) > self._engine.workers:
                await asyncio.wait(self._batches, return_when=asyncio.FIRST_COMPLETED)
            self._something.clear()
            sessions, self._waiting = list(self._waiting), {}
            for batch in _batches(await self._take(sessions), self._shift_samples):
                task = asyncio.create_task(self._score(batch))
                self._batches.add(task)
                task.add_done_callback(self._batches.discard)

    async def _take(self, sessions: list[LiveSession]) -> list[_Item]:
        items = []
        for count, session in enumerate(sessions, 1):
            # One that was told of again during a pause below stands here a second time.
            if not session.busy:
                work = _work_of(session)
                if work is not None:
                    session.busy = True
                    items.append((session, work))
                else:
                    self.on_idle(session)
            if count % _SLICE == 0:
                await asyncio.sleep(0)
        return items

    async def _score(self, items: list[_Item]) -> None:
        self.observers.batch(len(items))
        try:
            scores = await self._engine.score([work.block for _, work in items], Usage())
        except Exception as error:  # noqa: BLE001 - scored again one by one, where it is told
            await self._score_alone(items, error)
            return
        for count, ((session, work), found) in enumerate(zip(items, scores, strict=True), 1):
            self._give(session, work, found)
            if count % _SLICE == 0:
                await asyncio.sleep(0)

    async def _score_alone(self, items: list[_Item], error: Exception) -> None:
        """After a failed batch, whose streams' states have not moved on: one bad stream must not end the others."""
        for session, work in items:
            alone = error if len(items) == 1 else await self._score_one(session, work)
            if alone is not None:
                _fail(session, alone)
                self._release(session)

    async def _score_one(self, session: LiveSession, work: Work) -> Exception | None:
        try:
            scores = await self._engine.score([work.block], Usage())
        except Exception as error:  # noqa: BLE001 - told by the caller
            return error
        self._give(session, work, scores[0])
        return None

    def _give(self, session: LiveSession, work: Work, scores: FrameScores) -> None:
        try:
            session.give(work, scores)
        except Exception as error:  # noqa: BLE001 - it ends this stream, not the others; logged there
            _fail(session, error)
        self.observers.chunks(len(work.received))
        now = time.perf_counter()
        for received in work.received:
            self.observers.lag(now - received)
        self._release(session)

    def _release(self, session: LiveSession) -> None:
        session.busy = False
        if session.has_work:
            self.notify(session)
        else:
            self.on_idle(session)


def _work_of(session: LiveSession) -> Work | None:
    if session.closing is not None:
        return None
    try:
        return session.take()
    except Exception as error:  # noqa: BLE001 - it ends this stream, not the others; logged there
        _fail(session, error)
        return None


def _fail(session: LiveSession, error: Exception) -> None:
    if isinstance(error, VadError):
        session.fail("invalid_audio", str(error), _INVALID_DATA)
        return
    log.error("a live stream failed", session=session.owner.token[:8], exc_info=error)
    session.fail("internal", "Something went wrong here. The log has the details.", _INTERNAL_ERROR)


def _batches(items: list[_Item], shift_samples: int) -> list[list[_Item]]:
    """Batches of about a tile's frames each, of blocks as alike as can be."""
    batches: list[list[_Item]] = []
    frames = TILE_FRAMES
    for item in sorted(items, key=lambda item: len(item[1].block.samples)):
        length = max(1, len(item[1].block.samples) // shift_samples)
        if frames + length > TILE_FRAMES:
            batches.append([])
            frames = 0
        batches[-1].append(item)
        frames += length
    return batches
