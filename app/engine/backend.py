"""A model on its device, as requests use it: blocks in, by way of the engine's permits and the ladder, scores out.

Where a device is quickest with many blocks at a time, blocks of many requests go as one batch. While a batch is being
scored the next one gathers: whatever waits when a thread is free goes together, up to the batch's size. So a lone
request is not delayed, and a busy device is filled.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from app.engine.device import Blocks, Found, Ladder
from app.engine.engine import Engine, Turn
from app.observe import Observer
from app.vad.blocks import Block, Scored
from app.vad.models.family import Scorer
from app.vad.posteriors import FloatArray

_T = TypeVar("_T")
Score = Callable[[Blocks], Found]
"""Scores blocks by way of the ladder, in the thread that calls it."""

_SILENT_SAMPLES = 8_000
"""Half a second and more: below it a look-up gains nothing."""
_SILENT_KINDS = 8
"""Of blocks of silence that are remembered: a first one, those in between, and a last one of some lengths."""


@dataclass(slots=True)
class Cost:
    """What one detection cost; filled in as it runs."""

    queue_s: float = 0.0
    """The longest that one of its blocks waited for a permit."""
    inference_s: float = 0.0
    degraded: bool = False
    """Whether the CPU did the work instead of the device."""

    def add(self, other: "Cost") -> None:
        """Add what some of the detection's blocks cost."""
        self.queue_s = max(self.queue_s, other.queue_s)
        self.inference_s += other.inference_s
        self.degraded |= other.degraded


@dataclass(slots=True)
class _Gathered:
    """A block that waits for its batch."""

    block: Block[Any]
    scored: "asyncio.Future[tuple[Scored[Any], Cost]]"


