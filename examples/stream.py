"""Speech in a live stream, with websockets. usage: stream.py FILE.wav [URL]   (16-bit mono WAV, sent as if spoken)"""

import asyncio
import json
import os
import sys
import wave
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect

CHUNK_MS = 100
SPEED = float(os.environ.get("SPEED", "1"))  # 1: as fast as it was spoken


async def speak(socket: ClientConnection, file: wave.Wave_read) -> None:
    """Where a microphone would be."""
    while chunk := file.readframes(file.getframerate() * CHUNK_MS // 1000):
        await socket.send(chunk)
        await asyncio.sleep(CHUNK_MS / 1000 / SPEED)
    await socket.send(json.dumps({"type": "end"}))


async def main(path: str, url: str) -> None:
    with wave.open(path, "rb") as file:
        if (file.getsampwidth(), file.getnchannels()) != (2, 1):
            sys.exit(f"{path}: this example sends 16-bit mono WAV; `fsmn-vad stream` takes any file")
        # A turn ends after half a second of silence. `model` and all options of POST /vad can be set here; an option
        # goes with its mode, which is not every model's default.
        options = {"mode": "endpoint", "max_end_silence_time": 500}
        query = urlencode({"sample_rate": file.getframerate(), **options})
        async with connect(f"{url}/vad/stream?{query}", compression=None) as socket:
            speaking = asyncio.create_task(speak(socket, file))
            async for text in socket:
                message = json.loads(text)
                if message["type"] == "speech_start":
                    print(f"{message['start_ms']:>8} speech ...")
                elif message["type"] == "speech_end":
                    print(f"{message['start_ms']:>8} {message['end_ms']:>8}  p={message['speech_probability']:.2f}")
                elif message["type"] == "error":
                    sys.exit(f"{message['code']}: {message['detail']}")
            await speaking


asyncio.run(main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "ws://localhost:8000"))
