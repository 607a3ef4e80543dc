"""Live streams without sockets: how many 100 ms chunks a second the batcher scores on so many cores.

All streams get a chunk at once, are scored together, and get the next: the streams that this rate could keep up with in
real time are a tenth of it. One JSON line.
"""

import asyncio
import json
import sys
import time
import wave
from pathlib import Path
from typing import Any

from measured import arguments

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

_CHUNK_S = 0.1
_WARM_UP, _ROUNDS = 5, 30
"""Rounds thrown away, for the first calls are slow; and counted, some seconds in all."""


class Client:
    """A connection that takes everything that is said."""

    def __init__(self) -> None:
        self.slot: Any = None

    def wake(self) -> None:
        """Take what waits, so that nothing is heaped up."""
        session = self.slot.session
        while session.next_message() is not None:
            session.message_sent()

    def dismiss(self) -> None:
        """Nobody takes over here."""


async def measure(streams: int) -> float:
    """Chunks a second that so many streams get through."""
    from app.config import Settings
    from app.engine.shares import Holder
    from app.live.sessions import LiveLimits, SessionManager
    from app.request import DetectionRequest
    from app.runtime import start_runtime

    settings = Settings(workers=given.cores)
    runtime = await start_runtime(settings, on_demand=True)
    plan = await DetectionRequest.parse({"model": given.model}).resolve(runtime.models, live=True)
    limits = LiveLimits(streams=streams, buffer_s=10, idle_s=1e9, session_ttl_s=0, max_s=1e9)
    manager = SessionManager(runtime.engine, limits, 0.0)
    manager.start()
    slots = []
    for _ in range(streams):
        client = Client()
        client.slot = manager.open(Holder("", ""), plan, client)
        slots.append(client.slot)
    with wave.open(str(given.audio)) as audio:
        pcm = audio.readframes(audio.getnframes())
    size = int(_CHUNK_S * 32_000)
    started = 0.0
    for turn in range(_WARM_UP + _ROUNDS):
        if turn == _WARM_UP:
            started = time.perf_counter()
        for index, slot in enumerate(slots):
            at = (index * 7 + turn) * size % (len(pcm) - size)
            slot.session.receive_audio(pcm[at : at + size], manager.clock())
            manager.received(slot)
        for slot in slots:  # one after the other: asking all of them each time would be a quarter of what is measured
            while slot.session.has_work or slot.scoring:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.001)
    rate = streams * _ROUNDS / (time.perf_counter() - started)
    await manager.close()
    runtime.close()
    return rate


given = arguments()
rate = asyncio.run(measure(int(given.variant or 1000)))
print(json.dumps({"chunks_per_s": rate, "streams": rate * _CHUNK_S}))