class SilenceMemory:
    """What blocks of digital silence were scored as.

    Scoring is pure: a block of the same samples that starts from the same state gives the same, so it need not be
    scored. Where a model's memory has an end, hours of a pause are one block, or, where each block goes on from the one
    before, the few until its state no longer changes. A state that never settles is never met again.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[Hashable, tuple[Any, Scored[Any]]] = OrderedDict()
        """By all that matters of a block but its state; the state that it started from, and what it gave."""

    def find(self, block: Block[Any]) -> Scored[Any] | None:
        """What a silent block gives; None where that is not known."""
        state, scored = self._known.get(_kind_of(block), (None, None))
        # A scorer of somebody else's may have states that do not say as a whole whether they are equal.
        return scored if state is block.state or (state == block.state) is True else None

    def add(self, block: Block[Any], scored: Scored[Any]) -> None:
        kind = _kind_of(block)
        self._known.pop(kind, None)
        self._known[kind] = block.state, scored
        if len(self._known) > _SILENT_KINDS:
            self._known.popitem(last=False)


def _kind_of(block: Block[Any]) -> Hashable:
    return len(block.samples), block.discard, block.final, block.state is None


def _is_silent(samples: FloatArray) -> bool:
    # Two samples settle it for nearly every block that holds sound.
    return len(samples) >= _SILENT_SAMPLES and not (samples[0] or samples[-1] or samples.any())


class Backend:
    """Used from the engine's event loop."""

    def __init__(
        self, name: str, engine: Engine, scorer: Scorer[Any], ladder: Ladder, observer: Observer, *, batch: int = 1
    ) -> None:
        """`batch`: blocks of files that are scored together; more than 1 pays on a GPU only."""
        self.name, self.engine, self.scorer, self.batch = name, engine, scorer, batch
        self.grid = scorer.grid
        self._ladder, self._observer = ladder, observer
        self._silence = SilenceMemory()
        self._gathered: deque[_Gathered] = deque()
        self._pumps: set[asyncio.Task[None]] = set()
        """Each scores one batch after the other; as many as there are threads."""
        engine.memory.use(ladder.device)

    async def warm_up(self) -> None:
        """Score a moment of silence, so that the first request does not pay for lazy initialisation. Short enough for
        the kernels that layers have been tried out with."""
        moment = np.zeros(self.grid.sample_rate // 4, dtype=np.float32)
        await self.score([Block(moment, 0, True, None)], Turn(), Cost())

    async def run(
        self, call: Callable[[Score], _T], turn: Turn, cost: Cost, on_end: Callable[[], None] = lambda: None
    ) -> _T:
        """Make a call in a scoring thread with one permit; it is given the function that scores blocks there.

        `on_end`, cancelling: as `Engine.run`. Adds to `cost`. Raises what the call raises, and `NotReady`.
        """
        spent, costs, samples = Cost(), self.engine.costs, 0

        def score(blocks: Blocks) -> Found:
            nonlocal samples
            started = time.perf_counter()
            found, degraded = self._ladder.score(blocks)
            spent.inference_s += time.perf_counter() - started
            spent.degraded |= degraded
            samples += sum(len(block.samples) for block in blocks)
            return found

        done = await self.engine.run(lambda: call(score), turn, on_end, cost=costs.of(self.name))
        if samples >= self.grid.sample_rate:  # less says more of the call than of the model
            costs.add(self.name, spent.inference_s * self.grid.sample_rate / samples)
        spent.queue_s = done.waited_s
        cost.add(spent)
        if spent.inference_s:
            self._observer.block_scored(self.name, spent.queue_s, spent.inference_s)
        return done.result

    async def score(
        self, blocks: Blocks, turn: Turn, cost: Cost, commit: Callable[[Found], Found] = lambda found: found
    ) -> Found:
        """Score blocks with one permit. `commit`: called in the scoring thread once all of them are scored; what it
        returns is the result. Raises what scoring raises, and `NotReady`."""
        return await self.run(lambda score: commit(score(blocks)), turn, cost)

    async def score_file_block(self, block: Block[Any], turn: Turn, cost: Cost) -> Scored[Any]:
        """Score one block, together with other files' where that pays. Cancelling takes it out of its batch."""
        if not _is_silent(block.samples):
            return await self._score_file_block(block, turn, cost)
        scored = self._silence.find(block)
        if scored is None:
            spent = Cost()
            scored = await self._score_file_block(block, turn, spent)
            cost.add(spent)
            if not spent.degraded:  # the CPU's last bits may not be the device's
                self._silence.add(block, scored)
        return scored

    async def _score_file_block(self, block: Block[Any], turn: Turn, cost: Cost) -> Scored[Any]:
        if self.batch == 1:
            return (await self.score([block], turn, cost))[0]
        waiting = _Gathered(block, asyncio.get_running_loop().create_future())
        self._gathered.append(waiting)
        if len(self._pumps) < self.engine.workers:
            self._pumps.add(asyncio.create_task(self._score_batches()))
        scored, share = await waiting.scored
        cost.add(share)
        return scored

    async def _score_batches(self) -> None:
        """Score what has gathered, batch after batch, until nothing waits."""
        try:
            await asyncio.sleep(0)  # blocks asked for in the same turn of the loop come along
            while self._gathered:
                await self._score_batch()
        finally:
            # In the same turn as the last look at what has gathered: a block that comes later starts a new one.
            self._pumps.discard(asyncio.current_task())

    async def _score_batch(self) -> None:
        """Score what has gathered, up to a batch."""
        batch: list[_Gathered] = []
        while self._gathered and len(batch) < self.batch:
            waiting = self._gathered.popleft()
            if not waiting.scored.done():  # not cancelled
                batch.append(waiting)
        if not batch:
            return
        cost = Cost()
        try:
            found = await self.score([each.block for each in batch], Turn(), cost)
        except Exception as error:  # noqa: BLE001 - it belongs to those who wait
            for each in batch:
                if not each.scored.done():
                    each.scored.set_exception(error)
            return
        cost.inference_s /= len(batch)
        for each, scored in zip(batch, found, strict=True):
            if not each.scored.done():
                each.scored.set_result((scored, cost))
