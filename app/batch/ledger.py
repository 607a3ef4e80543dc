"""The destination of a run, in a folder or an object storage: its files are there whole or not at all, and it says of
itself whose results it holds (the manifest), and which shards are done.

Everything that a row depends on is in the manifest, so results of two kinds never come to lie in one place. A done file
is written after the shard's output is in place.
"""

import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from app.batch import OtherRun, WrongPlace
from app.batch.collection import ShardLimits, open_url

_IN_ONE_CALL = 8 << 20
"""Bytes that are put with one call; storages take parts of a file from 5 MiB on."""
MANIFEST, DONE = "manifest.json", "_done"
PER_FILE = "files"
"""Where the formats that are written for each file go, below the destination."""
_ADVICE = "Choose another destination, or add --overwrite to delete those results."


class Store:
    """An opened destination; names are relative, with `/`. Each process opens its own."""

    def __init__(self, url: str) -> None:
        """Raises `WrongPlace` for a protocol that cannot be had."""
        self.url = url
        self._fs, self._root = open_url(url)

    def write(self, name: str, pieces: Iterable[bytes]) -> None:
        """Put a file in place, over what is there. A reader, and a run after a crash, sees the old one or the new one.

        Pieces are written as they come, so no more than some MiB are in memory. On a disk the file has another name
        until it is all there; in an object storage it appears when its last part has come. Raises `WrongPlace`, and
        what `pieces` raises, which leaves the old file.
        """
        whole, failures = f"{self._root}/{name}", list[OSError]()

        def read() -> Iterator[bytes]:
            try:
                yield from pieces
            except OSError as error:
                failures.append(error)
                raise

        try:
            if isinstance(self._fs, LocalFileSystem):
                _replace(Path(whole), read())
            else:
                self._upload(whole, read())
        except OSError as error:
            if error in failures:
                raise  # of whatever the pieces are read from, and no fault of this place
            raise WrongPlace(f"{self.url} cannot be written: {error}") from None

    def _upload(self, path: str, pieces: Iterator[bytes]) -> None:
        first = bytearray()
        for piece in pieces:
            first += piece
            if len(first) >= _IN_ONE_CALL:
                break
        else:
            self._fs.pipe_file(path, bytes(first))
            return
        # `open` would also note the file for a transaction, of which a file system has one for all threads.
        file = self._fs._open(path, "wb", block_size=_IN_ONE_CALL, autocommit=False)
        try:
            with file:  # leaving it sends the last part; what was sent becomes a file by `commit` alone
                file.write(bytes(first))
                first.clear()
                for piece in pieces:
                    file.write(piece)
        except BaseException:
            file.discard()
            raise
        file.commit()

    def write_json(self, name: str, document: Mapping[str, Any]) -> None:
        """As `write`, for a document that is to be JSON."""
        self.write(name, [json.dumps(document, ensure_ascii=False, indent=1).encode() + b"\n"])

    def read_json(self, name: str) -> dict[str, Any] | None:
        """Read a document; None where there is none. Raises `WrongPlace` for one that is broken."""
        try:
            content = self._fs.cat_file(f"{self._root}/{name}")
        except FileNotFoundError:
            return None
        return self._document(name, content)

    def read_all_json(self, folder: str) -> list[dict[str, Any]]:
        """Read every document of a folder; many at a time where the storage is slow."""
        self._fs.invalidate_cache()
        if not self._fs.isdir(f"{self._root}/{folder}"):
            return []
        paths = [path for path in self._fs.ls(f"{self._root}/{folder}", detail=False) if path.endswith(".json")]
        return [self._document(path, content) for path, content in self._fs.cat(paths).items()] if paths else []

    def _document(self, name: str, content: bytes) -> dict[str, Any]:
        try:
            document = json.loads(content)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise WrongPlace(f"{self.url}: {name} was not written by this command")
        return document

    def remove_folder(self, name: str) -> None:
        """Remove a folder and all in it, where there is one."""
        self._fs.invalidate_cache()
        if self._fs.isdir(f"{self._root}/{name}"):
            self._fs.rm(f"{self._root}/{name}", recursive=True)

    def remove(self, pattern: str) -> None:
        """Remove the files of these names; `*` stands for anything but `/`."""
        for path in self._fs.glob(f"{self._root}/{pattern}"):
            self._fs.rm_file(path)


