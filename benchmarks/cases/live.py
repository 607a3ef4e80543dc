"""Live streams: how late events are known at more and more connections, and what the batcher does without sockets."""

import json
import re
import subprocess
import sys
import time
import urllib.request
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.audio import minutes_of
from benchmarks.contenders import bare_chunks
from benchmarks.plan import ROOT, Plan, cores
from benchmarks.process import RunnerFailed, measure
from benchmarks.servers import OURS, Server, running, start_ours
from benchmarks.table import Result, progress
from benchmarks.turns import take_turns

CONNECTIONS = (50, 100, 200, 400, 600, 800)
"""From an idle service to past what two cores carry."""
MODELS = ("fsmn", "silero", "silero-8k", "firered-stream", "silero+firered-stream")
"""Those that follow live streams, and the recommended pair that does."""
_BUSY = 0.8
"""Of a core's time: above, chunks that happen to come together wait long for each other."""
CHUNK_MS = 100
"""What clients usually send: short enough for a conversation, long enough to be worth a message."""
_MODEL_CONNECTIONS = 64
"""Enough that turns gather a dozen, and few enough for two cores with the slowest model."""
_RAMP_S = 4.0
"""Over which streams begin, or their chunks would all come at once for ever."""
_COLUMNS = {
    "name": "", "connections": "connections", "p50_ms": "lag p50 ms", "p95_ms": "p95 ms", "p99_ms": "p99 ms",
    "in_time": "within 300 ms", "batch": "mean batch", "server_cpu": "server CPU cores", "rss_mb": "RSS MB",
    "load_late_ms": "load late ms",
}  # fmt: skip
_MODEL_COLUMNS = {
    "name": "", "chunk_us": "server CPU µs a chunk", "loop_us": "of it the event loop", "bare_us": "bare µs",
    "times_bare": "x bare", "batch": "mean batch", "streams": "streams a core, at 80% of it", "p50_ms": "lag p50 ms",
    "p99_ms": "p99 ms", "connections": "connections",
}  # fmt: skip
_BUCKET = re.compile(r'vad_stream_lag_seconds_bucket\{le="([^"]+)"\} (\S+)')


def live(plan: Plan) -> Result:
    """Until the connections at which the 99th percentile of the lag has left a second behind."""
    title = f"Live: chunks of {CHUNK_MS} ms in real time, {cores()} cores for server and clients together"
    result = Result("live", title, _COLUMNS)
    result.notes.append("lag: from a chunk's receipt until its events are known, by the service's own histogram.")
    _in_process(plan, result)
    with running(start_ours(plan, {"VAD_SESSION_TTL_S": "0", "VAD_MAX_STREAMS": "2000"})) as server:
        for connections in CONNECTIONS[:3] if plan.quick else CONNECTIONS:
            progress(f"live: {connections} connections")
            row = _phase(plan, server, connections)
            result.rows.append(row)
            if row["p99_ms"] > 1000:
                break
    return result


def live_models(plan: Plan) -> Result:
    """What a chunk costs with each model that follows live streams, beside its arithmetic alone in the same batches;
    and so how many streams a core carries. In turns. Raises `benchmarks.process.Missing`."""
    title = f"Live: chunks of {CHUNK_MS} ms, {cores()} cores for server and clients together"
    result = Result("live_models", title, _MODEL_COLUMNS)
    result.notes.append(
        "bare: cut, scored and segmented in one thread, as many streams together and as far apart in time."
    )
    result.notes.append(
        "a row counts when its p99 is below 300 ms: chunks that wait longer are scored together, for less."
    )
    result.notes.append("clients send 16 kHz: with silero-8k that is converted, too.")
    for model in MODELS:
        progress(f"live: {model}")
        result.rows.append(_model_row(plan, model))
    return result


def _model_row(plan: Plan, model: str) -> dict[str, Any]:
    settings = {"VAD_SESSION_TTL_S": "0", **plan.model_cache, "VAD_MODEL": model}
    rows: list[dict[str, Any]] = []
    with running(start_ours(plan, settings)) as server, bare_chunks(plan, model) as bare:
        for _ in range(plan.repeat):
            row = _phase(plan, server, _MODEL_CONNECTIONS)
            row["bare_us"] = bare(row["batch"], 4 if plan.quick else 10)
            rows.append(row | {"times_bare": row["chunk_us"] / row["bare_us"]})
    keys = ("chunk_us", "loop_us", "bare_us", "times_bare", "batch", "p50_ms", "p99_ms")
    row = {key: median(each[key] for each in rows) for key in keys}
    streams = round(_BUSY * 1e6 / (row["chunk_us"] * 1000 / CHUNK_MS))
    return {"name": model, "streams": streams, "connections": _MODEL_CONNECTIONS, **row}


