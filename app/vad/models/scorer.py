"""How blocks become posteriors: the states of streams, batches of blocks, and the walk through a network that sees
fbank features.

A *state* is what a stream carries from one block to the next: one row of float32 numbers in a table. Scoring reads rows
and returns rows of a fresh table, one for each stream of the batch; it never writes where it has read. The owner of the
streams keeps the new rows, or, with hundreds of live streams, has a `StatePool` copy them into one table that is
allocated once: a batch is then gathered and stored with one operation each, and no stream keeps a whole batch's table
alive. Rows are float32 whatever type the network computes in, and wherever it does: a stream may be scored on a GPU in
bfloat16 and continue on the CPU in float32.

A *tile* is as many frames as are scored at a time. Long blocks are walked tile by tile, so that what one layer writes
the next one reads from the cache, and memory does not grow with the block.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from app.vad.blocks import Block, Scored, stacked
from app.vad.grid import Grid
from app.vad.models.fbank import Fbank
from app.vad.models.layers import compiled
from app.vad.posteriors import Posteriors


@dataclass(frozen=True, slots=True, eq=False)
class StateRow:
    """One stream's state. Equal to another one of the same numbers, so that who has scored a block can tell that it
    would score another one alike."""

    table: Tensor
    """float32 [streams, size]."""
    row: int

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StateRow) or self.table.device != other.table.device:
            return False
        return torch.equal(self.table[self.row], other.table[other.row])

    __hash__ = None  # type: ignore[assignment]


def rows_of(table: Tensor) -> list[StateRow]:
    """A batch's states, stream by stream."""
    return [StateRow(table, row) for row in range(table.shape[0])]


def gather(states: Sequence[StateRow], device: torch.device) -> Tensor:
    """Copy the states of a batch to one table, float32 [streams, size] on `device`."""
    first = states[0].table
    if all(state.table is first for state in states):
        return _pick(first, [state.row for state in states]).to(device)
    return torch.stack([state.table[state.row].to(device) for state in states])


def _pick(table: Tensor, rows: list[int]) -> Tensor:
    return table.index_select(0, torch.tensor(rows, device=table.device))


class StatePool:
    """Rows for a fixed number of streams. Memory that no stream has used yet is not touched.

    `store` may run in a scoring thread: rows of different streams do not touch each other.
    """

    def __init__(self, size: int, capacity: int, device: torch.device) -> None:
        """`size`: numbers in a state."""
        self._table = torch.empty(capacity, size, device=device)
        self._free = list(range(capacity - 1, -1, -1))

    @property
    def free(self) -> int:
        """Number of rows that no stream has."""
        return len(self._free)

    def open(self) -> int:
        """Return a row for a new stream. Raises IndexError when there is none."""
        return self._free.pop()

    def close(self, row: int) -> None:
        """Free a row whose stream has ended and has no block under way."""
        self._free.append(row)

    def store(self, rows: Sequence[int], states: Sequence[StateRow]) -> list[StateRow]:
        """Copy states into the rows of their streams, and return them as they lie there."""
        tables = {id(state.table): state.table for state in states}
        for table in tables.values():
            targets, sources = list(rows), [state.row for state in states]
            if len(tables) > 1:
                here = [at for at, state in enumerate(states) if state.table is table]
                targets, sources = [targets[at] for at in here], [sources[at] for at in here]
            # Usually a batch's fresh table, whole and in order: nothing has to be picked out of it.
            picked = table if sources == list(range(len(table))) else _pick(table, sources)
            to = torch.tensor(targets, device=self._table.device)
            self._table.index_copy_(0, to, picked.to(self._table.device))
        return [StateRow(self._table, row) for row in rows]


Blocks = Sequence[Block[StateRow]]
ScoredBlocks = list[Scored[StateRow]]


def score_alike(
    blocks: Blocks, kind: Callable[[Block[StateRow]], Hashable], score: Callable[[Blocks], ScoredBlocks]
) -> ScoredBlocks:
    """Score blocks of one kind as one batch each, and return the results in the blocks' order."""
    groups: dict[Hashable, list[int]] = {}
    for index, block in enumerate(blocks):
        groups.setdefault(kind(block), []).append(index)
    results: dict[int, Scored[StateRow]] = {}
    with torch.inference_mode():
        for members in groups.values():
            results.update(zip(members, score([blocks[index] for index in members]), strict=True))
    return [results[index] for index in range(len(blocks))]


@dataclass(frozen=True, slots=True)
class Carry:
    """One tensor that a network carries from tile to tile, [batch, frames, channels]."""

    frames: int
    """From the stream's first output on."""
    first_frames: int
    """At a stream's start, all zeros."""
    channels: int
    dtype: torch.dtype


