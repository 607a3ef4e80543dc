"""The service's own memory: after its start, and at its peak while it answers for files of growing length."""

import http.client
from functools import partial
from pathlib import Path

from benchmarks.audio import clip, minutes_of
from benchmarks.plan import Plan, cores
from benchmarks.process import Missing, RunnerFailed
from benchmarks.servers import LOCKED, OURS, Server, start_locked, start_ours
from benchmarks.starting import started_or_missing
from benchmarks.table import Result, progress

_COLUMNS = {
    "name": "", "minutes": "minutes of FLAC", "ready_mb": "ready MB", "peak_mb": "peak RSS MB", "after_mb": "after MB",
}  # fmt: skip
_LOCKED_MINUTES = 60
_SLOW = ("pyannote", "best")
"""Models whose windows reach far: measured on the longest file alone."""


def memory(plan: Plan) -> Result:
    """Each length in a server of its own, so that no peak hides behind an earlier one."""
    result = Result("memory", f"Resident memory of the service, {cores()} cores", _COLUMNS)
    if not Path("/proc/self/clear_refs").exists():
        result.missing["all"] = "this system has no /proc to read peaks from"
        return result
    for minutes in (1, 10) if plan.quick else (1, 60, 600):
        _measure(plan, result, OURS, minutes)
        if minutes <= _LOCKED_MINUTES and LOCKED not in result.missing:
            _measure(plan, result, LOCKED, minutes)
    for model in _SLOW if plan.model_cache else ():
        _measure(plan, result, OURS, 10 if plan.quick else 600, model)
    result.notes.append("Pages of libraries count too. A decoder in a child process (mp3) is not in it: some 50 MB.")
    return result


def _measure(plan: Plan, result: Result, name: str, minutes: float, model: str | None = None) -> None:
    """`model`: of the requests, instead of the service's own."""
    audio = minutes_of(plan, minutes, "flac")
    # Ten hours may take a slow model longer than a request usually may.
    settings = {**plan.model_cache, "VAD_REQUEST_TIMEOUT_S": "7200"}
    start = partial(start_ours, plan, settings) if name == OURS else partial(start_locked, plan)
    name, path = (name, "/vad") if model is None else (f"{name}, {model}", f"/vad?model={model}")
    progress(f"memory: {name}, {minutes:g} min")
    with started_or_missing(name, start, result.missing) as server:
        if server is None:
            return
        ready_mb = server.memory_mb("VmRSS")
        try:
            _post(server, path, clip(plan))
            server.forget_peak()
            _post(server, path, audio)
        except (Missing, RunnerFailed, OSError) as error:
            result.missing[f"{name}, {minutes:g} min"] = str(error)
            return
        peak_mb, after_mb = server.memory_mb("VmHWM"), server.memory_mb("VmRSS")
    row = {"name": name, "minutes": minutes, "ready_mb": ready_mb, "peak_mb": peak_mb, "after_mb": after_mb}
    result.rows.append(row)


def _post(server: Server, path: str, audio: Path) -> None:
    """The file as a form's field, read while it is sent. Raises `RunnerFailed`."""
    head = (
        f'--b\r\nContent-Disposition: form-data; name="file"; filename="{audio.name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode()
    tail = b"\r\n--b--\r\n"
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=7200)
    connection.putrequest("POST", path)
    connection.putheader("Content-Type", "multipart/form-data; boundary=b")
    connection.putheader("Content-Length", str(len(head) + audio.stat().st_size + len(tail)))
    connection.endheaders(head)
    with audio.open("rb") as data:
        while piece := data.read(1 << 20):
            connection.send(piece)
    connection.send(tail)
    answer = connection.getresponse()
    said = answer.read()
    connection.close()
    if answer.status != 200:
        raise RunnerFailed(f"status {answer.status}: {said[:200].decode(errors='replace')}")
