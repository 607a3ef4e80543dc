"""Frames of a WebSocket, however the network cuts them, mean what the library says that they mean."""

import asyncio
import base64
import os
import struct
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from app.api.admission import DIRECT
from app.server.connections import WebSocketConnection

HEAD = (
    b"GET /x HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: " + base64.b64encode(bytes(16)) + b"\r\n\r\n"
)


class Wire(asyncio.Transport):
    """A socket that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


def frame(first: int, payload: bytes, mask: bytes = b"\x01\x02\x03\x04") -> bytes:
    length = len(payload)
    if length < 126:
        head = bytes([first, 0x80 | length])
    elif length < 1 << 16:
        head = bytes([first, 0xFE]) + struct.pack(">H", length)
    else:
        head = bytes([first, 0xFF]) + struct.pack(">Q", length)
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


SOUND = bytes(range(256)) * 13
SEQUENCES = {
    "messages of every length": [frame(0x82, SOUND), frame(0x81, b"hello"), frame(0x82, b""), frame(0x82, SOUND * 20)],
    "no mask's bits": [frame(0x82, SOUND, bytes(4)), frame(0x81, "grüße".encode())],
    "parts of a message": [frame(0x02, b"ab"), frame(0x89, b"still there?"), frame(0x80, b"c"), frame(0x82, b"d")],
    "a message within another": [frame(0x02, b"ab"), frame(0x82, b"c")],
    "not text": [frame(0x81, b"\xff\xfe"), frame(0x82, b"x")],
    "not masked": [b"\x82\x03abc", frame(0x82, b"x")],
    "a reserved bit": [frame(0xC2, b"abc")],
    "no such kind": [frame(0x83, b"abc")],
    "too long": [bytes([0x82, 0xFF]) + struct.pack(">Q", (1 << 20) + 1) + bytes(4) + b"abc"],
    "after its close": [frame(0x88, struct.pack(">H", 1000)), frame(0x82, b"x")],
}


async def heard(kind: type[WebSocketsSansIOProtocol], pieces: list[bytes], *, takes: bool) -> tuple[list[Any], bytes]:
    """What an application is given, and what goes back."""
    messages: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        if takes and DIRECT in scope["extensions"]:
            scope["extensions"][DIRECT].take = lambda message: messages.append(message) is None
        while (message := await receive())["type"] == "websocket.receive":
            data = message.get("bytes")
            messages.append(message["text"] if data is None else bytes(data))

    config = uvicorn.Config(application, ws=kind, log_config=None, ws_max_size=1 << 20, ws_per_message_deflate=False)
    config.load()
    wire = Wire()
    connection = kind(config=config, server_state=ServerState(), app_state={})
    connection.connection_made(wire)
    connection.data_received(HEAD)
    for _ in range(5):
        await asyncio.sleep(0)
    answered = len(wire.written)
    for piece in pieces:
        if not wire.closed:
            connection.data_received(piece)
    for _ in range(5):
        await asyncio.sleep(0)
    connection.connection_lost(None)
    await asyncio.gather(*connection.tasks, return_exceptions=True)
    return messages, wire.written[answered:]


@pytest.mark.parametrize("takes", [True, False], ids=["taken at once", "queued"])
@pytest.mark.parametrize("size", [1, 3, 1_460, 1 << 20])
@pytest.mark.parametrize("frames", SEQUENCES.values(), ids=SEQUENCES)
async def test_frames_mean_what_the_library_says(frames: list[bytes], size: int, *, takes: bool) -> None:
    whole = b"".join(frames)
    if size < 100:
        whole = whole[:20_000]  # a few thousand calls are enough
    pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
    ours = await heard(WebSocketConnection, pieces, takes=takes)
    assert ours == await heard(WebSocketsSansIOProtocol, pieces, takes=False)


async def test_order_is_kept_when_the_application_stops_taking() -> None:
    """What is not taken is queued, and nothing passes it."""
    order: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        refused = iter([False, True])
        scope["extensions"][DIRECT].take = lambda message: next(refused, True) and order.append(message) is None
        while (message := await receive())["type"] == "websocket.receive":
            order.append(bytes(message["bytes"]))

    config = uvicorn.Config(application, ws=WebSocketConnection, log_config=None)
    config.load()
    connection = WebSocketConnection(config=config, server_state=ServerState(), app_state={})
    connection.connection_made(Wire())
    connection.data_received(HEAD)
    for _ in range(5):
        await asyncio.sleep(0)
    sent = [os.urandom(10) for _ in range(4)]
    connection.data_received(b"".join(frame(0x82, each) for each in sent[:3]))
    for _ in range(5):
        await asyncio.sleep(0)
    connection.data_received(frame(0x82, sent[3]))
    connection.connection_lost(None)
    await asyncio.gather(*connection.tasks, return_exceptions=True)
    assert order == sent


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
async def test_messages_given_at_once_are_framed_as_by_the_library(size: int) -> None:
    """All of them in one write; none once the peer has ceased to read, or is being closed."""
    texts = ["ü" * (size // 2), "{}"]
    given: list[bool] = []
    wire = Wire()
    closing = asyncio.Event()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        give = scope["extensions"][DIRECT].give
        wire.written = b""
        given.append(give(texts))
        direct, wire.written = wire.written, b""
        for text in texts:
            await send({"type": "websocket.send", "text": text})
        assert direct == wire.written
        connection.pause_writing()
        given.append(give(texts))
        connection.resume_writing()
        await send({"type": "websocket.close"})
        given.append(give(texts))
        closing.set()

    config = uvicorn.Config(application, ws=WebSocketConnection, log_config=None)
    config.load()
    connection = WebSocketConnection(config=config, server_state=ServerState(), app_state={})
    connection.connection_made(wire)
    connection.data_received(HEAD)
    await asyncio.wait_for(closing.wait(), 5)
    connection.connection_lost(None)
    await asyncio.gather(*connection.tasks, return_exceptions=True)
    assert given == [True, False, False]
