"""A real server on a free port of the loopback interface: in a thread of the tests' own process, or in a process.

`local_server` runs the real application on the real uvicorn, with a real socket, and is there in milliseconds: models
are read once for all servers, which is safe because they are read-only. `running_server` is the command in a process of
its own (`tests/forked.py`), for tests whose matter is the process: signals, exit status, memory, what is left behind.

Both take settings as the environment has them, and nothing else: the environment of whoever runs the tests has no say.
Unless told otherwise they have no models beside the one they are given.
"""

import asyncio
import json
import logging
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from app.config import Settings, variable_name
from app.logs import configure_logging
from app.main import create_app
from app.registry import Registry, installed
from app.server.serve import Server, server_config
from app.vad.models.family import ModelFamily, Scorer, Weights
from app.vad.models.hub import ModelPlace
from app.vad.models.registry import Catalogue
from tests.forked import Forked

_ROOT = Path(__file__).resolve().parent.parent
_START_LIMIT_S = 60
_STOP_LIMIT_S = 30
_LISTENING = re.compile(r"running on http://127\.0\.0\.1:(\d+)")
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Servers here speak plain HTTP; a client that gets this reads no certificates, which takes longer than a request."""
_LOOPS: set[int] = set()
"""Threads in which servers' event loops run."""


@dataclass
class RunningServer:
    """A server under test."""

    url: str
    folder: Path
    """Its working folder: `server.log`, and `tmp` for its temporary files."""
    child: "subprocess.Popen[bytes] | Forked | None" = None
    """None for one in a thread of this process."""

    @property
    def process(self) -> "subprocess.Popen[bytes] | Forked":
        """The process it has for itself. Raises LookupError when it has none."""
        if self.child is None:
            raise LookupError("this server runs in the tests' own process; running_server starts one in its own")
        return self.child

    @property
    def pid(self) -> int:
        """Of the process that it runs in."""
        return os.getpid() if self.child is None else self.child.pid

    @property
    def port(self) -> int:
        """On the loopback interface."""
        return int(self.url.rsplit(":", 1)[1])

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
        return httpx.Client(base_url=self.url, timeout=60, verify=_NO_TLS, **kwargs)  # type: ignore[arg-type]

    def request(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        """The answer to one request, on a connection of its own."""
        with self.client() as client:
            return client.request(method, path, **kwargs)

    def get(self, path: str, **kwargs: Any) -> httpx.Response:
        """As `request`."""
        return self.request("GET", path, **kwargs)

    def post(self, path: str, **kwargs: Any) -> httpx.Response:
        """As `request`."""
        return self.request("POST", path, **kwargs)


class GivenSettings(Settings):
    """Settings that only a test has made: neither the environment nor a `.env` file is read."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *others: PydanticBaseSettingsSource,
        **more: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The arguments alone."""
        return (init_settings,)


def given_settings(variables: Mapping[str, str]) -> Settings:
    """Settings of an environment with these variables."""
    values: dict[str, Any] = {}
    for name, field in GivenSettings.model_fields.items():
        text = variables.get(variable_name(name))
        if text is not None:
            values[name] = json.loads(text) if field.annotation == dict[str, Any] else text
    unknown = variables.keys() - {variable_name(name) for name in GivenSettings.model_fields}
    assert not unknown, f"there are no such settings: {unknown}"
    return GivenSettings(**values)


# ---- in a thread of this process


@contextmanager
def local_server(
    model: Path | str,
    folder: Path,
    settings: Mapping[str, str] | None = None,
    *,
    registry: Registry | None = None,
    send_buffer: int | None = None,
    port: int = 0,
) -> Iterator[RunningServer]:
    """A server in a thread, ready; stopped in the end as a signal stops it. `registry`: as `create_app`. `send_buffer`:
    most bytes that the kernel takes for a client that does not read; by itself it takes megabytes. `port`: that of one
    that is no more, whose place it takes."""
    registry = registry or installed()
    families = [_ReadOnce(family) for family in registry.catalogue.families.values()]
    registry = replace(registry, catalogue=Catalogue(families))
    given = given_settings({**_usual_variables(model, folder), **(settings or {})})
    failures: list[Exception] = []
    app = create_app(given, failures.append, registry=registry)
    server = _ThreadServer(server_config(given, app), on_stop=app.state.service.drain)
    with socket.create_server(("127.0.0.1", port)) as listening, _log_to(folder / "server.log") as log:
        if send_buffer is not None:  # connections have that of the socket on which they come
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        running = RunningServer(f"http://127.0.0.1:{listening.getsockname()[1]}", folder)
        thread = server.begin(listening, log)
        try:
            _wait(lambda: (app.state.service.state == "ready" and server.started) or failures, thread.is_alive, running)
            if failures:
                raise AssertionError("the server could not start") from failures[0]
            yield running
        finally:
            server.stop(thread)


class _ThreadServer(Server):
    """uvicorn's in a thread, where it installs no signal handlers."""

    loop: asyncio.AbstractEventLoop | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Until it is stopped."""
        self.loop = asyncio.get_running_loop()
        await super().serve(sockets)

    def begin(self, listening: socket.socket, log: "_ServerLog") -> threading.Thread:
        """The thread in which it runs from now on."""

        def run() -> None:
            log.thread = threading.get_ident()
            _LOOPS.add(log.thread)
            try:
                self.run(sockets=[listening])
            finally:
                _LOOPS.discard(log.thread)

        thread = threading.Thread(target=run, name="server")
        thread.start()
        return thread

    def stop(self, thread: threading.Thread) -> None:
        """As SIGTERM does. Raises AssertionError when it does not end."""
        if self.loop is not None and thread.is_alive():
            self.loop.call_soon_threadsafe(self.handle_exit, signal.SIGTERM, None)
        thread.join(_STOP_LIMIT_S)
        if thread.is_alive():
            self.force_exit = True
            thread.join(_STOP_LIMIT_S)
            raise AssertionError("the server did not stop")


_READ: dict[tuple[str, ModelPlace, str | None], Weights] = {}
_PLACED: dict[tuple[int, str, str], Scorer[Any]] = {}


class _ReadOnce:
    """A family whose models are read and placed once for all servers."""

    def __init__(self, family: ModelFamily) -> None:
        self._family = family
        self.name, self.default_mode, self.known = family.name, family.default_mode, family.known
        self.recognises, self.find, self.files = family.recognises, family.find, family.files

    def read(self, place: ModelPlace, *, fingerprint: str | None = None) -> Weights:
        key = (self.name, place, fingerprint)
        if key not in _READ:
            _READ[key] = self._family.read(place, fingerprint=fingerprint)
        return _READ[key]

    def place(self, weights: Weights, *, device: str, dtype: Any) -> Scorer[Any]:
        key = (id(weights), device, dtype)
        if key not in _PLACED:
            _PLACED[key] = self._family.place(weights, device=device, dtype=dtype)
        return _PLACED[key]


class _ServerLog(logging.FileHandler):
    """What one server logs: whatever its event loop's thread says, and the service's own lines from any other thread
    but those of other servers' loops."""

    thread = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """As logging asks it."""
        return record.thread == self.thread or (record.thread not in _LOOPS and record.name.startswith("app."))


@contextmanager
def _log_to(path: Path) -> Iterator[_ServerLog]:
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = _ServerLog(path, encoding="utf-8")
    handler.setFormatter(_service_formatter())
    logging.getLogger().addHandler(handler)
    try:
        yield handler
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()


@cache
def _service_formatter() -> logging.Formatter | None:
    """The service's own: JSON lines. Records go to files, so the handler for the terminal is taken away again."""
    root = logging.getLogger()
    before = root.handlers[:]
    configure_logging("json", "info")
    formatter = root.handlers[0].formatter
    root.handlers = before
    return formatter


# ---- in a process of its own


def start_server(
    model: Path | str, folder: Path, settings: Mapping[str, str] | None = None, module: str | None = None
) -> RunningServer:
    """Start one; it may not be ready yet when this returns, but it listens. `module`: what to run as the command, in a
    process that is not forked."""
    variables = {**_usual_variables(model, folder), **(settings or {})}
    log = (folder / "server.log").open("wb")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("VAD_", "MODELSCOPE"))}
    environment |= {**variables, "PYTHONPATH": str(_ROOT)}
    # In a folder of its own, where no `.env` file lies.
    process: subprocess.Popen[bytes] | Forked
    if module is None:
        process = Forked(["serve"], cwd=folder, env=environment, stdout=log, stderr=log)
    else:
        command = [sys.executable, "-m", module, "serve"]
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    log.close()
    port = _wait_for_port(process, folder / "server.log")
    return RunningServer(f"http://127.0.0.1:{port}", folder, process)


