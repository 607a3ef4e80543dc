"""How far an hour of audio is from its matrix products alone, at this machine's own rate for just these shapes."""

from collections.abc import Callable
from typing import Any

from benchmarks.cases.offline import core_counts, detect_s, run_of
from benchmarks.contenders import OURS, products
from benchmarks.plan import Plan
from benchmarks.process import Measured
from benchmarks.table import Result
from benchmarks.turns import Turns, take_turns

_PRODUCTS = "the products"
_COLUMNS = {
    "name": "", "cores": "cores", "hour_s": "s per hour", "gflops": "GFLOP/s",
    "times_in_order": "x in order", "times_alone": "x alone",
}  # fmt: skip


def floor(plan: Plan) -> Result:
    """This project and the products in turn."""
    title = f"An hour of audio beside its matrix products ({plan.hour_minutes:g} min measured)"
    result = Result("floor", title, _COLUMNS)
    for count in core_counts():
        calls = {_PRODUCTS: products(plan, count), OURS.name: run_of(plan, OURS, "wav", count)}
        turns = take_turns(calls, plan.repeat, f"floor, {count} cores")
        result.missing |= turns.missing
        if not turns.missing:
            result.rows += _rows(plan, turns, count)
    result.notes += [
        "In order: as the network has them, the median of several rounds, all cores at work.",
        "Alone: each on operands that stay in cache, by the quickest library and height, its best round.",
    ]
    return result


def _rows(plan: Plan, turns: Turns[Measured], count: int) -> list[dict[str, Any]]:
    def found(key: str) -> float:
        return turns.median(_PRODUCTS, _answer(key)) or 0.0

    in_order, alone, gflop = found("in_order_s"), found("alone_s"), found("gflop")
    ours = (turns.median(OURS.name, detect_s) or 0.0) * 60 / plan.hour_minutes
    named = {"the products, alone": alone, "the products, in order": in_order, OURS.name: ours}
    return [
        {
            "name": name, "cores": count, "hour_s": seconds, "gflops": gflop / seconds,
            "times_in_order": seconds / in_order, "times_alone": seconds / alone,
        }
        for name, seconds in named.items()
    ]  # fmt: skip


def _answer(key: str) -> Callable[[Measured], float]:
    return lambda run: float(run.answer[key])
