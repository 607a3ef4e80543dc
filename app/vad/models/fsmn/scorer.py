"""FSMN-VAD on one device: blocks in, posteriors and next states out.

Long blocks are walked in tiles of `TILE_FRAMES`, so that what one layer writes the next one reads from the cache.
Blocks of the same shape are scored as one batch.

A stream's state, once it has begun, is one row of numbers: the newest log mel frames (for the stacking), the levels of
the frames whose posterior waits for look-ahead, and of each layer the newest memory inputs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from app.vad.blocks import Block, Scored, stacked
from app.vad.grid import Grid
from app.vad.models.compiled import compiled
from app.vad.models.fbank import Fbank
from app.vad.models.fsmn.checkpoint import Checkpoint
from app.vad.models.fsmn.network import FsmnNetwork
from app.vad.models.state import StatePool, StateRow, gather, rows_of
from app.vad.posteriors import Posteriors

TILE_FRAMES = 1088
"""Frames scored at a time: the activations of one tile stay in a core's second-level cache. A block of 10 s with its
warm-up is one tile."""


@dataclass(frozen=True, slots=True)
class _State:
    """The state of a batch of streams, taken apart."""

    held: Tensor
    """[batch, 2 * context_frames, n_mels]; none before the first frame."""
    levels: Tensor
    """dB, [batch, context_frames]; none before the first frame."""
    memories: list[Tensor]
    """Per layer [batch, lorder - 1, proj_dim]."""


class FsmnScorer:
    """A `Scorer`. Read-only after construction, so any number of threads may share it."""

    tile_frames = TILE_FRAMES

    def __init__(self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype = torch.float32) -> None:
        config = checkpoint.config
        frontend, encoder = config.frontend, config.encoder
        self._device, self._dtype = device, dtype
        fbank = Fbank(
            sample_rate=frontend.sample_rate,
            frame_samples=frontend.frame_samples,
            shift_samples=frontend.shift_samples,
            n_mels=frontend.n_mels,
            window="hamming",
            device=device,
        )
        network = FsmnNetwork(config, checkpoint.weights, checkpoint.cmvn_shift, checkpoint.cmvn_scale, device, dtype)
        self._pass = compiled(_Pass(fbank, network))
        self.grid = Grid(
            sample_rate=frontend.sample_rate,
            frame_samples=frontend.frame_samples,
            shift_samples=frontend.shift_samples,
            look_ahead_frames=frontend.context_frames,
            warm_up_frames=encoder.past_frames + frontend.context_frames,
        )
        self._layers = encoder.fsmn_layers
        self._held_shape = (2 * frontend.context_frames, frontend.n_mels)
        self._memory_shape = (encoder.lorder - 1, encoder.proj_dim)
        self._sizes = [
            self._held_shape[0] * self._held_shape[1],
            frontend.context_frames,
            *[self._memory_shape[0] * self._memory_shape[1]] * self._layers,
        ]

    def new_pool(self, capacity: int) -> StatePool:
        """Room for the states of so many live streams, whose blocks are then scored together at little cost."""
        return StatePool(sum(self._sizes), capacity, self._device)

    def score(self, blocks: Sequence[Block[StateRow]]) -> list[Scored[StateRow]]:
        """What each block gives, in their order."""
        groups: dict[tuple[int, bool, bool], list[int]] = {}
        for index, block in enumerate(blocks):
            groups.setdefault((len(block.samples), block.final, block.state is None), []).append(index)
        results: dict[int, Scored[StateRow]] = {}
        with torch.inference_mode():
            for members in groups.values():
                results.update(zip(members, self._score_alike([blocks[index] for index in members]), strict=True))
        return [results[index] for index in range(len(blocks))]

    def _score_alike(self, blocks: list[Block[StateRow]]) -> list[Scored[StateRow]]:
        samples = self._place(stacked(blocks))
        final = blocks[0].final
        silence, levels, after = self._walk(samples, self._state_of(blocks), final=final)
        states = [None] * len(blocks) if final else rows_of(_table(after))
        return [
            Scored(Posteriors(silence[row, block.discard :], levels[row, block.discard :], "silence"), states[row])
            for row, block in enumerate(blocks)
        ]

    def _place(self, samples: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(samples)
        # From pinned memory the copy runs beside what the device computes.
        return tensor.pin_memory().to(self._device, non_blocking=True) if self._device.type == "cuda" else tensor

    def _state_of(self, blocks: list[Block[StateRow]]) -> _State:
        states = [block.state for block in blocks if block.state is not None]
        batch = len(blocks)
        if not states:
            memory = torch.zeros(batch, *self._memory_shape, device=self._device, dtype=self._dtype)
            held = torch.zeros(batch, 0, self._held_shape[1], device=self._device)
            return _State(held, torch.zeros(batch, 0, device=self._device), [memory] * self._layers)
        held, levels, *memories = torch.split(gather(states, self._device), self._sizes, dim=1)
        return _State(
            held.view(batch, *self._held_shape),
            levels,
            [memory.view(batch, *self._memory_shape).to(self._dtype) for memory in memories],
        )

    def _walk(self, samples: Tensor, state: _State, *, final: bool) -> tuple[np.ndarray, np.ndarray, _State]:
        """Silence posteriors and levels, [batch, outputs] each, tile by tile; and the state after them."""
        frames = self.grid.whole_frames(samples.shape[-1])
        silence, levels = [], []
        for first in range(0, max(frames, 1), TILE_FRAMES):
            count = min(TILE_FRAMES, frames - first)
            start = first * self.grid.shift_samples
            tile = samples[:, start : start + self.grid.span(count)]
            ends = final and first + count >= frames
            scores, tile_levels, *after = self._pass(tile, state.held, state.levels, state.memories, ends)
            state = _State(*after)
            silence.append(scores)
            levels.append(tile_levels)
        # One transfer, and so one wait for the device, for all tiles.
        both = torch.stack((torch.cat(silence, dim=1), torch.cat(levels, dim=1))).cpu().numpy()
        return both[0], both[1], state


def _table(state: _State) -> Tensor:
    """A batch's state as rows, float32 [batch, size]."""
    parts = [state.held, state.levels, *state.memories]
    return torch.cat([part.flatten(1).float() for part in parts], dim=1)


class _Pass(nn.Module):
    """Frontend and network in one, a pure function."""

    def __init__(self, fbank: Fbank, network: FsmnNetwork) -> None:
        super().__init__()
        self._fbank, self._network = fbank, network

    def forward(
        self, samples: Tensor, held: Tensor, levels: Tensor, memories: list[Tensor], final: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, list[Tensor]]:
        """Silence and levels, [batch, outputs], that `samples` make known; and the state after them."""
        mels, new_levels = self._fbank(samples)
        silence, held, memories = self._network(mels, held, memories, final)
        known = torch.cat((levels, new_levels), dim=1)
        outputs = silence.shape[1]
        return silence, known[:, :outputs], held, known[:, outputs:], memories
