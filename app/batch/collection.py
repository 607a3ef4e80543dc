"""The files of a collection: where they come from, their order, and the shards they are cut into.

A collection is a folder, a glob or one file, on this machine or in any storage that fsspec reaches. Order, ids and
shards follow from names and sizes alone, so every run over it cuts the same shards.
"""

import hashlib
import math
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from app.batch import WrongPlace

_ID_BYTES = 16
"""Half of SHA-256's: among a billion files the chance that two meet is under 10^-20."""
_SHARDS_EACH = 4
"""Shards of a worker: at the end the others then wait for a quarter of its work at most, and starting a shard costs
milliseconds."""
_MAGIC = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the collection, as the listing found it."""

    path: str
    """Below the collection's root, with `/`."""
    size_bytes: int

    @property
    def row_id(self) -> str:
        """32 hexadecimal digits: the same wherever the collection lies."""
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


@dataclass(frozen=True, slots=True)
class ShardLimits:
    """The bounds of every shard. All runs into one destination use the same, whatever their numbers of workers."""

    max_files: int
    max_bytes: int

    def shared_by(self, workers: int, entries: Sequence[Entry]) -> "ShardLimits":
        """Tighten them so that each worker has several shards of a small collection: else one worker would do it all,
        and a long file in the last shard would keep the others waiting."""
        shares = workers * _SHARDS_EACH
        total = sum(entry.size_bytes for entry in entries)
        return ShardLimits(
            min(self.max_files, max(1, math.ceil(len(entries) / shares))),
            min(self.max_bytes, max(1, math.ceil(total / shares))),
        )


def cut_shards(entries: Sequence[Entry], limits: ShardLimits) -> Iterator[Shard]:
    """Cut neighbours in order: as many as stay within both bounds, and one file at least."""
    number, first, held = 0, 0, 0
    for index, entry in enumerate(entries):
        if index > first and (index - first >= limits.max_files or held + entry.size_bytes > limits.max_bytes):
            yield Shard(number, tuple(entries[first:index]))
            number, first, held = number + 1, index, 0
        held += entry.size_bytes
    if first < len(entries):
        yield Shard(number, tuple(entries[first:]))


def in_order(entries: Iterable[Entry]) -> list[Entry]:
    """Sort by path, byte by byte: the same order on every machine and in every locale."""
    return sorted(entries, key=lambda entry: _bytes(entry.path))


def listing_hash(entries: Sequence[Entry]) -> str:
    """SHA-256 over paths and sizes in order; hexadecimal."""
    digest = hashlib.sha256()
    for entry in entries:
        digest.update(_bytes(entry.path) + b"\0%d\n" % entry.size_bytes)
    return digest.hexdigest()


class Collection:
    """An opened source of files; each process opens its own."""

    def __init__(self, url: str) -> None:
        """`url`: a path, or `protocol://…` for fsspec. Raises `WrongPlace` for a protocol that cannot be had, and for
        what cannot be read twice."""
        self.url = url
        self._fs, self._path = open_url(url)
        if isinstance(self._fs, LocalFileSystem) and (url == "-" or _is_pipe(self._path)):
            text = (
                "a pipe can be read once, and a batch may have to read again; save it as a file, or use fsmn-vad detect"
            )
            raise WrongPlace(f"{url}: {text}")
        self._is_glob = bool(_MAGIC & set(self._path)) and not self._fs.exists(self._path)
        # What paths are relative to: the folder, a file's folder, or what stands before a glob's first magic.
        if self._is_glob:
            parts = self._path.split("/")
            plain = next(index for index, part in enumerate(parts) if _MAGIC & set(part))
            self._root = "/".join(parts[:plain])
        else:
            is_file = self._fs.isfile(self._path)
            self._root = (self._path.rpartition("/")[0] if is_file else self._path).rstrip("/")

    def list(self, suffixes: frozenset[str]) -> "tuple[list[Entry], list[Entry]]":
        """List the audio files, deep, in order, and the files that are not audio by their names.

        `suffixes` are lower case; a file that is named itself is taken whatever its suffix. Raises `WrongPlace` when
        there are no audio files, and for a place that cannot be read.
        """
        try:
            find = self._fs.glob if self._is_glob else self._fs.find
            found: dict[str, dict[str, Any]] = dict(find(self._path, detail=True))
        except (OSError, ValueError) as error:
            raise WrongPlace(f"{self.url}: {error}") from None
        only = self._path in found
        audio: list[Entry] = []
        others: list[Entry] = []
        for path, info in found.items():
            # A link is listed as such, and not as what it leads to.
            if info["type"] == "file" or (info.get("islink") and self._fs.isfile(path)):
                is_audio = only or PurePosixPath(path).suffix.lower() in suffixes
                below = path[len(self._root) :].lstrip("/")
                (audio if is_audio else others).append(Entry(below, int(info.get("size") or 0)))
        if not audio:
            raise WrongPlace(f"{self.url}: there are no audio files here")
        return in_order(audio), in_order(others)

    @contextmanager
    def on_disk(self, entry: Entry, scratch: Path | None) -> Iterator[Path]:
        """Give the file as a path: itself if it is on this machine, else a copy in `scratch` while the context lasts.

        Decoders of untrusted files seek, so a remote file is not read in place. Raises whatever the storage raises.
        """
        whole = f"{self._root}/{entry.path}"
        if isinstance(self._fs, LocalFileSystem):
            yield Path(whole)
            return
        with tempfile.NamedTemporaryFile(prefix="fsmn-vad-batch-", dir=scratch) as copy:
            self._fs.get_file(whole, copy.name)
            yield Path(copy.name)


def _is_pipe(path: str) -> bool:
    place = Path(path)
    return place.exists() and not place.is_file() and not place.is_dir()


def open_url(url: str) -> tuple[Any, str]:
    """Return fsspec's file system and the path in it. Raises `WrongPlace`."""
    try:
        fs, path = url_to_fs(url)
    except (ImportError, ValueError, OSError) as error:
        raise WrongPlace(f"{url}: {error}") from None
    return fs, path if path == "/" else path.rstrip("/")


def _bytes(path: str) -> bytes:
    # A name on disk need not be text.
    return path.encode(errors="surrogateescape")
