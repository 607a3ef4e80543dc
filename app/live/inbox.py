"""What a live session has received and not yet taken up: chunks of sound, and what stands among them."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from app.vad.segmenters.registry import Segmentation

ITEMS_LIMIT = 1_000
"""Chunks and commands. At 100 ms a chunk `buffer_s` is reached long before: this bounds clients that send crumbs."""
_TAKE_S = 5.0
"""Audio in a block at most: some 5 ms of a core, so that a client that is far behind hardly holds up the others."""
_BACKLOG_S = 1.0
"""Audio that waits, of a client that sends faster than it is scored or catches up."""


@dataclass(frozen=True, slots=True)
class Change:
    """Options that come into force where they stand among the chunks."""

    segmentation: Segmentation
    note: Any
    """For the protocol that tells of it."""


@dataclass(frozen=True, slots=True)
class Drop:
    """The utterance under way is dropped where this stands among the chunks; with `starts_over` everything is."""

    starts_over: bool


Ending = Literal["flush", "end"]
Chunk = tuple[float, bytes]
"""When it came, by the receiver's clock, and its whole samples."""


class Inbox:
    """In order. `is_full`: its client has to wait."""

    def __init__(self, buffer_s: float) -> None:
        """`buffer_s`: audio that may wait; `use_rate` says how many bytes that is."""
        self._items: deque[Chunk | Ending | Change | Drop] = deque()
        self._buffer_s, self._bytes = buffer_s, 0
        self.use_rate(0)

    def use_rate(self, bytes_per_s: int) -> None:
        """A second of sound has so many bytes."""
        self._full_bytes, self._take_bytes = int(self._buffer_s * bytes_per_s), int(_TAKE_S * bytes_per_s)
        self._backlog_bytes = int(_BACKLOG_S * bytes_per_s)

    def __len__(self) -> int:
        return len(self._items)

    @property
    def is_full(self) -> bool:
        """Whether as much waits as may."""
        return self._bytes >= self._full_bytes or len(self._items) >= ITEMS_LIMIT

    @property
    def has_backlog(self) -> bool:
        """Whether so much waits that waiting for more gains nothing."""
        return self.is_full or self._bytes >= self._backlog_bytes

    def put_chunk(self, now: float, chunk: bytes) -> None:
        """Queue a chunk of sound."""
        self._bytes += len(chunk)
        self._items.append((now, chunk))

    def put(self, item: "Ending | Change | Drop") -> None:
        """Queue what is not sound, such as a change of options."""
        self._items.append(item)

    def next_is_chunk(self) -> bool:
        """Whether sound comes next; of an inbox that is not empty."""
        return isinstance(self._items[0], tuple)

    def take(self) -> "Ending | Change | Drop":
        """What comes next and is no sound."""
        item = self._items.popleft()
        if isinstance(item, tuple):
            raise TypeError("sound comes next")
        return item

    def take_chunks(self) -> Iterator[Chunk]:
        """The chunks that come next, up to a block's worth of sound."""
        taken = 0
        while self._items and taken < self._take_bytes:
            item = self._items[0]
            if not isinstance(item, tuple):
                return
            self._items.popleft()
            taken += len(item[1])
            self._bytes -= len(item[1])
            yield item
