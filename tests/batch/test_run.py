"""`fsmn-vad batch` on this machine, as a person runs it."""

import io
import json
import os
import signal
import subprocess
import time
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from app.batch.collection import Collection, cut_shards
from app.batch.worker import ShardJob, ShardWorker
from app.request import DetectionRequest
from tests.batch.collection import account, check_every_clip_once, read_jsonl, run
from tests.batch.conftest import need
from tests.batch.crashing import new_plan
from tests.cli.calling import call, command, environment
from tests.signals import bursts
from tests.small_firered import write_small_firered

Few = tuple[Path, list[str]]


@pytest.fixture(scope="module")
def done(small_model: Path, few: Few, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The few clips' rows."""
    folder = tmp_path_factory.mktemp("done")
    ended = run(small_model, few[0], folder, "--shard-files", "16", "--workers", "2")
    assert ended.returncode == 1
    found = account(ended)
    assert (found["files"], found["failed"], found["segments"]) == (40, 1, 39)
    assert found["this_run"]["files"] == 40
    assert "40 of 40 files" in ended.stderr
    return folder


def test_every_clip_has_a_row(done: Path, few: Few) -> None:
    check_every_clip_once(read_jsonl(done), few[1])
    manifest = json.loads((done / "manifest.json").read_text())
    assert len(list(done.glob("segments-*.jsonl"))) == manifest["shards"]["count"] >= 8, "several for each worker"
    assert manifest["listing"]["files"] == 40
    assert list(manifest["model"]) == ["name", "id", "revision", "fingerprint", "dtype"]
    assert len(manifest["model"]["fingerprint"]) == 64


def test_the_segments_are_those_of_detect(done: Path, few: Few, small_model: Path) -> None:
    row = read_jsonl(done)[0]
    told = json.loads(call(small_model, "detect", few[0] / row["path"]).stdout)
    # Beside what is told, a row's segments have the members that were not set.
    segments = [{name: value for name, value in segment.items() if value is not None} for segment in row["segments"]]
    assert segments == told["segments"]
    assert row["model"] == told["model"]["name"]


def test_done_is_done(done: Path, few: Few, small_model: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in done.rglob("*.json*")}
    ended = run(small_model, few[0], done, "--shard-files", "16", "--workers", "1")
    assert ended.returncode == 1
    assert account(ended)["this_run"]["files"] == 0
    assert account(ended)["segments"] == 39
    assert {path: path.stat().st_mtime_ns for path in done.rglob("*.json*")} == before


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["--shard-files", "16", "--max-end-silence-time", "900"],
            "made with max_end_silence_time=800; you asked for 900",
        ),
        (["--shard-files", "16", "--mode", "tight"], "made with mode endpoint; you asked for tight"),
        (["--shard-files", "16", "--model", "mine={model}"], "made with model {name}; you asked for mine"),
        (["--shard-files", "17"], "made with max_files 16; you asked for 17"),
        (["--shard-files", "16", "--channel", "split"], "made with channel mix; you asked for split"),
    ],
)
def test_another_run_is_refused(arguments: list[str], told: str, done: Path, few: Few, small_model: Path) -> None:
    ended = run(small_model, few[0], done, *(text.format(model=small_model) for text in arguments))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert told.format(name=small_model.name) in ended.stderr
    assert "--overwrite" in ended.stderr


def test_a_grown_collection_is_refused_until_overwritten(small_model: Path, few: Few, tmp_path: Path) -> None:
    audio, results = tmp_path / "audio", tmp_path / "results"
    for path in few[1][:2]:
        (audio / path).parent.mkdir(parents=True, exist_ok=True)
        (audio / path).write_bytes((few[0] / path).read_bytes())
    assert run(small_model, audio, results, "--shard-files", "1").returncode == 0
    (audio / few[1][1]).unlink()
    ended = run(small_model, audio, results, "--shard-files", "1")
    assert ended.returncode == 2
    assert "made of other files (2 then, 1 now)" in ended.stderr
    assert run(small_model, audio, results, "--shard-files", "1", "--overwrite").returncode == 0
    assert [row["path"] for row in read_jsonl(results)] == few[1][:1]


