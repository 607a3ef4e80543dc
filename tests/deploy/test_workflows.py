"""The workflows call what there is, and nothing that its owner could change under them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def jobs(workflow: Path) -> Iterator[dict[str, Any]]:
    return iter(yaml.safe_load(workflow.read_text())["jobs"].values())


def steps(workflow: Path) -> Iterator[dict[str, Any]]:
    return (step for job in jobs(workflow) for step in job.get("steps", ()))


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_by_commit(workflow: Path) -> None:
    used = [each["uses"] for each in (*steps(workflow), *jobs(workflow)) if "uses" in each]
    assert used
    for each in used:
        if each.startswith("./"):
            assert (ROOT / each).is_file()
        else:
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", each), each


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_what_they_run_is_there(workflow: Path) -> None:
    for command in (step["run"] for step in steps(workflow) if "run" in step):
        assert set(re.findall(r"\bmake ([a-z-]+)", command)) <= TARGETS, command
        for path in re.findall(r"\b(?:tests|tools|docker)/[\w./-]+", command):
            assert (ROOT / path).exists(), path


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_they_may_read_and_end_in_time(workflow: Path) -> None:
    told = yaml.safe_load(workflow.read_text())
    assert told["permissions"] == {"contents": "read"} or all("permissions" in job for job in jobs(workflow))
    assert all("timeout-minutes" in job for job in jobs(workflow) if "steps" in job)


def test_every_night() -> None:
    told = yaml.safe_load((ROOT / ".github" / "workflows" / "nightly.yml").read_text())
    # YAML takes the key `on` for a truth.
    assert told[True]["schedule"]
    assert set(told["jobs"]) >= {"soak", "fuzz", "cost", "image", "torch-nightly", "coverage", "golden"}