@contextmanager
def running_server(
    model: Path | str, folder: Path, settings: Mapping[str, str] | None = None, module: str | None = None
) -> Iterator[RunningServer]:
    """A server in a process of its own that is ready; stopped in the end, as an operator would. `module`: as
    `start_server`."""
    server = start_server(model, folder, settings, module)
    try:
        wait_until_ready(server)
        yield server
    finally:
        stop_server(server)


def wait_until_ready(server: RunningServer) -> None:
    """Return when the server is ready."""

    def ready() -> bool:
        try:
            return httpx.get(f"{server.url}/health/ready", timeout=5, verify=_NO_TLS).status_code == 200
        except httpx.HTTPError:
            return False

    _wait(ready, lambda: server.process.poll() is None, server)


def stop_server(server: RunningServer, limit_s: float = _STOP_LIMIT_S) -> int:
    """SIGTERM, and its exit status; SIGKILL when it does not end."""
    if server.process.poll() is None:
        server.process.send_signal(signal.SIGTERM)
    try:
        return server.process.wait(limit_s)
    except subprocess.TimeoutExpired:
        server.process.kill()
        server.process.wait()
        raise AssertionError(f"the server did not stop:\n{server.log}") from None


def _usual_variables(model: Path | str, folder: Path) -> dict[str, str]:
    temporary = folder / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    return {
        "VAD_MODEL": str(model), "VAD_MODELS": "", "VAD_PORT": "0", "VAD_TMP_DIR": str(temporary),
        "VAD_LOG_FORMAT": "json",
    }  # fmt: skip


def _wait(condition: Callable[[], object], alive: Callable[[], bool], server: RunningServer) -> None:
    deadline = time.monotonic() + _START_LIMIT_S
    while not condition():
        if not alive() or time.monotonic() > deadline:
            raise AssertionError(f"the server did not get ready:\n{server.log}")
        time.sleep(0.005 if server.child is None else 0.05)


def _wait_for_port(process: "subprocess.Popen[bytes] | Forked", log: Path) -> int:
    deadline = time.monotonic() + _START_LIMIT_S
    while time.monotonic() < deadline:
        found = _LISTENING.search(log.read_text(errors="replace"))
        if found:
            return int(found[1])
        if process.poll() is not None:
            break
        time.sleep(0.02)
    raise AssertionError(f"the server did not start:\n{log.read_text(errors='replace')}")