def test_parquet_holds_the_same_rows(small_model: Path, few: Few, done: Path, tmp_path: Path) -> None:
    need("pyarrow", "the extra [batch]")
    import pyarrow.parquet as pq

    assert run(small_model, few[0], tmp_path, "--format", "parquet", "--workers", "1").returncode == 1
    shards = sorted(tmp_path.glob("segments-*.parquet"))
    assert [row for shard in shards for row in pq.read_table(shard).to_pylist()] == read_jsonl(done)


def test_interrupted_and_resumed(small_model: Path, few: Few, tmp_path: Path) -> None:
    arguments = [few[0], tmp_path, "--shard-files", "1", "--workers", "1"]
    process = subprocess.Popen(
        # Behind whoever watches it: on a busy machine it would be through with all clips before the first one is seen.
        ["nice", "-n", "19", *command("batch", *arguments)],
        env=environment(small_model),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while process.poll() is None and not list(tmp_path.glob("_done/*.json")):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers hear it, too
    told = process.communicate(timeout=60)
    assert (process.returncode, told[0]) == (130, "")
    assert "Run the same command again to continue" in told[1]
    assert "Traceback" not in told[1]
    before = len(list(tmp_path.glob("_done/*.json")))
    assert 1 <= before < 40
    assert account(run(small_model, *arguments))["this_run"]["files"] == 40 - before
    check_every_clip_once(read_jsonl(tmp_path), few[1])


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["nowhere"], 2, "no audio files"),
        (["gopher://x/y"], 2, "gopher"),
        (["{few}", "--mode", "tight", "--threshold", "3"], 2, "threshold"),
        (["{few}", "--threshold", "0.4"], 2, "threshold: is an option of mode=tight"),
        (["{few}", "--channel", "left"], 2, "channel"),
        (["{few}", "--format", "csv"], 2, "csv"),
        (["{few}", "--model", "nowhere"], 3, "there is no model 'nowhere'; there are: fsmn, "),
        (["{few}", "--workers", "0"], 2, "workers"),
    ],
)
def test_wrong_usage(arguments: list[str], status: int, told: str, small_model: Path, few: Few, tmp_path: Path) -> None:
    source, *flags = arguments
    ended = run(small_model, source.format(few=few[0]), tmp_path / "out", *flags, MODELSCOPE_CACHE=str(tmp_path))
    assert ended.returncode == status
    assert told in ended.stderr
    assert not (tmp_path / "out").exists()


