"""Where the processor time of a short request goes: what the kernel counts for the event loop and for the thread that
scores, divided by the shares that a profiler finds."""

import json
import os
import signal
import time

from benchmarks import raw
from benchmarks.clips import SECONDS, wav_of
from benchmarks.plan import ROOT, Plan
from benchmarks.process import Missing, cpu_of_threads
from benchmarks.runners.profiled_service import profile_of
from benchmarks.table import Result
from benchmarks.trees import Side, require_schedstat, serving

_COLUMNS = {"thread": "thread", "step": "step", "calls": "calls", "cpu_ms": "CPU ms", "share": "of all"}
_REQUESTS, _QUICK_REQUESTS = 400, 100  # a second of them, and enough to see that all works
_WRITTEN_WITHIN_S = 20  # many times what it takes
_STEPS = {
    "the network and its frontend": ("/torch/", "app/vad/models", "app/vad/blocks", "app/engine/device"),
    "segmenting": ("app/vad/",),
    "reading the audio; what is odd about it": ("app/audio/", "/numpy/", "/soundfile", "app/warnings"),
    "HTTP: parser, connection, sending": ("/h11/", "/uvicorn/", "app/server/"),
    "FastAPI and Starlette": ("/fastapi/", "/starlette/"),
    "middleware: id, key, admission, log, metrics": (
        "app/api/middleware", "app/api/admission", "app/api/metrics", "/prometheus_client/", "/structlog/", "/logging/",
        "app/api/errors",
    ),
    "the body": ("app/api/uploads", "app/api/arrival", "app/api/headers", "app/api/interruption", "/python_multipart/"),
    "the request and its plan": ("app/request", "app/models", "app/presets", "app/registry", "app/api/service"),
    "fair shares of places and memory": ("app/engine/shares",),
    "to the thread that scores and back": ("app/engine/",),
    "the report": ("app/detection", "app/formats/report"),
    "the answer": ("app/answer", "app/formats/", "/pydantic", "/json/"),
    "the endpoint": ("app/api/",),
}  # fmt: skip
"""Parts of paths by step; of several that match, the first counts."""
_REST = "Python's library: asyncio, contexts, paths"


def steps(plan: Plan) -> Result:
    """A raw upload of 0.1 s, one after the other. Raises `Missing`."""
    require_schedstat()
    result = Result("steps", "Where a request's time goes: a raw upload of 0.1 s", _COLUMNS, rounds=1)
    requests = _QUICK_REQUESTS if plan.quick else _REQUESTS
    with serving("profiled", ROOT, "benchmarks/runners/profiled_service.py") as side:
        took = _cpu_s(side, requests)
        found = _profile(side, requests)
    whole = sum(took.values())
    for thread, files in found.items():
        all_s = sum(seconds for _, _, seconds in files)
        by_step: dict[str, tuple[float, float]] = {}
        for file, calls, seconds in files:
            step = next((name for name, parts in _STEPS.items() if any(part in file for part in parts)), _REST)
            before = by_step.get(step, (0.0, 0.0))
            by_step[step] = before[0] + calls / requests, before[1] + seconds / all_s * took[thread]
        for step, (calls, cpu_s) in sorted(by_step.items(), key=lambda each: -each[1][1]):
            result.rows.append(
                {"thread": thread, "step": step, "calls": round(calls), "cpu_ms": cpu_s / requests * 1e3,
                 "share": cpu_s / whole}
            )  # fmt: skip
    result.notes.append("The kernel's count for each thread by a profiler's shares, which make calls too dear.")
    return result


def _ask(side: Side, requests: int) -> None:
    request = raw.post(wav_of(SECONDS[0]))
    with raw.connect(side.port) as connection:
        for _ in range(requests):
            raw.exchange(connection, request)


def _cpu_s(side: Side, requests: int) -> dict[str, float]:
    """Of the event loop's thread and of all others, without the profiler."""
    _ask(side, requests // 4)  # what a first request pays for is not of interest
    before = cpu_of_threads(side.process.pid)
    _ask(side, requests)
    spent = {thread: time_s - before.get(thread, 0.0) for thread, time_s in cpu_of_threads(side.process.pid).items()}
    loop_s = spent[side.process.pid]
    return {"event loop": loop_s, "scoring": sum(spent.values()) - loop_s}


def _profile(side: Side, requests: int) -> dict[str, list[tuple[str, int, float]]]:
    path = profile_of(side.port)
    os.kill(side.process.pid, signal.SIGUSR1)
    _ask(side, requests)
    os.kill(side.process.pid, signal.SIGUSR2)
    until = time.monotonic() + _WRITTEN_WITHIN_S
    while not path.exists():
        if time.monotonic() > until:
            raise Missing("the profile was not written")
        time.sleep(0.05)
    try:
        found: dict[str, list[tuple[str, int, float]]] = json.loads(path.read_text())
    finally:
        path.unlink()
    return found
