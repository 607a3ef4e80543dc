"""Cutting a stream of samples into scoring blocks. In order, cheap, numpy only.

A `Block` holds all that its scoring needs, so scoring is a pure function of model and block. There are two kinds:

- *Chained* blocks carry their stream's state from one to the next. Nothing is computed twice, but they must be scored
  one after the other: right for live streams and their small chunks.
- *Isolated* blocks start from nothing, a warm-up earlier than needed, and their first `discard` outputs are thrown
  away. They can be scored in any order, side by side: right for files, where a block is long against its warm-up.

Either way the outputs kept are those of scoring the stream in one piece.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from app.vad.posteriors import FloatArray, FrameScores


@dataclass(frozen=True, slots=True)
class FrameGrid:
    """How a model lays frames over samples."""

    sample_rate: int
    frame_samples: int
    shift_samples: int
    look_ahead_frames: int
    """Frames after a frame that its score waits for."""
    warm_up_frames: int | None
    """Outputs to discard at the head of an isolated block; None if the model's memory has no end, so that blocks must
    be chained."""
    pads_last: bool = False
    """Whether samples after a stream's last whole frame count as a frame too, filled up with silence. Only where frames
    do not overlap."""
    cuts_in_longest_silence: bool = False
    """How tight mode cuts speech that is too long; see `app.vad.segmenters.hysteresis`."""

    @property
    def frame_ms(self) -> int:
        """Distance of two frames."""
        return self.shift_samples * 1000 // self.sample_rate

    def frames(self, samples: int, *, final: bool) -> int:
        """Frames that so many samples complete."""
        return -(-samples // self.shift_samples) if final and self.pads_last else self.whole_frames(samples)

    def whole_frames(self, samples: int) -> int:
        """Frames that lie wholly inside so many samples."""
        return 0 if samples < self.frame_samples else 1 + (samples - self.frame_samples) // self.shift_samples

    def span(self, frames: int) -> int:
        """Samples that so many consecutive frames cover."""
        return (frames - 1) * self.shift_samples + self.frame_samples if frames else 0


@dataclass(frozen=True, slots=True)
class Block:
    """One piece of scoring work."""

    samples: FloatArray
    """At the model's rate, in [-1, 1], shape [samples]."""
    discard: int
    """Outputs at the head to throw away."""
    final: bool
    """The stream ends with this block."""
    state: Any
    """The stream's scorer state, which scoring moves on; None for an isolated block."""


class BankedState(Protocol):
    """The scorer state of a live stream, kept beside those of others."""

    def restart(self) -> Any:
        """Itself, at the start of a stream."""
        ...

    def close(self) -> None:
        """Give its room back; no block of the stream may be under way."""
        ...


class Bank(Protocol):
    """Room for the states of many live streams, so that scoring them together costs little."""

    def open(self) -> BankedState:
        """Room for one more. Raises IndexError when there is none."""
        ...


class BlockScorer(Protocol):
    """A model on a device: blocks in, scores out."""

    @property
    def grid(self) -> FrameGrid:
        """How frames lie over samples."""
        ...

    def new_state(self) -> Any:
        """The state at the start of one chained stream."""
        ...

    def new_bank(self, capacity: int) -> Bank | None:
        """Room for the states of so many live streams, for a model that gains by having them side by side."""
        ...

    def score(self, blocks: list[Block]) -> list[FrameScores]:
        """Scores of each block, `discard` applied. Safe to call from several threads at once."""
        ...


class BlockCutter:
    """The sample memory of one stream."""

    def __init__(self, grid: FrameGrid, state: Any = None) -> None:
        """`state`: the stream's scorer state to chain its blocks, or None to isolate them."""
        self._grid = grid
        self._state = state
        self._pending = np.zeros(0, dtype=np.float32)
        self._first_frame = 0
        self._scored_frames = 0

    def cut(self, samples: FloatArray, *, final: bool = False) -> Block | None:
        """The block that `samples` complete, or None while they complete no frame.

        `samples`: float32 [n] at the model's rate, in [-1, 1]. `final`: the stream ends here.
        """
        buffer = np.concatenate((self._pending, samples)) if len(self._pending) else samples
        frames = self._grid.frames(len(buffer), final=final)
        known = self._first_frame + frames
        outputs = known if final else max(0, known - self._grid.look_ahead_frames)
        chained = self._state is not None
        if not final and (frames == 0 if chained else outputs <= self._scored_frames):
            self._pending = buffer
            return None
        discard = 0 if chained else self._scored_frames - self._first_frame
        block = Block(buffer[: self._grid.span(frames)], discard, final, self._state)
        self._scored_frames = outputs
        self._keep(buffer, known if chained else max(0, outputs - (self._grid.warm_up_frames or 0)))
        return block

    def _keep(self, buffer: FloatArray, first_frame: int) -> None:
        # A copy, so that a small rest does not hold a large buffer alive.
        self._pending = buffer[(first_frame - self._first_frame) * self._grid.shift_samples :].copy()
        self._first_frame = first_frame
