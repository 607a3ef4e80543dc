"""Shards on Ray Data: a stream of shards through a pool of actors, each with one engine. Needs the extra [ray]."""

import logging
import os
import warnings
from collections.abc import Generator, Iterable
from dataclasses import asdict
from functools import partial
from typing import Any

import ray
import ray.data
from ray.exceptions import RayError
from ray.util.annotations import RayDeprecationWarning

from app.batch import WorkerLost
from app.batch.collection import Entry, Shard
from app.batch.ledger import Outcome
from app.batch.local import LocalRun
from app.batch.run import BatchPlan
from app.batch.worker import ShardJob, ShardWorker

LOCAL = "local"
_MAX_RETRIES = 1
"""Of a shard whose actor died: out of memory, a machine that is gone, or a file that breaks its decoder."""
_MAX_SHARDS_LOST = 10
"""Shards that may come to nothing before the run ends; it is not their files' fault then."""


class ShardActor:
    """What Ray Data calls with a row for each shard."""

    def __init__(self, plan: BatchPlan) -> None:
        """Load the model, once for all shards that come."""
        self._worker = ShardWorker(plan)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the shard's outcome; its rows are at the destination by then."""
        entries = tuple(map(Entry, row["paths"], row["sizes"]))
        return asdict(self._worker.run(ShardJob(Shard(row["number"], entries), skip={}, one_by_one=False)))


def run_on_ray(plan: BatchPlan, shards: Iterable[Shard], *, address: str) -> Generator[Outcome, None, None]:
    """Yield outcomes as shards are finished, in any order. Raises `WorkerLost`, and ConnectionError without a cluster.

    A few shards may kill their actors; they are done here in the end, where the file that does it is found out.

    `address`: `local` starts a Ray here, with as many CPUs as the plan has workers; else the cluster's.
    """
    left = {shard.number: shard for shard in shards}
    for outcome in _on_actors(plan, left.values(), address):
        del left[outcome.shard]
        yield outcome
    if left:
        yield from LocalRun(plan, left.values(), workers=1).outcomes()


def _on_actors(plan: BatchPlan, shards: Iterable[Shard], address: str) -> Generator[Outcome, None, None]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anybody
    _join(address, plan.workers)
    # Ray's way to bound retries is on its way out, with nothing in its place yet.
    warnings.simplefilter("ignore", RayDeprecationWarning)
    try:
        most = plan.workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        rows = [
            {
                "number": shard.number,
                "paths": [entry.path for entry in shard.entries],
                "sizes": [entry.size_bytes for entry in shard.entries],
            }
            for shard in shards
        ]
        # A block for each shard, so that an outcome comes when its shard is finished.
        dataset = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            ShardActor,
            fn_constructor_kwargs={"plan": plan},
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=most),
            num_cpus=1,
            num_gpus=plan.gpus or None,
            ray_remote_args_fn=_retries,
        )
        for row in dataset.iter_rows():
            yield Outcome(**row)
    except RayError as error:
        # Without the remote traceback above it.
        last_line = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise WorkerLost(f"a worker failed on Ray: {last_line}") from None
    finally:
        ray.shutdown()


def _retries() -> dict[str, Any]:
    return {"max_task_retries": _MAX_RETRIES}


def _join(address: str, workers: int | None) -> None:
    join = partial(ray.init, address=address, logging_level=logging.ERROR, log_to_driver=False)
    if address == LOCAL:
        join(num_cpus=workers, include_dashboard=False)
    else:
        join()
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False  # the command shows its own
    context.max_errored_blocks = _MAX_SHARDS_LOST
    logging.getLogger("ray.data").setLevel(logging.ERROR)
