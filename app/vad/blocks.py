"""Cutting a stream of samples into blocks to be scored.

A `Block` holds all that its scoring needs, so scoring is a pure function of model and block: it reads the block's state
and gives back the next one, and the stream has not moved until its owner commits that. There are two kinds:

- *Chained* blocks carry their stream's state from one to the next. Nothing is computed twice, but they must be scored
  one after the other: right for live streams and their small chunks.
- *Isolated* blocks start from nothing, a warm-up earlier than needed, and their first `discard` posteriors are thrown
  away. They can be scored in any order, side by side: right for files, where a block is long against its warm-up.

Either way the posteriors that are kept are those of scoring the stream in one piece. No block is cut before it gives at
least one, so a state, once there is one, always has the same shape.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from app.vad.grid import Grid
from app.vad.posteriors import FloatArray, Posteriors

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Block(Generic[S]):
    """One piece of scoring work."""

    samples: FloatArray
    """At the model's rate, in [-1, 1], shape [samples]."""
    discard: int
    """Posteriors at the head to throw away."""
    final: bool
    """The stream ends with this block."""
    state: S | None
    """What the block before it left; None at a stream's start and for every isolated block."""


@dataclass(frozen=True, slots=True)
class Scored(Generic[S]):
    """What scoring a block gives."""

    posteriors: Posteriors
    """`discard` applied."""
    state: S | None
    """What the stream's next block starts from; None after its final one."""


def stacked(blocks: Sequence[Block[Any]]) -> FloatArray:
    """Samples of blocks of one length, float32 [blocks, samples]. Of a single one they are not copied."""
    if len(blocks) == 1:
        return blocks[0].samples[None]
    return np.stack([block.samples for block in blocks])


class BlockCutter:
    """The sample memory of one stream."""

    def __init__(self, grid: Grid, *, isolated: bool) -> None:
        self._grid, self._isolated = grid, isolated
        self._pending = np.zeros(0, dtype=np.float32)
        self._first_frame = 0
        self._known_frames = 0

    def cut(self, samples: FloatArray, *, final: bool = False, state: Any = None) -> Block[Any] | None:
        """The block that `samples` complete, or None while they make no posterior known.

        `samples`: float32 [n] at the model's rate, in [-1, 1]. `final`: the stream ends here. `state`: what the chained
        block before this one left.
        """
        grid = self._grid
        buffer = np.concatenate((self._pending, samples)) if len(self._pending) else samples
        frames = grid.frames(len(buffer), final=final)
        seen = self._first_frame + frames
        known = seen if final else max(0, seen - grid.look_ahead_frames)
        if not final and known <= self._known_frames:
            self._keep(buffer, self._first_frame)
            return None
        discard = self._known_frames - self._first_frame if self._isolated else 0
        block = Block(buffer[: grid.span(frames)], discard, final, None if self._isolated else state)
        self._known_frames = known
        self._keep(buffer, max(0, known - (grid.warm_up_frames or 0)) if self._isolated else seen)
        return block

    def _keep(self, buffer: FloatArray, first_frame: int) -> None:
        # A copy, so that a small rest does not hold a large buffer alive, such as that of all streams of a turn.
        self._pending = buffer[(first_frame - self._first_frame) * self._grid.shift_samples :].copy()
        self._first_frame = first_frame
