"""A run on a local Ray with an engine that certain files kill: `python -m tests.batch.crash_on_ray MODEL CLIPS DEST`.

A program of its own, because Ray's threads and warnings are not the tests'.
"""

import sys
from pathlib import Path

from app.batch.collection import Collection, ShardLimits, cut_shards
from app.batch.ledger import Totals
from app.batch.ray_run import run_on_ray
from tests.batch.crashing import new_plan


def main(model: str, clips: str, destination: str) -> None:
    """Print files, failed and segments."""
    plan = new_plan(clips, destination, Path(model))
    shards = list(cut_shards(Collection(clips).list(frozenset({".wav"}))[0], ShardLimits(4, 1 << 30)))
    totals = Totals.of(run_on_ray(plan, shards, address="local"))
    print(totals.files, totals.failed, totals.segments)


if __name__ == "__main__":
    main(*sys.argv[1:])
