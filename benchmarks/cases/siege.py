"""One client does what costs the service most for its bytes, while another's clips, probes and live stream go on."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

from benchmarks import attacks
from benchmarks.attacks import Attack
from benchmarks.audio import clip
from benchmarks.plan import Plan, cores
from benchmarks.servers import Server, start_ours, stop
from benchmarks.table import Result, progress

OTHER = "127.0.0.2"
"""Where the other client comes from."""
_EVERY_S = 0.05
_SIEGE_S = 10.0  # long enough for some hundred answers of the other client
_WHOLE_S = 75.0  # and for the answers to sixteen long files, whose writing takes most memory
_AFTER_S = 60.0  # memory that is given back, is given back within a minute
_COLUMNS = {
    "name": "one client", "answered": "the other's answers", "refused": "refused",
    "p50_ms": "p50 ms", "p95_ms": "p95 ms", "worst_ms": "worst ms", "probe_ms": "worst probe ms",
    "live_ms": "worst live ms", "idle_mb": "RSS before MB", "peak_mb": "peak MB", "after_mb": "a minute after MB",
}  # fmt: skip
_SOUND = bytes(3_200)
"""A tenth of a second."""


def siege(plan: Plan) -> Result:
    """Each attack on a server of its own; while one is watched for a minute afterwards the next has begun."""
    result = Result(
        "siege", f"A clip every {_EVERY_S * 1000:g} ms beside one hostile client, {cores()} cores", _COLUMNS
    )
    ends = []
    for name, make, seconds in _attacks(plan):
        progress(f"siege: {name}")
        try:
            attack = make()
        except LookupError as error:
            result.missing[name] = str(error)
            continue
        row, end = _under_siege(plan, name, attack, 3.0 if plan.quick else seconds)
        result.rows.append(row)
        ends.append(end)
    for end in ends:
        end.join()
    return result


def _attacks(plan: Plan) -> Sequence[tuple[str, Callable[[], Attack], float]]:
    """What stands in the table, what makes the attack once it is needed (some want files that ffmpeg makes), and the
    seconds that it takes."""
    hours = 1 if plan.quick else 12
    channels = ("-filter_complex", "[0:a]asplit=8[a][b][c][d][e][f][g][h];[a][b][c][d][e][f][g][h]join=inputs=8:"
                "channel_layout=7.1", "-ar", "96000", "-c:a", "aac", "-b:a", "256k")  # fmt: skip
    many = attacks.again_and_again

    def eight() -> Path:
        return attacks.silence(plan, "8-channels", 8, 600 if plan.quick else 3600)

    short: Sequence[tuple[str, Callable[[], Attack]]] = [
        ("sends nothing", lambda: lambda port, over: []),
        (f"16 slow uploads, 16 FLAC of {hours} h of silence",
         lambda: attacks.slow_and_long(attacks.silence(plan, f"{hours}h", 1, hours * 3600))),
        ("16 FLAC of 8 channels, channel=split", lambda: many(eight(), "?channel=split")),
        ("the same from 16 addresses, with probabilities",
         lambda: many(eight(), "?channel=split&probabilities=true", addresses=16)),
        ("stereo FLAC of an hour at 48 kHz from 24 addresses",
         lambda: many(attacks.hum(plan, 600 if plan.quick else 3600), "", count=24, addresses=24)),
        ("8 WebSockets of empty pings", attacks.empty_pings),
        ("8 WebSockets of full pings, reading nothing", attacks.full_pings),
        ("8 WebSockets of parts of a byte", attacks.parts_of_a_byte),
        ("1,000 idle streams", lambda: attacks.idle_streams("/vad/stream", 1_000)),
        ("32 streams of one byte of WebM", lambda: attacks.idle_streams("/vad/stream?encoding=webm", 32)),
        ("1,000 halves of heads", lambda: attacks.half_heads(1_000)),
        ("32 readers of format=wav at 130 kB/s",
         lambda: attacks.slow_readers(eight(), "?format=wav&silence=zero&channel=0")),
        ("8 files with a pause of 11 h, clock=container",
         lambda: many(attacks.leaping(plan, 11), "?clock=container", count=8)),
        ("8 files with a pause of 13 h, clock=container",
         lambda: many(attacks.leaping(plan, 13), "?clock=container", count=8)),
        ("4 AAC files of 8 channels at 96 kHz", lambda: many(
            attacks.made_by_ffmpeg(plan, "8-channels.m4a", *channels), "", count=4)),
        ("1 good file, 63 bad ones with long names", lambda: attacks.bad_files(clip(plan))),
    ]  # fmt: skip
    long = ("an hour of silence from 16 addresses, with the probabilities of three models",
            lambda: many(attacks.silence(plan, "1h", 1, 600 if plan.quick else 3600),
                         "?model=fsmn,silero,firered&probabilities=true&members=true", addresses=16))  # fmt: skip
    return [*((name, make, _SIEGE_S) for name, make in short), (*long, _WHOLE_S)]


def _under_siege(plan: Plan, name: str, attack: Attack, seconds: float) -> tuple[dict[str, Any], threading.Thread]:
    """The row of one attack, and the thread that completes it a minute later and then stops the server."""
    server = start_ours(plan, plan.model_cache)
    try:
        other = _Other(server.port, clip(plan))
        other.ask_for(1.0)  # warm
        idle_mb = server.memory_mb("VmRSS")
        server.forget_peak()
        with _under(attack, server):
            seen = other.ask_for(seconds)
        peak_mb = server.memory_mb("VmHWM")
    except BaseException:
        stop(server)
        raise
    ordered = sorted(seen.latencies_s) or [float("nan")]
    row: dict[str, Any] = {
        "name": name, "answered": len(seen.latencies_s), "refused": seen.refused,
        "p50_ms": ordered[len(ordered) // 2] * 1000, "p95_ms": ordered[int(len(ordered) * 0.95)] * 1000,
        "worst_ms": ordered[-1] * 1000, "probe_ms": max(seen.probes_s, default=float("nan")) * 1000,
        "live_ms": max(seen.live_s, default=float("nan")) * 1000, "idle_mb": idle_mb, "peak_mb": peak_mb,
    }  # fmt: skip

    def end() -> None:
        time.sleep(3.0 if plan.quick else _AFTER_S)
        row["after_mb"] = server.memory_mb("VmRSS")
        stop(server)

    watching = threading.Thread(target=end)
    watching.start()
    return row, watching


@dataclass
class _Seen:
    latencies_s: list[float] = field(default_factory=list)
    probes_s: list[float] = field(default_factory=list)
    live_s: list[float] = field(default_factory=list)
    """From a chunk and a `ping` behind it to its answer."""
    refused: int = 0


class _Other:
    """The client that is to have its answers."""

    def __init__(self, port: int, path: Path) -> None:
        self._port, self._body = port, path.read_bytes()

    def ask_for(self, seconds: float) -> _Seen:
        """Clips, probes and a live stream, side by side for so long."""
        seen, until = _Seen(), time.perf_counter() + seconds
        sides = [threading.Thread(target=side, args=(seen, until)) for side in (self._probe, self._stream)]
        for side in sides:
            side.start()
        for started in _ticks(until):
            if self._request("POST", "/vad", self._body) == 200:
                seen.latencies_s.append(time.perf_counter() - started)
            else:
                seen.refused += 1
        for side in sides:
            side.join()
        return seen

    def _probe(self, seen: _Seen, until: float) -> None:
        for started in _ticks(until, 0.2):
            self._request("GET", "/health/ready")
            seen.probes_s.append(time.perf_counter() - started)

    def _stream(self, seen: _Seen, until: float) -> None:
        url = f"ws://127.0.0.1:{self._port}/vad/stream"
        with connect(url, source_address=(OTHER, 0), open_timeout=60, proxy=None, compression=None) as socket:
            for started in _ticks(until, 0.1):
                socket.send(_SOUND)
                socket.send('{"type":"ping"}')
                while json.loads(socket.recv(timeout=60))["type"] != "pong":
                    pass
                seen.live_s.append(time.perf_counter() - started)

    def _request(self, method: str, path: str, body: bytes | None = None) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60, source_address=(OTHER, 0))
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            answer.read()
            return answer.status
        finally:
            connection.close()


def _ticks(until: float, every_s: float = _EVERY_S) -> Iterator[float]:
    """The time at each step, until it is over; a step that takes long delays the next."""
    while (started := time.perf_counter()) < until:
        yield started
        time.sleep(max(0.0, every_s - (time.perf_counter() - started)))


@contextmanager
def _under(attack: Attack, server: Server) -> Iterator[None]:
    over = threading.Event()
    threads = attack(server.port, over)
    time.sleep(1.0)  # until all of them are inside
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(20)
