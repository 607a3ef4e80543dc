"""Workers that die, files that vanish, destinations that fail: a row, or a message, and never a hang."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from app.batch import WorkerLost
from app.batch.collection import Collection, Shard, ShardLimits, cut_shards
from app.batch.ledger import Store, Totals, finished
from app.batch.local import LocalRun
from app.batch.run import BatchPlan, Build
from tests.batch.collection import read_jsonl, write_clips
from tests.batch.crashing import build_nothing, new_plan
from tests.batch.processes import wait_until_gone


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Twelve sound clips."""
    write_clips(tmp_path / "clips", 12)
    return tmp_path / "clips"


@pytest.fixture
def plan(small_model: Path, clips: Path, tmp_path: Path) -> Callable[..., BatchPlan]:
    """What is to be done with them."""

    def make(build: Build | None = None, out: str = "out") -> BatchPlan:
        return new_plan(str(clips), str(tmp_path / out), small_model, build)

    return make


def shards(clips: Path, files: int = 4) -> list[Shard]:
    return list(cut_shards(Collection(str(clips)).list(frozenset({".wav"}))[0], ShardLimits(files, 1 << 30)))


def workers_now() -> set[int]:
    """Process ids of this process's workers."""
    return {process.pid for process in multiprocessing.active_children() if process.pid is not None}


def test_a_file_that_kills_its_reader_costs_only_itself(
    plan: Callable[..., BatchPlan], clips: Path, tmp_path: Path
) -> None:
    victim = sorted(clips.rglob("*.wav"))[5]
    victim.rename(victim.with_name("fatal.wav"))
    totals = Totals.of(LocalRun(plan(), shards(clips), workers=2).outcomes())
    assert (totals.files, totals.failed, totals.segments) == (12, 1, 11)
    (row,) = (row for row in read_jsonl(tmp_path / "out") if row["error"])
    assert row["path"].endswith("fatal.wav")
    assert row["error_code"] == "failed"
    assert "died twice" in row["error"]


def test_a_worker_killed_from_outside_is_replaced(plan: Callable[..., BatchPlan], clips: Path, tmp_path: Path) -> None:
    outcomes = LocalRun(plan(), shards(clips, 1), workers=1).outcomes()
    first = next(outcomes)
    (worker,) = workers_now()
    os.kill(worker, signal.SIGKILL)
    totals = Totals.of([first, *outcomes])
    assert (totals.files, totals.failed) == (12, 0)
    assert len(read_jsonl(tmp_path / "out")) == 12


def test_a_run_that_is_closed_leaves_no_process(plan: Callable[..., BatchPlan], clips: Path) -> None:
    outcomes = LocalRun(plan(), shards(clips, 1), workers=2).outcomes()
    next(outcomes)
    started = workers_now()
    outcomes.close()
    assert len(started) == 2
    assert wait_until_gone(started) == set()


def test_a_file_that_was_not_there_is_tried_again(plan: Callable[..., BatchPlan], clips: Path, tmp_path: Path) -> None:
    work = shards(clips)
    gone = clips / work[1].entries[2].path
    kept = gone.read_bytes()
    gone.unlink()
    first = Totals.of(LocalRun(plan(), work, workers=1).outcomes())
    store = Store(str(tmp_path / "out"))
    assert (first.failed, set(finished(store))) == (1, {0, 2})
    assert [row["error_code"] for row in read_jsonl(tmp_path / "out") if row["error"]] == ["unreadable"]
    gone.write_bytes(kept)
    again = Totals.of(LocalRun(plan(), [work[1]], workers=1).outcomes())
    assert (again.files, again.failed, set(finished(store))) == (4, 0, {0, 1, 2})
    assert len({row["id"] for row in read_jsonl(tmp_path / "out") if not row["error"]}) == 12


def test_a_worker_without_a_model_ends_the_run(plan: Callable[..., BatchPlan], clips: Path) -> None:
    with pytest.raises(WorkerLost, match="there is no model here"):
        list(LocalRun(plan(build_nothing), shards(clips), workers=2).outcomes())


def test_a_worker_with_other_weights_ends_the_run(plan: Callable[..., BatchPlan], clips: Path) -> None:
    """Elsewhere, or by now, something else may have the same name."""
    other = plan()
    other = replace(other, info=replace(other.info, fingerprint="0" * 64))
    with pytest.raises(WorkerLost, match=r"has weights with the fingerprint .* on this machine, not 0000"):
        list(LocalRun(other, shards(clips), workers=1).outcomes())


def test_a_destination_that_fails_ends_the_run(plan: Callable[..., BatchPlan], clips: Path, tmp_path: Path) -> None:
    (tmp_path / "in the way").write_text("a file")
    with pytest.raises(WorkerLost, match="cannot be written"):
        list(LocalRun(plan(out="in the way"), shards(clips), workers=1).outcomes())
