"""The scorer states of many live streams, side by side in arrays that are allocated once.

Chunks of many streams are scored as one batch. With a state of its own per stream, the batch would have to be stacked
from, and cut up into, thousands of small tensors at every turn; here a batch is a gather and a scatter of rows.

A stream's state has its full shape only after its first few frames; until then it is kept as its own (`state`), and
then moves into its row. Rows of different streams may be gathered and scattered by several threads at once.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(slots=True)
class StreamState:
    """What scoring carries from one chained block to the next, for one stream or a batch of them."""

    held: Tensor
    """The newest log mel frames, [batch, <= 2 * context_frames, n_mels]; none before the first frame."""
    levels: Tensor
    """dB of the frames whose posterior waits for look-ahead, [batch, <= context_frames]."""
    memories: list[Tensor]
    """Per layer the newest memory inputs, [batch, lorder - 1, proj_dim]."""

    def tensors(self) -> list[Tensor]:
        """Everything in it, in a fixed order; dimension 0 is the batch."""
        return [self.held, self.levels, *self.memories]

    def to(self, device: torch.device) -> "StreamState":
        """The same on another device, or itself."""
        if self.levels.device == device:
            return self
        return StreamState.of([tensor.to(device) for tensor in self.tensors()])

    @classmethod
    def of(cls, tensors: list[Tensor]) -> "StreamState":
        """The inverse of `tensors`."""
        return cls(tensors[0], tensors[1], tensors[2:])

    @classmethod
    def join(cls, states: list["StreamState"]) -> "StreamState":
        """The states of several streams as one batch; nothing of theirs is changed."""
        if len(states) == 1:
            return cls.of(states[0].tensors())
        return cls.of([torch.cat(parts) for parts in zip(*(state.tensors() for state in states), strict=True)])

    def become(self, batch: "StreamState", row: int) -> None:
        """Take over a batch's row."""
        alone = StreamState.of([tensor[row : row + 1].clone() for tensor in batch.tensors()])
        self.held, self.levels, self.memories = alone.held, alone.levels, alone.memories


@dataclass(slots=True)
class BankedState:
    """One stream's state: its own while the stream is young, then a row of the bank."""

    bank: "StateBank"
    row: int
    state: StreamState | None
    """None once it lies in the bank."""

    def restart(self) -> "BankedState":
        """Begin anew, before a first frame."""
        self.state = self.bank.young()
        return self

    def close(self) -> None:
        """Give the row back; no block of the stream may be under way."""
        self.bank.give_back(self.row)


class StateBank:
    """Rows for a fixed number of streams. Memory that no stream has used yet is not touched."""

    def __init__(self, full: StreamState, young: StreamState, capacity: int) -> None:
        """`full`: a state of one stream in its full shape; `young`: one at a stream's start."""
        self._young = young
        self._arrays = [tensor.new_empty(capacity, *tensor.shape[1:]) for tensor in full.tensors()]
        self._shapes = [tensor.shape[1:] for tensor in self._arrays]
        self._free = list(range(capacity - 1, -1, -1))

    @property
    def free(self) -> int:
        """Rows that no stream has."""
        return len(self._free)

    def open(self) -> BankedState:
        """A row for a new stream. Raises IndexError when there is none."""
        return BankedState(self, self._free.pop(), None).restart()

    def young(self) -> StreamState:
        """The state before a stream's first frame."""
        return StreamState.of(self._young.tensors())

    def give_back(self, row: int) -> None:
        """The row's stream has ended."""
        self._free.append(row)

    def gather(self, states: list[BankedState]) -> StreamState:
        """The states of several streams as one batch, a copy."""
        rows = self._rows(states)
        return StreamState.of([array.index_select(0, rows) for array in self._arrays])

    def scatter(self, states: list[BankedState], batch: StreamState) -> None:
        """Put a batch's states back into their rows."""
        rows = self._rows(states)
        for array, tensor in zip(self._arrays, batch.tensors(), strict=True):
            array.index_copy_(0, rows, tensor.to(array.device))

    def keep(self, banked: BankedState, batch: StreamState, row: int) -> None:
        """Keep a batch's row as a young stream's state: in the bank, if it has its full shape by now."""
        alone = StreamState.of([tensor[row : row + 1].clone() for tensor in batch.tensors()])
        if [tensor.shape[1:] for tensor in alone.tensors()] == self._shapes:
            self.scatter([banked], alone)
            banked.state = None
        else:
            banked.state = alone

    def _rows(self, states: list[BankedState]) -> Tensor:
        return torch.tensor([state.row for state in states], device=self._arrays[0].device)
