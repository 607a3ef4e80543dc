"""2,000 clips, 20 of them broken; killed half-way and started again: every clip has one row in the end."""

import io
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.batch.collection import LIMIT_S, account, check_every_clip_once, read_jsonl, run, spawn_run, write_clips
from tests.batch.conftest import CLIPS, need
from tests.batch.processes import command_line, descendants, wait_until_gone
from tests.batch.storage import ObjectStorage
from tests.cli.calling import Ended, command, environment

SHARD_FILES = 50
SHARDS = CLIPS // SHARD_FILES
Collection = tuple[Path, list[str]]

pytestmark = [pytest.mark.slow, pytest.mark.full]


def kill_half_way(arguments: list[str], environment: dict[str, str], log: Path, done: Callable[[], int]) -> None:
    """Start a run and SIGKILL its first process when half of the shards are done; its workers end by themselves."""
    with log.open("wb") as file:
        process = subprocess.Popen(arguments, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    deadline = time.monotonic() + LIMIT_S
    while done() < SHARDS // 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert process.poll() is None, log.read_text()
    # Ray's two agents wait a minute for a cluster that is gone; they have no part in the work.
    below = {pid for pid in descendants(process.pid) if "agent" not in command_line(pid).lower()}
    process.kill()
    process.wait()
    assert len(below) >= 2
    assert wait_until_gone(below) == set()


def check_account(ended: Ended, done_before: int) -> None:
    found = account(ended)
    assert ended.returncode == 1
    assert (found["files"], found["failed"], found["segments"]) == (CLIPS, CLIPS // 100, CLIPS - CLIPS // 100)
    assert found["this_run"]["files"] == CLIPS - done_before * SHARD_FILES
    assert f"{done_before * SHARD_FILES} already done" in ended.stderr


def test_on_this_machine(small_model: Path, collection: Collection, tmp_path: Path) -> None:
    results = tmp_path / "results"
    arguments = [collection[0], results, "--shard-files", str(SHARD_FILES), "--workers", "2"]

    def done() -> list[str]:
        return [path.stem for path in (results / "_done").glob("*.json")]

    kill_half_way(command("batch", *arguments), environment(small_model), tmp_path / "log", lambda: len(done()))
    before = {name: (results / f"segments-{name}.jsonl").stat().st_mtime_ns for name in done()}
    assert SHARDS // 2 <= len(before) < SHARDS
    check_account(run(small_model, *arguments), len(before))
    assert {name: (results / f"segments-{name}.jsonl").stat().st_mtime_ns for name in before} == before
    check_every_clip_once(read_jsonl(results), collection[1])


def test_on_ray_and_object_storage(
    small_model: Path, collection: Collection, storage: ObjectStorage, tmp_path: Path
) -> None:
    need("ray", "the extra [ray]")
    need("pyarrow", "the extra [batch]")
    import pyarrow.parquet as pq

    storage.make_bucket("audio")
    storage.make_bucket("results")
    storage.upload(*collection, "audio", "clips")
    arguments = [
        "s3://audio/clips", "s3://results/run", "--shard-files", str(SHARD_FILES), "--format", "parquet",
        "--ray", "local", "--workers", "2",
    ]  # fmt: skip

    def done() -> list[str]:
        return re.findall(r"_done/(\d+)\.json", " ".join(storage.modified("results", "run/_done/")))

    with_storage = environment(small_model, **storage.environment)
    kill_half_way(command("batch", *arguments), with_storage, tmp_path / "log", lambda: len(done()))
    finished = {f"run/segments-{name}.parquet" for name in done()}
    before = {name: when for name, when in storage.modified("results", "run/").items() if name in finished}
    assert SHARDS // 2 <= len(before) < SHARDS
    check_account(spawn_run(small_model, *arguments, **storage.environment), len(before))
    after = storage.modified("results", "run/segments-")
    assert {name: after[name] for name in before} == before
    assert len(after) == SHARDS
    tables = (pq.read_table(io.BytesIO(storage.get("results", name))) for name in sorted(after))
    check_every_clip_once([row for table in tables for row in table.to_pylist()], collection[1])


def test_object_storage_without_ray(small_model: Path, storage: ObjectStorage, few: Collection, tmp_path: Path) -> None:
    storage.make_bucket("few")
    storage.upload(*few, "few", "deep/er")
    storage.put("few", "deep/er-beside/other.wav", b"of another folder")
    ended = spawn_run(small_model, "s3://few/deep/er", tmp_path, "--workers", "1", **storage.environment)
    assert account(ended)["files"] == 40
    check_every_clip_once(read_jsonl(tmp_path), few[1])


def test_a_file_that_kills_actors_costs_only_itself(small_model: Path, tmp_path: Path) -> None:
    need("ray", "the extra [ray]")
    clips = tmp_path / "clips"
    victim = clips / write_clips(clips, 12)[5]
    victim.rename(victim.with_name("fatal.wav"))
    script = [sys.executable, "-m", "tests.batch.crash_on_ray", small_model, clips, tmp_path / "out"]
    ended = subprocess.run(
        list(map(str, script)),
        cwd=Path(__file__).parents[2],
        env={**environment(small_model), "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert ended.stdout.splitlines()[-1] == "12 1 11", ended.stderr
    (row,) = (row for row in read_jsonl(tmp_path / "out") if row["error"])
    assert "died twice" in row["error"]
    assert row["path"].endswith("/fatal.wav")
