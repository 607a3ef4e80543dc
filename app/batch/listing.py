"""The files of a collection in one order, and the shards they are cut into: both follow from names and sizes alone."""

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

_ID_BYTES = 16
"""Half of SHA-256's: among a billion files the chance that two meet is under 10^-20."""
_SHARDS_EACH = 4
"""Shards of a worker: at the end the others then wait for a quarter of its work at most, and starting a shard costs
milliseconds."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the collection, as the listing found it."""

    path: str
    """Below the source, with `/`."""
    size_bytes: int

    @property
    def row_id(self) -> str:
        """Of its row: the same wherever the collection lies; 32 hexadecimal digits."""
        return hashlib.sha256(_bytes(self.path)).hexdigest()[: 2 * _ID_BYTES]

    @property
    def shown(self) -> str:
        """The path as text that can be written anywhere."""
        return _bytes(self.path).decode(errors="replace")


@dataclass(frozen=True, slots=True)
class Shard:
    """Files that are worked on and written together."""

    number: int
    entries: tuple[Entry, ...]


def in_order(entries: Iterable[Entry]) -> list[Entry]:
    """The entries by path, byte by byte: the same order on every machine and in every locale."""
    return sorted(entries, key=lambda entry: _bytes(entry.path))


def listing_hash(entries: Sequence[Entry]) -> str:
    """SHA-256 over paths and sizes in order; hexadecimal."""
    digest = hashlib.sha256()
    for entry in entries:
        digest.update(_bytes(entry.path) + b"\0%d\n" % entry.size_bytes)
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Cut:
    """The bounds of every shard. Two runs into one destination have the same, whatever their numbers of workers."""

    max_files: int
    max_bytes: int

    def shared_by(self, workers: int, entries: Sequence[Entry]) -> "Cut":
        """Tighter ones, so that each worker has several shards of a small collection: else one of them would do it
        all, and a long file in the last shard would keep the others waiting."""
        shares = workers * _SHARDS_EACH
        total = sum(entry.size_bytes for entry in entries)
        return Cut(
            min(self.max_files, max(1, math.ceil(len(entries) / shares))),
            min(self.max_bytes, max(1, math.ceil(total / shares))),
        )


def cut_shards(entries: Sequence[Entry], cut: Cut) -> Iterator[Shard]:
    """Neighbours in order, as many as stay within both bounds, and one file at least."""
    max_files, max_bytes = cut.max_files, cut.max_bytes
    number, first, held = 0, 0, 0
    for index, entry in enumerate(entries):
        if index > first and (index - first >= max_files or held + entry.size_bytes > max_bytes):
            yield Shard(number, tuple(entries[first:index]))
            number, first, held = number + 1, index, 0
        held += entry.size_bytes
    if first < len(entries):
        yield Shard(number, tuple(entries[first:]))


def _bytes(path: str) -> bytes:
    # A name on disk need not be text.
    return path.encode(errors="surrogateescape")