def test_what_is_skipped_is_counted_and_every_format_can_be_had_for_each_file(
    small_model: Path, speech_like: Path, tmp_path: Path
) -> None:
    for name in ("a/x.wav", "a/x.flac", "y.wav", "a/notes.txt", "cover.jpg"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(speech_like.read_bytes())
    out = tmp_path / "out"
    forms = ("--per-file", "srt", "--per-file", "zip", "--max-chunk-s", "3", "--excerpt-rate", "8000")
    ended = run(small_model, tmp_path / "in", out, *forms, "--workers", "1")
    assert ended.returncode == 0
    assert account(ended)["skipped"] == {"files": 2, "names": ["a/notes.txt", "cover.jpg"]}
    assert "Skipped 2 files without the name of an audio file: a/notes.txt, cover.jpg." in ended.stderr
    written = sorted(str(path.relative_to(out / "files")) for path in (out / "files").rglob("*.*"))
    names = ("a/x.flac", "a/x.wav", "y.wav")
    assert written == sorted(f"{name}.{kind}" for name in names for kind in ("srt", "zip"))
    (row, *_), chunks = read_jsonl(out), [chunk for row in read_jsonl(out) for chunk in row["chunks"]]
    assert {chunk["duration_ms"] <= 3_000 for chunk in chunks} == {True}
    with zipfile.ZipFile(out / "files" / f"{row['path']}.zip") as held:
        assert len(held.namelist()) == len(row["chunks"]) + 1
    refused = run(small_model, tmp_path / "in", out, "--per-file", "doc")
    assert (refused.returncode, "there is no such format" in refused.stderr) == (2, True)


def test_what_is_written_for_each_file_is_what_detect_writes(
    small_model: Path, speech_like: Path, tmp_path: Path
) -> None:
    """With each channel by itself, the time map, and every other option of an answer."""
    (tmp_path / "in").mkdir()
    mono, rate = soundfile.read(speech_like)
    soundfile.write(tmp_path / "in" / "two.wav", np.stack([mono, mono[::-1]], axis=1), rate)
    (tmp_path / "in" / "one.wav").write_bytes(speech_like.read_bytes())
    for number, options in enumerate((["--channel", "split"], ["--time-map", "--probabilities"], ["--lang", "en"])):
        out, apart = tmp_path / f"out-{number}", tmp_path / f"apart-{number}"
        forms = ["json", "wav", "md"] if options[0] != "--lang" else ["md"]
        per_file = [text for form in forms for text in ("--per-file", form)]
        ended = run(small_model, tmp_path / "in", out, *options, *per_file, "--workers", "1")
        assert ended.returncode == 0, ended.stderr
        for form in forms:
            call(small_model, "detect", tmp_path / "in", *options, "--format", form, "--out", apart)
        written = {path.name: path.read_bytes() for path in (out / "files").iterdir()}
        expected = {path.name.replace(".", ".wav.", 1): path.read_bytes() for path in apart.iterdir()}
        assert written.keys() == expected.keys()
        for name, content in written.items():
            assert without_times(content) == without_times(expected[name]), name


def test_lines_for_each_file_are_in_the_order_in_which_things_are_found(
    small_model: Path, speech_like: Path, tmp_path: Path
) -> None:
    aed = write_small_firered(tmp_path / "aed", labels=3, seed=4)
    sound, rate = soundfile.read(speech_like)
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in" / "two.wav", np.stack([sound, sound[::-1]], axis=1), rate)
    options = ["--model", f"aed=firered:{aed}", "--channel", "split"]
    forms = ["--per-file", "csv", "--per-file", "ndjson"]
    assert run(small_model, tmp_path / "in", tmp_path / "out", *options, *forms, "--workers", "1").returncode == 0
    written = (tmp_path / "out" / "files" / "two.wav.ndjson").read_text()
    shown = call(small_model, "detect", tmp_path / "in", *options, "--format", "ndjson").stdout
    found, expected = (
        [line for line in text.splitlines() if json.loads(line)["type"] == "segment"] for text in (written, shown)
    )
    assert found == expected
    assert json.loads(written.splitlines()[-1])["type"] == "summary"
    assert (tmp_path / "out" / "files" / "two.wav.csv").read_text().count("\n") == len(found) + 1


def without_times(content: bytes) -> object:
    """What an answer says of the file, and not of the run."""
    if content.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(content)) as held:
            return {name: held.read(name) for name in held.namelist()}
    if not content.startswith(b"{"):
        return content
    return {name: value for name, value in json.loads(content).items() if name not in ("timing", "request_id")}


def test_excerpts_pass_through_in_pieces(small_model: Path, tmp_path: Path) -> None:
    """A WAV as long as the file is never whole in memory."""
    seconds, rate = 120, 48_000
    sound = np.tile(bursts(1.0, [(0.2, 0.8)], rate=rate), seconds)
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in" / "long.wav", np.stack([sound, sound], axis=1), rate, subtype="PCM_16")
    plan = new_plan(str(tmp_path / "in"), str(tmp_path / "out"), small_model)
    request = DetectionRequest.parse({"silence": "zero"})
    plan = replace(plan, job=replace(plan.job, request=request, per_file=("wav",)))
    worker = ShardWorker(plan)
    (shard,) = cut_shards(Collection(plan.job.source).list(plan.job.suffixes)[0], plan.job.limits)
    tracemalloc.start()
    worker.run(ShardJob(shard, skip={}, one_by_one=True))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    worker.close()
    written = (tmp_path / "out" / "files" / "long.wav.speech.wav").stat().st_size
    assert written == (tmp_path / "in" / "long.wav").stat().st_size
    assert peak < 0.75 * written
