"""From the start of the process to 200 at /health/ready, the model at hand."""

from collections.abc import Callable
from functools import partial

from benchmarks.plan import Plan
from benchmarks.servers import LOCKED, OURS, Server, start_locked, start_ours, stop
from benchmarks.table import Result
from benchmarks.turns import take_turns


def startup(plan: Plan) -> Result:
    """A new server each time."""
    result = Result("startup", "Start of the process to ready", {"name": "", "ready_s": "seconds", "times": "x ours"})
    calls = {OURS: partial(_ready_s, partial(start_ours, plan)), LOCKED: partial(_ready_s, partial(start_locked, plan))}
    turns = take_turns(calls, plan.repeat, "startup")
    for name, taken in turns.taken.items():
        ratio = turns.ratio(name, OURS, float)
        result.rows.append({"name": name, "ready_s": turns.median(name, float), "times": ratio, "all_s": taken})
    result.missing = turns.missing
    return result


def _ready_s(start: Callable[[], Server]) -> float:
    server = start()
    stop(server)
    return server.ready_s
