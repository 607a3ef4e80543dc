"""One client sends what costs the service most for its bytes, while another's short clips come every 50 ms."""

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from benchmarks.audio import clip
from benchmarks.plan import Plan, cores
from benchmarks.servers import Server, running, start_ours
from benchmarks.table import Result, progress

GREEDY, OTHER = "127.0.0.1", "127.0.0.2"
"""Addresses that the two come from: Linux has all of 127.0.0.0/8."""
_AT_ONCE = 16
"""As many as the service has places for by default."""
_EVERY_S = 0.05
_SLOW_BYTES_PER_S = 11_000
"""Above the least rate that is taken (VAD_BODY_MIN_RATE_KBPS), so that nothing ends it early."""
_AFTER_S = 10.0
"""Long enough for the allocator to have given back what it gives back."""
_COLUMNS = {
    "name": "one client sends", "answered": "the other's answers", "refused": "refused",
    "p50_ms": "p50 ms", "p95_ms": "p95 ms", "worst_ms": "worst ms",
    "idle_mb": "RSS before MB", "peak_mb": "peak MB", "after_mb": "10 s after MB",
}  # fmt: skip


def siege(plan: Plan) -> Result:
    """Each attack on a server of its own."""
    result = Result("siege", f"A clip every {_EVERY_S * 1000:g} ms beside one greedy client, {cores()} cores", _COLUMNS)
    hours = 1 if plan.quick else 12
    silence = _silence(plan, f"{hours}h", 1, hours * 3600)
    channels = _silence(plan, "8-channels", 8, 600 if plan.quick else 3600)
    result.rows.append(_row(plan, f"16 slow uploads and 16 FLAC of {hours} h of silence", _slow_and_long(silence)))
    result.rows.append(_row(plan, "16 FLAC of 8 channels, channel=split", _many(channels, "?channel=split")))
    return result


Attack = Callable[[Server, threading.Event], list[threading.Thread]]


def _row(plan: Plan, name: str, attack: Attack) -> dict[str, Any]:
    progress(f"siege: {name}")
    with running(start_ours(plan)) as server:
        other = _Other(server.port, clip(plan))
        other.ask()  # warm
        idle_mb = server.memory_mb("VmRSS")
        server.forget_peak()
        with _under(attack, server):
            seen = other.ask_for(5.0 if plan.quick else 20.0)
        peak_mb = server.memory_mb("VmHWM")
        time.sleep(_AFTER_S)
        after_mb = server.memory_mb("VmRSS")
    ordered = sorted(seen.latencies_s) or [float("nan")]
    return {
        "name": name, "answered": len(seen.latencies_s), "refused": seen.refused,
        "p50_ms": ordered[len(ordered) // 2] * 1000, "p95_ms": ordered[int(len(ordered) * 0.95)] * 1000,
        "worst_ms": ordered[-1] * 1000, "idle_mb": idle_mb, "peak_mb": peak_mb, "after_mb": after_mb,
    }  # fmt: skip


@dataclass
class _Seen:
    latencies_s: list[float] = field(default_factory=list)
    refused: int = 0


class _Other:
    """The client that is to have its answers."""

    def __init__(self, port: int, path: Path) -> None:
        self._port, self._body = port, path.read_bytes()

    def ask_for(self, seconds: float) -> _Seen:
        seen, until = _Seen(), time.perf_counter() + seconds
        while (started := time.perf_counter()) < until:
            if self.ask() == 200:
                seen.latencies_s.append(time.perf_counter() - started)
            else:
                seen.refused += 1
            time.sleep(max(0.0, _EVERY_S - (time.perf_counter() - started)))
        return seen

    def ask(self) -> int:
        return _post(self._port, "/vad", self._body, OTHER)


@contextmanager
def _under(attack: Attack, server: Server) -> Iterator[None]:
    over = threading.Event()
    threads = attack(server, over)
    time.sleep(1.0)  # until all of them are inside
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(120)


def _slow_and_long(path: Path) -> Attack:
    def attack(server: Server, over: threading.Event) -> list[threading.Thread]:
        slow = [_thread(_trickle, server.port, over) for _ in range(_AT_ONCE)]
        return slow + _many(path, "")(server, over)

    return attack


def _many(path: Path, query: str) -> Attack:
    def attack(server: Server, over: threading.Event) -> list[threading.Thread]:
        body = path.read_bytes()
        return [_thread(_again_and_again, server.port, f"/vad{query}", body, over) for _ in range(_AT_ONCE)]

    return attack


def _thread(target: Callable[..., None], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=target, args=arguments, daemon=True)
    thread.start()
    return thread


def _trickle(port: int, over: threading.Event) -> None:
    with ExitStack() as held, suppress(OSError):
        connection = held.enter_context(socket.create_connection(("127.0.0.1", port), source_address=(GREEDY, 0)))
        connection.sendall(b"POST /vad HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n")
        while not over.wait(0.1):
            connection.sendall(bytes(_SLOW_BYTES_PER_S // 10))


def _again_and_again(port: int, path: str, body: bytes, over: threading.Event) -> None:
    while not over.is_set():
        connection = http.client.HTTPConnection("127.0.0.1", port, source_address=(GREEDY, 0))
        # Closed when the siege is over, whatever its answer still waits for.
        _thread(_cut_when, over, connection)
        with suppress(OSError, http.client.HTTPException):
            connection.request("POST", path, body)
            connection.getresponse().read()
        connection.close()
        over.wait(0.2)


def _cut_when(over: threading.Event, connection: http.client.HTTPConnection) -> None:
    over.wait()
    if connection.sock is not None:
        with suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)


def _post(port: int, path: str, body: bytes, address: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60, source_address=(address, 0))
    try:
        connection.request("POST", path, body)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def _silence(plan: Plan, name: str, channels: int, seconds: int) -> Path:
    """FLAC at its lowest rate: a few hundred bytes a minute."""
    path = plan.audio_folder / f"silence-{name}-{seconds}s.flac"
    if not path.is_file():
        part = path.with_name(f"part-{path.name}")
        minute = np.zeros((4_000 * 60, channels), np.int16)
        with soundfile.SoundFile(part, "w", 4_000, channels, "PCM_16", format="FLAC") as out:
            for _ in range(seconds // 60):
                out.write(minute)
        part.rename(path)
    return path
