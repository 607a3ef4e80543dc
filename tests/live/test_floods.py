"""Frames that cost their sender nothing: whoever floods the service is told so and closed, and nobody else waits."""

import base64
import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.live.queues import decode
from app.server import connections
from app.server.frames import BURST_FRAMES, FRAMES_PER_S, MESSAGE_BYTES, SMALL_BYTES, FrameBudget
from tests.live.client import cut, hear, hear_all, s16, say, stream
from tests.server import RunningServer, local_server, running_server
from tests.signals import bursts

HEAD = (
    b"GET /vad/stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: " + base64.b64encode(bytes(16)) + b"\r\n\r\n"
)
PING, PONG, TEXT, BINARY = 0x89, 0x8A, 0x81, 0x82
PATIENT_S = 1.0
"""Most that anybody else may wait for while a flood goes on; without bounds it was seconds."""


def frame(first: int, payload: bytes = b"") -> bytes:
    return bytes([first, 0x80 | len(payload)]) + bytes(4) + payload


FLOODS = {
    "empty pings": (b"", frame(PING)),
    "pings with all that they may hold": (b"", frame(PING, bytes(125))),
    "pongs that nobody asked for": (b"", frame(PONG, b"1234")),
    "empty parts of a message": (frame(0x02), frame(0x00)),
    "parts of a byte": (frame(0x02), frame(0x00, b"x")),
    "parts of a text": (frame(0x01, b"{"), frame(0x00, b" ")),
    "pings between parts": (frame(0x02), frame(PING) + frame(0x00, bytes(40))),
    "empty texts": (b"", frame(TEXT)),
    "empty chunks": (b"", frame(BINARY)),
    "chunks of a sample": (b"", frame(BINARY, bytes(2))),
    "commands": (b"", frame(TEXT, b'{"type":"ping"}')),
}


@pytest.fixture(scope="module")
def calm(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "_LINGER_S", 0.3)
        with local_server(small_model, tmp_path_factory.mktemp("calm")) as server:
            yield server


@contextlib.contextmanager
def opened(server: RunningServer, *, receive_buffer: int | None = None) -> Iterator[socket.socket]:
    """A WebSocket by hand, past its handshake."""
    with socket.socket() as connection:
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(60)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(HEAD)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += connection.recv(1)
        assert b" 101 " in answer
        yield connection


def pour(connection: socket.socket, data: bytes, limit_s: float) -> None:
    """Send it over and over until the service closes, or for so long."""
    until = time.monotonic() + limit_s
    with contextlib.suppress(OSError):
        while time.monotonic() < until:
            connection.sendall(data)