def _replace(path: Path, pieces: Iterable[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # A short name: with a longer one than the file's own there might be no room for it.
    descriptor, temporary = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one shard came to."""

    shard: int
    files: int
    failed: int
    """Files with an error for a row."""
    retryable: int
    """Those of them whose fault may lie outside the file."""
    segments: int
    audio_ms: int
    speech_ms: int

    @classmethod
    def read(cls, document: dict[str, Any]) -> "Outcome":
        """Read a done file. Raises `WrongPlace`."""
        try:
            return cls(**document)
        except TypeError:
            raise WrongPlace(f"a file in {DONE}/ was not written by this command") from None


@dataclass(frozen=True, slots=True)
class Totals:
    """What several shards came to, added up."""

    files: int = 0
    failed: int = 0
    segments: int = 0
    audio_ms: int = 0
    speech_ms: int = 0

    def plus(self, more: "Outcome | Totals") -> "Totals":
        """Add another shard, or several."""
        names = [each.name for each in fields(self)]
        return Totals(**{name: getattr(self, name) + getattr(more, name) for name in names})

    @classmethod
    def of(cls, outcomes: Iterable[Outcome]) -> "Totals":
        """Add all these outcomes."""
        totals = cls()
        for outcome in outcomes:
            totals = totals.plus(outcome)
        return totals


def output_name(shard: int, form: str) -> str:
    """A shard's file of results, such as `segments-00000.jsonl`; numbers sort as text."""
    return f"segments-{shard:05d}.{form}"


def mark_done(store: Store, outcome: Outcome) -> None:
    """From here on a restart passes this shard by."""
    store.write_json(f"{DONE}/{outcome.shard:05d}.json", asdict(outcome))


def finished(store: Store) -> dict[int, Outcome]:
    """Shards that need no more work. One with files that may be readable another time is not among them."""
    outcomes = map(Outcome.read, store.read_all_json(DONE))
    return {outcome.shard: outcome for outcome in outcomes if not outcome.retryable}


def begun_limits(store: Store) -> ShardLimits | None:
    """By which limits the run that began this destination cut its shards, if one did."""
    there = store.read_json(MANIFEST) or {}
    try:
        return ShardLimits(int(there["shards"]["cut_files"]), int(there["shards"]["cut_bytes"]))
    except (KeyError, TypeError, ValueError):
        return None


def open_destination(store: Store, manifest: Mapping[str, Any], source: str, *, overwrite: bool) -> None:
    """Make `store` this run's: begin it, or go on with what an earlier run of the same manifest left there.

    Raises `OtherRun` where it holds something else and `overwrite` is false.
    """
    if overwrite:
        store.remove_folder(PER_FILE)
        # The manifest goes last: until then the place is known for what it is.
        for pattern in (f"{DONE}/*.json", "segments-*.jsonl", "segments-*.parquet", MANIFEST):
            store.remove(pattern)
    there = store.read_json(MANIFEST)
    if there is None:
        store.write_json(MANIFEST, {"source": source, **manifest})
        return
    if any(there.get(name) != value for name, value in manifest.items()):
        raise OtherRun(f"{store.url} has the results of another run: {_difference(there, manifest)}. {_ADVICE}")


def _difference(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """What tells the two runs apart, in one clause: the weightiest difference, because others follow from it."""

    def of(manifest: Mapping[str, Any], name: str) -> Mapping[str, Any]:
        value = manifest.get(name)
        return value if isinstance(value, Mapping) else {}

    options, asked = of(there, "options"), of(wanted, "options")
    if of(there, "model").get("name") != of(wanted, "model").get("name"):
        return f"made with model {of(there, 'model').get('name')}; you asked for {of(wanted, 'model').get('name')}"
    if there.get("model") != wanted.get("model"):
        return "made with other weights of the same model, or other arithmetic"
    if options.get("mode") != asked.get("mode"):
        return f"made with mode {options.get('mode')}; you asked for {asked.get('mode')}"
    if options != asked:
        names = [name for name in {**options, **asked} if options.get(name) != asked.get(name)]
        made = ", ".join(f"{name}={options.get(name)}" for name in names)
        return f"made with {made}; you asked for {', '.join(str(asked.get(name)) for name in names)}"
    if there.get("listing") != wanted.get("listing"):
        before, now = of(there, "listing").get("files"), of(wanted, "listing").get("files")
        return f"made of other files ({before} then, {now} now)"
    before, now = dict(there), dict(wanted)
    for group in (name for name, value in wanted.items() if isinstance(value, Mapping)):
        before.update(of(there, group))
        now.update(of(wanted, group))
    name = next(name for name, value in now.items() if not isinstance(value, Mapping) and before.get(name) != value)
    return f"made with {name} {before.get(name)}; you asked for {now[name]}"
