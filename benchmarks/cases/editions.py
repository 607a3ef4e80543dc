"""What requests cost over the release lines: the trees of the first, of the second and this one, served at the same
time from one environment and asked in turns."""

from contextlib import ExitStack
from statistics import median

from benchmarks.gate import cases, measured_in_turns, rounds_of
from benchmarks.plan import ROOT, Plan
from benchmarks.table import Result
from benchmarks.trees import checked_out, require_schedstat, serving

_FIRST, _SECOND, _NOW = "442151a", "4b99a37", "now"
_COLUMNS = {
    "name": "CPU of the server for a", _FIRST: "first release line (442151a, 2026-11-24)",
    _SECOND: "second (4b99a37, 2026-11-27)", _NOW: "now", "unit": "unit", "to_first": "now / first",
    "to_second": "now / second",
}  # fmt: skip


def editions(plan: Plan) -> Result:
    """As the gate measures two trees. Raises `benchmarks.process.Missing`, where the history is not here above all."""
    require_schedstat()
    rounds, all_cases = rounds_of(plan), cases(plan.quick)
    result = Result("editions", "What requests cost over the release lines", _COLUMNS, rounds=rounds)
    with ExitStack() as held:
        trees = {commit: held.enter_context(checked_out(commit)) for commit in (_FIRST, _SECOND)} | {_NOW: ROOT}
        sides = [held.enter_context(serving(name, tree)) for name, tree in trees.items()]
        costs = measured_in_turns(sides, all_cases, rounds)
    for case in all_cases:
        row: dict[str, object] = {"name": case.name, "unit": case.shown_as}
        row |= {name: costs.median(case, name) for name in trees}
        for key, earlier in (("to_first", _FIRST), ("to_second", _SECOND)):
            ratios = costs.ratios(case, _NOW, earlier)
            row[key] = median(ratios) if ratios else None
        result.rows.append(row)
    result.missing = {f"{case} in {side}": reason for (case, side), reason in costs.missing.items()}
    result.notes.append("One client, one request after the other; 8 live streams at a time.")
    return result
