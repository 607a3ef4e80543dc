"""A pipecat `VADAnalyzer` that asks this service: pipecat keeps its own turns, the service says how much is speech.

    transport = …Params(audio_in_enabled=True, vad_analyzer=ServiceVADAnalyzer("ws://localhost:8000"))

pipecat hands over 20 ms at a time, in a thread of the analyzer's own, and takes a confidence for it at once. The
service knows a frame's probability a little later, so a confidence is that of the sound `BEHIND_MS` before.
"""

import json
from urllib.parse import urlencode

try:
    from pipecat.audio.vad.vad_analyzer import VADAnalyzer, VADParams
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import ClientConnection, connect
except ModuleNotFoundError as missing:
    raise ImportError(f"{missing.name} is not installed: pip install pipecat-ai websockets") from missing

STEP_MS = 20
BEHIND_MS = 60  # fsmn needs 35 and silero a frame of 32, then the rest of a step
PATIENCE_S = 0.5  # a service that takes longer is taken to hear no speech, so that the bot never hangs on it


class ServiceVADAnalyzer(VADAnalyzer):
    def __init__(
        self, url: str, *, model: str = "fsmn", api_key: str = "", sample_rate: int | None = None,
        params: VADParams | None = None,
    ) -> None:  # fmt: skip
        super().__init__(sample_rate=sample_rate, params=params)
        self._url, self._model, self._api_key = url, model, api_key
        self._socket: ClientConnection | None = None
        self._sent_ms = self._known_ms = 0
        self._steps: dict[int, float] = {}

    def num_frames_required(self) -> int:
        return self.sample_rate * STEP_MS // 1000

    def voice_confidence(self, buffer: bytes) -> float:
        try:
            socket = self._socket or self._connect()
            socket.send(buffer)
            self._sent_ms += STEP_MS
            wanted_ms = self._sent_ms - BEHIND_MS
            while self._known_ms < wanted_ms:
                self._hear(json.loads(socket.recv(timeout=PATIENCE_S)))
        except (ConnectionClosed, OSError, TimeoutError):
            self._hang_up()  # the next step begins a new stream
            return 0.0
        return self._steps.pop(wanted_ms - STEP_MS, 0.0)

    async def cleanup(self) -> None:
        self._hang_up()
        await super().cleanup()

    def _connect(self) -> ClientConnection:
        query = {"sample_rate": self.sample_rate, "model": self._model, "probabilities": "true",
                 "probability_interval_ms": STEP_MS}  # fmt: skip
        headers = {"X-API-Key": self._api_key} if self._api_key else None
        self._socket = connect(f"{self._url}/vad/stream?{urlencode(query)}", additional_headers=headers)
        self._sent_ms = self._known_ms = 0
        self._steps.clear()
        return self._socket

    def _hear(self, message: dict) -> None:
        if message["type"] == "probability":
            step_ms = message["interval_ms"]
            for count, value in enumerate(message["values"]):
                self._steps[message["start_ms"] + count * step_ms] = value
            self._known_ms = message["start_ms"] + len(message["values"]) * step_ms
        elif message["type"] == "error":
            raise ConnectionError(message["detail"])

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