def _in_process(plan: Plan, result: Result) -> None:
    runner = ROOT / "benchmarks" / "runners" / "live_in_process.py"
    audio = minutes_of(plan, 1, "wav")
    command = [
        plan.ours_python, runner, "--audio", audio, "--warm-up", audio,
        "--cores", str(cores()), "--model", plan.model, "--variant", "1500",
    ]  # fmt: skip
    turns = take_turns({OURS: partial(measure, command)}, plan.repeat, "live, in process")
    result.missing |= turns.missing
    streams = turns.median(OURS, lambda measured: float(measured.answer["streams"]))
    if streams is not None:
        result.notes.append(
            f"without sockets, {cores()} cores: {streams:,.0f} streams in real time (batcher, 1,500 fed)."
        )


def _phase(plan: Plan, server: Server, connections: int) -> dict[str, Any]:
    seconds = 8 if plan.quick else 20
    script = Path(__file__).resolve().parents[1] / "live_load.py"
    audio = minutes_of(plan, 1, "wav")
    command = [
        sys.executable, str(script), str(server.port), str(audio), "--clients", str(connections),
        "--seconds", str(seconds), "--chunk-ms", str(CHUNK_MS),
    ]  # fmt: skip
    load = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    time.sleep(_RAMP_S)  # the connections come one after the other; then all are there
    before, cpu, started = _metrics(server), server.cpu_of_threads(), time.perf_counter()
    time.sleep(seconds - _RAMP_S)
    after, spent, wall = _metrics(server), server.cpu_of_threads(), time.perf_counter() - started
    spent = {thread: time_s - cpu.get(thread, 0.0) for thread, time_s in spent.items()}
    row = _figures(before, after) | {
        "name": OURS, "connections": connections, "server_cpu": sum(spent.values()) / wall,
        "rss_mb": server.memory_mb("VmRSS"),
    }  # fmt: skip
    row["chunk_us"] = sum(spent.values()) / row["chunks"] * 1e6
    row["loop_us"] = spent.get(server.process.pid, 0.0) / row["chunks"] * 1e6
    said, _ = load.communicate()
    if load.returncode:
        raise RunnerFailed(f"the load ended with {load.returncode}")
    return row | _seen(said)


def _seen(said: str) -> dict[str, Any]:
    seen = json.loads(said)
    return {"load_late_ms": seen["late_s"] * 1000, "broken": seen["broken"], "messages": seen["messages"]}


def _metrics(server: Server) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=30) as answer:
        return str(answer.read().decode())


def _figures(before: str, after: str) -> dict[str, Any]:
    counts = {float(edge): float(count) for edge, count in _BUCKET.findall(after)}
    for edge, count in _BUCKET.findall(before):
        counts[float(edge)] -= float(count)
    batches = _value(after, "vad_stream_batch_count") - _value(before, "vad_stream_batch_count")
    streams = _value(after, "vad_stream_batch_sum") - _value(before, "vad_stream_batch_sum")
    total = counts[float("inf")]
    return {
        **{f"p{share}_ms": _quantile(counts, share / 100) * 1000 for share in (50, 95, 99)},
        "in_time": counts[0.3] / total, "batch": streams / max(1, batches), "chunks": total,
    }  # fmt: skip


def _value(text: str, name: str) -> float:
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} "))


def _quantile(counts: dict[float, float], share: float) -> float:
    """By straight lines within the histogram's buckets, as Prometheus does."""
    wanted, below, edge_below = share * counts[float("inf")], 0.0, 0.0
    for edge, count in sorted(counts.items()):
        if count >= wanted:
            return (
                edge_below
                if edge == float("inf")
                else edge_below + (edge - edge_below) * ((wanted - below) / max(1e-9, count - below))
            )
        below, edge_below = count, edge
    return edge_below
