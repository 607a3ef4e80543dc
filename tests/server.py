"""A real server in a process of its own, on a free port of the loopback interface."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

_START_LIMIT_S = 60
_LISTENING = re.compile(r"running on http://127\.0\.0\.1:(\d+)")


@dataclass
class RunningServer:
    """A server under test."""

    url: str
    process: "subprocess.Popen[bytes]"
    folder: Path
    """Its working folder: `server.log`, and `tmp` for its temporary files."""

    @property
    def log(self) -> str:
        """Everything it has logged."""
        return (self.folder / "server.log").read_text(errors="replace")

    @property
    def upload_files(self) -> list[Path]:
        """Temporary files of uploads and decoders that lie around right now."""
        return [path for path in (self.folder / "tmp").rglob("*") if path.is_file() and path.name != "lock"]

    def client(self, **kwargs: object) -> httpx.Client:
        """A client of this server."""
        return httpx.Client(base_url=self.url, timeout=60, **kwargs)  # type: ignore[arg-type]


def start_server(
    model: Path, folder: Path, settings: Mapping[str, str] | None = None, module: str = "app.cli"
) -> RunningServer:
    """Start one; it may not be ready yet when this returns, but it listens. `module`: what to run as the command."""
    temporary = folder / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    log = (folder / "server.log").open("wb")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VAD_")}
    environment |= {
        "VAD_MODEL": str(model), "VAD_PORT": "0", "VAD_TMP_DIR": str(temporary), "VAD_LOG_FORMAT": "json",
        **(settings or {}),
    }  # fmt: skip
    command = [sys.executable, "-m", module, "serve"]
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    log.close()
    port = _wait_for_port(process, folder / "server.log")
    return RunningServer(f"http://127.0.0.1:{port}", process, folder)


@contextmanager
def running_server(model: Path, folder: Path, settings: Mapping[str, str] | None = None) -> Iterator[RunningServer]:
    """A server that is ready; stopped in the end, as an operator would."""
    server = start_server(model, folder, settings)
    try:
        wait_until_ready(server)
        yield server
    finally:
        stop_server(server)


def wait_until_ready(server: RunningServer) -> None:
    """Return when the server is ready."""
    deadline = time.monotonic() + _START_LIMIT_S
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{server.url}/health/ready", timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        if server.process.poll() is not None:
            break
        time.sleep(0.05)
    raise AssertionError(f"the server did not get ready:\n{server.log}")


def stop_server(server: RunningServer, limit_s: float = 30) -> int:
    """SIGTERM, and its exit status; SIGKILL when it does not end."""
    if server.process.poll() is None:
        server.process.send_signal(signal.SIGTERM)
    try:
        return server.process.wait(limit_s)
    except subprocess.TimeoutExpired:
        server.process.kill()
        server.process.wait()
        raise AssertionError(f"the server did not stop:\n{server.log}") from None


def _wait_for_port(process: "subprocess.Popen[bytes]", log: Path) -> int:
    deadline = time.monotonic() + _START_LIMIT_S
    while time.monotonic() < deadline:
        found = _LISTENING.search(log.read_text(errors="replace"))
        if found:
            return int(found[1])
        if process.poll() is not None:
            break
        time.sleep(0.02)
    raise AssertionError(f"the server did not start:\n{log.read_text(errors='replace')}")
