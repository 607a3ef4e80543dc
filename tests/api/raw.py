"""Clients by hand, over real sockets: half a request, a slow one, one from another address."""

import json
import re
import socket
from pathlib import Path
from typing import Any

from tests.server import RunningServer

ANN, BOB, CY = "127.0.0.1", "127.0.0.2", "127.0.0.3"
"""Addresses of different clients."""
MP3 = b"ID3\x04\x00\x00\x00\x00\x00\x00" + b"\xff\xfb\x90\x00" + bytes(413)
"""What is given to ffmpeg."""


def connect(server: RunningServer, client: str = ANN, timeout: float = 20) -> socket.socket:
    """A connection from that address."""
    return socket.create_connection(("127.0.0.1", server.port), timeout, source_address=(client, 0))


def request(path: str = "/vad", *, method: str = "POST", body: bytes = b"", length: int | None = None) -> bytes:
    """A request, whole unless `length` promises more than the body has."""
    size = len(body) if length is None else length
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode() + body


def slow_upload(server: RunningServer, client: str = ANN) -> socket.socket:
    """A request whose body does not come."""
    connection = connect(server, client)
    connection.sendall(request(body=b"RIFF", length=100_000))
    return connection


def stuck_ffmpeg(folder: Path) -> str:
    """A decoder that hangs before it says anything: whoever is let in with an `MP3` stays."""
    program = folder / "stuck-ffmpeg"
    program.write_text("#!/bin/sh\nsleep 1000\n")
    program.chmod(0o755)
    return str(program)


def long_computing(server: RunningServer, client: str = ANN) -> socket.socket:
    """A whole request to a server whose ffmpeg is stuck."""
    connection = connect(server, client)
    connection.sendall(request(body=MP3))
    return connection


def answer_of(connection: socket.socket) -> bytes:
    """One whole answer; less when the peer closes before its end."""
    received = b""
    while not _is_whole(received) and (piece := connection.recv(65_536)):
        received += piece
    return received


def status_of(answer: bytes) -> int:
    """Of a whole answer."""
    return int(answer.split(b" ", 2)[1])


def problem_of(answer: bytes) -> dict[str, Any]:
    """The problem document that an answer carries."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head.lower()
    found: dict[str, Any] = json.loads(body)
    return found


def _is_whole(answer: bytes) -> bool:
    head, found, body = answer.partition(b"\r\n\r\n")
    size = re.search(rb"content-length: (\d+)", head.lower())
    return bool(found) and (size is None or len(body) >= int(size[1]))


def occupied(server: RunningServer) -> tuple[int, int, int]:
    """(uploads, inflight, queue), as metrics have them."""
    text = server.get("/metrics", timeout=60).text
    found = dict(re.findall(r"^(vad_uploads|vad_inflight|vad_queue_depth) (\S+)$", text, re.MULTILINE))
    uploads, inside, queued = (int(float(found[f"vad_{name}"])) for name in ("uploads", "inflight", "queue_depth"))
    return uploads, inside, queued
