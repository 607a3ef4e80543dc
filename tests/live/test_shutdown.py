"""The service stops in good time, and every client is told."""

import asyncio
import contextlib
from pathlib import Path

from tests.live.client import (
    ASKS_FOR_MUCH,
    PATIENCE_S,
    eventually,
    hear,
    hear_all,
    metric,
    pour,
    s16,
    stream,
    unread,
)
from tests.live.test_realtime import append, realtime
from tests.server import running_server, stop_server
from tests.signals import bursts

SECOND = s16(bursts(1.0, [(0.2, 0.8)]))


async def test_sigterm_tells_every_client_and_exits_0(small_model: Path, tmp_path: Path) -> None:
    """Each in its protocol's words; one that never reads does not hold it up."""
    with running_server(small_model, tmp_path, {"VAD_STREAM_IDLE_S": "4"}) as server, contextlib.ExitStack() as stack:
        async with unread(server) as lazy:
            pouring = asyncio.create_task(pour(lazy, ASKS_FOR_MUCH))
            await asyncio.to_thread(eventually, lambda: '"slow_reader"' in server.log)
            assert metric(server, 'vad_stream_drops_total{reason="slow_reader"}') == 1
            sockets = [stack.enter_context(stream(server)) for _ in range(5)]
            openais = stack.enter_context(realtime(server))
            for socket in sockets:
                hear(socket)
                socket.send(SECOND)
            hear(openais)
            openais.send(append(SECOND))
            assert await asyncio.to_thread(stop_server, server) == 0
            await asyncio.wait_for(pouring, PATIENCE_S)
        heard = [hear_all(socket) for socket in sockets]
        assert [left.code for left in heard] == [1012] * 5
        told = hear_all(openais)
        assert told.code == 1012
        assert told.messages[-1]["error"]["type"] == "server_error"
        assert told.messages[-1]["error"]["code"] == "not_ready"
        assert "Traceback" not in server.log
