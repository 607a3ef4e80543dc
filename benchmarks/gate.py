"""What requests cost, beside what they cost in an earlier commit: a gate that no slower commit passes unseen.

Both trees serve at the same time, from the same environment and models, and are asked in turns, first one first and
then the other. What counts is processor time by the kernel's count (`/proc/PID/task/*/schedstat`) while so many
requests are answered, over a raw socket: no client's work, and little of what else the machine does, is in it. Each
round gives a ratio for each case; a case fails when the lower bound of its median ratio, by a bootstrap over the
rounds, is above 1.05.
"""

import base64
import json
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from rich.console import Console

from benchmarks.clips import RATE, form, speech, wav
from benchmarks.plan import ROOT, Plan
from benchmarks.process import Missing, environment
from benchmarks.results import Neighbours, machine
from benchmarks.servers import free_port
from tools.reference_data import reference_folder

LIMIT = 1.05
"""The ratio above which a case fails: below it, chance and the layout of memory decide."""
_ROUNDS, _QUICK_ROUNDS = 15, 5
"""Pairs of measurements: with fifteen, a median's bounds lie within some percent on a quiet machine."""
_STREAMS = 8
"""Live streams that send at a time: enough that turns gather several, as they do under load."""
_CONFIDENCE, _DRAWS = 0.95, 2_000  # of the bootstrap: usual values
_START_LIMIT_S = 120.0  # many times what a start takes, for machines that do other work


@dataclass
class Side:
    """One tree's server."""

    name: str
    port: int
    process: "subprocess.Popen[bytes]"

    def cpu_s(self) -> float:
        """Processor time of all its threads so far, by the scheduler's own count."""
        total = 0
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            try:
                total += int((task / "schedstat").read_text().split()[0])
            except FileNotFoundError:  # noqa: PERF203 - a thread that has just ended
                continue
        return total / 1e9


@dataclass(frozen=True)
class Case:
    """Something to be paid for."""

    name: str
    unit: str
    """What one of it is."""
    repeats: int
    """How often in a round."""
    scale: float
    """From seconds for one to what is shown."""
    shown_as: str
    run: Callable[[Side, int], float]
    """Asks so often, and gives for how many units it did."""


