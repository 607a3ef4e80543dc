"""Connections that say too little, too much, or too slowly, over real sockets: each ends, and is told why."""

import contextlib
import itertools
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import h11
import pytest

from app.server import connections
from app.server.connections import HttpConnection
from tests.api.raw import BOB, answer_of, connect, occupied, problem_of, request, status_of
from tests.server import RunningServer, local_server
from tests.waiting import eventually

UPGRADE = (
    b"Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


@pytest.fixture(scope="module")
def hasty(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server whose waits are short."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "_HEAD_S", 0.5)
        patch.setattr(connections, "_LINGER_S", 0.3)
        patch.setattr(connections, "_STALL_S", 0.5)
        patch.setattr("app.server.serve._KEEP_ALIVE_S", 1)
        with local_server(small_model, tmp_path_factory.mktemp("hasty"), {"VAD_LINGER_S": "1"}) as server:
            yield server


def is_closed(connection: socket.socket, limit_s: float = 20) -> bool:
    """Whether the peer closes, after whatever it still has to say."""
    connection.settimeout(limit_s)
    try:
        while connection.recv(65_536):
            pass
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True


def test_a_connection_that_says_nothing_is_closed(hasty: RunningServer) -> None:
    with connect(hasty) as connection:
        assert is_closed(connection)


def test_half_a_head_is_told_and_closed_however_it_trickles(hasty: RunningServer) -> None:
    with connect(hasty) as connection:
        connection.sendall(b"GET /health HT")
        for _ in range(4):
            time.sleep(0.1)
            connection.sendall(b"T")
        answer = answer_of(connection)
        assert (status_of(answer), problem_of(answer)["code"]) == (408, "request_timeout")
        assert is_closed(connection)


def test_a_thousand_halves_of_heads_leave_nothing(hasty: RunningServer) -> None:
    held = [connect(hasty) for _ in range(300)]
    for connection in held:
        connection.sendall(b"POST /vad HTTP/1.1\r\nHost: x\r\n")
    assert all(is_closed(connection) for connection in held)
    for connection in held:
        connection.close()
    assert hasty.get("/health").status_code == 200


def test_one_more_byte_keeps_no_connection(hasty: RunningServer) -> None:
    """After an answer on a connection that is kept, and after one that came before the body's end."""
    for first in (
        b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n",
        request("/vad", method="DELETE", body=b"x" * 10, length=10_000),
        request("/vad?nonsense=1", body=b"x" * 10, length=10_000),
        request("/vad", body=b"RIFF", length=3 << 40),
    ):
        with connect(hasty) as connection:
            connection.sendall(first)
            assert status_of(answer_of(connection)) in (200, 405, 413, 422)
            connection.sendall(b"G")
            assert is_closed(connection), first


def test_what_is_thrown_away_has_an_end(small_model: Path, tmp_path: Path) -> None:
    settings = {"VAD_LINGER_MB": "8", "VAD_LINGER_S": "60"}
    with local_server(small_model, tmp_path, settings) as server, connect(server) as connection:
        connection.sendall(request("/vad?nonsense=1", length=1 << 40))
        assert status_of(answer_of(connection)) == 422
        sent, piece = 0, bytes(1 << 20)
        try:
            while sent < 256 << 20:
                sent += connection.send(piece)
        except OSError:  # a reset or a broken pipe
            pass
        assert sent < 64 << 20


@pytest.mark.parametrize(
    "head",
    [
        b"nonsense\r\n\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n",
        b"POST /vad HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nX-Big: " + b"a" * 100_000,
    ],
)
def test_what_is_not_http_gets_a_problem(hasty: RunningServer, head: bytes) -> None:
    with connect(hasty) as connection:
        connection.sendall(head)
        answer = answer_of(connection)
        assert (status_of(answer), problem_of(answer)["code"]) == (400, "bad_request")
        assert b"nosniff" in answer
        assert is_closed(connection)
    assert occupied(hasty) == (0, 0, 0)


@pytest.mark.parametrize("pieces", [1, 7], ids=["in one packet", "in several"])
def test_thousands_of_headers_are_refused_before_they_are_read(hasty: RunningServer, pieces: int) -> None:
    head = b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"a:b\r\n" * 10_000 + b"\r\n"
    with connect(hasty) as connection:
        with contextlib.suppress(OSError):
            for start in range(0, len(head), len(head) // pieces):
                connection.sendall(head[start : start + len(head) // pieces])
                time.sleep(0.02)
        answer = answer_of(connection)
        assert (status_of(answer), problem_of(answer)["code"]) == (431, "headers_too_large")
        assert is_closed(connection)
    with connect(hasty) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" + head)
        assert status_of(answer_of(connection)) == 200
        assert status_of(answer_of(connection)) == 400
        assert is_closed(connection)


@pytest.mark.parametrize("at", range(-5, 5))
def test_a_body_full_of_line_ends_is_no_head(hasty: RunningServer, at: int) -> None:
    """Wherever the network cuts the request."""
    head = b"POST /vad HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: 1\r\n" % number for number in range(200))
    whole = head + b"Content-Length: 100000\r\n\r\n" + b"\n" * 100_000
    cut = whole.index(b"\r\n\r\n") + 2 + at
    with connect(hasty) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(whole[:cut])
        time.sleep(0.02)
        connection.sendall(whole[cut:])
        assert status_of(answer_of(connection)) == 415


def test_a_length_beside_a_transfer_coding_ends_the_connection(hasty: RunningServer) -> None:
    """Whoever stands between may have taken the body's end for another request's beginning."""
    with connect(hasty) as connection:
        connection.sendall(
            b"POST /vad HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        answer = answer_of(connection)
        assert status_of(answer) == 400
        assert b"connection: close" in answer.lower()
        assert answer.count(b"HTTP/1.1") == 1
        assert is_closed(connection)


def test_a_body_in_crumbs_is_refused_early(hasty: RunningServer) -> None:
    with connect(hasty) as connection:
        connection.sendall(b"POST /vad HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        sent = 0
        try:
            while sent < 100_000:
                connection.sendall(b"1\r\nx\r\n" * 1_000)
                sent += 1_000
        except OSError:
            pass
        answer = answer_of(connection)
    assert (status_of(answer), problem_of(answer)["code"]) == (400, "bad_request")
    eventually(lambda: occupied(hasty) == (0, 0, 0))
    assert hasty.upload_files == []


def test_small_packets_of_a_body_are_taken(hasty: RunningServer, speech_like: Path) -> None:
    """As audio comes that is sent while it is spoken, and as slow networks bring it."""
    content = speech_like.read_bytes()[: 44 + 3_200]
    with connect(hasty) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(b"POST /vad HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for start in range(0, len(content), 40):
            piece = content[start : start + 40]
            connection.sendall(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        connection.sendall(b"0\r\n\r\n")
        assert status_of(answer_of(connection)) == 200


def in_pieces(content: bytes, sizes: Iterator[int]) -> bytes:
    """A chunked body."""
    body, at = b"", 0
    while at < len(content):
        piece = content[at : at + next(sizes)]
        body, at = body + f"{len(piece):x}\r\n".encode() + piece + b"\r\n", at + len(piece)
    return body + b"0\r\n\r\n"


@pytest.mark.parametrize("sizes", [(40,), (40, 5_000), (33, 1_000, 70_000), (20_000,)])
def test_a_body_in_any_pieces_is_whole(hasty: RunningServer, speech_like: Path, sizes: tuple[int, ...]) -> None:
    """However much of it comes at once, and with another request behind it."""
    content = speech_like.read_bytes()
    expected = hasty.post("/vad", content=content).json()
    head = b"POST /vad HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    request = head + in_pieces(content, itertools.cycle(sizes))
    with connect(hasty) as connection:
        connection.sendall(request + request)
        for _ in range(2):
            document = json.loads(answer_of(connection).partition(b"\r\n\r\n")[2])
            assert (document["audio"], document["segments"]) == (expected["audio"], expected["segments"])


def test_bodies_in_small_pieces_keep_nobody_waiting(hasty: RunningServer) -> None:
    """They were taken apart packet by packet, seconds at a time where many came."""
    over, waits = threading.Event(), []

    def pour() -> None:
        pieces = (b"28\r\n" + bytes(40) + b"\r\n") * 5_000
        while not over.is_set():
            with contextlib.suppress(OSError), connect(hasty) as connection:
                connection.sendall(b"POST /vad HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
                while not over.is_set():
                    connection.sendall(pieces)

    threads = [threading.Thread(target=pour) for _ in range(8)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(8):
            time.sleep(0.05)
            started = time.monotonic()
            with connect(hasty, BOB) as connection:
                connection.sendall(b"GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n")
                assert status_of(answer_of(connection)) == 200
            waits.append(time.monotonic() - started)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert max(waits) < 1.5


def test_a_client_that_takes_nothing_is_let_go(hasty: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    size, count = len(hasty.get("/openapi.json").content), 200  # three times what all buffers hold
    lost, let_go = HttpConnection.connection_lost, threading.Event()

    def connection_lost(connection: HttpConnection, error: Exception | None) -> None:
        lost(connection, error)
        if connection.client == address:
            let_go.set()

    with socket.socket() as connection:
        monkeypatch.setattr(HttpConnection, "connection_lost", connection_lost)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        connection.settimeout(20)
        connection.connect(("127.0.0.1", hasty.port))
        address = connection.getsockname()
        connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * count)
        assert let_go.wait(30)
        taken = 0
        try:
            while piece := connection.recv(1 << 20):
                taken += len(piece)
        except ConnectionResetError:
            pass
    assert taken < size * count // 2


@pytest.mark.parametrize(
    ("line", "headers", "status"),
    [
        (b"/vad/stream?x=" + b"a" * 9_000, b"", 414),
        (b"/vad/stream", b"X-Big: " + b"a" * 9_000 + b"\r\n", 431),
        (b"/vad/stream", b"".join(b"X-%d: 1\r\n" % number for number in range(140)), 431),
        (b"/vad/stream", b"Content-Length: 5\r\n", 400),
        (b"/vad/stream", b"Transfer-Encoding: chunked\r\n", 400),
    ],
    ids=["target", "header", "headers", "length", "chunked"],
)
def test_a_handshake_that_cannot_be_read_is_answered(
    hasty: RunningServer, line: bytes, headers: bytes, status: int
) -> None:
    with connect(hasty) as connection:
        connection.sendall(b"GET " + line + b" HTTP/1.1\r\n" + UPGRADE + headers + b"\r\nhello")
        answer = answer_of(connection)
        assert status_of(answer) == status
        assert problem_of(answer)["status"] == status
        assert is_closed(connection)


def test_every_answer_says_what_browsers_may_do_with_it(hasty: RunningServer, speech_like: Path) -> None:
    for answer in (
        hasty.post("/vad", content=speech_like.read_bytes()),
        hasty.get("/health"),
        hasty.get("/nowhere"),
        hasty.post("/vad", content=b""),
    ):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"


def test_no_redirect_is_built_from_a_foreign_host(hasty: RunningServer) -> None:
    for path in ("/vad/", "/health/", "/ui", "/docs/"):
        answer = hasty.get(path, headers={"Host": "elsewhere.example"}, follow_redirects=False)
        assert "elsewhere.example" not in answer.headers.get("location", "")


def test_a_problem_here_is_like_the_applications() -> None:
    head, _, body = connections.refusal(connections.HTTPStatus.BAD_REQUEST, "bad_request", "no").partition(b"\r\n\r\n")
    assert json.loads(body).keys() == {"type", "title", "status", "detail", "code", "request_id"}
    assert f"Content-Length: {len(body)}".encode() in head


def parts_of(*headers: tuple[str, str]) -> list[bytes]:
    """What is given out for the head of an answer, for its body, and for its end."""
    connection = connections._Connection()
    connection.receive_data(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    while not isinstance(connection.next_event(), h11.EndOfMessage):
        pass
    events = (h11.Response(status_code=200, headers=list(headers)), h11.Data(data=b"body"), h11.EndOfMessage())
    return [connection.send(event) for event in events]


def test_a_whole_answer_is_one_piece() -> None:
    head, body, end = parts_of(("Content-Length", "4"))
    assert (head, end) == (b"", b"")
    assert body.startswith(b"HTTP/1.1 200")
    assert body.endswith(b"\r\n\r\nbody")


def test_the_head_of_an_answer_that_takes_its_time_is_sent_at_once() -> None:
    head, body, _ = parts_of(("Transfer-Encoding", "chunked"))
    assert head.startswith(b"HTTP/1.1 200")
    assert body == b"4\r\nbody\r\n"
