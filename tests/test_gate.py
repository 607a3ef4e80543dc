"""The gate on cost: its arithmetic, and that it names a commit to compare with."""

import random
import subprocess

import pytest

from benchmarks.gate import LIMIT, Case, interval, measured_commit, measured_in_turns
from benchmarks.plan import ROOT
from benchmarks.process import Missing


def ratios(middle: float, spread: float, rounds: int = 15) -> list[float]:
    generator = random.Random(1)
    return [generator.gauss(middle, spread) for _ in range(rounds)]


def test_a_tenth_more_is_certain_in_a_quiet_run_and_not_in_a_noisy_one() -> None:
    assert interval(ratios(1.10, 0.02))[0] > LIMIT
    assert interval(ratios(1.10, 0.30))[0] < LIMIT


def test_what_costs_the_same_is_not_dearer() -> None:
    low, high = interval(ratios(1.0, 0.03))
    assert low < 1.0 + 0.03 < LIMIT
    assert low <= high


def test_the_measured_commit_is_in_the_history() -> None:
    kind = subprocess.run(
        ["git", "cat-file", "-t", measured_commit()], cwd=ROOT, capture_output=True, text=True, check=False
    )
    # A shallow clone has no history; a full one has this commit.
    assert kind.returncode != 0 or kind.stdout.strip() == "commit"


class StandIn:
    """A server whose processor time grows by what it is asked."""

    def __init__(self, name: str, price: float) -> None:
        self.name, self.price, self.spent = name, price, 0.0

    def cpu_s(self) -> float:
        return self.spent


def asked(side: StandIn, count: int) -> float:
    side.spent += count * side.price
    return count


def unknown_to_the_first(side: StandIn, count: int) -> float:
    if side.name == "first":
        raise Missing("404")
    return asked(side, count)


def test_a_side_that_lacks_a_case_leaves_the_others_theirs() -> None:
    sides = [StandIn("first", 0.2), StandIn("now", 0.1)]
    old = Case("old", "request", 8, 1e3, "ms", asked)  # type: ignore[arg-type]
    new = Case("new", "request", 8, 1e3, "ms", unknown_to_the_first)  # type: ignore[arg-type]
    costs = measured_in_turns(sides, [old, new], rounds=3)  # type: ignore[arg-type]
    assert costs.ratios(old, "now", "first") == pytest.approx([0.5] * 3)
    assert costs.median(new, "first") is None
    assert costs.median(new, "now") == pytest.approx(100)
    assert costs.ratios(new, "now", "first") == []
    assert costs.missing == {("new", "first"): "404"}
