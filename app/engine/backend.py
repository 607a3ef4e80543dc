"""A model on its device, as requests use it: blocks in, by way of the engine's permits and the ladder, scores out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.engine.engine import Engine
from app.engine.gather import Gatherer
from app.engine.ladder import Ladder
from app.engine.permits import Turn
from app.observe import Observer
from app.vad.blocks import Block, Scored
from app.vad.grid import Grid
from app.vad.models.family import Scorer

Blocks = Sequence[Block[Any]]
Found = list[Scored[Any]]
Commit = Callable[[Found], Found]


@dataclass(slots=True)
class Cost:
    """What one detection cost; filled in as it runs."""

    queue_s: float = 0.0
    """The longest that one of its blocks waited for a permit."""
    inference_s: float = 0.0
    degraded: bool = False
    """Whether the CPU had to stand in for the device."""


class Backend:
    """Used from the engine's event loop."""

    def __init__(
        self, name: str, engine: Engine, scorer: Scorer[Any], ladder: Ladder, observer: Observer, *, batch: int = 1
    ) -> None:
        """`batch`: blocks of files that are scored together; more than 1 pays on a GPU only."""
        self.name, self.engine, self.scorer, self.ladder = name, engine, scorer, ladder
        self.batch = batch
        self._observer = observer
        self._gatherer = Gatherer(self._score_gathered, batch, at_once=engine.workers)
        engine.memory.use(ladder.device)

    @property
    def grid(self) -> Grid:
        """How the model's frames lie over samples."""
        return self.scorer.grid

    async def warm_up(self) -> None:
        """One inference, so that the first request does not pay for lazy initialisation."""
        second = np.zeros(self.grid.sample_rate, dtype=np.float32)
        await self.score([Block(second, 0, True, None)], Turn(), Cost())

    async def score(self, blocks: Blocks, turn: Turn, cost: Cost, commit: Commit | None = None) -> Found:
        """Score blocks with one permit. `commit`: called in the scoring thread once all of them are well; what it gives
        back is the result. Raises what scoring raises, `NotReady`."""

        def call() -> tuple[Found, bool]:
            found, degraded = self.ladder.score(blocks)
            return (found if commit is None else commit(found)), degraded

        done = await self.engine.run(call, turn)
        found, degraded = done.result
        cost.queue_s = max(cost.queue_s, done.waited_s)
        cost.inference_s += done.took_s
        cost.degraded |= degraded
        self._observer.block_scored(self.name, done.waited_s, done.took_s)
        return found

    async def score_file_block(self, block: Block[Any], turn: Turn, cost: Cost) -> Scored[Any]:
        """Score one block, together with other files' where that pays."""
        if self.batch == 1:
            return (await self.score([block], turn, cost))[0]
        scored, shared = await self._gatherer.score(block)
        cost.queue_s = max(cost.queue_s, shared.queue_s)
        cost.inference_s += shared.inference_s
        cost.degraded |= shared.degraded
        return scored

    async def _score_gathered(self, blocks: list[Block[Any]]) -> list[tuple[Scored[Any], Cost]]:
        cost = Cost()
        found = await self.score(blocks, Turn(), cost)
        cost.inference_s /= len(blocks)
        return [(scored, cost) for scored in found]