class FbankScorer:
    """A `Scorer` for networks over fbank features: a family brings the frontend's numbers and the network.

    The network is called with (mels [batch, frames, n_mels], state: list of the tensors that `carries` describes,
    final) and returns the posteriors that these make known, float32 [batch, outputs, columns], and the next state; it
    runs `grid.look_ahead_frames` behind the mels. Read-only after construction, so any number of threads may share it.
    """

    def __init__(
        self,
        fbank: Fbank,
        network: nn.Module,
        carries: Sequence[Carry],
        grid: Grid,
        device: torch.device,
        *,
        tile_frames: int,
        of: Literal["speech", "silence"] = "speech",
    ) -> None:
        """`of`: what the posteriors are the probability of."""
        self.grid, self.tile_frames = grid, tile_frames
        self._device, self._carries, self._of = device, carries, of
        self._pass = compiled(_Pass(fbank, network))
        # What a stream alone begins with. Of many short clips, each operator that is called from Python beside the
        # network costs one wait for Python's lock.
        self._no_levels, self._begin = torch.zeros(1, 0, device=device), self._begins(1)
        # A row of states: the levels of the frames whose posterior waits for look-ahead, then the network's own.
        self._sizes = [grid.look_ahead_frames, *(carry.frames * carry.channels for carry in carries)]

    def new_pool(self, capacity: int) -> StatePool:
        """Room for the states of so many live streams, whose blocks are then scored together at little cost."""
        return StatePool(sum(self._sizes), capacity, self._device)

    def score(self, blocks: Blocks) -> ScoredBlocks:
        """What each block gives, in their order."""
        return score_alike(blocks, lambda block: (len(block.samples), block.final, block.state is None), self._score)

    def _score(self, blocks: Blocks) -> ScoredBlocks:
        """Blocks of one length, all final or none, all of them at their streams' start or none."""
        samples = torch.from_numpy(stacked(blocks))
        if self._device.type == "cuda":
            # From pinned memory the copy runs beside what the device computes.
            samples = samples.pin_memory().to(self._device, non_blocking=True)
        batch, final = len(blocks), blocks[0].final
        before = [block.state for block in blocks if block.state is not None]
        if before:
            waiting, *parts = torch.split(gather(before, self._device), self._sizes, dim=1)
            state = [
                part.view(batch, carry.frames, carry.channels).to(carry.dtype)
                for part, carry in zip(parts, self._carries, strict=True)
            ]
        elif batch == 1:
            waiting, state = self._no_levels, self._begin
        else:
            waiting, state = samples.new_zeros(batch, 0), self._begins(batch)
        values, levels, waiting, state = self._walk(samples, waiting, state, final)
        after: list[StateRow | None] = [None] * batch
        if not final:
            after[:] = rows_of(torch.cat([part.flatten(1).float() for part in (waiting, *state)], dim=1))
        if self._device.type != "cpu":
            values, levels = values.cpu(), levels.cpu()
        known, decibel = values.numpy(), levels.numpy()
        if not self.grid.labels:
            known = known[..., 0]
        return [
            Scored(Posteriors(known[row, block.discard :], decibel[row, block.discard :], self._of), after[row])
            for row, block in enumerate(blocks)
        ]

    def _begins(self, batch: int) -> list[Tensor]:
        """The state at the start of so many streams."""
        return [
            torch.zeros(batch, carry.first_frames, carry.channels, device=self._device, dtype=carry.dtype)
            for carry in self._carries
        ]

    def _walk(
        self, samples: Tensor, waiting: Tensor, state: list[Tensor], final: bool
    ) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
        """Posteriors [batch, outputs, columns] and levels [batch, outputs] of all tiles, and the state after them."""
        frames = self.grid.whole_frames(samples.shape[-1])
        if frames == 0 and waiting.shape[1] == 0:
            nothing = samples.new_zeros(samples.shape[0], 0, max(1, len(self.grid.labels)))
            return nothing, waiting, waiting, state
        # No first tile that is too short to give anything: a state has its shape from the first output on.
        tile = max(self.tile_frames, self.grid.look_ahead_frames + 1)
        values, levels = [], []
        for first in range(0, max(frames, 1), tile):
            count = min(tile, frames - first)
            start = first * self.grid.shift_samples
            end = start + self.grid.span(count)
            piece = samples if start == 0 and end == samples.shape[-1] else samples[:, start:end]
            ends = final and first + count >= frames
            found, found_levels, waiting, state = self._pass(piece, waiting, state, ends)
            values.append(found)
            levels.append(found_levels)
        if len(values) == 1:
            return values[0], levels[0], waiting, state
        return torch.cat(values, dim=1), torch.cat(levels, dim=1), waiting, state


class _Pass(nn.Module):
    """Frontend and network as one pure function."""

    def __init__(self, fbank: Fbank, network: nn.Module) -> None:
        super().__init__()
        self._fbank, self._network = fbank, network

    def forward(
        self, samples: Tensor, waiting: Tensor, state: list[Tensor], final: bool
    ) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
        """Posteriors and levels that `samples` make known; levels that wait for their posterior, and the next state."""
        mels, levels = self._fbank(samples)
        values, after = self._network(mels, state, final)
        known = torch.cat((waiting, levels), dim=1)
        outputs = values.shape[1]
        return values, known[:, :outputs], known[:, outputs:], after
