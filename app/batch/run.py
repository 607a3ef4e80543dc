"""One run over a collection, from its listing to the last shard.

    list the source -> cut shards -> open the destination -> do the shards that are not done, on workers

Everything that a row depends on is in the destination's manifest. A run that finds the same manifest there goes on
where the last one stopped; one that finds another ends before it has touched anything. The model is asked for
(`prepare`) between the listing, which may find nothing to do, and the manifest, which names it.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from app.audio.channel import parse_channel
from app.batch.ledger import Outcome, Totals, finished
from app.batch.listing import Cut, Entry, Shard, cut_shards, listing_hash
from app.batch.manifest import Manifest, begun_cut, open_destination
from app.batch.problems import MissingPackage
from app.batch.source import Source
from app.batch.store import Store
from app.extras import missing
from app.vad.models.family import ModelInfo
from app.warnings import AnswerWarning

if TYPE_CHECKING:
    from app.batch.worker import Build, Task

_NEEDS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "parquet": ("batch", ("pyarrow",)),
    "ray": ("ray", ("ray", "pyarrow")),
}
"""Which extra a format or Ray needs, and the packages that it brings."""
_CLUSTER_WORKERS = 16
"""Taken for a Ray cluster's, whose number is known only later: of more of them a small collection leaves some idle."""


@dataclass(frozen=True, slots=True)
class BatchRun:
    """What is asked for."""

    source: str
    destination: str
    suffixes: frozenset[str]
    """Of the files that are taken, lower case."""
    format: str
    channel: str
    options: Mapping[str, Any]
    """Detection options that were set, and `mode`."""
    preset: str | None
    """Laid under them."""
    per_file: tuple[str, ...]
    """Formats in which each file's answer is written beside the rows."""
    audio: Mapping[str, Any]
    """How files are read, as `InputOptions` has it."""
    excerpts: Mapping[str, Any]
    """How those of audio are cut."""
    shard_files: int
    shard_mb: int
    """MiB."""
    overwrite: bool
    max_audio_hours: float
    scratch: Path | None
    """Where copies of remote files are kept while they are used; None: the system's place."""
    ray: str | None
    """A cluster's address, or `local`; None: processes on this machine."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """The model, and the workers that it takes."""

    info: ModelInfo
    dtype: str
    options: Mapping[str, Any]
    """All that are in force."""
    build: "Build"
    """Makes one worker's runtime, with exactly this model."""
    workers: int | None
    """How many; None: as many as the Ray cluster has CPUs."""
    gpus: int
    """Of each worker on Ray."""
    warnings: tuple[AnswerWarning, ...] = ()
    """Of the model, for every row."""


class Observer(Protocol):
    """Is told how far a run is."""

    def skipped(self, names: Sequence[str]) -> None:
        """These lie there too, and are no audio by their names."""
        ...

    def listed(self, files: int, before: Totals) -> None:
        """So many files there are; `before`: what earlier runs did."""
        ...

    def advanced(self, now: Totals) -> None:
        """This run has done so much."""
        ...


@dataclass(frozen=True, slots=True)
class Account:
    """What a run came to."""

    total: Totals
    """With earlier runs into the same destination."""
    now: Totals
    """This run's own part."""


def check_packages(form: str, ray: str | None) -> None:
    """Raises `MissingPackage` when one is not installed that the format or Ray needs."""
    for extra, modules in (_NEEDS[name] for name in (form, "ray" if ray else "") if name in _NEEDS):
        if (advice := missing(extra, *modules)) is not None:
            raise MissingPackage(advice)


def run(asked: BatchRun, prepare: Callable[[], Prepared], observer: Observer) -> Account:
    """Do what is left of the collection. Raises `WrongPlace`, `OtherRun`, `WorkerLost`, `InvalidOption` for the
    channel, what `prepare` raises, and ConnectionError without a Ray cluster."""
    parse_channel(asked.channel)
    entries, skipped = Source(asked.source).list(asked.suffixes)
    observer.skipped([entry.shown for entry in skipped])
    store = Store(asked.destination)
    prepared = prepare()
    widest = Cut(asked.shard_files, asked.shard_mb << 20)
    begun = None if asked.overwrite else begun_cut(store)
    cut = begun or widest.shared_by(prepared.workers or _CLUSTER_WORKERS, entries)
    shards = list(cut_shards(entries, cut))
    manifest = _manifest(asked, prepared, entries, cut, len(shards))
    open_destination(store, manifest, asked.source, overwrite=asked.overwrite)
    done = finished(store)
    before, now = Totals.of(done.values()), Totals()
    observer.listed(len(entries), before)
    left = [shard for shard in shards if shard.number not in done]
    with closing(_outcomes(asked, prepared, left)) as outcomes:
        for outcome in outcomes:
            now = now.plus(outcome)
            observer.advanced(now)
    return Account(before.plus(now), now)


def _manifest(asked: BatchRun, prepared: Prepared, entries: list[Entry], cut: Cut, shards: int) -> Manifest:
    info = prepared.info
    return Manifest(
        format=asked.format,
        channel=asked.channel,
        options={**prepared.options, **asked.audio},
        model={
            "name": info.name,
            "id": info.id,
            "revision": info.revision,
            "fingerprint": info.fingerprint,
            "dtype": prepared.dtype,
        },
        listing={
            "files": len(entries),
            "bytes": sum(entry.size_bytes for entry in entries),
            "sha256": listing_hash(entries),
        },
        shards={
            "count": shards,
            "max_files": asked.shard_files,
            "max_mb": asked.shard_mb,
            "cut_files": cut.max_files,
            "cut_bytes": cut.max_bytes,
        },
        max_audio_hours=asked.max_audio_hours,
        per_file=[*asked.per_file, *(f"{name}={value}" for name, value in sorted(asked.excerpts.items()))],
    )


def _outcomes(asked: BatchRun, prepared: Prepared, shards: list[Shard]) -> Generator[Outcome, None, None]:
    if not shards:
        return
    task = _task(asked, prepared)
    if asked.ray is not None:
        from app.batch.ray_run import run_on_ray  # noqa: PLC0415 - of the extra [ray]

        yield from run_on_ray(task, shards, address=asked.ray, workers=prepared.workers, gpus=prepared.gpus)
        return
    from app.batch.local import LocalRun  # noqa: PLC0415 - with torch, which a wrong source does not wait for

    yield from LocalRun(task, shards, prepared.workers or 1).outcomes()


def _task(asked: BatchRun, prepared: Prepared) -> "Task":
    from app.batch.worker import Task  # noqa: PLC0415 - with torch

    return Task(
        source=asked.source,
        destination=asked.destination,
        format=asked.format,
        options=asked.options,
        preset=asked.preset,
        per_file=asked.per_file,
        excerpts=asked.excerpts,
        audio=asked.audio,
        channel=parse_channel(asked.channel),
        scratch=asked.scratch,
        build=prepared.build,
        warnings=prepared.warnings,
    )
