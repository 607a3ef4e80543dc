"""A blocking source of sound in an event loop, and the part of it that may have to be sent again."""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import AsyncGenerator

from typing_extensions import Self

from app.cli.stream_sources import Chunks

_AHEAD = 600
"""Chunks that are read while none are taken: a minute's, at the usual 100 ms."""


class Feed:
    """Chunks, read by a thread of their own; iterating raises what the source raises."""

    def __init__(self, chunks: Chunks) -> None:
        """Inside a running event loop."""
        self._chunks = chunks
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self._room = threading.Semaphore(_AHEAD)
        self._stopped = False
        # A daemon, because a read from a pipe or a device may never return.
        self._thread = threading.Thread(target=self._read, name="source", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after what has been read; harmless to call again."""
        self._stopped = True
        self._room.release()
        self._queue.put_nowait(None)

    async def close(self) -> None:
        """Free what the source holds, unless it is blocked for longer than a moment."""
        self.stop()
        await asyncio.to_thread(self._thread.join, 2.0)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        # Not a generator: a wait for a chunk can be cancelled, and the chunk is there for the next who waits.
        item = await self._queue.get()
        if isinstance(item, Exception):
            raise item
        if item is None:
            raise StopAsyncIteration
        self._room.release()
        return item

    def _read(self) -> None:
        ending: Exception | None = None
        try:
            with contextlib.closing(self._chunks):
                for chunk in self._chunks:
                    self._room.acquire()
                    if self._stopped:
                        break
                    self._give(chunk)
        except Exception as error:  # noqa: BLE001 - raised where the chunks are taken
            ending = error
        self._give(ending)

    def _give(self, item: bytes | Exception | None) -> None:
        with contextlib.suppress(RuntimeError):  # the event loop has ended
            self._loop.call_soon_threadsafe(self._queue.put_nowait, item)


class Tape:
    """A feed of which everything is kept until it is known to have arrived. Positions are samples from the start."""

    def __init__(self, feed: Feed, bytes_per_sample: int, most_samples: int) -> None:
        """`most_samples`: taken from the feed without being acknowledged; then it waits."""
        self._feed = feed
        self._bytes_per_sample, self._most_samples = bytes_per_sample, most_samples
        self._kept: deque[bytes] = deque()
        self._start = self._end = 0
        self._ended = False
        self._room = asyncio.Event()

    def arrived(self, position: int) -> None:
        """The samples before `position` need not be sent again."""
        while self._kept and self._start + self._samples(self._kept[0]) <= position:
            self._start += self._samples(self._kept.popleft())
        self._room.set()

    async def since(self, position: int) -> AsyncGenerator[tuple[bytes, int], None]:
        """Chunks from `position` on, each with the position after it. Raises ValueError for one no longer kept."""
        if not self._start <= position <= self._end:
            raise ValueError(f"sample {position} is not on the tape")
        at = self._start
        for kept in tuple(self._kept):
            at += self._samples(kept)
            if at > position:
                fresh = min(self._samples(kept), at - position)
                yield kept[-fresh * self._bytes_per_sample :], at
        while (chunk := await self._next()) is not None:
            yield chunk, self._end

    async def _next(self) -> bytes | None:
        while self._end - self._start >= self._most_samples:
            self._room.clear()
            await self._room.wait()
        chunk = None if self._ended else await anext(self._feed, None)
        if chunk is None:
            self._ended = True
            return None
        self._kept.append(chunk)
        self._end += self._samples(chunk)
        return chunk

    def _samples(self, chunk: bytes) -> int:
        return len(chunk) // self._bytes_per_sample
