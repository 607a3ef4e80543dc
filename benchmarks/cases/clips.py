"""Many clients with short clips, beside a program that calls FunASR itself, clip after clip on one core. In turns."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from benchmarks.audio import CLIP_S, clip
from benchmarks.clients import Load, seen_by
from benchmarks.contenders import funasr_clips
from benchmarks.plan import Plan, cores
from benchmarks.servers import OURS, running, start_ours
from benchmarks.table import Result
from benchmarks.turns import take_turns

_CLIENTS = 16  # as many as a service on two cores computes at a time
_IN_PROCESS = "FunASR in process, one core"
_ROUNDS, _QUICK_ROUNDS = 7, 3  # with seven, a busy moment of the machine does not reach the median
_COLUMNS = {
    "name": "", "clients": "clients", "per_s": "clips/s", "times_in_process": "x in process", "p50_ms": "p50 ms",
    "p99_ms": "p99 ms", "spread": "p99 / p50", "server_cpu_ms": "server CPU ms each",
}  # fmt: skip


def clips(plan: Plan) -> Result:
    """Clients that post again as soon as they are answered. Raises `benchmarks.process.Missing`."""
    rounds = plan.repeat if plan.repeat > 3 else (_QUICK_ROUNDS if plan.quick else _ROUNDS)
    title = f"Clips of {CLIP_S} s, {cores()} cores for server and clients together"
    result = Result("clips", title, _COLUMNS, rounds=rounds)
    seconds = 2.0 if plan.quick else 5.0
    with running(start_ours(plan)) as server, funasr_clips(plan) as in_process:
        load = Load(server.port, clip(plan), _CLIENTS, seconds)
        seen_by(Load(server.port, clip(plan), _CLIENTS, 1.0))

        def ours() -> Mapping[str, Any]:
            before = server.cpu_s() or 0.0
            seen = seen_by(load)
            spent = (server.cpu_s() or 0.0) - before
            return {**seen, "spread": seen["p99_ms"] / seen["p50_ms"], "server_cpu_ms": spent * 1e3 / seen["count"]}

        calls = {
            OURS: ours,
            _IN_PROCESS: lambda: {"per_s": in_process(CLIP_S, seconds)},
        }
        turns = take_turns(calls, rounds, "clips")
    result.missing |= turns.missing
    for name, keys in ((OURS, tuple(_COLUMNS)[4:]), (_IN_PROCESS, ())):
        row: dict[str, Any] = {"name": name, "clients": _CLIENTS if name == OURS else 1}
        row |= {key: turns.median(name, partial(_figure, key)) for key in ("per_s", *keys)}
        row["times_in_process"] = turns.ratio(name, _IN_PROCESS, partial(_figure, "per_s"))
        result.rows.append(row)
    return result


def _figure(key: str, seen: Mapping[str, Any]) -> float:
    return float(seen[key])
