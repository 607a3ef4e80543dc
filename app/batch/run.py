"""One run over a collection: what it is asked to do, and what happens from the listing to the last shard.

    list the source -> cut shards -> open the destination -> do the shards that are not done, on workers

Everything that a row depends on is in the destination's manifest. A run that finds the same manifest there goes on
where the last one stopped; one that finds another ends before it has touched anything. The model is asked for
(`prepare`) between the listing, which may find nothing to do, and the manifest, which names it. Job and plan go to
other processes and machines, so everything in them can be pickled.
"""

from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from app.audio.options import InputOptions
from app.batch import MissingPackage
from app.batch.collection import Collection, Entry, Shard, ShardLimits, cut_shards, listing_hash
from app.batch.ledger import Outcome, Store, Totals, begun_limits, finished, open_destination
from app.extras import missing
from app.request import DetectionRequest
from app.vad.models.family import ModelInfo
from app.warnings import AnswerWarning

if TYPE_CHECKING:
    from app.runtime import Runtime

_NEEDS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "parquet": ("batch", ("pyarrow",)),
    "ray": ("ray", ("ray", "pyarrow")),
}
"""Which extra a format or Ray needs, and the packages that it brings."""
_CLUSTER_WORKERS = 16
"""Assumed of a Ray cluster, whose number is known only later: of more workers a small collection leaves some idle."""


Build = Callable[[], Coroutine[Any, Any, "Runtime"]]
"""Makes a worker's runtime, inside its event loop."""


@dataclass(frozen=True, slots=True)
class BatchJob:
    """A collection, what is asked of each of its files, and where the answers go."""

    request: DetectionRequest
    source: str
    destination: str
    format: str
    """Of the rows: one of `ROW_FORMATS`."""
    per_file: tuple[str, ...]
    """Formats in which each file's answer is written beside the rows."""
    suffixes: frozenset[str]
    """Of the files that are taken, lower case."""
    limits: ShardLimits
    """The widest; a small collection gets tighter ones."""
    overwrite: bool
    max_audio_hours: float
    scratch: Path | None
    """Where copies of remote files are kept while they are used; None: the system's place."""
    ray: str | None
    """A cluster's address, or `local`; None: processes on this machine."""


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """A job with the model that does it, and the workers that have it."""

    job: BatchJob
    info: ModelInfo
    dtype: str
    options: Mapping[str, Any]
    """All that are in force."""
    warnings: tuple[AnswerWarning, ...]
    """About the choice of the model, for every row."""
    build: Build
    """Makes one worker's runtime, which has this model, or the worker is of no use."""
    workers: int | None
    """How many; None: as many as the Ray cluster has CPUs."""
    gpus: int
    """Of each worker on Ray."""


class BatchProgress(Protocol):
    """What a run reports to while it goes on."""

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
class RunSummary:
    """What a run came to."""

    total: Totals
    """With earlier runs into the same destination."""
    now: Totals
    """This run's own part."""


def check_packages(form: str, ray: str | None) -> None:
    """Raise `MissingPackage` when one is not installed that the format or Ray needs."""
    for extra, modules in (_NEEDS[name] for name in (form, "ray" if ray else "") if name in _NEEDS):
        if (advice := missing(extra, *modules)) is not None:
            raise MissingPackage(advice)


def run(job: BatchJob, prepare: Callable[[BatchJob], BatchPlan], progress: BatchProgress) -> RunSummary:
    """Do what is left of the collection. Raises `WrongPlace`, `OtherRun`, `WorkerLost`, what `prepare` raises, and
    ConnectionError without a Ray cluster."""
    entries, skipped = Collection(job.source).list(job.suffixes)
    progress.skipped([entry.shown for entry in skipped])
    store = Store(job.destination)
    plan = prepare(job)
    begun = None if job.overwrite else begun_limits(store)
    limits = begun or job.limits.shared_by(plan.workers or _CLUSTER_WORKERS, entries)
    shards = list(cut_shards(entries, limits))
    open_destination(store, _manifest(plan, entries, limits, len(shards)), job.source, overwrite=job.overwrite)
    done = finished(store)
    before, now = Totals.of(done.values()), Totals()
    progress.listed(len(entries), before)
    left = [shard for shard in shards if shard.number not in done]
    with closing(_outcomes(plan, left)) as outcomes:
        for outcome in outcomes:
            now = now.plus(outcome)
            progress.advanced(now)
    return RunSummary(before.plus(now), now)


def _manifest(plan: BatchPlan, entries: list[Entry], limits: ShardLimits, shards: int) -> dict[str, Any]:
    """Everything that the rows depend on, and how they are cut into files."""
    job, request, info = plan.job, plan.job.request, plan.info
    mine = request.model_fields_set - {"segmenter_options", "model", "preset", "channel"}
    # As text: a run of an earlier version, which wrote down what was typed, can be gone on with.
    reading = {name: str(getattr(request, name)) for name in InputOptions.model_fields if name in mine}
    of_answers = sorted(f"{name}={getattr(request, name)}" for name in mine - reading.keys())
    return {
        "format": job.format,
        "channel": request.channel,
        "options": {**plan.options, **reading},
        "model": {
            "name": info.name,
            "id": info.id,
            "revision": info.revision,
            "fingerprint": info.fingerprint,
            "dtype": plan.dtype,
        },
        "listing": {
            "files": len(entries),
            "bytes": sum(entry.size_bytes for entry in entries),
            "sha256": listing_hash(entries),
        },
        "shards": {
            "count": shards,
            "max_files": job.limits.max_files,
            "max_mb": job.limits.max_bytes >> 20,
            "cut_files": limits.max_files,
            "cut_bytes": limits.max_bytes,
        },
        "max_audio_hours": job.max_audio_hours,
        "per_file": [*job.per_file, *of_answers],
    }


def _outcomes(plan: BatchPlan, shards: list[Shard]) -> Generator[Outcome, None, None]:
    if not shards:
        return
    if plan.job.ray is not None:
        from app.batch.ray_run import run_on_ray  # noqa: PLC0415 - of the extra [ray]

        yield from run_on_ray(plan, shards, address=plan.job.ray)
        return
    from app.batch.local import LocalRun  # noqa: PLC0415 - with torch, which a wrong source does not wait for

    yield from LocalRun(plan, shards, plan.workers or 1).outcomes()
