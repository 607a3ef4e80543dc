"""What a live stream may not do, and what the service survives."""

import asyncio
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.live.client import (
    ASKS_FOR_MUCH,
    PATIENCE_S,
    converse,
    cut,
    eventually,
    file_pairs,
    hear,
    hear_all,
    metric,
    pour,
    s16,
    say,
    stream,
    unread,
    url_of,
    wav,
)
from tests.server import RunningServer, local_server, running_server
from tests.signals import bursts

SECOND = s16(bursts(1.0, [(0.2, 0.8)]))


@pytest.fixture(scope="module")
def guarded(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Two streams at a time, with a key, of at most 36 s."""
    settings = {
        "VAD_MAX_STREAMS": "2", "VAD_API_KEYS": "a-secret-key", "VAD_MAX_AUDIO_HOURS": "0.01",
        "VAD_SESSION_TTL_S": "5",
    }  # fmt: skip
    with local_server(small_model, tmp_path_factory.mktemp("guarded"), settings) as server:
        yield server


IMPATIENT = {
    "VAD_STREAM_IDLE_S": "2", "VAD_SESSION_TTL_S": "1", "VAD_STREAM_BUFFER_S": "2", "VAD_LIVE_BATCH_MS": "0",
}  # fmt: skip
"""Two seconds in which nothing comes are too much; scoring begins at once; nobody is waited for."""


@pytest.fixture(scope="module")
def impatient(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("impatient")
    with local_server(small_model, folder, IMPATIENT, send_buffer=4_096) as server:
        yield server


@pytest.fixture(scope="module")
def alone(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """As impatient, in a process whose memory and descriptors are its own."""
    with running_server(small_model, tmp_path_factory.mktemp("alone"), IMPATIENT) as server:
        yield server


KEY = {"X-API-Key": "a-secret-key"}


def descriptors(server: RunningServer) -> int:
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


def memory_mb(server: RunningServer) -> float:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS:"))


# ---- who gets in


def test_a_full_service_refuses_the_handshake(guarded: RunningServer) -> None:
    with stream(guarded, KEY) as first, stream(guarded, KEY) as second:
        assert [hear(socket)["type"] for socket in (first, second)] == ["ready", "ready"]
        with pytest.raises(InvalidStatus) as refused, stream(guarded, KEY):
            pass
        answer = refused.value.response
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert int(answer.headers["retry-after"]) >= 1
        assert json.loads(answer.body)["code"] == "overloaded"
        for socket in (first, second):
            say(socket, "end")
            assert hear_all(socket).code == 1000
    assert metric(guarded, 'vad_rejections_total{reason="streams"}') >= 1
    eventually(lambda: metric(guarded, "vad_streams") == 0)
    assert converse_with_key(guarded) == 1000


def test_those_who_left_do_not_keep_others_out(guarded: RunningServer) -> None:
    for _ in range(5):
        with stream(guarded, KEY) as socket:
            hear(socket)
            socket.send(SECOND)
        # Closed without an end: the session waits for its client, but makes room for another.
    eventually(lambda: metric(guarded, "vad_streams") == 0)
    assert converse_with_key(guarded) == 1000


def converse_with_key(server: RunningServer) -> int | None:
    with stream(server, KEY) as socket:
        socket.send(SECOND)
        say(socket, "end")
        return hear_all(socket).code


@pytest.mark.parametrize("key", [None, "wrong", ""])
def test_no_key_no_stream(guarded: RunningServer, key: str | None) -> None:
    headers = None if key is None else {"X-API-Key": key}
    with pytest.raises(InvalidStatus) as refused, stream(guarded, headers):
        pass
    assert refused.value.response.status_code == 401
    assert json.loads(refused.value.response.body)["code"] == "unauthorized"


def test_a_key_may_come_in_a_header_or_in_the_query_and_is_never_logged(guarded: RunningServer) -> None:
    with stream(guarded, {"Authorization": "Bearer a-secret-key"}) as socket:
        assert hear(socket)["type"] == "ready"
    with stream(guarded, api_key="a-secret-key") as socket:
        token = hear(socket)["session"]
    with stream(guarded, api_key="a-secret-key", session=token) as socket:
        assert hear(socket)["session"] == token
    with pytest.raises(InvalidStatus), stream(guarded, api_key="a-wrong-key"):
        pass
    eventually(lambda: metric(guarded, "vad_streams") == 0)
    assert "secret-key" not in guarded.log
    assert "wrong-key" not in guarded.log
    assert token not in guarded.log, "who knows a session's name can take it over"


def test_no_streams_at_all(small_model: Path, tmp_path: Path) -> None:
    with local_server(small_model, tmp_path, {"VAD_MAX_STREAMS": "0"}) as server:
        with pytest.raises(InvalidStatus) as refused, stream(server):
            pass
        assert refused.value.response.status_code == 503


# ---- how long, how much


def test_a_stream_on_which_nothing_comes_ends(impatient: RunningServer) -> None:
    before = metric(impatient, 'vad_stream_drops_total{reason="idle_timeout"}')
    with stream(impatient) as socket:
        socket.send(SECOND)
        heard = hear_all(socket)
    assert (heard.error["code"], heard.code, heard.reason) == ("idle_timeout", 1001, "idle_timeout")
    eventually(lambda: metric(impatient, 'vad_stream_drops_total{reason="idle_timeout"}') == before + 1)
    assert metric(impatient, "vad_streams") == 0


def test_a_session_lasts_so_long(guarded: RunningServer) -> None:
    with stream(guarded, KEY) as socket:
        with contextlib.suppress(ConnectionClosed):
            for _ in range(60):
                socket.send(SECOND)
        heard = hear_all(socket)
    assert (heard.error["code"], heard.code, heard.reason) == ("audio_too_long", 1008, "audio_too_long")


def test_a_client_that_is_far_faster_than_real_time(alone: RunningServer) -> None:
    """Ten minutes at once: TCP slows it down, nothing is heaped up, nothing is lost."""
    loud = [(start + 1.0, start + 3.5) for start in range(0, 600, 6)]
    data = s16(bursts(600, loud))
    expected = file_pairs(alone, wav(data))
    converse(alone, cut(data[:2_000_000], 32_000))
    before = memory_mb(alone)
    most = before
    with stream(alone) as socket:
        for number, chunk in enumerate(cut(data, 32_000)):
            socket.send(chunk)
            most = max(most, memory_mb(alone)) if number % 20 == 0 else most
        say(socket, "end")
        heard = hear_all(socket)
        most = max(most, memory_mb(alone))
    assert len(expected) == 100
    assert heard.pairs == expected
    assert heard.done["duration_ms"] == 600_000
    assert most - before < 60


def test_a_message_that_is_too_large(server: RunningServer) -> None:
    with stream(server) as socket:
        hear(socket)
        socket.send(bytes(1 << 20))
        say(socket, "ping")
        assert hear(socket)["received_ms"] == 32_768
        with contextlib.suppress(ConnectionClosed):
            socket.send(bytes((1 << 20) + 1))
        assert hear_all(socket).code == 1009


async def test_a_client_that_never_reads_is_dropped(impatient: RunningServer) -> None:
    """Whatever it is that it asks for and does not take, and however long it goes on: it ends, others do not."""
    reason = 'vad_stream_drops_total{reason="slow_reader"}'
    before = await asyncio.to_thread(metric, impatient, reason)
    async with unread(impatient, probabilities="true", probability_interval_ms=10) as lazy:
        pouring = asyncio.create_task(pour(lazy, bytes(320), ASKS_FOR_MUCH))
        heard = await asyncio.to_thread(converse, impatient, cut(SECOND * 3, 3_200))
        assert (heard.code, len(heard.pairs)) == (1000, 1)
        await asyncio.wait_for(pouring, PATIENCE_S)
        await asyncio.to_thread(eventually, lambda: metric(impatient, reason) == before + 1)
        await asyncio.to_thread(eventually, lambda: metric(impatient, "vad_streams") == 0)


# ---- going away


async def leave_rudely(server: RunningServer, number: int) -> None:
    url = url_of(server, probabilities="true", sample_rate=(16_000, 8_000)[number % 2])
    socket = await connect_async(url, compression=None, proxy=None, open_timeout=PATIENCE_S, ping_interval=None)
    if number % 5:
        await socket.recv()
        for chunk in cut(SECOND, 3_201)[: number % 11]:
            await socket.send(chunk)
    if number % 3 == 0:
        await asyncio.sleep(0.03)
    socket.transport.abort()
    with contextlib.suppress(ConnectionClosed):
        await socket.wait_closed()


@pytest.mark.full
async def test_a_thousand_rude_departures_leave_nothing(alone: RunningServer) -> None:
    async def waves(count: int) -> None:
        for _ in range(count):
            await asyncio.gather(*(leave_rudely(alone, number) for number in range(50)))

    def settled() -> bool:
        return metric(alone, "vad_streams") == 0

    await waves(10)  # memory that every service of its size comes to need
    await asyncio.to_thread(eventually, settled)
    before = descriptors(alone)
    chunks = metric(alone, "vad_stream_chunks_total")
    memory = memory_mb(alone)
    await waves(20)
    await asyncio.to_thread(eventually, settled)
    await asyncio.to_thread(eventually, lambda: descriptors(alone) <= before + 4)
    assert metric(alone, "vad_stream_chunks_total") > chunks + 1_000
    assert metric(alone, "vad_stream_batch_count") > 0
    assert metric(alone, "vad_stream_lag_seconds_count") > 1_000
    assert memory_mb(alone) - memory < 80
    heard = await asyncio.to_thread(converse, alone, cut(SECOND, 3_200))
    assert (heard.code, len(heard.pairs)) == (1000, 1)
    assert "Traceback" not in alone.log
