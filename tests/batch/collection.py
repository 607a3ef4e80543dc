"""Collections of generated clips, and what `batch` made of them."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import soundfile

from tests.cli.calling import Ended, call, spawn
from tests.signals import bursts

BROKEN = b"RIFF\x24\x00\x00\x00WAVEfmt nothing that could be heard"
LIMIT_S = 120


def write_clips(folder: Path, count: int, seconds: float = 0.3) -> list[str]:
    """`count` clips below `folder`, every hundredth from the 37th broken; their paths in order."""
    paths = [f"{index % 7}/clip-{index:05d}.wav" for index in range(count)]
    for index, path in enumerate(paths):
        clip = folder / path
        clip.parent.mkdir(parents=True, exist_ok=True)
        if is_broken(path):
            clip.write_bytes(BROKEN)
        else:
            soundfile.write(clip, bursts(seconds, [(0.0, seconds)], seed=index), 16_000, subtype="PCM_16")
    return sorted(paths)


def is_broken(path: str) -> bool:
    """Whether `write_clips` broke this one."""
    return int(path[-9:-4]) % 100 == 37


def run(model: Path, *arguments: str | Path, **more: str) -> Ended:
    """Run it to its end, in this process; its workers have their own."""
    return call(model, "batch", *arguments, **more)


def spawn_run(model: Path, *arguments: str | Path, **more: str) -> Ended:
    """The same in a process of its own: workers' surroundings, such as a storage's keys, are those of the first run
    that this process makes."""
    return spawn(model, "batch", *arguments, limit_s=LIMIT_S, **more)


def account(ended: Ended) -> dict[str, Any]:
    """The account that it printed."""
    assert "Traceback" not in ended.stderr, ended.stderr
    document: dict[str, Any] = json.loads(ended.stdout)
    return document


def read_jsonl(folder: Path) -> list[dict[str, Any]]:
    """Every row, in the order of files and lines."""
    files = sorted(folder.glob("segments-*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text("utf-8").splitlines()]


def check_every_clip_once(rows: Iterable[dict[str, Any]], paths: list[str]) -> None:
    """Each clip has one row; the broken ones say so, and speech was found in the others."""
    rows = list(rows)
    assert [row["path"] for row in rows] == paths
    assert len({row["id"] for row in rows}) == len(paths)
    for row in rows:
        if is_broken(row["path"]):
            assert (row["error_code"], row["model"], row["segments"]) == ("invalid_audio", None, [])
        else:
            assert row["error"] is None
            assert row["model"]
            assert len(row["segments"]) == 1
