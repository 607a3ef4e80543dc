"""POST /vad with a short clip: answers a second and latency, at 1 to 64 clients, the load on the same cores."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from benchmarks.audio import clip
from benchmarks.clients import Load, seen_by
from benchmarks.plan import Plan, cores
from benchmarks.servers import LOCKED, OURS, Server, running, start_locked, start_ours
from benchmarks.starting import started_or_missing
from benchmarks.table import Result
from benchmarks.turns import take_turns

_COLUMNS = {
    "name": "", "clients": "clients", "per_s": "answers/s", "p50_ms": "p50 ms", "p95_ms": "p95 ms", "p99_ms": "p99 ms",
    "server_cpu_ms": "server CPU ms each",     "times_locked": "x the peer's rate", "refused": "refused",
}  # fmt: skip
CLIENTS = (1, 4, 16, 64)


def http(plan: Plan) -> Result:
    """Both servers stay up; phases of load meet them in turn."""
    result = Result("http", f"POST /vad, a clip of 5.5 s, {cores()} cores for server and clients together", _COLUMNS)
    result.notes.append("VAD_MAX_QUEUE is 128 here, so that 64 clients wait for an answer instead of being refused.")
    with running(start_ours(plan, {"VAD_MAX_QUEUE": "128"})) as ours:
        servers = {OURS: ours}
        with started_or_missing(LOCKED, partial(start_locked, plan), result.missing) as locked:
            if locked is not None:
                servers[LOCKED] = locked
            for clients in CLIENTS:
                result.rows += _rows(plan, servers, clients, result)
    return result


def _rows(plan: Plan, servers: dict[str, Server], clients: int, result: Result) -> list[dict[str, Any]]:
    seconds = 3.0 if plan.quick else 10.0
    for server in servers.values():
        seen_by(Load(server.port, clip(plan), clients, 1.0))
    calls = {
        name: partial(_phase, server, Load(server.port, clip(plan), clients, seconds))
        for name, server in servers.items()
    }
    turns = take_turns(calls, plan.repeat, f"http, {clients} clients")
    result.missing |= turns.missing
    rows = []
    for name, taken in turns.taken.items():
        row: dict[str, Any] = {"name": name, "clients": clients}
        row |= {key: turns.median(name, _figure(key)) for key in _FIGURES}
        row["times_locked"] = turns.ratio(name, LOCKED, lambda seen: seen["per_s"])
        row["refused"] = sum(count for seen in taken for status, count in seen["statuses"].items() if status != "200")
        rows.append(row)
    return rows


def _phase(server: Server, load: Load) -> Mapping[str, Any]:
    before = server.cpu_s()
    seen = seen_by(load)
    after = server.cpu_s()
    spent_ms = None if before is None or after is None else (after - before) * 1000 / seen["count"]
    return {**seen, "server_cpu_ms": spent_ms}


def _figure(key: str) -> Callable[[Mapping[str, Any]], float]:
    return lambda seen: seen[key] or 0.0


_FIGURES = ("per_s", "server_cpu_ms", "p50_ms", "p95_ms", "p99_ms")