def close_code(connection: socket.socket) -> int | None:
    """That the service closed with, among everything that it sent."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(1 << 20):
            received += piece
    while received:
        size, head = received[1], 2
        if size == 126:
            size, head = struct.unpack(">H", received[2:4])[0], 4
        if received[0] == 0x88:
            code: int = struct.unpack(">H", received[head : head + 2])[0]
            return code
        received = received[head + size :]
    return None


@pytest.mark.parametrize(("first", "flood"), FLOODS.values(), ids=FLOODS)
def test_a_flood_is_told_and_closed(calm: RunningServer, first: bytes, flood: bytes) -> None:
    with opened(calm) as connection:
        connection.sendall(first)
        pourer = threading.Thread(target=pour, args=(connection, flood * 5_000, 10))
        pourer.start()
        assert close_code(connection) == 1008
        pourer.join()
    assert "too_many_frames" in calm.log


@pytest.mark.parametrize(
    "flood",
    [
        pytest.param(frame(PING), id="empty pings"),
        pytest.param(frame(PING, bytes(125)), id="full pings", marks=pytest.mark.full),
        pytest.param(frame(BINARY, bytes(SMALL_BYTES)), id="smallest sound", marks=pytest.mark.full),
    ],
)
def test_a_flood_keeps_nobody_waiting(calm: RunningServer, flood: bytes) -> None:
    """A probe, and a neighbour on a live stream, while three connections pour and are opened again and again."""
    over = threading.Event()

    def attack() -> None:
        while not over.is_set():
            with contextlib.suppress(OSError), opened(calm) as connection:
                pour(connection, flood * 10_000, 0.5)

    attackers = [threading.Thread(target=attack) for _ in range(3)]
    with stream(calm) as neighbour:
        hear(neighbour)
        for attacker in attackers:
            attacker.start()
        waits = []
        try:
            until = time.monotonic() + 1.0
            while time.monotonic() < until:
                started = time.monotonic()
                assert calm.get("/health/ready").status_code == 200
                waits.append(time.monotonic() - started)
                started = time.monotonic()
                neighbour.send(bytes(3_200))
                say(neighbour, "ping")
                while hear(neighbour)["type"] != "pong":
                    pass
                waits.append(time.monotonic() - started)
        finally:
            over.set()
            for attacker in attackers:
                attacker.join()
    assert max(waits) < PATIENT_S


def test_small_chunks_of_an_honest_client_are_heard(calm: RunningServer) -> None:
    """Telephone sound each 5 ms, faster than it is spoken, with a ping now and then."""
    sound = s16(bursts(10.0, [(1.0, 3.0), (5.0, 8.0)], 8_000))
    with stream(calm, sample_rate=8_000) as socket:
        for number, chunk in enumerate(cut(sound, 80)):
            socket.send(chunk)
            if number % 100 == 0:
                socket.ping()
        say(socket, "end")
        heard = hear_all(socket)
    assert heard.code == 1000
    assert heard.done["duration_ms"] == 10_000


def test_the_budget() -> None:
    """Of small frames, whatever they are; what carries sound is free; and it fills again with time."""
    budget = FrameBudget(0.0)
    assert all(budget.takes(0x82, SMALL_BYTES, 0.0) for _ in range(3 * BURST_FRAMES))
    assert all(budget.takes(PING, 125, 0.0) for _ in range(BURST_FRAMES))
    assert not budget.takes(PING, 125, 0.0)
    budget = FrameBudget(0.0)
    assert all(budget.takes(0x82, 1, second / FRAMES_PER_S) for second in range(3 * BURST_FRAMES))
    budget = FrameBudget(0.0)
    assert budget.takes(0x02, SMALL_BYTES, 0.0)
    # A message of many parts, each with something in it, up to all that a message may hold.
    assert all(budget.takes(0x00, SMALL_BYTES, 0.0) for _ in range(MESSAGE_BYTES // SMALL_BYTES))
    assert budget.takes(0x80, 0, 0.0)
    assert budget.takes(0x02, 0, 0.0)
    # Ever so slowly, a message has an end.
    assert not all(budget.takes(0x00, 0, float(second)) for second in range(BURST_FRAMES + 1))


@pytest.mark.full
def test_pongs_that_nobody_reads_take_no_memory(small_model: Path, tmp_path: Path) -> None:
    """Some megabytes are the kernel's and the process's own; without flow control it was 20 MB a second."""

    def rss_mb(server: RunningServer) -> float:
        lines = Path(f"/proc/{server.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))

    with running_server(small_model, tmp_path) as server, opened(server, receive_buffer=4_096) as connection:
        time.sleep(0.5)
        before = rss_mb(server)
        ping = frame(PING, os.urandom(125))
        for _ in range(10):  # slower than the budget allows for
            pour_at = time.monotonic()
            with contextlib.suppress(OSError):
                connection.sendall(ping * 4_000)
            time.sleep(max(0.0, 0.5 - (time.monotonic() - pour_at)))
        assert rss_mb(server) - before < 15


def test_a_message_of_many_parts_is_not_read() -> None:
    """A megabyte of them takes the loop tens of milliseconds; a megabyte of audio in base64 is one part."""
    assert decode('{"audio": "' + "A" * 1_000_000 + '"}')["audio"][:2] == "AA"
    for text in ("[" + "1," * 500_000 + "1]", "[" * 500_000, '{"a":' * 100_000, "{" + '"a":1,' * 20_000 + '"b":2}'):
        with pytest.raises(ValueError, match="too"):
            decode(text)
    with pytest.raises(ValueError, match="too deep"):
        decode("[" * 4_000)


def test_many_parts_are_told(calm: RunningServer) -> None:
    with stream(calm) as socket:
        hear(socket)
        socket.send('{"type":"options","threshold":[' + "1," * 100_000 + "1]}")
        assert hear(socket)["code"] == "bad_message"
        say(socket, "end")
        assert hear_all(socket).code == 1000


def test_text_that_is_none_is_closed_without_a_traceback(calm: RunningServer, caplog: pytest.LogCaptureFixture) -> None:
    """Any stranger can send it, as often as it likes."""
    with opened(calm) as socket:
        socket.sendall(frame(TEXT, b"\xff\xfe"))
        received = b""
        while piece := socket.recv(65_536):
            received += piece
    assert b"\x88\x02" + struct.pack(">H", 1007) in received
    assert not [record for record in caplog.records if record.exc_info]
