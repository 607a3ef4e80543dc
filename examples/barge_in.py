"""A voice bot that stops talking when the caller speaks. usage: barge_in.py FILE.wav [URL]   (the caller, 16-bit mono)

A short noise does not interrupt: the service reports a start after 100 ms of speech, and the bot stops. When the caller
has been silent for 0.4 s, the bot gets what the caller said.
"""

import asyncio
import json
import os
import sys
import wave
from urllib.parse import urlencode

if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
    print(__doc__)
    sys.exit(0 if sys.argv[1:] else 2)
try:
    from websockets.asyncio.client import ClientConnection, connect
except ModuleNotFoundError as missing:
    sys.exit(f"{missing.name} is not installed: pip install websockets")

SPEED = float(os.environ.get("SPEED", "1"))  # 1: as fast as it was spoken


def stop_talking(at_ms: int) -> None:
    """Where the bot's playback would be stopped."""
    print(f"stop {at_ms}")


def take_turn(start_ms: int, end_ms: int) -> None:
    """Where what was said would go to the recogniser."""
    print(f"turn {start_ms} {end_ms}")


async def call(socket: ClientConnection, file: wave.Wave_read) -> None:
    """Where the telephone line would be."""
    while chunk := file.readframes(file.getframerate() // 10):
        await socket.send(chunk)
        await asyncio.sleep(0.1 / SPEED)
    await socket.send(json.dumps({"type": "end"}))


async def main(path: str, url: str) -> None:
    with wave.open(path, "rb") as file:
        query = urlencode({"preset": "commands", "sample_rate": file.getframerate()})
        async with connect(f"{url}/vad/stream?{query}", compression=None) as socket:
            calling = asyncio.create_task(call(socket, file))
            async for text in socket:
                message = json.loads(text)
                if message["type"] == "speech_start":
                    stop_talking(message["at_ms"])
                elif message["type"] == "speech_end":
                    take_turn(message["start_ms"], message["end_ms"])
                elif message["type"] == "error":
                    sys.exit(message["detail"])
            await calling


asyncio.run(main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "ws://localhost:8000"))
