"""What requests cost, beside what they cost in an earlier commit: a gate that no slower commit passes unseen.

Both trees serve at the same time, from the same environment and models, and are asked in turns, first one first and
then the other. What counts is processor time by the kernel's count (`/proc/PID/task/*/schedstat`) while so many
requests are answered, over a raw socket: no client's work, and little of what else the machine does, is in it. Each
round gives a ratio for each case; a case fails when the lower bound of its median ratio, by a bootstrap over the
rounds, is above 1.05. A case that an older commit knows nothing of is named, and fails nothing.
"""

import json
import random
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median

import numpy as np
from rich.console import Console

from benchmarks import raw
from benchmarks.clips import RATE, form, speech, wav
from benchmarks.plan import ROOT, Plan
from benchmarks.process import Missing
from benchmarks.results import Neighbours, machine
from benchmarks.table import progress
from benchmarks.trees import Side, checked_out, require_schedstat, serving

LIMIT = 1.05
"""The ratio above which a case fails: below it, chance and the layout of memory decide."""
_ROUNDS, _QUICK_ROUNDS = 15, 5
"""Pairs of measurements: with fifteen, a median's bounds lie within some percent on a quiet machine."""
_STREAMS = 8
"""Live streams that send at a time: enough that turns gather several, as they do under load."""
_CONFIDENCE, _DRAWS = 0.95, 2_000  # of the bootstrap: usual values


@dataclass(frozen=True)
class Case:
    """Something to be paid for."""

    name: str
    unit: str
    """What one of it is."""
    repeats: int
    """How often in a round."""
    scale: float
    """From seconds for one to what is shown."""
    shown_as: str
    run: Callable[[Side, int], float]
    """Asks so often, and gives for how many units it did. Raises `Missing` where this server cannot be asked it."""


@dataclass
class Costs:
    """What each case cost each side."""

    taken: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    """By names of case and side: CPU s of one unit, round by round."""
    missing: dict[tuple[str, str], str] = field(default_factory=dict)
    """Why a side could not be asked a case."""

    def median(self, case: Case, side: str) -> float | None:
        """What is shown; None for a side that could not be asked."""
        taken = self.taken.get((case.name, side))
        return median(taken) * case.scale if taken else None

    def ratios(self, case: Case, side: str, to: str) -> list[float]:
        """One side's cost over another's, round by round; empty where one of them could not be asked."""
        pairs = zip(self.taken.get((case.name, side), []), self.taken.get((case.name, to), []), strict=False)
        return [one / other for one, other in pairs]


def gate(plan: Plan, against: str | None, console: Console) -> int:
    """Measure this tree beside a commit (by default the one that benchmarks/results was last made from) and print a
    line for each case; 1 when one has become dearer. Raises `Missing`."""
    require_schedstat()
    commit, rounds = against or measured_commit(), rounds_of(plan)
    console.print(f"{machine()['cpu']}; this tree beside {commit}, {rounds} rounds in turns")
    neighbours, all_cases = Neighbours(), cases(plan.quick)
    with ExitStack() as held:
        tree = held.enter_context(checked_out(commit))
        sides = [held.enter_context(serving("before", tree)), held.enter_context(serving("now", ROOT))]
        costs = measured_in_turns(sides, all_cases, rounds)
    failed = False
    for case in all_cases:
        ratios = costs.ratios(case, "now", "before")
        if not ratios:
            reason = next(why for (name, _), why in costs.missing.items() if name == case.name)
            console.print(f"{case.name:22} not compared: {reason}", style="yellow", markup=False)
            continue
        low, high = interval(ratios)
        is_dearer = low > LIMIT
        failed |= is_dearer
        before, now = costs.median(case, "before"), costs.median(case, "now")
        line = f"{case.name:22} {before:8.3f} -> {now:8.3f} {case.shown_as}   {median(ratios):.3f}x "
        line += f"({low:.3f} to {high:.3f})"
        console.print(line + ("   DEARER" if is_dearer else ""), style="red" if is_dearer else "")
    if neighbours.share:
        console.print(f"other guests of this host took {neighbours.share:.1%} of the processor meanwhile")
    console.print(f"a case is dearer when it certainly costs over {LIMIT - 1:.0%} more")
    return int(failed)


