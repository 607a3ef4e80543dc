"""Short clips beside long files: one client's clips alone, then while two long files are always under way."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from benchmarks.audio import clip, minutes_of
from benchmarks.clients import Load, in_background, seen_by
from benchmarks.plan import Plan, cores
from benchmarks.servers import LOCKED, OURS, Server, running, start_locked, start_ours
from benchmarks.starting import started_or_missing
from benchmarks.table import Result
from benchmarks.turns import take_turns

_COLUMNS = {
    "name": "", "alone_p50_ms": "alone p50 ms", "alone_p95_ms": "alone p95 ms", "beside_p50_ms": "beside p50 ms",
    "beside_p95_ms": "beside p95 ms", "p95_times": "p95 beside / alone", "beside_count": "clips answered beside",
}  # fmt: skip
Both = Mapping[str, Mapping[str, Any]]


def fairness(plan: Plan) -> Result:
    """The long files are posted again as soon as they are answered."""
    title = f"A clip of 5.5 s while two files of {plan.hour_minutes:g} min run, {cores()} cores"
    result = Result("fairness", title, _COLUMNS)
    with running(start_ours(plan)) as ours:
        _measure(plan, result, OURS, ours)
    with started_or_missing(LOCKED, partial(start_locked, plan), result.missing) as locked:
        if locked is not None:
            _measure(plan, result, LOCKED, locked)
    return result


def _measure(plan: Plan, result: Result, name: str, server: Server) -> None:
    turns = take_turns({name: _both(plan, server)}, plan.repeat, "fairness")
    result.missing |= turns.missing
    if name not in turns.taken:
        return
    row: dict[str, Any] = {"name": name}
    for phase in ("alone", "beside"):
        for key in ("p50_ms", "p95_ms"):
            row[f"{phase}_{key}"] = turns.median(name, _figure(phase, key))
    row["p95_times"] = turns.median(name, lambda both: both["beside"]["p95_ms"] / both["alone"]["p95_ms"])
    row["beside_count"] = sum(both["beside"]["count"] for both in turns.taken[name])
    result.rows.append(row)


def _figure(phase: str, key: str) -> Callable[[Both], float]:
    return lambda both: float(both[phase][key])


def _both(plan: Plan, server: Server) -> Callable[[], Both]:
    seconds = 4.0 if plan.quick else 10.0
    short = Load(server.port, clip(plan), 1, seconds)
    long = Load(server.port, minutes_of(plan, plan.hour_minutes, "flac"), 2, 3600)

    def both() -> Both:
        alone = seen_by(short)
        with in_background(long):
            time.sleep(2)  # both files are uploaded by then
            beside = seen_by(short)
        return {"alone": alone, "beside": beside}

    return both
