"""FSMN-VAD on one device: scoring blocks in, frame scores out.

Long blocks are walked in tiles of `TILE_FRAMES`, so that what one layer writes the next one reads from the cache.
Blocks of the same shape are scored as one batch.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from app.vad.blocks import Block, FrameGrid
from app.vad.models.compiled import compiled
from app.vad.models.fbank import Frontend
from app.vad.models.fsmn.checkpoint import Checkpoint
from app.vad.models.fsmn.network import FsmnNetwork
from app.vad.models.state import BankedState, StateBank, StreamState
from app.vad.posteriors import FrameScores

TILE_FRAMES = 1088
"""Frames scored at a time: the activations of one tile stay in a core's second-level cache. A block of 10 s with its
warm-up is one tile."""


class FsmnScorer:
    """A `BlockScorer`. Read-only after construction, so any number of threads may share it."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype = torch.float32) -> None:
        config = checkpoint.config
        self._device, self._dtype, self._config = device, dtype, config
        network = FsmnNetwork(config, checkpoint.weights, checkpoint.cmvn_shift, checkpoint.cmvn_scale, device, dtype)
        self._pass = compiled(_Pass(Frontend(config.frontend, device), network))
        self.grid = FrameGrid(
            sample_rate=config.frontend.sample_rate,
            frame_samples=config.frontend.frame_samples,
            shift_samples=config.frontend.shift_samples,
            look_ahead_frames=config.frontend.context_frames,
            warm_up_frames=config.encoder.past_frames + config.frontend.context_frames,
        )

    def new_state(self) -> StreamState:
        """The state at the start of one chained stream."""
        return self._new_state(1)

    def new_bank(self, capacity: int) -> StateBank:
        """Room for the states of so many live streams, whose blocks are then scored together at little cost."""
        full = self.new_state()
        with torch.inference_mode():
            enough = torch.zeros(1, self.grid.span(2 * self.grid.look_ahead_frames + 1), device=self._device)
            self._advance(enough, full, final=False)
        return StateBank(full, self.new_state(), capacity)

    def score(self, blocks: list[Block]) -> list[FrameScores]:
        """Scores of each block, `discard` applied. A chained block's state moves on only when all went well."""
        groups: dict[tuple[object, ...], list[int]] = {}
        for index, block in enumerate(blocks):
            groups.setdefault(_shape(block), []).append(index)
        results: dict[int, FrameScores] = {}
        moves = []
        with torch.inference_mode():
            for members in groups.values():
                alike = [blocks[index] for index in members]
                state = self._take([block.state for block in alike]).to(self._device)
                results.update(zip(members, self._score_alike(alike, state), strict=True))
                moves.append((state, alike))
            for state, alike in moves:
                _put_back(state, alike)
        return [results[index] for index in range(len(blocks))]

    def _score_alike(self, blocks: list[Block], state: StreamState) -> list[FrameScores]:
        samples = self._place(_stack(blocks))
        silence, levels = self._walk(samples, state, final=blocks[0].final)
        return [
            FrameScores(silence[row, block.discard :], levels[row, block.discard :]) for row, block in enumerate(blocks)
        ]

    def _place(self, samples: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(samples)
        # From pinned memory the copy runs beside what the device computes.
        return tensor.pin_memory().to(self._device, non_blocking=True) if self._device.type == "cuda" else tensor

    def _take(self, states: list[Any]) -> StreamState:
        """The blocks' states as one batch, which may be changed."""
        if states[0] is None:
            return self._new_state(len(states))
        first: object = states[0]
        if isinstance(first, BankedState):
            if first.state is None:
                return first.bank.gather(states)
            states = [banked.state for banked in states]
        return StreamState.join(states)

    def _walk(self, samples: Tensor, state: StreamState, *, final: bool) -> tuple[np.ndarray, np.ndarray]:
        """Silence posteriors and levels, [batch, outputs] each, tile by tile."""
        frames = self.grid.whole_frames(samples.shape[-1])
        silence, levels = [], []
        for first in range(0, max(frames, 1), TILE_FRAMES):
            count = min(TILE_FRAMES, frames - first)
            start = first * self.grid.shift_samples
            tile = samples[:, start : start + self.grid.span(count)]
            scores, tile_levels = self._advance(tile, state, final=final and first + count >= frames)
            silence.append(scores)
            levels.append(tile_levels)
        # One transfer, and so one wait for the device, for all tiles.
        both = torch.stack((torch.cat(silence, dim=1), torch.cat(levels, dim=1))).cpu().numpy()
        return both[0], both[1]

    def _advance(self, samples: Tensor, state: StreamState, *, final: bool) -> tuple[Tensor, Tensor]:
        silence, levels, state.held, state.levels, state.memories = self._pass(
            samples, state.held, state.levels, state.memories, final
        )
        return silence, levels

    def _new_state(self, batch: int) -> StreamState:
        encoder, n_mels = self._config.encoder, self._config.frontend.n_mels
        memory = torch.zeros(batch, encoder.lorder - 1, encoder.proj_dim, device=self._device, dtype=self._dtype)
        held = torch.zeros(batch, 0, n_mels, device=self._device)
        return StreamState(held, torch.zeros(batch, 0, device=self._device), [memory] * encoder.fsmn_layers)


class _Pass(nn.Module):
    """Frontend and network in one, a pure function."""

    def __init__(self, frontend: Frontend, network: FsmnNetwork) -> None:
        super().__init__()
        self._frontend, self._network = frontend, network

    def forward(
        self, samples: Tensor, held: Tensor, levels: Tensor, memories: list[Tensor], final: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, list[Tensor]]:
        """Silence and levels, [batch, outputs], that `samples` make known; and the state after them."""
        mels, new_levels = self._frontend(samples)
        silence, held, memories = self._network(mels, held, memories, final)
        known = torch.cat((levels, new_levels), dim=1)
        outputs = silence.shape[1]
        return silence, known[:, :outputs], held, known[:, outputs:].clone(), memories


def _shape(block: Block) -> tuple[object, ...]:
    """Blocks that can be scored as one batch have equal shapes."""
    state, bank = block.state, None
    if isinstance(state, BankedState):
        bank, state = state.bank, state.state
    inner = None if state is None else (state.held.shape[1], state.levels.shape[1])
    return (len(block.samples), block.final, inner, id(bank))


def _stack(blocks: list[Block]) -> np.ndarray:
    # A lone block still becomes an array of its own: torch wants one it may write to.
    return np.stack([block.samples for block in blocks])


def _put_back(batch: StreamState, blocks: list[Block]) -> None:
    """Hand a batch's state back to its streams; after a final block nothing will be asked of it."""
    states = [block.state for block in blocks]
    first: object = states[0]
    if first is None or blocks[0].final:
        return
    if isinstance(first, BankedState) and first.state is None:
        first.bank.scatter(states, batch)
        return
    for row, state in enumerate(states):
        if isinstance(state, BankedState):
            state.bank.keep(state, batch, row)
        else:
            state.become(batch, row)
