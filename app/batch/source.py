"""Where the audio comes from: a folder, a glob or one file, on this machine or in any storage that fsspec reaches."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from app.batch.listing import Entry, in_order
from app.batch.problems import WrongPlace

_MAGIC = frozenset("*?[")


class Source:
    """An opened source; each process opens its own."""

    def __init__(self, url: str) -> None:
        """`url`: a path, or `protocol://…` for fsspec. Raises `WrongPlace` for a protocol that cannot be had."""
        self.url = url
        self._fs, self._path = open_url(url)
        self._root = self._find_root()

    def list(self, suffixes: frozenset[str]) -> "tuple[list[Entry], list[Entry]]":
        """Its audio files, deep, by path, and the files that by their names are none; `suffixes` are lower case. A file
        that is named is taken whatever its suffix.

        Raises `WrongPlace` when there is none, and for a place that cannot be read.
        """
        try:
            found = self._find()
        except (OSError, ValueError) as error:
            raise WrongPlace(f"{self.url}: {error}") from None
        only = self._path in found
        taken: list[Entry] = []
        skipped: list[Entry] = []
        for path, info in found.items():
            if self._is_file(path, info):
                is_audio = only or PurePosixPath(path).suffix.lower() in suffixes
                (taken if is_audio else skipped).append(Entry(self._below_root(path), int(info.get("size") or 0)))
        if not taken:
            raise WrongPlace(f"{self.url}: there are no audio files here")
        return in_order(taken), in_order(skipped)

    @contextmanager
    def on_disk(self, entry: Entry, scratch: Path | None) -> Iterator[Path]:
        """The file as a path: itself where it is on this machine, else a copy in `scratch` while the context lasts.

        Decoders of untrusted files seek, so a remote file is not read in place. Raises whatever the storage raises.
        """
        whole = f"{self._root}/{entry.path}"
        if isinstance(self._fs, LocalFileSystem):
            yield Path(whole)
            return
        with tempfile.NamedTemporaryFile(prefix="fsmn-vad-batch-", dir=scratch) as copy:
            self._fs.get_file(whole, copy.name)
            yield Path(copy.name)

    def _is_file(self, path: str, info: dict[str, Any]) -> bool:
        # A link is told as such, and not as what it leads to.
        return info["type"] == "file" or (bool(info.get("islink")) and self._fs.isfile(path))

    def _find(self) -> dict[str, dict[str, Any]]:
        if _MAGIC & set(self._path) and not self._fs.exists(self._path):
            return dict(self._fs.glob(self._path, detail=True))
        return dict(self._fs.find(self._path, detail=True))

    def _find_root(self) -> str:
        """What paths are told below: the folder, a file's folder, or what stands before a glob's first magic."""
        if _MAGIC & set(self._path) and not self._fs.exists(self._path):
            parts = self._path.split("/")
            plain = next(index for index, part in enumerate(parts) if _MAGIC & set(part))
            return "/".join(parts[:plain])
        is_file = self._fs.isfile(self._path)
        return (self._path.rpartition("/")[0] if is_file else self._path).rstrip("/")

    def _below_root(self, path: str) -> str:
        return path[len(self._root) :].lstrip("/")


def open_url(url: str) -> tuple[Any, str]:
    """fsspec's file system and the path in it. Raises `WrongPlace`."""
    try:
        fs, path = url_to_fs(url)
    except (ImportError, ValueError, OSError) as error:
        raise WrongPlace(f"{url}: {error}") from None
    return fs, path if path == "/" else path.rstrip("/")