def gate(plan: Plan, against: str | None, console: Console) -> int:
    """Measure this tree beside a commit (by default the one that benchmarks/results was last made from) and print a
    line for each case; 1 when one has become dearer. Raises `Missing`."""
    if not Path("/proc/self/schedstat").is_file():
        raise Missing("this system does not count a thread's processor time in /proc")
    commit = against or measured_commit()
    rounds = plan.repeat if plan.repeat > 3 else (_QUICK_ROUNDS if plan.quick else _ROUNDS)
    console.print(f"{machine()['cpu']}; this tree beside {commit}, {rounds} rounds in turns")
    neighbours, ratios = Neighbours(), dict[str, list[float]]()
    costs: dict[tuple[str, str], list[float]] = {}
    with ExitStack() as held:
        tree = held.enter_context(checked_out(commit))
        sides = [held.enter_context(serving("before", tree)), held.enter_context(serving("now", ROOT))]
        cases = _cases(plan.quick)
        for case in cases:
            for side in sides:
                case.run(side, max(1, case.repeats // 4))  # what a first request pays for is not of interest
        for number in range(rounds):
            for case in cases:
                spent = {}
                for side in sides if number % 2 == 0 else reversed(sides):
                    before = side.cpu_s()
                    units = case.run(side, case.repeats)
                    spent[side.name] = (side.cpu_s() - before) / units
                    costs.setdefault((case.name, side.name), []).append(spent[side.name])
                ratios.setdefault(case.name, []).append(spent["now"] / spent["before"])
    failed = False
    for case in cases:
        low, high = interval(ratios[case.name])
        is_dearer = low > LIMIT
        failed |= is_dearer
        before, now = (median(costs[case.name, name]) * case.scale for name in ("before", "now"))
        line = f"{case.name:22} {before:8.3f} -> {now:8.3f} {case.shown_as}   {median(ratios[case.name]):.3f}x "
        line += f"({low:.3f} to {high:.3f})"
        console.print(line + ("   DEARER" if is_dearer else ""), style="red" if is_dearer else "")
    if neighbours.share:
        console.print(f"other guests of this host took {neighbours.share:.1%} of the processor meanwhile")
    console.print(f"a case is dearer when it certainly costs over {LIMIT - 1:.0%} more")
    return int(failed)


def measured_commit() -> str:
    """The commit that benchmarks/results was last made from."""
    documents = [json.loads(path.read_text()) for path in (ROOT / "benchmarks" / "results").glob("*.json")]
    about = [document.get("about", document) for document in documents]
    newest = max((each for each in about if "commit" in each and "taken" in each), key=lambda each: each["taken"])
    return str(newest["commit"]).removesuffix("-dirty")


def interval(ratios: list[float]) -> tuple[float, float]:
    """Bounds of the median (95% on either side), by a bootstrap over the rounds."""
    generator = random.Random(0)
    medians = sorted(median(generator.choices(ratios, k=len(ratios))) for _ in range(_DRAWS))
    return medians[int((1 - _CONFIDENCE) * _DRAWS)], medians[int(_CONFIDENCE * _DRAWS) - 1]


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """A commit's tree in a folder of its own. Raises `Missing` for one that is not here."""
    folder = Path(tempfile.mkdtemp(prefix="gate-")) / "tree"
    made = subprocess.run(
        ["git", "worktree", "add", "--quiet", "--detach", str(folder), commit],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if made.returncode:
        raise Missing(f"the commit {commit} cannot be checked out: {made.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", str(folder)], cwd=ROOT, check=False)
        shutil.rmtree(folder.parent, ignore_errors=True)


@contextmanager
def serving(name: str, tree: Path, script: str | None = None) -> Iterator[Side]:
    """A tree's service, or another server that takes its port as an argument, ready to be asked. Raises `Missing`."""
    port = free_port()
    reference = reference_folder() / "modelscope"
    settings = {
        "VAD_PORT": str(port),
        "VAD_LOG_LEVEL": "error",
        "VAD_FALLBACK_MODEL": "silero",
        "PYTHONPATH": str(tree),
    }
    if reference.is_dir():
        settings["MODELSCOPE_CACHE"] = str(reference)
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [Plan(False, 1).ours_python, *(["-m", "app.cli", "serve"] if script is None else [script, str(port)])],
            cwd=tree, env=environment(settings), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            side = Side(name, port, process)
            _wait_until_ready(side)
            yield side
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)


def _wait_until_ready(side: Side) -> None:
    started = time.monotonic()
    while time.monotonic() - started < _START_LIMIT_S and side.process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", side.port), 5) as connection:
                if b" 200 " in _exchange(connection, b"GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n"):
                    return
        except OSError:
            pass
        time.sleep(0.1)
    raise Missing(f"the server of the tree {side.name!r} did not become ready")


# ---- what is asked


def _cases(quick: bool) -> list[Case]:
    minutes = 2 if quick else 10
    samples = speech()
    tiny, clip = samples[: RATE // 10], samples[: int(5.5 * RATE)]
    minute = np.resize(samples, minutes * 60 * RATE)
    return [
        Case("GET /health/live", "request", 200, 1e3, "ms", _gets),
        Case("0.1 s clip", "clip", 60, 1e3, "ms", posts(wav(tiny))),
        Case("0.1 s clip, form", "clip", 60, 1e3, "ms", posts(*form(wav(tiny)))),
        Case("5.5 s clip", "clip", 20, 1e3, "ms", posts(wav(clip))),
        Case("live chunk of 100 ms", "chunk", 20, 1e3, "ms", _live(samples)),
        Case("hour of a file", "hour", 1, 1.0, "s", posts(wav(minute), per=minutes / 60)),
    ]


def posts(
    content: bytes, content_type: str = "audio/wav", *, path: str = "/vad", per: float = 1.0
) -> Callable[[Side, int], float]:
    """Make what sends so many uploads, one after the other, and returns for how many units."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\nContent-Length: {len(content)}\r\n\r\n"
    request = head.encode() + content

    def run(side: Side, count: int) -> float:
        with socket.create_connection(("127.0.0.1", side.port), 600) as connection:
            for _ in range(count):
                answer = _exchange(connection, request)
                if not answer.startswith(b"HTTP/1.1 200"):
                    raise Missing(f"{side.name}: {answer[:200]!r}")
        return count * per

    return run


def _gets(side: Side, count: int) -> float:
    with socket.create_connection(("127.0.0.1", side.port), 60) as connection:
        for _ in range(count):
            _exchange(connection, b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
    return count


def _exchange(connection: socket.socket, request: bytes) -> bytes:
    """One request and its whole answer, on a connection that stays."""
    connection.sendall(request)
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(1 << 16)
    head, _, body = received.partition(b"\r\n\r\n")
    fields = [line.partition(b":") for line in head.lower().split(b"\r\n")]
    length = next(int(value) for name, _, value in fields if name == b"content-length")
    while len(body) < length:
        body += connection.recv(1 << 16)
    return head + b"\r\n\r\n" + body


def _live(samples: "np.ndarray") -> Callable[[Side, int], float]:
    """Chunks on several streams at a time; each is answered by its mean probability, so that none is still waiting."""
    pcm = np.round(samples * 32_767).astype("<i2").tobytes()
    size = RATE // 10 * 2

    def run(side: Side, count: int) -> float:
        sockets = [_open_stream(side) for _ in range(_STREAMS)]
        try:
            # The last frame of a chunk needs samples of the next: one chunk is always ahead of the answers.
            for connection in sockets:
                connection.sendall(_frame(0x2, pcm[:size]))
            for number in range(1, count + 1):
                frame = _frame(0x2, pcm[number * size : (number + 1) * size])
                for connection in sockets:
                    connection.sendall(frame)
                for connection in sockets:
                    while b'"probability"' not in _read_frame(connection):
                        pass
        finally:
            for connection in sockets:
                connection.close()
        return count * _STREAMS

    return run


def _open_stream(side: Side) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", side.port), 60)
    key = base64.b64encode(os.urandom(16)).decode()
    connection.sendall(
        f"GET /vad/stream?probabilities=true HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += connection.recv(1)
    if b" 101 " not in head:
        raise Missing(f"{side.name}: {head[:200]!r}")
    _read_frame(connection)  # `ready`
    return connection


def _frame(opcode: int, payload: bytes) -> bytes:
    """A client's frame (RFC 6455, 5.2), masked with zeros, which leave the payload as it is."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack(">H", size)
    return bytes([0x80 | opcode]) + length + bytes(4) + payload


def _read_frame(connection: socket.socket) -> bytes:
    head = _read_exactly(connection, 2)
    size = head[1] & 0x7F
    if size == 126:
        size = struct.unpack(">H", _read_exactly(connection, 2))[0]
    return _read_exactly(connection, size)


def _read_exactly(connection: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count:
        piece = connection.recv(count - len(received))
        if not piece:
            raise Missing(f"the server closed a live stream after {received!r}")
        received += piece
    return received
