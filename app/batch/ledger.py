"""What a destination says of itself: whose results it holds (the manifest), and which shards are done.

Everything that a row depends on is in the manifest, so results of two kinds never come to lie in one place. A done file
is written after the shard's output is in place.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from app.batch import OtherRun, WrongPlace
from app.batch.collection import ShardLimits
from app.batch.store import Store

MANIFEST, DONE = "manifest.json", "_done"
PER_FILE = "files"
"""Where the formats that are written for each file go, below the destination."""
_ADVICE = "Choose another destination, or --overwrite to throw away what is there."


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
            raise WrongPlace(f"a file in {DONE}/ is not what this command writes") from None


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
    differing = [text for name in manifest for text in _differences(name, there.get(name), manifest[name])]
    if differing:
        raise OtherRun(f"{store.url} holds the results of another run. {'; '.join(differing)}. {_ADVICE}")


def _differences(name: str, there: Any, wanted: Any) -> list[str]:
    if there == wanted:
        return []
    if isinstance(there, Mapping) and isinstance(wanted, Mapping):
        keys = [key for key in {**there, **wanted} if there.get(key) != wanted.get(key)]
        return [f"{name}.{key}: {there.get(key)} there, {wanted.get(key)} now" for key in keys]
    return [f"{name}: {there} there, {wanted} now"]
