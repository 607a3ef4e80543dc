"""Live streams without sockets: how many 100 ms chunks a second the batcher scores on so many cores.

All streams get a chunk at once, are scored together, and get the next: the streams that this rate could keep up with in
real time are a tenth of it. One JSON line.
"""

import asyncio
import json
import os
import sys
import time
import wave
from pathlib import Path

from measured import arguments

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

_CHUNK_S = 0.1
_WARM_UP, _ROUNDS = 5, 30


async def measure(streams: int) -> float:
    """Chunks a second."""
    from app.config import Settings
    from app.live.hub import Hub, LiveLimits
    from app.live.parameters import StreamParameters
    from app.runtime import build_detector, load_model

    settings = Settings(workers=given.cores)
    detector = build_detector(settings, load_model(settings))
    limits = LiveLimits(streams=streams, buffer_s=10, idle_s=1e9, session_ttl_s=0, max_s=1e9)
    hub = Hub(detector.engine, limits, 0.0)
    hub.start()
    sessions = [hub.open("", StreamParameters(), detector.options({}), lambda: None) for _ in range(streams)]
    with wave.open(str(given.audio)) as audio:
        pcm = audio.readframes(audio.getnframes())
    size = int(_CHUNK_S * 32_000)
    started = 0.0
    for turn in range(_WARM_UP + _ROUNDS):
        if turn == _WARM_UP:
            started = time.perf_counter()
        for index, session in enumerate(sessions):
            at = (index * 7 + turn) * size % (len(pcm) - size)
            session.feed(pcm[at : at + size])
            hub.batcher.notify(session)
        while any(session.has_work or session.busy for session in sessions):  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.001)
    rate = streams * _ROUNDS / (time.perf_counter() - started)
    await hub.close()
    detector.engine.close()
    return rate


given = arguments()
if given.model:
    os.environ["VAD_MODEL"] = given.model
rate = asyncio.run(measure(int(given.variant or 1000)))
print(json.dumps({"chunks_per_s": rate, "streams": rate * _CHUNK_S}))
