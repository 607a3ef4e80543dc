"""A client of live streams, over a real socket."""

import asyncio
import contextlib
import io
import json
import socket as socketlib
import struct
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import numpy as np
import soundfile
from websockets.asyncio.client import ClientConnection as AsyncConnection
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.server import RunningServer

PATIENCE_S = 60
"""Longest wait for anything: a test that waits so long has failed."""

Pairs = list[list[int]]


@dataclass
class Heard:
    """What the service said, and how it closed."""

    messages: list[Any] = field(default_factory=list)
    code: int | None = None
    reason: str = ""

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Messages of one type."""
        return [message for message in self.messages if isinstance(message, dict) and message.get("type") == kind]

    @property
    def kinds(self) -> list[str]:
        """Types in order."""
        return [message["type"] for message in self.messages]

    @property
    def pairs(self) -> Pairs:
        """[start, end] of every segment that was told as it ended."""
        return [[message["start_ms"], message["end_ms"]] for message in self.of("speech_end")]

    @property
    def events(self) -> list[tuple[int, list[int]]]:
        """(at_ms, [start, -1] or [-1, end]) of every event, in order."""
        found = []
        for message in self.messages:
            if message.get("type") == "speech_start":
                found.append((message["at_ms"], [message["start_ms"], -1]))
            elif message.get("type") == "speech_end":
                found.append((message["at_ms"], [-1, message["end_ms"]]))
        return found

    @property
    def done(self) -> dict[str, Any]:
        """The last message of a stream that ended well."""
        (done,) = self.of("done")
        return done

    @property
    def error(self) -> dict[str, Any]:
        """The one thing that went wrong."""
        (error,) = self.of("error")
        return error


def url_of(server: RunningServer, **query: object) -> str:
    """Where a stream with these parameters is opened."""
    return f"ws{server.url.removeprefix('http')}/vad/stream?{urlencode(query)}"


@contextmanager
def stream(
    server: RunningServer, headers: dict[str, str] | None = None, *, address: str = "127.0.0.1", **query: object
) -> Iterator[ClientConnection]:
    """An open stream. What comes is kept, so that a client which only sends is not a slow reader."""
    with connect(
        url_of(server, **query),
        additional_headers=headers,
        compression=None,
        proxy=None,
        max_queue=None,
        max_size=None,
        open_timeout=PATIENCE_S,
        close_timeout=PATIENCE_S,
        source_address=(address, 0),
    ) as socket:
        yield socket


def say(socket: ClientConnection, kind: str) -> None:
    """A text message of one type."""
    socket.send(json.dumps({"type": kind}))


def hear(socket: ClientConnection) -> Any:
    """The next message."""
    return json.loads(socket.recv(timeout=PATIENCE_S))


def hear_until(socket: ClientConnection, kind: str) -> list[Any]:
    """Messages up to the first of this type."""
    messages = [hear(socket)]
    while messages[-1]["type"] != kind:
        messages.append(hear(socket))
    return messages


def hear_all(socket: ClientConnection) -> Heard:
    """Everything until the service closes."""
    heard = Heard()
    try:
        while True:
            heard.messages.append(hear(socket))
    except ConnectionClosed as closed:
        if closed.rcvd is not None:
            heard.code, heard.reason = closed.rcvd.code, closed.rcvd.reason
    return heard


def converse(server: RunningServer, chunks: Iterable[bytes | str], **query: object) -> Heard:
    """A whole stream: all chunks (text is sent as text), as fast as they are taken, then `end`."""
    with stream(server, **query) as socket:
        with contextlib.suppress(ConnectionClosed):  # one that is refused may be closed before all is sent
            for chunk in chunks:
                socket.send(chunk)
            say(socket, "end")
        return hear_all(socket)


def send_until_closed(socket: ClientConnection, chunk: bytes) -> threading.Thread:
    """Sends the chunk over and over, in a thread, until the connection is closed."""

    def send() -> None:
        try:
            while True:
                socket.send(chunk)
        except (ConnectionClosed, OSError):
            return

    thread = threading.Thread(target=send)
    thread.start()
    return thread


def s16(samples: np.ndarray) -> bytes:
    """Samples in [-1, 1] as little-endian 16-bit PCM."""
    return np.round(samples * 32_767).astype("<i2").tobytes()


def f32(samples: np.ndarray) -> bytes:
    """Samples as little-endian float PCM."""
    return samples.astype("<f4").tobytes()


def cut(data: bytes, size: int) -> list[bytes]:
    """Pieces of `size` bytes; the last may be shorter."""
    return [data[first : first + size] for first in range(0, len(data), size)]


def wav(pcm: bytes, rate: int = 16_000) -> bytes:
    """A WAV file of 16-bit PCM."""
    file = io.BytesIO()
    soundfile.write(file, np.frombuffer(pcm, "<i2"), rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def file_answer(server: RunningServer, content: bytes, **query: object) -> dict[str, Any]:
    """The file API's answer."""
    with server.client() as client:
        answer = client.post("/vad", content=content, params={name: str(value) for name, value in query.items()})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def file_pairs(server: RunningServer, content: bytes, **query: object) -> Pairs:
    """The file API's segments."""
    segments = file_answer(server, content, **query)["segments"]
    return [[segment["start_ms"], segment["end_ms"]] for segment in segments]


def vanish(socket: ClientConnection) -> None:
    """Go away as a machine does that loses its network: without a word."""
    socket.socket.setsockopt(socketlib.SOL_SOCKET, socketlib.SO_LINGER, struct.pack("ii", 1, 0))
    socket.socket.shutdown(socketlib.SHUT_RDWR)


def eventually(condition: Callable[[], bool], limit_s: float = PATIENCE_S) -> None:
    """Return when it has come true."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come true in time")


def metric(server: RunningServer, name: str) -> float:
    """A metric's value, its labels included in the name; 0 while there is none."""
    with server.client() as client:
        lines = client.get("/metrics").text.splitlines()
    return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"{name} ")), 0.0)


@contextlib.asynccontextmanager
async def unread(server: RunningServer, **query: object) -> AsyncIterator[AsyncConnection]:
    """A connection whose other end finds a small receive buffer that nobody empties."""
    sock = socketlib.socket()
    sock.setsockopt(socketlib.SOL_SOCKET, socketlib.SO_RCVBUF, 4_096)
    sock.connect(("127.0.0.1", int(server.url.rsplit(":", 1)[1])))
    lazy = await connect_async(
        url_of(server, **query), sock=sock, compression=None, proxy=None, open_timeout=PATIENCE_S, ping_interval=None
    )
    lazy.transport.pause_reading()
    try:
        yield lazy
    finally:
        lazy.transport.abort()
        with contextlib.suppress(ConnectionClosed):
            await lazy.wait_closed()


async def pour(lazy: AsyncConnection, *messages: bytes | str) -> None:
    """Send these over and over until the service has closed the connection: at first as fast as it takes them, until
    what it answers has filled every buffer on the way, then now and then."""
    # The kernel holds some megabytes, and an answer has some hundred bytes.
    fast = 10_000
    with contextlib.suppress(ConnectionClosed):
        while True:
            for message in messages:
                await lazy.send(message)
            fast -= 1
            await asyncio.sleep(0 if fast > 0 else 0.02)


ASKS_FOR_MUCH = '{"type": "options", "nonsense": 1}'
"""A message whose answer is long: it names all options."""
