"""The service for Wyoming clients (Home Assistant's satellites): `audio-chunk` in, `voice-started`/`-stopped` out.

usage: wyoming_vad.py [tcp://0.0.0.0:10300 [URL]]   pip install wyoming websockets

`timestamp` counts ms of a stream's sound from its `audio-start` on.
"""

import asyncio
import json
import sys
from functools import partial
from urllib.parse import urlencode

if sys.argv[1:2] in (["-h"], ["--help"]):
    print(__doc__)
    sys.exit()
try:
    from websockets.asyncio.client import ClientConnection, connect
    from websockets.exceptions import ConnectionClosed, InvalidHandshake
    from wyoming.audio import AudioChunk, AudioStart, AudioStop
    from wyoming.error import Error
    from wyoming.event import Event
    from wyoming.info import Describe, Info
    from wyoming.server import AsyncEventHandler, AsyncServer
    from wyoming.vad import VoiceStarted, VoiceStopped
except ModuleNotFoundError as missing:
    sys.exit(f"{missing.name} is not installed: pip install wyoming websockets")

ENCODINGS = {2: "pcm_s16le", 3: "pcm_s24le", 4: "pcm_s32le"}
"""By bytes of a sample."""


class Handler(AsyncEventHandler):
    """One client."""

    def __init__(self, url: str, *streams) -> None:
        super().__init__(*streams)
        self.url, self.socket, self.hearing = url, None, None

    async def handle_event(self, event: Event) -> bool:
        """As Wyoming's server asks."""
        try:
            if Describe.is_type(event.type):
                await self.write_event(Info().event())  # their catalogue has no place for a detector alone
            elif AudioStart.is_type(event.type):
                await self.begin(AudioStart.from_event(event))
            elif AudioChunk.is_type(event.type) and self.socket is not None:
                await self.socket.send(AudioChunk.from_event(event).audio)
            elif AudioStop.is_type(event.type) and self.socket is not None:
                await self.socket.send('{"type":"end"}')
                await self.hearing
        except (OSError, InvalidHandshake, ConnectionClosed) as error:
            await self.write_event(Error(f"no answer from {self.url}: {error}").event())
            return False
        return True

    async def begin(self, start: AudioStart) -> None:
        await self.disconnect()
        query = {"sample_rate": start.rate, "channels": start.channels, "encoding": ENCODINGS[start.width]}
        self.socket = await connect(f"{self.url}/vad/stream?{urlencode(query)}", compression=None)
        self.hearing = asyncio.create_task(self.hear(self.socket))

    async def hear(self, socket: ClientConnection) -> None:
        async for text in socket:
            message = json.loads(text)
            if message["type"] == "speech_start":
                await self.write_event(VoiceStarted(timestamp=message["start_ms"]).event())
            elif message["type"] == "speech_end":
                await self.write_event(VoiceStopped(timestamp=message["end_ms"]).event())
            elif message["type"] == "error":
                await self.write_event(Error(message["detail"], code=message["code"]).event())

    async def disconnect(self) -> None:
        if self.socket is not None:
            await self.socket.close()
            await self.hearing
            self.socket = None


async def main(uri: str, url: str) -> None:
    await AsyncServer.from_uri(uri).run(partial(Handler, url))


given = sys.argv[1:]
asyncio.run(main(given[0] if given else "tcp://0.0.0.0:10300", given[1] if len(given) > 1 else "ws://localhost:8000"))
