"""Speech in a live stream, with websockets. It reconnects when the connection breaks, and loses nothing.

usage: stream.py FILE.wav [URL]   (16-bit mono WAV, sent as if spoken)
"""

import asyncio
import json
import os
import sys
import wave
from typing import Any
from urllib.parse import urlencode

if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
    print(__doc__)
    sys.exit(0 if sys.argv[1:] else 2)
try:
    from websockets.asyncio.client import ClientConnection, connect
    from websockets.exceptions import ConnectionClosed, InvalidHandshake
except ModuleNotFoundError as missing:
    sys.exit(f"{missing.name} is not installed: pip install websockets")

CHUNK_MS = 100
SPEED = float(os.environ.get("SPEED", "1"))  # 1: as fast as it was spoken
PAUSES_S = (0.2, 0.5, 1, 2, 4)  # before each attempt to come back; a session waits half a minute


class Stream:
    """One session, over as many connections as it takes."""

    def __init__(self, url: str, file: wave.Wave_read) -> None:
        # A turn ends after half a second of silence. `model` and all options of POST /vad can be set here; an option
        # goes with its mode, which is not every model's default.
        self.query: dict[str, Any] = {
            "sample_rate": file.getframerate(), "mode": "endpoint", "max_end_silence_time": 500,
        }  # fmt: skip
        self.url, self.file, self.done = url, file, False

    async def run(self) -> None:
        """Until `done`. Raises OSError or InvalidHandshake when there is no service to begin with."""
        await self.converse()
        for pause_s in PAUSES_S:
            if self.done:
                return
            await asyncio.sleep(pause_s / SPEED)
            try:
                await self.converse()
            except (OSError, InvalidHandshake):
                continue
        if not self.done:
            sys.exit("the connection keeps breaking")

    async def converse(self) -> None:
        """Over one connection, until `done` or until it breaks."""
        async with connect(f"{self.url}/vad/stream?{urlencode(self.query)}", compression=None) as socket:
            speaking = None
            try:
                async for text in socket:
                    message = json.loads(text)
                    if message["type"] == "ready":
                        self.query["session"] = message["session"]
                        # 0, or where the service stands when we come back
                        self.file.setpos(min(message["offset_samples"], self.file.getnframes()))
                        speaking = asyncio.create_task(self.speak(socket))
                    self.hear(message)
            except ConnectionClosed:
                pass
            finally:
                if speaking is not None:
                    speaking.cancel()
                    await asyncio.wait([speaking])

    async def speak(self, socket: ClientConnection) -> None:
        """Where a microphone would be; that one has to keep what it has sent until a `pong` says it has arrived."""
        try:
            while chunk := self.file.readframes(self.file.getframerate() * CHUNK_MS // 1000):
                await socket.send(chunk)
                await asyncio.sleep(CHUNK_MS / 1000 / SPEED)
            await socket.send(json.dumps({"type": "end"}))
        except ConnectionClosed:
            pass  # who hears knows it, too

    def hear(self, message: dict[str, Any]) -> None:
        self.query["after"] = message.get("seq", self.query.get("after", 0))
        if message["type"] == "speech_start":
            print(f"{message['start_ms']:>8} speech ...")
        elif message["type"] == "speech_end":
            print(f"{message['start_ms']:>8} {message['end_ms']:>8}  p={message['speech_probability']:.2f}")
        elif message["type"] == "error":
            sys.exit(f"{message['code']}: {message['detail']}")
        elif message["type"] == "done":
            self.done = True


def main(path: str, url: str) -> None:
    with wave.open(path, "rb") as file:
        if (file.getsampwidth(), file.getnchannels()) != (2, 1):
            sys.exit(f"{path}: this example sends 16-bit mono WAV; `fsmn-vad stream` takes any file")
        try:
            asyncio.run(Stream(url, file).run())
        except (OSError, InvalidHandshake) as error:
            sys.exit(f"no answer from {url}: {error}")


main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "ws://localhost:8000")
