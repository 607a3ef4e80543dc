"""Silero VAD on one device: blocks in, posteriors and next states out.

Frames of 32 ms lie side by side; each is scored together with the last 4 ms before it. Only the network's LSTM looks
back, and its memory has no end, so blocks are always chained; a stream's last frame is filled up with silence.

The package scores one frame after the other. Here the frames of a block are one batch, but for the LSTM, which walks
through them, side by side for all streams of the batch. The network is small: float32 everywhere.

A stream's state is one row of numbers: the last 4 ms of samples, the LSTM's output and its cell.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from app.vad.blocks import Block, Scored
from app.vad.grid import Grid
from app.vad.models.compiled import compiled
from app.vad.models.silero.checkpoint import Checkpoint
from app.vad.models.silero.network import SileroNetwork
from app.vad.models.state import StatePool, StateRow, gather, rows_of
from app.vad.posteriors import Posteriors

_FRAME_MS = 32
"""The network's own step: 512 samples at 16 kHz, 256 at 8 kHz; it was trained on no other."""
_CONTEXT_MS = 4
"""Samples of the frame before that the network sees again, as Silero's package gives them."""
_TILE_FRAMES = 256
"""Frames at a time: their activations stay in the cache, and memory stays flat."""
_LEVEL_FLOOR = 1e-6
"""As in `app.vad.models.fbank`: digital silence is -60 dB."""


class SileroScorer:
    """A `Scorer`. Read-only after construction, so any number of threads may share it."""

    tile_frames = _TILE_FRAMES

    def __init__(self, checkpoint: Checkpoint, device: torch.device) -> None:
        rate = checkpoint.sample_rate
        frame = rate * _FRAME_MS // 1000
        self.grid = Grid(sample_rate=rate, frame_samples=frame, shift_samples=frame, pads_last=True)
        self._device = device
        self._context = rate * _CONTEXT_MS // 1000
        self._network = compiled(SileroNetwork(checkpoint, device))
        hidden = checkpoint.tensors["decoder.rnn.weight_hh"].shape[1]
        self._sizes = [self._context, hidden, hidden]

    def new_pool(self, capacity: int) -> StatePool:
        """Room for the states of so many live streams."""
        return StatePool(sum(self._sizes), capacity, self._device)

    def score(self, blocks: Sequence[Block[StateRow]]) -> list[Scored[StateRow]]:
        """What each block gives, in their order; all are chained."""
        groups: dict[tuple[int, bool], list[int]] = {}
        for index, block in enumerate(blocks):
            frames = self.grid.frames(len(block.samples), final=block.final)
            groups.setdefault((frames, block.state is None), []).append(index)
        results: dict[int, Scored[StateRow]] = {}
        with torch.inference_mode():
            for (frames, _), members in groups.items():
                alike = [blocks[index] for index in members]
                results.update(zip(members, self._score_alike(alike, frames), strict=True))
        return [results[index] for index in range(len(blocks))]

    def _score_alike(self, blocks: list[Block[StateRow]], frames: int) -> list[Scored[StateRow]]:
        """Blocks with equally many frames, all of them at their streams' start or none."""
        size = self.grid.frame_samples
        filled = np.zeros((len(blocks), frames * size), dtype=np.float32)
        for row, block in zip(filled, blocks, strict=True):
            row[: len(block.samples)] = block.samples
        samples = torch.from_numpy(filled).to(self._device)
        speech, after = self._walk(samples, frames, self._state_of(blocks))
        energy = samples.view(len(blocks), frames, size).square().sum(-1)
        levels = energy.add_(_LEVEL_FLOOR).log10_().mul_(10).cpu().numpy()
        values = speech.cpu().numpy()
        return [
            Scored(
                Posteriors(values[row, block.discard :], levels[row, block.discard :]),
                None if block.final else after[row],
            )
            for row, block in enumerate(blocks)
        ]

    def _state_of(self, blocks: list[Block[StateRow]]) -> Tensor:
        """[streams, size]; silence before a stream's start."""
        states = [block.state for block in blocks if block.state is not None]
        return (
            gather(states, self._device) if states else torch.zeros(len(blocks), sum(self._sizes), device=self._device)
        )

    def _walk(self, samples: Tensor, frames: int, state: Tensor) -> tuple[Tensor, list[StateRow]]:
        """Speech probabilities, [batch, frames], and the streams' states after them."""
        size = self.grid.frame_samples
        context, hidden, cell = torch.split(state, self._sizes, dim=1)
        known = torch.cat((context, samples), dim=1)
        parts = [samples.new_empty(samples.shape[0], 0)]
        for first in range(0, frames, _TILE_FRAMES):
            last = min(frames, first + _TILE_FRAMES)
            windows = known[:, first * size : last * size + self._context].unfold(1, size + self._context, size)
            speech, hidden, cell = self._network(windows, hidden, cell)
            parts.append(speech)
        after = torch.cat((known[:, known.shape[1] - self._context :], hidden, cell), dim=1)
        return torch.cat(parts, dim=1), rows_of(after)
