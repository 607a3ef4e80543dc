"""Connections are scarce where descriptors are: whoever holds them all holds nobody else up."""

import asyncio
import contextlib
import resource
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.server.crowd import Crowd
from tests.api.raw import ANN, BOB, answer_of, connect, problem_of, request, slow_upload, status_of
from tests.server import RunningServer, local_server, start_server, stop_server, wait_until_ready

WEBSOCKET = (
    b"GET /vad/stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
MOST = 40


def idle(server: RunningServer) -> socket.socket:
    return connect(server, ANN)


def half_a_head(server: RunningServer) -> socket.socket:
    connection = connect(server, ANN)
    connection.sendall(b"POST /vad HTTP/1.1\r\nHost: x\r\n")
    return connection


def kept_alive(server: RunningServer) -> socket.socket:
    connection = connect(server, ANN)
    with contextlib.suppress(OSError):
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        answer_of(connection)
    return connection


def half_a_body(server: RunningServer) -> socket.socket:
    return slow_upload(server, ANN)


def stream(server: RunningServer) -> socket.socket:
    connection = connect(server, ANN)
    with contextlib.suppress(OSError):
        connection.sendall(WEBSOCKET)
        connection.recv(1_000)
    return connection


KINDS = [idle, half_a_head, kept_alive, half_a_body, stream]


@pytest.fixture
def small(small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningServer]:
    monkeypatch.setattr("app.server.connections.Crowd", lambda: Crowd(MOST))
    with local_server(small_model, tmp_path) as server:
        yield server


def asked(server: RunningServer, body: bytes, client: str = BOB) -> int:
    with connect(server, client) as connection:
        connection.sendall(request(body=body))
        return status_of(answer_of(connection))


@contextlib.contextmanager
def crowd(server: RunningServer, opened: Callable[[RunningServer], socket.socket], count: int) -> Iterator[None]:
    held: list[socket.socket] = []
    try:
        for _ in range(count):
            with contextlib.suppress(OSError):  # closed at once
                held.append(opened(server))
        yield
    finally:
        for connection in held:
            connection.close()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_somebody_else_is_served(kind: Callable[..., Any], small: RunningServer, speech_like: Path) -> None:
    with crowd(small, kind, MOST + 20):
        for _ in range(3):
            started = time.monotonic()
            assert asked(small, speech_like.read_bytes()) == 200
            assert time.monotonic() - started < 2


def test_one_who_is_alone_has_all_but_the_reserve(small: RunningServer, speech_like: Path) -> None:
    """Nothing is refused while there is room, and the new pushes out what waits for nothing."""
    with crowd(small, half_a_body, MOST - MOST // 8):
        with connect(small, ANN) as connection:
            answer = answer_of(connection)
            assert (status_of(answer), problem_of(answer)["code"]) == (503, "overloaded")
        assert asked(small, speech_like.read_bytes()) == 200
    with crowd(small, idle, 3 * MOST):
        assert asked(small, speech_like.read_bytes(), ANN) == 200


def test_what_is_under_way_is_not_closed_for_others(small: RunningServer, speech_like: Path) -> None:
    body = speech_like.read_bytes()
    with connect(small, ANN) as upload:
        upload.sendall(request(body=body[:100], length=len(body)))
        time.sleep(0.2)
        with crowd(small, half_a_head, 2 * MOST):
            upload.sendall(body[100:])
            assert status_of(answer_of(upload)) == 200
            # It waits for its next request now, and others want its place.
            assert asked(small, body) == 200


class Transport(asyncio.Transport):
    def __init__(self, peer: Any) -> None:
        super().__init__({"peername": peer})


def test_an_ipv6_network_is_one_address() -> None:
    crowd, closed = Crowd(8), list[int]()
    for number in range(8):
        crowd.arrive(Transport((f"2001:db8::{number:x}", 1, 0, 0)), lambda number=number: closed.append(number))
    assert crowd.arrive(Transport(("192.0.2.1", 1)), lambda: None) is not None
    assert crowd.arrive(Transport(("192.0.2.1", 2)), lambda: None) is not None
    assert crowd.arrive(Transport(None), lambda: None) is not None, "a socket of this machine's file system"
    assert closed


@pytest.mark.full
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_few_descriptors_and_many_connections(
    kind: Callable[..., Any], small_model: Path, tmp_path: Path, speech_like: Path
) -> None:
    """As `ulimit -n 256` leaves them."""
    server = start_server(small_model, tmp_path)
    try:
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (256, 256))
        wait_until_ready(server)
        with crowd(server, kind, 300):
            for _ in range(5):
                started = time.monotonic()
                assert asked(server, speech_like.read_bytes()) == 200
                assert time.monotonic() - started < 2
        assert "Too many open files" not in server.log
    finally:
        stop_server(server)
