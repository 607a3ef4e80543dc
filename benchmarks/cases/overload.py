"""Fifty times more clients than fit: how quickly those are refused, and whether health still answers."""

import http.client
import threading
import time
from functools import partial
from typing import Any

from benchmarks.audio import clip
from benchmarks.clients import Load, seen_by
from benchmarks.plan import Plan, cores
from benchmarks.servers import OURS, Server, running, start_ours
from benchmarks.table import Result
from benchmarks.turns import take_turns

CLIENTS, INSIDE = 200, 4
"""Fifty times as many as the service has places for."""
_EVERY_S = 0.05
_COLUMNS = {
    "name": "", "per_s": "answers/s", "p99_ms": "answer p99 ms", "refused": "refused",
    "refused_p99_ms": "refusal p99 ms",
    "health_p99_ms": "health p99 ms", "health_worst_ms": "health worst ms",
}  # fmt: skip


def overload(plan: Plan) -> Result:
    """Clients wait as long as `Retry-After` says, and come again."""
    title = f"{CLIENTS} clients against {INSIDE} requests inside and {INSIDE} waiting, {cores()} cores for all"
    result = Result("overload", title, _COLUMNS)
    settings = {"VAD_MAX_REQUESTS": str(INSIDE), "VAD_MAX_QUEUE": str(INSIDE)}
    with running(start_ours(plan, settings)) as server:
        turns = take_turns({OURS: partial(_phase, plan, server)}, plan.repeat, "overload")
    result.missing |= turns.missing
    for name, taken in turns.taken.items():
        row: dict[str, Any] = {"name": name, "refused": sum(seen["refused"] for seen in taken)}
        for key in ("per_s", "p99_ms", "refused_p99_ms", "health_p99_ms", "health_worst_ms"):
            row[key] = turns.median(name, lambda seen, key=key: float(seen[key] or 0))  # type: ignore[misc]
        result.rows.append(row)
    return result


def _phase(plan: Plan, server: Server) -> dict[str, Any]:
    load = Load(server.port, clip(plan), CLIENTS, 5.0 if plan.quick else 15.0)
    probe = Probe(server.port)
    probe.start()
    try:
        seen = seen_by(load)
    finally:
        latencies = sorted(probe.finish())
    refused = sum(count for status, count in seen["statuses"].items() if status != "200")
    return {
        **seen, "refused": refused, "health_p99_ms": latencies[int(len(latencies) * 0.99)] * 1000,
        "health_worst_ms": latencies[-1] * 1000,
    }  # fmt: skip


class Probe(threading.Thread):
    """Asks for health twenty times a second, each time on a new connection, as probes do."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._port, self._over = port, threading.Event()
        self._latencies_s: list[float] = []

    def run(self) -> None:
        """Ask for `/health/live` again and again until `finish`."""
        while not self._over.wait(_EVERY_S):
            started = time.perf_counter()
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
            connection.request("GET", "/health/live")
            connection.getresponse().read()
            connection.close()
            self._latencies_s.append(time.perf_counter() - started)

    def finish(self) -> list[float]:
        """What it saw, in seconds."""
        self._over.set()
        self.join()
        return self._latencies_s
