"""Live load: so many WebSockets that each send chunks of PCM in real time. A process of its own.

usage: python benchmarks/live_load.py PORT FILE --clients N --seconds S --chunk-ms C --protocol P    One JSON line: what
they saw.

P: `vad` (`/vad/stream`, samples in binary frames, at FILE's rate) or `realtime` (`/v1/realtime`, base64 in JSON; FILE
has 24 kHz then). Each stream begins at its own place in FILE (mono, 16 bits) and at its own time. Frames are written by
hand: this shares the machine with the server that it measures.
"""

import argparse
import asyncio
import base64
import contextlib
import json
import os
import random
import time
import wave
from dataclasses import dataclass

_TEXT, _BINARY, _CLOSE = 0x81, 0x82, 0x88
"""First bytes of WebSocket frames: whole, text; whole, binary; whole, close (RFC 6455)."""
_RAMP_S = 3.0
"""Over which clients begin, so that chunks do not all come at the same moment."""


_TURNS = {"type": "server_vad", "threshold": 0.6, "prefix_padding_ms": 300, "silence_duration_ms": 500}
_SAME_TURNS = "&mode=tight&threshold=0.6&speech_pad_ms=300&min_silence_duration_ms=500"


@dataclass
class Seen:
    """What all clients saw."""

    chunks: int = 0
    late_s: float = 0.0
    """The worst delay of a chunk against its time: then the load itself was too slow."""
    messages: int = 0
    broken: int = 0


def frame(kind: int, payload: bytes) -> bytes:
    """A client's frame; a mask of zeros leaves the payload as it is."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else bytes([0x80 | 126]) + size.to_bytes(2, "big")
    return bytes([kind]) + length + bytes(4) + payload


def opening(protocol: str) -> list[bytes]:
    """What is sent before the sound. The same options on either side: `server_vad` is `mode=tight`."""
    if protocol == "vad":
        return []
    return [frame(_TEXT, json.dumps({"type": "session.update", "session": {"turn_detection": _TURNS}}).encode())]


def path_of(protocol: str, rate: int) -> str:
    """The path that a stream is opened at, with its query."""
    if protocol == "vad":
        return f"/vad/stream?sample_rate={rate}" + ("" if rate == 16_000 else _SAME_TURNS)
    return "/v1/realtime?model=gpt-realtime"


def chunk_frame(protocol: str, pcm: bytes) -> bytes:
    """Some sound in one message, as the protocol has it."""
    if protocol == "vad":
        return frame(_BINARY, pcm)
    told = {"type": "input_audio_buffer.append", "audio": base64.b64encode(pcm).decode()}
    return frame(_TEXT, json.dumps(told).encode())


async def stream(
    port: int, path: str, first: list[bytes], chunks: list[bytes], seconds: float, chunk_s: float, seen: Seen
) -> None:
    """One client: connects, sends chunks in real time, notes when events come."""
    await asyncio.sleep(random.random() * _RAMP_S)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 101 " not in head:
            raise ConnectionError(head[:40])
        for told in first:
            writer.write(told)
        hearing = asyncio.create_task(_hear(reader, seen))
        try:
            await _send(writer, chunks, seconds, chunk_s, seen)
            if hearing.done():
                raise ConnectionError("the server closed")
        finally:
            hearing.cancel()
    except (ConnectionError, asyncio.IncompleteReadError):
        seen.broken += 1
    finally:
        writer.close()


async def _send(writer: asyncio.StreamWriter, chunks: list[bytes], seconds: float, chunk_s: float, seen: Seen) -> None:
    started, place = time.perf_counter(), random.randrange(len(chunks))
    for count in range(1, int(seconds / chunk_s) + 1):
        writer.write(chunks[(place + count) % len(chunks)])
        seen.chunks += 1
        delay = started + count * chunk_s - time.perf_counter()
        if delay > 0:
            await asyncio.sleep(delay)
        else:
            seen.late_s = max(seen.late_s, -delay)
            await writer.drain()
    writer.write(frame(_CLOSE, (1000).to_bytes(2, "big")))


async def _hear(reader: asyncio.StreamReader, seen: Seen) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65_536):
            seen.messages += data.count(b'"type"')


async def main() -> None:
    """All clients at once."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("file")
    parser.add_argument("--clients", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--chunk-ms", type=int, default=100)
    parser.add_argument("--protocol", choices=("vad", "realtime"), default="vad")
    given = parser.parse_args()
    with wave.open(given.file) as audio:
        pcm, rate = audio.readframes(audio.getnframes()), audio.getframerate()
    size = given.chunk_ms * rate // 1000 * 2
    chunks = [chunk_frame(given.protocol, pcm[at : at + size]) for at in range(0, len(pcm) - size, size)]
    seen = Seen()
    path, first = path_of(given.protocol, rate), opening(given.protocol)
    streams = (
        stream(given.port, path, first, chunks, given.seconds, given.chunk_ms / 1000, seen)
        for _ in range(given.clients)
    )
    await asyncio.gather(*streams)
    print(json.dumps({"count": seen.chunks, **vars(seen)}))


try:
    import uvloop
except ImportError:
    asyncio.run(main())
else:
    uvloop.run(main())
