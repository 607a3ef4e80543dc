"""A run on a local Ray with an engine that certain files kill: `python -m tests.batch.crash_on_ray MODEL CLIPS DEST`.

A program of its own, because Ray's threads and warnings are not the tests'.
"""

import sys
from functools import partial
from pathlib import Path

from app.batch.ledger import Totals
from app.batch.listing import Cut, cut_shards
from app.batch.ray_run import run_on_ray
from app.batch.source import Source
from tests.batch.crashing import build_crashing, new_task


def main(model: str, clips: str, destination: str) -> None:
    """Print files, failed and segments."""
    build = partial(build_crashing, Path(model))
    task = new_task(clips, destination, build)
    shards = list(cut_shards(Source(clips).list(frozenset({".wav"}))[0], Cut(4, 1 << 30)))
    totals = Totals.of(run_on_ray(task, shards, address="local", workers=2, gpus=0))
    print(totals.files, totals.failed, totals.segments)


if __name__ == "__main__":
    main(*sys.argv[1:])
