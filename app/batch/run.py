"""One run over a collection, from its listing to the last shard.

    list the source -> cut shards -> open the destination -> do the shards that are not done, on workers

Everything that a row depends on is in the destination's manifest. A run that finds the same manifest there goes on
where the last one stopped; one that finds another ends before it has touched anything. The model is asked for
(`prepare`) between the listing, which may find nothing to do, and the manifest, which names it.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol

from app.audio.options import InputOptions
from app.batch import MissingPackage
from app.batch.collection import Collection, Entry, Shard, ShardLimits, cut_shards, listing_hash
from app.batch.job import BatchJob, BatchPlan
from app.batch.ledger import Outcome, Totals, begun_limits, finished, open_destination
from app.batch.store import Store
from app.extras import missing

_NEEDS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "parquet": ("batch", ("pyarrow",)),
    "ray": ("ray", ("ray", "pyarrow")),
}
"""Which extra a format or Ray needs, and the packages that it brings."""
_CLUSTER_WORKERS = 16
"""Assumed of a Ray cluster, whose number is known only later: of more workers a small collection leaves some idle."""


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
