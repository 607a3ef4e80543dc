"""Where results go: files that are there whole or not at all, in a folder or an object storage."""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from app.batch.problems import WrongPlace
from app.batch.source import open_url


class Store:
    """An opened destination; names are relative, with `/`. Each process opens its own."""

    def __init__(self, url: str) -> None:
        """Raises `WrongPlace` for a protocol that cannot be had."""
        self.url = url
        self._fs, self._root = open_url(url)

    def write(self, name: str, content: bytes) -> None:
        """Put a file in place, over what is there. A reader, and a run after a crash, sees the old one or the new one.

        Object storages do so by themselves; on a disk the content has another name until it is all there. Raises
        `WrongPlace`.
        """
        whole = f"{self._root}/{name}"
        try:
            if isinstance(self._fs, LocalFileSystem):
                _replace(Path(whole), content)
            else:
                self._fs.pipe_file(whole, content)
        except OSError as error:
            raise WrongPlace(f"{self.url} cannot be written: {error}") from None

    def write_json(self, name: str, document: Mapping[str, Any]) -> None:
        """As `write`, for a document that is to be JSON."""
        self.write(name, json.dumps(document, ensure_ascii=False, indent=1).encode() + b"\n")

    def read_json(self, name: str) -> dict[str, Any] | None:
        """A document; None where there is none. Raises `WrongPlace` for one that is broken."""
        try:
            content = self._fs.cat_file(f"{self._root}/{name}")
        except FileNotFoundError:
            return None
        return _document(self.url, name, content)

    def read_all_json(self, folder: str) -> list[dict[str, Any]]:
        """Every document of a folder; many at a time where the storage is slow."""
        self._fs.invalidate_cache()
        if not self._fs.isdir(f"{self._root}/{folder}"):
            return []
        paths = [path for path in self._fs.ls(f"{self._root}/{folder}", detail=False) if path.endswith(".json")]
        return [_document(self.url, path, content) for path, content in self._fs.cat(paths).items()] if paths else []

    def remove_folder(self, name: str) -> None:
        """Remove a folder and all in it, where there is one."""
        self._fs.invalidate_cache()
        if self._fs.isdir(f"{self._root}/{name}"):
            self._fs.rm(f"{self._root}/{name}", recursive=True)

    def remove(self, pattern: str) -> None:
        """Remove the files of these names; `*` stands for anything but `/`."""
        for path in self._fs.glob(f"{self._root}/{pattern}"):
            self._fs.rm_file(path)


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _document(url: str, name: str, content: bytes) -> dict[str, Any]:
    try:
        document = json.loads(content)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise WrongPlace(f"{url}: {name} is not what this command writes")
    return document
