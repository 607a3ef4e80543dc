"""The scorer states of streams: each a row of float32 numbers in a table.

Scoring reads rows and gives back rows of a fresh table, one for each stream of its batch; it never writes where it has
read. Whoever owns the streams keeps the new rows, or, with hundreds of live streams, has a `StatePool` copy them into
one table that is allocated once: then a batch is gathered and stored with one operation each, and no stream holds a
whole batch's table alive.

Rows are float32 whatever type the network computes in, and wherever it does: a stream may be scored on a GPU in
bfloat16 and go on, on the CPU, in float32.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class StateRow:
    """Where one stream's state lies in the pool's table."""

    table: Tensor
    """float32 [streams, size]."""
    row: int


def rows_of(table: Tensor) -> list[StateRow]:
    """A batch's states, stream by stream."""
    return [StateRow(table, row) for row in range(table.shape[0])]


def gather(states: Sequence[StateRow], device: torch.device) -> Tensor:
    """The states of a batch, float32 [streams, size] on `device`: a copy."""
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
        """Rows that no stream has."""
        return len(self._free)

    def open(self) -> int:
        """A row for a new stream. Raises IndexError when there is none."""
        return self._free.pop()

    def close(self, row: int) -> None:
        """The row's stream has ended, and no block of it is under way."""
        self._free.append(row)

    def store(self, rows: Sequence[int], states: Sequence[StateRow]) -> list[StateRow]:
        """Copy states into the rows of their streams; they are to be found there from now on."""
        tables = {id(state.table): state.table for state in states}
        for key, table in tables.items():
            here = [(row, state.row) for row, state in zip(rows, states, strict=True) if id(state.table) == key]
            targets = torch.tensor([row for row, _ in here], device=self._table.device)
            sources = [source for _, source in here]
            # A batch's fresh table, as a rule: whole and in order, so nothing has to be picked out of it.
            picked = table if sources == list(range(len(table))) else _pick(table, sources)
            self._table.index_copy_(0, targets, picked.to(self._table.device))
        return [StateRow(self._table, row) for row in rows]
