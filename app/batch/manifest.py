"""What a destination holds: options, model and files; results of two kinds never come to lie in one place."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from app.batch.ledger import DONE, PER_FILE
from app.batch.listing import Cut
from app.batch.problems import OtherRun
from app.batch.store import Store

NAME = "manifest.json"
_ADVICE = "Choose another destination, or --overwrite to throw away what is there."


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything that the rows depend on, and how they are cut into files."""

    format: str
    channel: str
    options: Mapping[str, Any]
    """All detection options in force."""
    model: Mapping[str, Any]
    """Name, id, revision, fingerprint, and the arithmetic it runs in."""
    listing: Mapping[str, Any]
    """Number of files, bytes, and SHA-256 over paths and sizes."""
    shards: Mapping[str, Any]
    """How many there are, the bounds that were asked for, and those by which they were cut."""
    max_audio_hours: float
    per_file: Sequence[str] = ()
    """Formats written for each file, and how."""


def begun_cut(store: Store) -> Cut | None:
    """By which the run that began this destination cut its shards, if one did."""
    there = store.read_json(NAME) or {}
    try:
        return Cut(int(there["shards"]["cut_files"]), int(there["shards"]["cut_bytes"]))
    except (KeyError, TypeError, ValueError):
        return None


def open_destination(store: Store, manifest: Manifest, source: str, *, overwrite: bool) -> None:
    """Make `store` this run's: begin it, or go on with what an earlier run of the same manifest left there.

    Raises `OtherRun` where it holds something else and `overwrite` is false.
    """
    if overwrite:
        clear(store)
    wanted = asdict(manifest)
    there = store.read_json(NAME)
    if there is None:
        store.write_json(NAME, {"source": source, **wanted})
        return
    differing = [text for name in wanted for text in _differences(name, there.get(name), wanted[name])]
    if differing:
        raise OtherRun(f"{store.url} holds the results of another run. {'; '.join(differing)}. {_ADVICE}")


def clear(store: Store) -> None:
    """Remove what this command writes. The manifest goes last: until then the place is known for what it is."""
    store.remove_folder(PER_FILE)
    for pattern in (f"{DONE}/*.json", "segments-*.jsonl", "segments-*.parquet", NAME):
        store.remove(pattern)


def _differences(name: str, there: Any, wanted: Any) -> list[str]:
    if there == wanted:
        return []
    if isinstance(there, Mapping) and isinstance(wanted, Mapping):
        keys = [key for key in {**there, **wanted} if there.get(key) != wanted.get(key)]
        return [f"{name}.{key}: {there.get(key)} there, {wanted.get(key)} now" for key in keys]
    return [f"{name}: {there} there, {wanted} now"]
