"""A TCP relay that breaks connections in the middle, as networks do."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_PIECE = 4096


class BreakingRelay:
    """Between a client and a server; cuts each of its first connections after a number of bytes from the client."""

    def __init__(self, target_port: int, cuts: list[int]) -> None:
        """`cuts`: bytes after which the first, second, … connection is cut off; later ones are left whole."""
        self._target_port, self._cuts = target_port, list(cuts)
        self.connections = 0
        self.port = 0
        self.listening = threading.Event()
        self._stop = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(self) -> None:
        """Until stopped."""
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self.listening.set()
        async with server:
            await self._stop.wait()

    def stop(self) -> None:
        """From another thread."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._stop.set)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        budget = self._cuts.pop(0) if self._cuts else None
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        down = asyncio.create_task(_copy(up_reader, writer, None))
        await _copy(reader, up_writer, budget)
        if budget is not None:
            down.cancel()
            writer.transport.abort()
        up_writer.transport.abort()
        await asyncio.wait([down])


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, budget: int | None) -> None:
    while data := await reader.read(_PIECE):
        writer.write(data)
        await writer.drain()
        if budget is not None:
            budget -= len(data)
            if budget <= 0:
                return
    writer.close()


@contextmanager
def breaking_relay(target_port: int, cuts: list[int]) -> Iterator[BreakingRelay]:
    """A relay that listens, in a thread."""
    relay = BreakingRelay(target_port, cuts)
    thread = threading.Thread(target=lambda: asyncio.run(relay.run()))
    thread.start()
    assert relay.listening.wait(60)
    try:
        yield relay
    finally:
        relay.stop()
        thread.join()
