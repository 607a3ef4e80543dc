"""Servers under measurement: this project's, and the peer's, each on a free port of the loopback interface."""

import http.client
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.plan import ROOT, Plan, cores
from benchmarks.process import Missing, cpu_of_threads, environment

OURS, LOCKED = "this project", "FunASR behind a lock"
_START_LIMIT_S = 120
"""Many times what a start takes, for machines that do other work."""
_POLL_S = 0.005


@dataclass
class Server:
    """One that is ready."""

    port: int
    process: "subprocess.Popen[bytes]"
    ready_s: float
    """From the start of its process to 200 at /health/ready."""

    def memory_mb(self, field: str) -> float:
        """`VmRSS` now, or `VmHWM`, its peak since `forget_peak`."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith(field))
        return int(line.split()[1]) / 1024

    def cpu_s(self) -> float | None:
        """Processor time of its threads so far; None where the system does not count it."""
        return sum(self.cpu_of_threads().values()) or None

    def cpu_of_threads(self) -> dict[int, float]:
        """The same for each thread, by its number; the event loop has the process's own. Empty where none is kept."""
        return cpu_of_threads(self.process.pid)

    def forget_peak(self) -> None:
        """Let `VmHWM` begin anew."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")


Start = Callable[[Plan], "Server"]


def start_ours(plan: Plan, settings: Mapping[str, str] | None = None) -> Server:
    """This project's, with its defaults."""
    folder = Path(tempfile.mkdtemp(dir=_work(plan)))
    port = free_port()
    given = {"VAD_PORT": str(port), "VAD_TMP_DIR": str(folder), **({"VAD_MODEL": plan.model} if plan.model else {})}
    command = [str(plan.ours_python), "-m", "app.cli", "serve"]
    return _start(command, {**given, **(settings or {})}, port, folder / "server.log")


def start_locked(plan: Plan) -> Server:
    """FunASR behind a lock. Raises `Missing`."""
    if not plan.peers_python.is_file():
        raise Missing("its environment is not here (make bench-peers)")
    port = free_port()
    script = ROOT / "benchmarks" / "peers" / "locked_service.py"
    command = [str(plan.peers_python), str(script), str(port), plan.model, str(cores())]
    return _start(command, {}, port, _work(plan) / "locked.log")


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """Stop it in the end."""
    try:
        yield server
    finally:
        stop(server)


def stop(server: Server) -> None:
    """As an operator would; by force when it does not end."""
    server.process.send_signal(signal.SIGTERM)
    try:
        server.process.wait(20)
    except subprocess.TimeoutExpired:
        server.process.kill()
        server.process.wait()


def _start(command: list[str], settings: Mapping[str, str], port: int, log: Path) -> Server:
    with log.open("wb") as out:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, env=environment(settings), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
    server = Server(port, process, 0.0)
    while not _is_ready(port):
        if process.poll() is not None or time.perf_counter() - started > _START_LIMIT_S:
            process.kill()
            process.wait()
            raise Missing(f"its server did not start: {log.read_text(errors='replace')[-300:].strip()}")
        time.sleep(_POLL_S)
    server.ready_s = time.perf_counter() - started
    return server


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def free_port() -> int:
    """One of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _work(plan: Plan) -> Path:
    plan.work_folder.mkdir(parents=True, exist_ok=True)
    return plan.work_folder
