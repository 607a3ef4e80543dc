"""Clients that read their answers slowly, or not at all: they hold nobody up, and have their answers whole."""

import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app.server import connections
from tests.api.raw import ANN, BOB, answer_of, connect, occupied, request, status_of
from tests.live.client import s16, wav
from tests.server import RunningServer, local_server
from tests.signals import bursts
from tests.waiting import eventually

SOUND = wav(s16(np.tile(bursts(10.0, [(1.0, 4.0), (5.0, 9.0)]), 9)))
CLIP = wav(s16(bursts(2.0, [(0.5, 1.5)])))
SETTINGS = {"VAD_MAX_REQUESTS": "2", "VAD_REQUEST_TIMEOUT_S": "10", "VAD_MAX_QUEUE": "8"}
LONG_ANSWERS = [
    "format=wav&silence=zero", "format=zip", "channel=split&format=wav&silence=zero",
    "probabilities=true", "format=ndjson&probabilities=true",
]  # fmt: skip


@pytest.fixture(scope="module")
def small(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Two places, and no room in the kernel for what a client does not read."""
    with local_server(small_model, tmp_path_factory.mktemp("small"), SETTINGS, send_buffer=16_384) as server:
        yield server


def lazy(server: RunningServer, query: str, client: str = ANN) -> socket.socket:
    """One that has asked, and reads nothing yet."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
    connection.settimeout(20)
    connection.bind((client, 0))
    connection.connect(("127.0.0.1", server.port))
    connection.sendall(request(f"/vad?{query}", body=SOUND))
    return connection


def clip_s(server: RunningServer) -> float:
    """How long another client waits for a clip."""
    started = time.monotonic()
    with connect(server, BOB) as connection:
        connection.sendall(request(body=CLIP))
        assert status_of(answer_of(connection)) == 200
    return time.monotonic() - started


def body_of(answer: bytes) -> bytes:
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"content-length" in head.lower():
        return body
    found = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        found, body = found + body[: int(size, 16)], body[int(size, 16) + 2 :]
    return found


def read_slowly(connection: socket.socket, bytes_per_s: float) -> bytes:
    received, pause_s = b"", 8_192 / bytes_per_s
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(8_192):
            received += piece
            if received.endswith(b"0\r\n\r\n"):
                break
            length = re.search(rb"content-length: (\d+)", received[:2_000].lower())
            if length and len(received) >= int(length[1]) + received.index(b"\r\n\r\n") + 4:
                break
            time.sleep(pause_s)
    return received


@pytest.mark.parametrize("query", LONG_ANSWERS)
def test_whoever_reads_nothing_lends_its_place(query: str, small: RunningServer) -> None:
    with lazy(small, query), lazy(small, query):
        time.sleep(0.6)
        eventually(lambda: occupied(small)[1] == 0)
        assert max(clip_s(small) for _ in range(3)) < 2
    eventually(lambda: occupied(small) == (0, 0, 0))


def test_slow_readers_have_all_of_it_and_nobody_waits_for_them(small: RunningServer) -> None:
    query = "format=wav&silence=zero"
    expected = small.post(f"/vad?{query}", content=SOUND).content
    answers: list[bytes] = []
    readers = [lazy(small, query) for _ in range(2)]
    threads = [threading.Thread(target=lambda each=each: answers.append(read_slowly(each, 1e6))) for each in readers]
    for thread in threads:
        thread.start()
    waits = []
    while any(thread.is_alive() for thread in threads):
        waits.append(clip_s(small))
        time.sleep(0.1)
    assert max(waits) < 2
    assert len(waits) > 5
    assert [body_of(answer) for answer in answers] == [expected, expected]
    for reader in readers:
        reader.close()
    eventually(lambda: occupied(small) == (0, 0, 0))


def test_where_too_many_read_slowly_the_last_have_so_long(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four answers may wait beside two places; two more keep theirs for as long as a request may take."""
    monkeypatch.setattr("app.api.admission._RETRY_S", 0.1)
    with (
        local_server(small_model, tmp_path, {**SETTINGS, "VAD_REQUEST_TIMEOUT_S": "2"}, send_buffer=16_384) as server,
        contextlib.ExitStack() as held,
    ):
        for _ in range(6):
            held.enter_context(lazy(server, "format=wav&silence=zero"))
            time.sleep(0.4)
        assert occupied(server)[1] == 2
        assert clip_s(server) < 4
        eventually(lambda: occupied(server)[1] == 0)
        assert "answer cut" in server.log


def test_a_reader_far_below_any_network_is_let_go(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_SLOW_READ_S", 0.5)
    monkeypatch.setattr(connections, "_LEAST_READ_BYTES_PER_S", 200_000)
    with local_server(small_model, tmp_path, SETTINGS, send_buffer=4_096) as server:
        with lazy(server, "format=wav&silence=zero&excerpt_rate=8000") as reader:
            assert read_slowly(reader, 2e6).endswith(b"0\r\n\r\n")
        with lazy(server, "format=wav&silence=zero") as reader:
            assert not read_slowly(reader, 80_000).endswith(b"0\r\n\r\n")
        eventually(lambda: occupied(server) == (0, 0, 0))