def rounds_of(plan: Plan) -> int:
    """How many rounds a plan means: those that were asked for, else enough for narrow bounds."""
    return plan.repeat if plan.repeat > 3 else (_QUICK_ROUNDS if plan.quick else _ROUNDS)


def measured_in_turns(sides: Sequence[Side], all_cases: Sequence[Case], rounds: int) -> Costs:
    """Ask every side every case, round after round, in one order and then in the other."""
    costs = Costs()
    for case in all_cases:
        for side in sides:
            try:
                case.run(side, max(1, case.repeats // 4))  # what a first request pays for is not of interest
            except Missing as reason:  # noqa: PERF203 - one that cannot be asked leaves the others
                costs.missing[case.name, side.name] = str(reason)
    for number in range(rounds):
        for case in all_cases:
            progress(f"{case.name}, {number + 1} of {rounds}")
            for side in sides if number % 2 == 0 else reversed(sides):
                if (case.name, side.name) in costs.missing:
                    continue
                before = side.cpu_s()
                units = case.run(side, case.repeats)
                costs.taken.setdefault((case.name, side.name), []).append((side.cpu_s() - before) / units)
    return costs


def measured_commit() -> str:
    """The commit that benchmarks/results was last made from."""
    documents = [json.loads(path.read_text()) for path in (ROOT / "benchmarks" / "results").glob("*.json")]
    about = [document.get("about", document) for document in documents]
    newest = max((each for each in about if "commit" in each and "taken" in each), key=lambda each: each["taken"])
    return str(newest["commit"]).removesuffix("-dirty")


def interval(ratios: list[float]) -> tuple[float, float]:
    """Bounds of the median (95% on either side), by a bootstrap over the rounds."""
    generator = random.Random(0)
    medians = sorted(median(generator.choices(ratios, k=len(ratios))) for _ in range(_DRAWS))
    return medians[int((1 - _CONFIDENCE) * _DRAWS)], medians[int(_CONFIDENCE * _DRAWS) - 1]


# ---- what is asked


def cases(quick: bool) -> list[Case]:
    """What requests of every kind are measured by."""
    minutes = 2 if quick else 10
    samples = speech()
    tiny, clip = samples[: RATE // 10], samples[: int(5.5 * RATE)]
    minute = np.resize(samples, minutes * 60 * RATE)
    return [
        Case("GET /health/live", "request", 200, 1e3, "ms", _exchanges(raw.get("/health/live"))),
        Case("0.1 s clip", "clip", 60, 1e3, "ms", _exchanges(raw.post(wav(tiny)))),
        Case("0.1 s clip, form", "clip", 60, 1e3, "ms", _exchanges(raw.post(*form(wav(tiny))))),
        Case("5.5 s clip", "clip", 20, 1e3, "ms", _exchanges(raw.post(wav(clip)))),
        Case("live chunk of 100 ms", "chunk", 20, 1e3, "ms", _live(samples)),
        Case("hour of a file", "hour", 1, 1.0, "s", _exchanges(raw.post(wav(minute)), per=minutes / 60)),
    ]


def _exchanges(request: bytes, *, per: float = 1.0) -> Callable[[Side, int], float]:
    """Make what sends a request so often, one after the other, and returns for how many units."""

    def run(side: Side, count: int) -> float:
        with raw.connect(side.port) as connection:
            for _ in range(count):
                raw.exchange(connection, request)
        return count * per

    return run


def _live(samples: "np.ndarray") -> Callable[[Side, int], float]:
    """Chunks on several streams at a time; each is answered by its mean probability, so that none is still waiting."""
    chunks = raw.chunks_of(samples)

    def run(side: Side, count: int) -> float:
        streams: list[raw.Stream] = []
        try:
            for _ in range(_STREAMS):
                streams.append(raw.Stream(side.port))  # noqa: PERF401 - those that are open are closed
            # The last frame of a chunk needs samples of the next: one chunk is always ahead of the answers.
            for stream in streams:
                stream.send(chunks[0])
            for number in range(1, count + 1):
                for stream in streams:
                    stream.send(chunks[number])
                for stream in streams:
                    stream.await_probability()
        finally:
            for stream in streams:
                stream.close()
        return count * _STREAMS

    return run
