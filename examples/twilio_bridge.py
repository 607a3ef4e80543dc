"""Twilio media streams through the service: a bot stops talking when its caller talks.

usage: twilio_bridge.py [PORT [URL]]   In TwiML: <Connect><Stream url="wss://this.host/" /></Connect>

Twilio sends mu-law in JSON. At `speech_start` its playback is stopped with `clear`; what was said is one turn.
"""

import asyncio
import base64
import json
import sys
from contextlib import suppress
from urllib.parse import urlencode

if sys.argv[1:2] in (["-h"], ["--help"]):
    print(__doc__)
    sys.exit()
try:
    from websockets.asyncio.client import ClientConnection, connect
    from websockets.asyncio.server import ServerConnection, serve
    from websockets.exceptions import ConnectionClosed, InvalidHandshake
except ModuleNotFoundError as missing:
    sys.exit(f"{missing.name} is not installed: pip install websockets")

QUERY = urlencode({"encoding": "mulaw", "sample_rate": 8000, "preset": "telephone"})


async def call(twilio: ServerConnection, url: str) -> None:
    """One call."""
    try:
        async with connect(f"{url}/vad/stream?{QUERY}", compression=None) as service:
            sid: list[str] = []
            hearing = asyncio.create_task(hear(service, twilio, sid))
            await speak(twilio, service, sid)
            await hearing
    except (OSError, InvalidHandshake) as error:
        print(f"no answer from {url}: {error}", file=sys.stderr)


async def speak(twilio: ServerConnection, service: ClientConnection, sid: list[str]) -> None:
    """Hand the caller's sound over, to the end of the call."""
    try:
        async for text in twilio:
            event = json.loads(text)
            if event["event"] == "start":
                sid.append(event["start"]["streamSid"])
            elif event["event"] == "media" and event["media"].get("track", "inbound") == "inbound":
                await service.send(base64.b64decode(event["media"]["payload"]))
            elif event["event"] == "stop":
                break
        await service.send('{"type":"end"}')
    except ConnectionClosed:
        await service.close()


async def hear(service: ClientConnection, twilio: ServerConnection, sid: list[str]) -> None:
    """Tell Twilio to be silent, and whoever listens what was said."""
    async for text in service:
        message = json.loads(text)
        if message["type"] == "speech_start":
            with suppress(ConnectionClosed):  # when the caller has hung up, what was said is still told
                await twilio.send(json.dumps({"event": "clear", "streamSid": sid[0]}))
        elif message["type"] == "speech_end":
            print(f"turn {message['start_ms']} {message['end_ms']}", flush=True)
        elif message["type"] == "error":
            print(message["detail"], file=sys.stderr)


async def main(port: int, url: str) -> None:
    async with serve(lambda socket: call(socket, url), "0.0.0.0", port) as server:
        print(f"listening on {server.sockets[0].getsockname()[1]}", flush=True)
        await server.serve_forever()


given = sys.argv[1:]
asyncio.run(main(int(given[0]) if given else 8080, given[1] if len(given) > 1 else "ws://localhost:8000"))
