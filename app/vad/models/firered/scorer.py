"""FireRedVAD on one device: blocks in, posteriors and next states out. All three networks.

Blocks are walked in tiles, so that what one layer writes the next one reads from the cache. Blocks of the same shape
are scored as one batch.

A stream's state, once it has begun, is one row of numbers: of each block of the network the newest memory inputs and
the sums that wait for its output, and the levels of the frames whose posterior waits for look-ahead.
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
from app.vad.models.firered.checkpoint import Checkpoint
from app.vad.models.firered.network import FireredNetwork
from app.vad.models.state import StatePool, StateRow, gather, rows_of
from app.vad.posteriors import Posteriors

SAMPLE_RATE, _FRAME_SAMPLES, _SHIFT_SAMPLES = 16_000, 400, 160
"""25 ms every 10 ms; the checkpoint does not state them."""
LABELS = ("speech", "singing", "music")
"""The columns of a network with three."""
_TILE_FRAMES = 704
"""Frames at a time: the activations of one tile, 256 floats a frame and layer, stay in a core's second-level cache."""


@dataclass(frozen=True, slots=True)
class _State:
    """The state of a batch of streams, taken apart."""

    levels: Tensor
    """dB, [batch, ahead_frames]; none before the first frame."""
    memories: list[Tensor]
    """[batch, N1 - 1 + N2, P] each; the first N1 - 1 before the first frame."""
    waiting: list[Tensor]
    """[batch, N2, P] each; none before the first frame."""


class FireredScorer:
    """A `Scorer`. Read-only after construction, so any number of threads may share it."""

    tile_frames = _TILE_FRAMES

    def __init__(self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype = torch.float32) -> None:
        config = checkpoint.config
        self._config, self._device, self._dtype = config, device, dtype
        fbank = Fbank(
            sample_rate=SAMPLE_RATE,
            frame_samples=_FRAME_SAMPLES,
            shift_samples=_SHIFT_SAMPLES,
            n_mels=config.idim,
            window="povey",
            device=device,
        )
        self._pass = compiled(_Pass(fbank, FireredNetwork(checkpoint, device, dtype)))
        self.grid = Grid(
            sample_rate=SAMPLE_RATE,
            frame_samples=_FRAME_SAMPLES,
            shift_samples=_SHIFT_SAMPLES,
            look_ahead_frames=config.ahead_frames,
            warm_up_frames=config.past_frames,
            labels=LABELS if config.odim == len(LABELS) else (),
        )
        self._sizes = [
            config.ahead_frames,
            *[(config.N1 - 1 + config.N2) * config.P] * config.R,
            *[config.N2 * config.P] * (config.R - 1),
        ]

    def new_pool(self, capacity: int) -> StatePool:
        """Room for the states of so many live streams."""
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
        samples = torch.from_numpy(stacked(blocks)).to(self._device)
        final = blocks[0].final
        values, levels, after = self._walk(samples, self._state_of(blocks), final=final)
        states = [None] * len(blocks) if final else rows_of(_table(after))
        return [
            Scored(Posteriors(values[row, block.discard :], levels[row, block.discard :]), states[row])
            for row, block in enumerate(blocks)
        ]

    def _state_of(self, blocks: list[Block[StateRow]]) -> _State:
        config, batch = self._config, len(blocks)
        states = [block.state for block in blocks if block.state is not None]
        if not states:
            memory = torch.zeros(batch, config.N1 - 1, config.P, device=self._device, dtype=self._dtype)
            nothing = memory.new_zeros(batch, 0, config.P)
            levels = torch.zeros(batch, 0, device=self._device)
            return _State(levels, [memory] * config.R, [nothing] * (config.R - 1))
        levels, *parts = torch.split(gather(states, self._device), self._sizes, dim=1)
        frames = [part.reshape(batch, -1, config.P).to(self._dtype) for part in parts]
        return _State(levels, frames[: config.R], frames[config.R :])

    def _walk(self, samples: Tensor, state: _State, *, final: bool) -> tuple[np.ndarray, np.ndarray, _State]:
        """Probabilities [batch, outputs] or [batch, outputs, labels] and levels [batch, outputs], tile by tile; and the
        state after them."""
        frames, ahead = self.grid.whole_frames(samples.shape[-1]), self.grid.look_ahead_frames
        if frames == 0 and not state.levels.shape[1]:
            nothing = np.zeros((samples.shape[0], 0, self._config.odim), dtype=np.float32)
            return self._columns(nothing), nothing[..., 0], state
        values, levels = [], []
        first = 0
        while first < frames or first == 0:
            # No first tile that is too short to give anything: a state has its shape from the first output on.
            count = min(max(_TILE_FRAMES, ahead + 1), frames - first)
            start = first * self.grid.shift_samples
            tile = samples[:, start : start + self.grid.span(count)]
            ends = final and first + count >= frames
            found, tile_levels, *after = self._pass(tile, state.levels, state.memories, state.waiting, ends)
            state = _State(*after)
            values.append(found)
            levels.append(tile_levels)
            first += max(1, count)
        return self._columns(torch.cat(values, dim=1).cpu().numpy()), torch.cat(levels, dim=1).cpu().numpy(), state

    def _columns(self, values: np.ndarray) -> np.ndarray:
        return values if self.grid.labels else values[..., 0]


def _table(state: _State) -> Tensor:
    """A batch's state as rows, float32 [batch, size]."""
    parts = [state.levels, *state.memories, *state.waiting]
    return torch.cat([part.flatten(1).float() for part in parts], dim=1)


class _Pass(nn.Module):
    """Frontend and network in one, a pure function."""

    def __init__(self, fbank: Fbank, network: FireredNetwork) -> None:
        super().__init__()
        self._fbank, self._network = fbank, network

    def forward(
        self, samples: Tensor, levels: Tensor, memories: list[Tensor], waiting: list[Tensor], final: bool
    ) -> tuple[Tensor, Tensor, Tensor, list[Tensor], list[Tensor]]:
        """Probabilities and levels that `samples` make known; and the state after them."""
        mels, new_levels = self._fbank(samples)
        probabilities, memories, waiting = self._network(mels, memories, waiting, final)
        known = torch.cat((levels, new_levels), dim=1)
        outputs = probabilities.shape[1]
        return probabilities, known[:, :outputs], known[:, outputs:], memories, waiting
