"""Asterisk's (and FreeSWITCH's) AudioSocket through the service: reports who talks when in every call.

usage: audiosocket_bridge.py [PORT [URL]]   In the dialplan: AudioSocket(40325ec2-5efd-4bd3-805f-53576e581d13,host:9092)

A packet has a kind, a length of two bytes, and a payload: the UUID of the call, audio, or the end.
"""

import asyncio
import json
import sys
import uuid
from urllib.parse import urlencode

if sys.argv[1:2] in (["-h"], ["--help"]):
    print(__doc__)
    sys.exit()
try:
    from websockets.asyncio.client import ClientConnection, connect
    from websockets.exceptions import ConnectionClosed, InvalidHandshake
except ModuleNotFoundError as missing:
    sys.exit(f"{missing.name} is not installed: pip install websockets")

HANGUP, ID, ERROR = 0x00, 0x01, 0xFF
RATES = {0x10: 8_000, 0x11: 12_000, 0x12: 16_000, 0x13: 24_000, 0x14: 32_000, 0x15: 44_100, 0x16: 48_000}
"""Kinds of signed linear sound, 16 bits, little-endian; old Asterisks have the first alone."""


async def packets(reader: asyncio.StreamReader):
    """Kind and payload, to the end of the call."""
    try:
        while True:
            head = await reader.readexactly(3)
            payload = await reader.readexactly(int.from_bytes(head[1:], "big"))
            if head[0] in (HANGUP, ERROR):
                return
            yield head[0], payload
    except (asyncio.IncompleteReadError, ConnectionError):
        return  # hung up without a word


async def call(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, url: str) -> None:
    """One call: its name first, then its sound, which says its rate."""
    name, stream = "?", packets(reader)
    try:
        async for kind, payload in stream:
            if kind == ID:
                name = str(uuid.UUID(bytes=payload))
            elif kind in RATES:
                query = urlencode({"sample_rate": RATES[kind], "preset": "telephone"})
                async with connect(f"{url}/vad/stream?{query}", compression=None) as service:
                    hearing = asyncio.create_task(hear(service, name))
                    await speak(service, payload, stream)
                    await hearing
                return
    except (OSError, InvalidHandshake) as error:
        print(f"no answer from {url}: {error}", file=sys.stderr)
    finally:
        writer.close()


async def speak(service: ClientConnection, payload: bytes, stream) -> None:
    try:
        await service.send(payload)
        async for kind, more in stream:
            if kind in RATES:
                await service.send(more)
        await service.send('{"type":"end"}')
    except ConnectionClosed:
        pass  # who hears says why


async def hear(service: ClientConnection, name: str) -> None:
    async for text in service:
        message = json.loads(text)
        if message["type"] == "speech_end":
            print(f"{name} {message['start_ms']} {message['end_ms']}", flush=True)
        elif message["type"] == "error":
            print(f"{name} {message['detail']}", file=sys.stderr)


async def main(port: int, url: str) -> None:
    server = await asyncio.start_server(lambda reader, writer: call(reader, writer, url), "0.0.0.0", port)
    print(f"listening on {server.sockets[0].getsockname()[1]}", flush=True)
    async with server:
        await server.serve_forever()


given = sys.argv[1:]
asyncio.run(main(int(given[0]) if given else 9092, given[1] if len(given) > 1 else "ws://localhost:8000"))
