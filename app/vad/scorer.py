"""FSMN-VAD on one device: scoring blocks in, frame scores out.

Long blocks are walked in tiles of `TILE_FRAMES`, so that what one layer writes the next one reads from the cache.
Blocks of the same shape are scored as one batch.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from app.vad.blocks import Block, FrameGrid
from app.vad.checkpoint import Checkpoint
from app.vad.frontend import Frontend
from app.vad.fsmn import FsmnNetwork, FsmnState
from app.vad.scores import FrameScores

TILE_FRAMES = 1024
"""Frames scored at a time: the activations of one tile stay in a core's second-level cache."""


@dataclass(slots=True)
class StreamState:
    """What scoring carries from one chained block to the next, for one stream or a batch of them."""

    network: FsmnState
    levels: Tensor
    """dB of the frames whose posterior waits for look-ahead, [batch, <= context_frames]."""


class FsmnScorer:
    """A `BlockScorer`. Read-only after construction, so any number of threads may share it."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype = torch.float32) -> None:
        config = checkpoint.config
        self._device = device
        self._frontend = Frontend(config.frontend, device)
        self._network = FsmnNetwork(
            config, checkpoint.weights, checkpoint.cmvn_shift, checkpoint.cmvn_scale, device, dtype
        )
        self.grid = FrameGrid(
            sample_rate=config.frontend.sample_rate,
            frame_samples=config.frontend.frame_samples,
            shift_samples=config.frontend.shift_samples,
            look_ahead_frames=config.frontend.context_frames,
            warm_up_frames=self._network.warm_up_frames,
        )

    def new_state(self) -> StreamState:
        """The state at the start of one chained stream."""
        return self._new_state(1)

    def score(self, blocks: list[Block]) -> list[FrameScores]:
        """Scores of each block, `discard` applied. A chained block's state moves on only when all went well."""
        groups: dict[tuple[object, ...], list[int]] = {}
        for index, block in enumerate(blocks):
            groups.setdefault(_shape(block), []).append(index)
        results: dict[int, FrameScores] = {}
        with torch.inference_mode():
            for members in groups.values():
                scores = self._score_alike([blocks[index] for index in members])
                results.update(zip(members, scores, strict=True))
        return [results[index] for index in range(len(blocks))]

    def _score_alike(self, blocks: list[Block]) -> list[FrameScores]:
        samples = torch.from_numpy(_stack(blocks)).to(self._device)
        states = [block.state for block in blocks]
        state = self._new_state(len(blocks)) if states[0] is None else _join(states)
        silence, levels = self._walk(samples, state, final=blocks[0].final)
        if states[0] is not None:
            _split(state, states)
        return [
            FrameScores(silence[row, block.discard :], levels[row, block.discard :]) for row, block in enumerate(blocks)
        ]

    def _walk(self, samples: Tensor, state: StreamState, *, final: bool) -> tuple[np.ndarray, np.ndarray]:
        """Silence posteriors and levels, [batch, outputs] each, tile by tile."""
        frames = self._frontend.frame_count(samples.shape[-1])
        silence, levels = [], []
        for first in range(0, max(frames, 1), TILE_FRAMES):
            count = min(TILE_FRAMES, frames - first)
            start = first * self.grid.shift_samples
            tile = samples[:, start : start + self.grid.span(count)]
            scores, tile_levels = self._advance(tile, state, final=final and first + count >= frames)
            silence.append(scores)
            levels.append(tile_levels)
        return torch.cat(silence, dim=1).cpu().numpy(), torch.cat(levels, dim=1).cpu().numpy()

    def _advance(self, samples: Tensor, state: StreamState, *, final: bool) -> tuple[Tensor, Tensor]:
        if samples.shape[-1]:
            mels, levels = self._frontend.log_mel(samples), self._frontend.decibel(samples)
        else:
            mels = samples.new_zeros(samples.shape[0], 0, self._frontend.config.n_mels)
            levels = samples.new_zeros(samples.shape[0], 0)
        silence = self._network.advance(mels, state.network, final=final)
        known = torch.cat((state.levels, levels), dim=1)
        outputs = silence.shape[1]
        state.levels = known[:, outputs:].clone()
        return silence, known[:, :outputs]

    def _new_state(self, batch: int) -> StreamState:
        return StreamState(self._network.new_state(batch), torch.zeros(batch, 0, device=self._device))


def _shape(block: Block) -> tuple[object, ...]:
    """Blocks that can be scored as one batch have equal shapes."""
    state = block.state
    if state is None:
        return (len(block.samples), block.final, None)
    return (len(block.samples), block.final, state.network.mels.shape[1], state.levels.shape[1])


def _stack(blocks: list[Block]) -> np.ndarray:
    # A lone block still becomes an array of its own: torch wants one it may write to.
    return np.stack([block.samples for block in blocks])


def _join(states: list[StreamState]) -> StreamState:
    """The states of several streams as one batch; nothing of theirs is changed."""
    if len(states) == 1:
        state = states[0]
        return StreamState(FsmnState(state.network.mels, list(state.network.memories)), state.levels)
    layers = range(len(states[0].network.memories))
    network = FsmnState(
        torch.cat([state.network.mels for state in states]),
        [torch.cat([state.network.memories[layer] for state in states]) for layer in layers],
    )
    return StreamState(network, torch.cat([state.levels for state in states]))


def _split(batch: StreamState, states: list[StreamState]) -> None:
    """Hand a batch's state back to its streams."""
    for row, state in enumerate(states):
        state.network.mels = batch.network.mels[row : row + 1].clone()
        state.network.memories = [memory[row : row + 1].clone() for memory in batch.network.memories]
        state.levels = batch.levels[row : row + 1].clone()
