"""The service stops in good time, and every client is told."""

import asyncio
import contextlib
from pathlib import Path

from websockets.exceptions import ConnectionClosed

from tests.live.client import eventually, hear, hear_all, metric, s16, stream, unread
from tests.live.test_realtime import append, realtime
from tests.server import running_server, stop_server
from tests.signals import bursts

SECOND = s16(bursts(1.0, [(0.2, 0.8)]))


def test_sigterm_tells_every_client_and_exits_0(small_model: Path, tmp_path: Path) -> None:
    with running_server(small_model, tmp_path) as server, contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(stream(server)) for _ in range(5)]
        for socket in sockets:
            hear(socket)
            socket.send(SECOND)
        status = stop_server(server)
        heard = [hear_all(socket) for socket in sockets]
        assert status == 0
        assert [left.code for left in heard] == [1012] * 5
        assert "Traceback" not in server.log


def test_openais_clients_are_told_in_their_own_words(small_model: Path, tmp_path: Path) -> None:
    with running_server(small_model, tmp_path) as server, realtime(server) as socket:
        hear(socket)
        socket.send(append(SECOND))
        assert stop_server(server) == 0
        heard = hear_all(socket)
    assert heard.code == 1012
    assert heard.messages[-1]["error"]["type"] == "server_error"
    assert heard.messages[-1]["error"]["code"] == "not_ready"


async def test_a_client_that_never_reads_does_not_hold_it_up(small_model: Path, tmp_path: Path) -> None:
    with running_server(small_model, tmp_path, {"VAD_STREAM_IDLE_S": "2"}) as server:
        async with unread(server) as lazy:

            async def pour() -> None:
                with contextlib.suppress(ConnectionClosed):
                    while True:
                        await lazy.send("nonsense" * 10)
                        await asyncio.sleep(0)

            pouring = asyncio.create_task(pour())
            reason = 'vad_stream_drops_total{reason="slow_reader"}'
            await asyncio.to_thread(eventually, lambda: metric(server, reason) == 1)
            assert await asyncio.to_thread(stop_server, server) == 0
            pouring.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await pouring
