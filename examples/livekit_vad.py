"""A LiveKit `VAD` that asks this service.

    session = AgentSession(vad=ServiceVAD("ws://localhost:8000", model="silero+firered-stream"), …)

Starts and ends are the service's; `options` are those of POST /vad, and `update_options` changes them in mid-stream.
The frames of an utterance are the service's own record of it (`audio=true`), so they begin where the speech does.
"""

import asyncio
import base64
import json
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

try:
    from livekit import rtc
    from livekit.agents import vad
    from websockets.asyncio.client import ClientConnection, connect
    from websockets.exceptions import ConnectionClosed
except ModuleNotFoundError as missing:
    raise ImportError(f"{missing.name} is not installed: pip install livekit-agents websockets") from missing

STEP_MS = 100  # between INFERENCE_DONE events


class ServiceVAD(vad.VAD):
    def __init__(self, url: str, *, api_key: str = "", model: str = "fsmn", **options: Any) -> None:
        super().__init__(capabilities=vad.VADCapabilities(update_interval=STEP_MS / 1000))
        self.url, self.api_key, self.asked = url, api_key, {"model": model, **options}
        self._model, self._streams = model, list["ServiceVADStream"]()

    @property
    def model(self) -> str:
        return self._model

    @property
    def provider(self) -> str:
        return "fsmn-vad"

    def stream(self) -> "ServiceVADStream":
        self._streams.append(ServiceVADStream(self))
        return self._streams[-1]

    def update_options(self, **options: Any) -> None:
        """For the streams that run, from the next frame on, and for those that come."""
        self.asked |= options
        for stream in self._streams:
            stream.say({"type": "options", **options})


class ServiceVADStream(vad.VADStream):
    def __init__(self, service: ServiceVAD) -> None:
        self._service, self._socket = service, None
        self._speaking, self._heard_ms, self._tasks = False, 0, set[asyncio.Task]()
        super().__init__(service)

    def say(self, message: dict[str, Any]) -> None:
        if self._socket is not None:
            task = asyncio.create_task(self._socket.send(json.dumps(message)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _main_task(self) -> None:
        frame = await self._first_frame()
        if frame is None:
            return
        query = {"sample_rate": frame.sample_rate, "channels": frame.num_channels, "audio": "true",
                 "probabilities": "true", "probability_interval_ms": STEP_MS, **self._service.asked}  # fmt: skip
        headers = {"X-API-Key": self._service.api_key} if self._service.api_key else None
        address = f"{self._service.url}/vad/stream?{urlencode(query)}"
        async with connect(address, additional_headers=headers, compression=None, max_size=None) as socket:
            self._socket = socket
            sending = asyncio.create_task(self._send(socket, frame))
            try:
                async for text in socket:
                    self._hear(json.loads(text))
            finally:
                self._socket = None
                sending.cancel()
                await asyncio.wait([sending])

    async def _first_frame(self) -> rtc.AudioFrame | None:
        async for given in self._input_ch:
            if isinstance(given, rtc.AudioFrame):
                return given
        return None

    async def _send(self, socket: ClientConnection, frame: rtc.AudioFrame) -> None:
        with suppress(ConnectionClosed):
            await socket.send(bytes(frame.data))
            async for given in self._input_ch:
                if isinstance(given, rtc.AudioFrame):
                    await socket.send(bytes(given.data))
                else:
                    await socket.send('{"type":"flush"}')
            await socket.send('{"type":"end"}')

    def _hear(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "error":
            raise ConnectionError(f"{message['code']}: {message['detail']}")
        if kind == "probability":
            for value in message["values"]:
                self._heard_ms += message["interval_ms"]
                self._tell(vad.VADEventType.INFERENCE_DONE, self._heard_ms, probability=value)
        elif kind == "speech_start":
            self._speaking = True
            self._tell(vad.VADEventType.START_OF_SPEECH, message["start_ms"],
                       speech_duration=(message["at_ms"] - message["start_ms"]) / 1000)  # fmt: skip
        elif kind == "speech_end":
            self._speaking = False
            self._tell(vad.VADEventType.END_OF_SPEECH, message["end_ms"], frames=[_frame(message["audio"])],
                       speech_duration=message["duration_ms"] / 1000,
                       silence_duration=(message["at_ms"] - message["end_ms"]) / 1000)  # fmt: skip

    def _tell(self, kind: vad.VADEventType, at_ms: int, **more: Any) -> None:
        durations = {"speech_duration": 0.0, "silence_duration": 0.0, **more}
        self._event_ch.send_nowait(vad.VADEvent(
            type=kind, samples_index=at_ms * 16, timestamp=at_ms / 1000, speaking=self._speaking, **durations,
        ))  # fmt: skip


def _frame(audio: dict[str, Any]) -> rtc.AudioFrame:
    pcm = base64.b64decode(audio["data"])
    return rtc.AudioFrame(pcm, audio["sample_rate"], 1, len(pcm) // 2)
