"""Requests over raw sockets: a client that costs next to nothing beside the server that is measured."""

import base64
import os
import socket
import struct

import numpy as np

from benchmarks.clips import RATE
from benchmarks.process import Missing

_LIMIT_S = 600  # an hour of audio on a busy machine
_CHUNK_BYTES = RATE // 10 * 2  # 100 ms of 16 bits


def get(path: str) -> bytes:
    """The bytes of a request without a body."""
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def post(content: bytes, content_type: str = "audio/wav", *, path: str = "/vad") -> bytes:
    """The bytes of an upload."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


def connect(port: int) -> socket.socket:
    """A connection to a server of this machine."""
    return socket.create_connection(("127.0.0.1", port), _LIMIT_S)


def exchange(connection: socket.socket, request: bytes) -> bytes:
    """One request and its whole answer, on a connection that stays. Raises `Missing` where it is not status 200."""
    connection.sendall(request)
    received = b""
    while b"\r\n\r\n" not in received:
        received += _some(connection, received)
    head, _, body = received.partition(b"\r\n\r\n")
    fields = [line.partition(b":") for line in head.lower().split(b"\r\n")]
    length = next(int(value) for name, _, value in fields if name == b"content-length")
    while len(body) < length:
        body += _some(connection, body)
    if not head.startswith(b"HTTP/1.1 200"):
        raise Missing(f"answered by {head[:40] + body[:200]!r}")
    return body


def _some(connection: socket.socket, received: bytes) -> bytes:
    piece = connection.recv(1 << 16)
    if not piece:
        raise Missing(f"the server closed its connection after {received[-200:]!r}")
    return piece


class Stream:
    """A live stream that is sent chunks of 100 ms, and answers each by its mean probability."""

    def __init__(self, port: int) -> None:
        """Raises `Missing` where the server speaks another protocol."""
        self._connection = connect(port)
        key = base64.b64encode(os.urandom(16)).decode()
        self._connection.sendall(
            f"GET /vad/stream?probabilities=true HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self._read(1)
        if b" 101 " not in head:
            raise Missing(f"no live stream: {head[:200]!r}")
        self._read_frame()  # `ready`

    def send(self, pcm: bytes) -> None:
        """Send a binary frame (RFC 6455, 5.2), masked with zeros, which leave the payload as it is."""
        size = len(pcm)
        length = bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack(">H", size)
        self._connection.sendall(b"\x82" + length + bytes(4) + pcm)

    def await_probability(self) -> None:
        """Read until a mean probability has come."""
        while b'"probability"' not in self._read_frame():
            pass

    def close(self) -> None:
        """End it without a word."""
        self._connection.close()

    def _read_frame(self) -> bytes:
        head = self._read(2)
        size = head[1] & 0x7F
        if size == 126:
            size = struct.unpack(">H", self._read(2))[0]
        return self._read(size)

    def _read(self, count: int) -> bytes:
        received = b""
        while len(received) < count:
            piece = self._connection.recv(count - len(received))
            if not piece:
                raise Missing(f"the server closed a live stream after {received!r}")
            received += piece
        return received


def chunks_of(samples: "np.ndarray") -> list[bytes]:
    """Chunks of 100 ms, as a client sends them."""
    pcm = np.round(samples * 32_767).astype("<i2").tobytes()
    return [pcm[start : start + _CHUNK_BYTES] for start in range(0, len(pcm) - _CHUNK_BYTES + 1, _CHUNK_BYTES)]
