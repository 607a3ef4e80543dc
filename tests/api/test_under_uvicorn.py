"""What the connections build upon is still there, and they work under uvicorn's own command, too."""

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest
import uvicorn
import websockets
import websockets.sync.client
from packaging.requirements import Requirement
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from app.server.connections import HttpConnection, WebSocketConnection
from tests.api.raw import answer_of, problem_of, status_of
from tests.server import RunningServer

ROOT = Path(__file__).resolve().parents[2]
USED_OF_HTTP = {
    "app", "client", "config", "conn", "connection_lost", "connection_made", "cycle", "data_received", "flow",
    "handle_websocket_upgrade", "loop", "on_response_complete", "pause_writing", "resume_writing", "scope",
    "send_400_response",
    "server_state", "timeout_keep_alive", "timeout_keep_alive_handler", "timeout_keep_alive_task", "transport",
    "ws_protocol_class",
    "_unset_keepalive_if_required",
}  # fmt: skip
USED_OF_CYCLE = {"disconnected", "message_event", "response_complete"}
USED_OF_FLOW = {"read_paused", "resume_reading"}
USED_OF_WEBSOCKETS = {
    "close_sent", "close_timer", "conn", "curr_msg_data_type", "data_received", "disconnected", "frames",
    "handle_connect", "handle_ping", "handshake_initiated", "keepalive_timeout", "logger", "loop",
    "pending_ping_payload", "ping_sent_at", "pong_timer", "queue", "read_paused", "receive", "resume_writing",
    "run_asgi", "schedule_ping", "send_receive_event_to_app", "shutdown", "transport", "writable",
}  # fmt: skip
USED_OF_PROTOCOL = {"current_size", "data_to_send", "fail", "handshake_exc", "max_message_size", "state"}
MOVED = (
    "{} {} has no {} any more, upon which app/server/connections.py builds: read what the new version does instead, "
    "change the connections, run tests/api/test_connections.py, and only then raise the cap in pyproject.toml"
)


class SilentTransport(asyncio.Transport):
    """A socket whose other end has gone quiet."""

    def write(self, data: bytes | bytearray | memoryview) -> None: ...

    def close(self) -> None: ...

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


def missing(package: str, thing: object, names: set[str]) -> list[str]:
    return [MOVED.format(package, version(package), name) for name in sorted(names) if not hasattr(thing, name)]


async def test_no_private_part_has_moved() -> None:
    async def application(scope: object, receive: object, send: object) -> None:
        await asyncio.sleep(0)

    config = uvicorn.Config(application, ws=WebSocketsSansIOProtocol, log_config=None)
    config.load()
    http, websocket = (
        kind(config=config, server_state=ServerState(), app_state={})  # type: ignore[arg-type]
        for kind in (H11Protocol, WebSocketsSansIOProtocol)
    )
    http.connection_made(SilentTransport())
    http.data_received(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
    gone = [
        *missing("uvicorn", http, USED_OF_HTTP),
        *missing("uvicorn", http.cycle, USED_OF_CYCLE),
        *missing("uvicorn", http.flow, USED_OF_FLOW),
        *missing("uvicorn", websocket, USED_OF_WEBSOCKETS),
        *missing("websockets", websocket.conn, USED_OF_PROTOCOL),
    ]
    http.timeout_keep_alive_task = None
    await asyncio.gather(*http.tasks)
    assert gone == [], "\n".join(gone)


@pytest.mark.parametrize("kind", [HttpConnection, WebSocketConnection])
def test_what_is_overridden_is_called_by_the_library(kind: type) -> None:
    """A method that the base does not have is a method that nobody calls, unless it is offered to the application."""
    base = kind.__mro__[1]
    own = {name for name in vars(kind) if not name.startswith("_")} - {"give"}
    assert [name for name in sorted(own) if not hasattr(base, name)] == []


@pytest.mark.parametrize("package", ["uvicorn", "h11", "websockets"])
def test_later_versions_are_not_taken_untried(package: str) -> None:
    [line] = re.findall(rf'^    "({package}\W[^"]*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    asked = Requirement(line)
    assert any(specifier.operator == "<" for specifier in asked.specifier), f"{package} has no cap in pyproject.toml"
    assert asked.specifier.contains(version(package)), f"{package} {version(package)} has not been tried"


@contextmanager
def under_uvicorn(model: Path, folder: Path, *arguments: str) -> Iterator[RunningServer]:
    """uvicorn's own command."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "VAD_MODEL": str(model),
        "VAD_MODELS": "",
        "VAD_TMP_DIR": str(folder),
    }
    command = [sys.executable, "-m", "uvicorn", "app.main:app", "--port", str(port), *arguments]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    server = RunningServer(f"http://127.0.0.1:{port}", folder, process)
    try:
        deadline = time.monotonic() + 60
        while True:
            assert process.poll() is None, server.log
            assert time.monotonic() < deadline, server.log
            try:
                if server.get("/health/ready").status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        yield server
    finally:
        process.terminate()
        process.wait(30)


HANDSHAKE = (
    b"GET /vad/stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-Big: " + b"a" * 9_000 + b"\r\n\r\n"
)


def refused(server: RunningServer, head: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), 30) as connection:
        connection.sendall(head)
        return answer_of(connection)


@pytest.mark.slow
def test_one_flag_gives_uvicorns_command_the_same_bounds(small_model: Path, tmp_path: Path, speech_like: Path) -> None:
    """docs/running.md says so, and what is missing without it."""
    with under_uvicorn(small_model, tmp_path, "--http", "app.server.connections:HttpConnection") as server:
        assert server.post("/vad", content=speech_like.read_bytes()).json()["segments"]
        answer = refused(server, b"GET /health HTTP/1.1\r\nHost: x\r\nX-Big: " + b"a" * 100_000)
        assert (status_of(answer), problem_of(answer)["code"]) == (400, "bad_request")
        answer = refused(server, HANDSHAKE)
        assert (status_of(answer), problem_of(answer)["code"]) == (431, "headers_too_large")
        with websockets.sync.client.connect(f"ws{server.url.removeprefix('http')}/vad/stream?api_key=secret") as socket:
            assert json.loads(socket.recv())["type"] == "ready"
            socket.send(bytes((1 << 20) + 2))
            with pytest.raises(websockets.exceptions.ConnectionClosed) as closed:
                socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
        assert "secret" not in server.log
    assert "app.server.connections:HttpConnection" in (ROOT / "docs/running.md").read_text()
