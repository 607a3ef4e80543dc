"""The load: clients that each post one file over a kept connection, again and again. A process of its own.

usage: python benchmarks/load.py PORT FILE --clients N --seconds S    One JSON line says what they saw.

It speaks HTTP/1.1 by hand, because it shares the machine with the server that it measures: a full client library would
take more of the processor than the service does.
"""

import argparse
import asyncio
import contextlib
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

_BOUNDARY = b"----benchmark"
_RETRY_S = 0.05


@dataclass
class Seen:
    """What all clients saw."""

    latencies_s: list[float] = field(default_factory=list)
    refused_s: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    until: float = 0.0
    """When the last answer came."""


def request_bytes(port: int, path: Path) -> bytes:
    """A whole request: the file as the field `file` of a form."""
    head = (
        b'--%s\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n" % (_BOUNDARY, path.name.encode())
    )
    body = head + path.read_bytes() + b"\r\n--%s--\r\n" % _BOUNDARY
    return (
        b"POST /vad HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: multipart/form-data; boundary=%s\r\n"
        b"Content-Length: %d\r\n\r\n" % (port, _BOUNDARY, len(body))
    ) + body


async def client(port: int, request: bytes, deadline: float, seen: Seen) -> None:
    """One after the other until `deadline`; a broken or closed connection is made anew."""
    while time.perf_counter() < deadline:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                await _many(reader, writer, request, deadline, seen)
            finally:
                writer.close()


async def _many(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes, deadline: float, seen: Seen
) -> None:
    while (started := time.perf_counter()) < deadline:
        writer.write(request)
        status, keep, retry_after_s = await _answer(reader)
        seen.until = time.perf_counter()
        seen.statuses[status] += 1
        if status == 200:
            seen.latencies_s.append(seen.until - started)
        else:
            seen.refused_s.append(seen.until - started)
            await asyncio.sleep(min(max(_RETRY_S, retry_after_s), deadline - seen.until))
        if not keep:
            return


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bool, float]:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    lines = head.split(b"\r\n")
    headers = dict(line.split(b": ", 1) for line in lines[1:] if b": " in line)
    if b"content-length" in headers:
        await reader.readexactly(int(headers[b"content-length"]))
    elif headers.get(b"transfer-encoding") == b"chunked":
        await _skip_chunks(reader)
    retry_after_s = float(headers.get(b"retry-after", 0))
    return int(lines[0].split()[1]), headers.get(b"connection") != b"close", retry_after_s


async def _skip_chunks(reader: asyncio.StreamReader) -> None:
    while (size := int((await reader.readline()).split(b";")[0], 16)) > 0:
        await reader.readexactly(size + 2)
    await reader.readline()


async def run(port: int, path: Path, clients: int, seconds: float) -> Seen:
    """All clients at once; every request begun before the time is up is waited for."""
    seen, request = Seen(), request_bytes(port, path)
    deadline = time.perf_counter() + seconds
    await asyncio.gather(*(client(port, request, deadline, seen) for _ in range(clients)))
    return seen


def percentile(ordered: list[float], share: float) -> float | None:
    """The value below which so much of them lies."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def main() -> None:
    """See the head of this file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("file", type=Path)
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5)
    given = parser.parse_args()
    with contextlib.suppress(ImportError):
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    started = time.perf_counter()
    seen = asyncio.run(run(given.port, given.file, given.clients, given.seconds))
    ordered = sorted(seen.latencies_s)
    answer = {
        "per_s": len(ordered) / (seen.until - started) if ordered else 0.0,
        "count": len(ordered),
        "statuses": {str(status): count for status, count in seen.statuses.items()},
        "cpu_s": time.process_time(),
        **{f"p{share}_ms": _ms(percentile(ordered, share / 100)) for share in (50, 95, 99)},
        "refused_p99_ms": _ms(percentile(sorted(seen.refused_s), 0.99)),
    }
    print(json.dumps(answer))


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000


if __name__ == "__main__":
    main()
