"""Which shards are done: a small file for each, written after the shard's output is in place."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

from app.batch.problems import WrongPlace
from app.batch.store import Store

DONE = "_done"
PER_FILE = "files"
"""Where the formats that are written for each file go, below the destination."""


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
        """From a done file. Raises `WrongPlace`."""
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
        """With another shard, or several."""
        names = [each.name for each in fields(self)]
        return Totals(**{name: getattr(self, name) + getattr(more, name) for name in names})

    @classmethod
    def of(cls, outcomes: Iterable[Outcome]) -> "Totals":
        """The sum of all these outcomes."""
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
