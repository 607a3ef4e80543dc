"""The gate on cost: its arithmetic, and that it names a commit to compare with."""

import random
import subprocess

from benchmarks.gate import LIMIT, interval, measured_commit
from benchmarks.plan import ROOT


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
