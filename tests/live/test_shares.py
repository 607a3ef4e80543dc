"""Nobody keeps others from streaming, whatever they open, leave or do not send."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from app.api import live, service
from app.audio.ffmpeg import find_ffmpeg
from tests.api.raw import connect, occupied
from tests.live.client import converse, eventually, hear, hear_all, metric, s16, say, stream, vanish
from tests.server import RunningServer, local_server
from tests.signals import bursts

ANN, BOB, CY = "127.0.0.1", "127.0.0.2", "127.0.0.3"
SECOND = s16(bursts(1.0, [(0.2, 0.8)]))
SEATS, RESERVED, DECODERS = 16, 2, 8


@pytest.fixture(scope="module")
def few(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """16 seats, 8 decoders."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(service, "MOST_DECODERS", DECODERS)
        with local_server(small_model, tmp_path_factory.mktemp("few"), {"VAD_MAX_STREAMS": str(SEATS)}) as server:
            yield server


@pytest.fixture
def nobody(few: RunningServer) -> RunningServer:
    """The same, once all of the test before have gone."""
    eventually(lambda: metric(few, "vad_streams") == 0)
    return few


def is_refused(server: RunningServer, address: str) -> bool:
    with pytest.raises(InvalidStatus) as refused, stream(server, address=address):
        pass
    answer = refused.value.response
    assert int(answer.headers["retry-after"]) >= 1
    return (answer.status_code, json.loads(answer.body)["code"]) == (503, "overloaded")


def whole_stream(server: RunningServer, address: str) -> int | None:
    with stream(server, address=address) as socket:
        socket.send(SECOND)
        say(socket, "end")
        return hear_all(socket).code


def test_idle_sockets_keep_nobody_out(nobody: RunningServer) -> None:
    with ExitStack() as held:
        for _ in range(SEATS - RESERVED):
            hear(held.enter_context(stream(nobody, address=ANN)))
        assert is_refused(nobody, ANN), "an eighth is for those who have nothing"
        assert whole_stream(nobody, BOB) == 1000
        hear(held.enter_context(stream(nobody, address=BOB)))
        assert is_refused(nobody, BOB)
        assert whole_stream(nobody, CY) == 1000


def handshake(path: str = "/vad/stream") -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()


@pytest.mark.full
def test_a_thousand_idle_sockets_keep_nobody_out(small_model: Path, tmp_path: Path) -> None:
    with local_server(small_model, tmp_path) as server, ExitStack() as held:
        answers = []
        for _ in range(1_000):
            socket = held.enter_context(connect(server, ANN))
            socket.sendall(handshake())
            answers.append(socket.recv(4_096).split(b" ", 2)[1])
        assert answers == [b"101"] * 875 + [b"503"] * 125
        assert whole_stream(server, BOB) == 1000
        assert occupied(server) == (0, 0, 0)


def test_sessions_that_are_opened_and_left_cost_nobody_else_theirs(nobody: RunningServer) -> None:
    with stream(nobody, address=BOB) as socket:
        session = hear(socket)["session"]
        vanish(socket)
    eventually(lambda: metric(nobody, "vad_streams") == 0)
    left = []
    for _ in range(SEATS + 4):
        with stream(nobody, address=ANN) as socket:
            left.append(hear(socket)["session"])
            vanish(socket)
        eventually(lambda: metric(nobody, "vad_streams") == 0)
    with stream(nobody, address=BOB, session=session) as socket:
        assert hear(socket)["session"] == session
        say(socket, "end")
        assert hear_all(socket).code == 1000
    with stream(nobody, address=ANN, session=left[-1]) as socket:
        assert hear(socket)["session"] == left[-1]
    with stream(nobody, address=ANN, session=left[0]) as socket:
        assert hear_all(socket).error["code"] == "no_such_session"


needs_ffmpeg = pytest.mark.skipif(find_ffmpeg(None) is None, reason="there is no ffmpeg here")


@needs_ffmpeg
def test_decoders_that_are_held_keep_nobody_out(nobody: RunningServer) -> None:
    with ExitStack() as held:
        for _ in range(DECODERS - 1):
            socket = held.enter_context(stream(nobody, address=ANN, encoding="webm"))
            assert hear(socket)["type"] == "ready"
            socket.send(b"\x1a")
        with stream(nobody, address=ANN, encoding="webm") as refused:
            assert hear_all(refused).error["code"] == "overloaded"
        with stream(nobody, address=BOB, encoding="ogg") as socket:
            assert hear(socket)["type"] == "ready"
        assert whole_stream(nobody, ANN) == 1000, "samples need no decoder"

    def free() -> bool:
        with stream(nobody, address=ANN, encoding="webm") as socket:
            return bool(hear(socket)["type"] == "ready")

    eventually(free)


@needs_ffmpeg
def test_a_containers_head_has_to_come_in_time(nobody: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_HEAD_S", 0.3)
    with stream(nobody, encoding="webm") as socket:
        assert hear(socket)["type"] == "ready"
        socket.send(b"\x1a")
        heard = hear_all(socket)
    assert (heard.error["code"], heard.code) == ("invalid_audio", 1007)
    assert "0.3 s" in heard.error["detail"]
    assert converse(nobody, [SECOND]).code == 1000
