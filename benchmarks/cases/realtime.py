"""What OpenAI's protocol costs beside this service's own: processor time of the server, in pairs, one after the other.

Three loads of as many connections: samples at 16 kHz as `/vad/stream` mostly gets them, the same at 24 kHz with the
options of `server_vad`, and base64 in JSON at 24 kHz to `/v1/realtime`. Processor time says less of what else the
machine does than the clock does, and pairs less still; a load that came late counts for nothing.
"""

import base64
import json
import statistics
import subprocess
import sys
import time
import wave
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import soxr

from benchmarks.audio import minutes_of
from benchmarks.plan import ROOT, Plan
from benchmarks.process import RunnerFailed
from benchmarks.servers import Server, running, start_ours
from benchmarks.table import Result, progress

_CHUNK_MS = 100
"""As in the case of live streams, which stands beside it."""
_RAMP_S = 4.0
"""Over which streams begin, or their chunks would all come at once for ever."""
_LOADS = {
    "/vad/stream, 16 kHz": ("vad", 16_000),
    "/vad/stream, 24 kHz, mode=tight": ("vad", 24_000),
    "/v1/realtime, 24 kHz": ("realtime", 24_000),
}
_COLUMNS = {"name": "", "connections": "connections", "cpu_ms": "server CPU ms per stream and second",
            "ratio": "to the first", "broken": "broken", "load_late_ms": "load late ms"}  # fmt: skip


def realtime(plan: Plan) -> Result:
    """Medians over the rounds."""
    connections = 50 if plan.quick else 400
    title = f"OpenAI's protocol beside our own: {connections} connections, chunks of {_CHUNK_MS} ms in real time"
    result = Result("realtime", title, _COLUMNS)
    result.notes.append(f"an event of {_CHUNK_MS} ms of sound is taken apart in {event_us():.0f} us of a core.")
    files = {rate: _at_rate(plan, rate) for rate in (16_000, 24_000)}
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in _LOADS}
    with running(start_ours(plan, {"VAD_SESSION_TTL_S": "0", "VAD_MAX_STREAMS": "2000"})) as server:
        for count in range(plan.repeat):
            for name, (protocol, rate) in _LOADS.items():
                progress(f"realtime: round {count + 1}, {name}")
                rounds[name].append(_load(plan, server, protocol, files[rate], connections))
    first = statistics.median(each["cpu_ms"] for each in rounds[next(iter(_LOADS))])
    for name, seen in rounds.items():
        row = {key: statistics.median(each[key] for each in seen) for key in ("cpu_ms", "broken", "load_late_ms")}
        result.rows.append({"name": name, "connections": connections, "ratio": row["cpu_ms"] / first, **row})
    return result


def event_us() -> float:
    """Processor time to take one event with sound apart, the least of several rounds."""
    from app.live.realtime import RealtimeProtocol

    options = {"threshold": 0.5, "speech_pad_ms": 300, "min_silence_duration_ms": 500}
    rules = RealtimeProtocol("benchmark", {"name": "fsmn"}, None, options, lambda name: False)
    session: Any = SimpleNamespace(receive_audio=lambda data, now: None)
    pcm = np.random.default_rng(0).bytes(24 * 2 * _CHUNK_MS)
    text = json.dumps({"type": "input_audio_buffer.append", "audio": base64.b64encode(pcm).decode()})
    rounds = []
    for _ in range(10):
        started = time.process_time()
        for _ in range(500):
            rules.receive_text(session, text, 0.0)
        rounds.append((time.process_time() - started) / 500)
    return min(rounds) * 1e6


def _at_rate(plan: Plan, rate: int) -> Path:
    source = minutes_of(plan, 1, "wav")
    if rate == 16_000:
        return source
    path = source.with_name(f"{source.stem}-{rate}.wav")
    if not path.is_file():
        with wave.open(str(source)) as audio:
            samples = np.frombuffer(audio.readframes(audio.getnframes()), "<i2")
        with wave.open(str(path), "wb") as made:
            made.setparams((1, 2, rate, 0, "NONE", ""))
            made.writeframes(soxr.resample(samples, 16_000, rate).astype("<i2").tobytes())
    return path


def _load(plan: Plan, server: Server, protocol: str, audio: Path, connections: int) -> dict[str, Any]:
    seconds = 12 if plan.quick else 24
    script = ROOT / "benchmarks" / "live_load.py"
    command = [
        sys.executable, str(script), str(server.port), str(audio), "--clients", str(connections),
        "--seconds", str(seconds), "--chunk-ms", str(_CHUNK_MS), "--protocol", protocol,
    ]  # fmt: skip
    load = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    time.sleep(_RAMP_S)  # the connections come one after the other; then all are there
    cpu, started = server.cpu_s() or 0.0, time.perf_counter()
    time.sleep(seconds - _RAMP_S)
    spent, wall = (server.cpu_s() or 0.0) - cpu, time.perf_counter() - started
    said, _ = load.communicate()
    if load.returncode:
        raise RunnerFailed(f"the load ended with {load.returncode}")
    seen = json.loads(said)
    return {
        "cpu_ms": spent / wall / connections * 1000, "broken": seen["broken"], "load_late_ms": seen["late_s"] * 1000,
    }  # fmt: skip
