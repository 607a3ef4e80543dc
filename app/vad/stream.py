"""One stream of audio: samples in, speech events out.

The law, whatever the options: any cutting of the audio into chunks gives the same segments as feeding it whole.

A stream walks three steps: *cut* the samples into a block, *score* the block, *commit* what scoring gave. Scoring is
pure, so `accept_waveform` and `flush` may take all three at once, and whoever scores many streams together, or many
blocks of one stream side by side, takes them one by one. Cutting and committing must then be in order; scoring need not
be when the blocks are isolated, and of a chained stream at most one block may be under way.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from app.vad.blocks import Block, BlockCutter, Scored
from app.vad.grid import Grid
from app.vad.posteriors import NO_POSTERIORS, FloatArray, Posteriors, Segmenter
from app.vad.segment import Event

NO_SAMPLES: FloatArray = np.zeros(0, dtype=np.float32)


class ScoresBlocks(Protocol):
    """As much of a `Scorer` as a stream needs."""

    @property
    def grid(self) -> Grid:
        """How frames lie over samples."""
        ...

    def score(self, blocks: Sequence[Block[Any]]) -> Sequence[Scored[Any]]:
        """What each block gives."""
        ...


class VadStream:
    """All that changes while one stream is detected; weights are the scorer's."""

    def __init__(
        self, scorer: ScoresBlocks, new_segmenter: Callable[[Grid], Segmenter], *, isolated: bool = False
    ) -> None:
        """`new_segmenter`: makes the segmenter for posteriors on a grid. `isolated`: blocks may be scored out of order
        (see `app.vad.blocks`), if the scorer's memory allows it."""
        self.isolated = isolated and scorer.grid.warm_up_frames is not None
        self._scorer = scorer
        self._segmenter = new_segmenter(scorer.grid)
        self.state: Any = None
        """What the next block starts from; a pool may move it elsewhere, and says so here."""
        self._cutter = BlockCutter(scorer.grid, isolated=self.isolated)

    def accept_waveform(self, samples: FloatArray) -> list[Event]:
        """Events that `samples` decide: float32 [n] at the scorer's rate, in [-1, 1]; any n, 0 included."""
        return self._run(self.cut(samples))

    def flush(self) -> list[Event]:
        """The last events: the stream has ended. Call `reset` before feeding it again."""
        return self._run(self.cut(NO_SAMPLES, final=True))

    def reset(self) -> None:
        """Forget everything: the next sample is the first of a new stream."""
        self._segmenter.reset()
        self.state = None
        self._cutter = BlockCutter(self._scorer.grid, isolated=self.isolated)

    def cut(self, samples: FloatArray, *, final: bool = False) -> Block[Any] | None:
        """Step 1: the block that `samples` complete, or None while they complete none."""
        return self._cutter.cut(samples, final=final, state=self.state)

    def commit(self, scored: Scored[Any] | None, *, final: bool) -> list[Event]:
        """Step 3: take over what scoring a block gave, and tell the events that it decides.

        `scored`: None where `cut` gave no block. `final`: as given to `cut`.
        """
        posteriors: Posteriors = NO_POSTERIORS
        if scored is not None:
            posteriors = scored.posteriors
            self.state = scored.state
        return self._segmenter.accept(posteriors, final=final)

    def _run(self, block: Block[Any] | None) -> list[Event]:
        if block is None:
            return []
        return self.commit(self._scorer.score([block])[0], final=block.final)
