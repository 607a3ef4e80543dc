"""A hub in this process, and its sessions driven without sockets."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy as np
import torch

from app.engine.device import DevicePolicy
from app.engine.engine import Engine
from app.live.hub import Hub, LiveLimits
from app.live.parameters import StreamParameters
from app.live.session import LiveSession, Wish
from app.vad.models.fsmn.scorer import FsmnScorer
from app.vad.models.state import StateBank
from app.vad.segment import segments_of
from app.vad.segmenters.options import VadOptions
from app.vad.stream import VadStream

WISHES: tuple[Wish, ...] = ("flush", "reset", "end")
Part = bytes | str
Told = list[tuple[int, int, bool, float]]
"""(start, end, forced, speech probability) of every segment."""


class WatchedScorer(FsmnScorer):
    """Remembers its bank."""

    bank: StateBank

    def new_bank(self, capacity: int) -> StateBank:
        self.bank = super().new_bank(capacity)
        return self.bank


@contextlib.asynccontextmanager
async def running_hub(scorer: FsmnScorer, streams: int = 200, delay_s: float = 0.002) -> AsyncIterator[Hub]:
    """A hub around an engine of two threads."""
    policy = DevicePolicy(torch.device("cpu"), primary=scorer.score, fallback=lambda: scorer.score)
    engine = Engine(scorer, policy, workers=2)
    limits = LiveLimits(streams=streams, buffer_s=10, idle_s=60, session_ttl_s=0, max_s=36_000)
    hub = Hub(engine, limits, delay_s)
    hub.start()
    try:
        yield hub
    finally:
        await hub.close()
        await asyncio.to_thread(engine.close)


async def drive(
    hub: Hub, parts: Sequence[Part], options: VadOptions, pauses: np.random.Generator, **parameters: Any
) -> LiveSession:
    """A session through all parts (bytes are fed, words are wishes), at an uneven pace, until it closes."""

    def leave() -> None:
        raise AssertionError("nobody takes it over")

    session = hub.open("client", StreamParameters(**parameters), options, leave)
    for part in parts:
        while session.is_full and session.closing is None:  # noqa: ASYNC110 - it belongs to nobody else's event loop
            await asyncio.sleep(0.001)
        if isinstance(part, bytes):
            session.feed(part)
        else:
            session.wish(part)  # type: ignore[arg-type]
        hub.batcher.notify(session)
        if pauses.random() < 0.2:
            await asyncio.sleep(float(pauses.random()) * 0.01)
    while session.closing is None:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    hub.leave(session, leave)
    return session


def messages_of(session: LiveSession) -> list[Any]:
    """Everything that it has said and nobody has fetched."""
    return [json.loads(text) for text in session.outbox]


def told(session: LiveSession) -> Told:
    """Segments of its last message."""
    segments = messages_of(session)[-1]["segments"]
    return [(s["start_ms"], s["end_ms"], s["forced_end"], s["speech_probability"]) for s in segments]


def alone(scorer: FsmnScorer, parts: Sequence[Part], options: VadOptions) -> Told:
    """The same through a stream of its own, each utterance fed whole."""
    found: Told = []
    utterance = b""
    before = 0
    for part in parts:
        if isinstance(part, bytes):
            utterance += part
        elif part == "reset":
            found, utterance, before = [], b"", 0
        else:
            base_ms = before // 32
            found += [
                (base_ms + a, base_ms + b, forced, p) for a, b, forced, p in _segments(scorer, utterance, options)
            ]
            before += len(utterance)
            utterance = b""
    return found


def _segments(scorer: FsmnScorer, pcm: bytes, options: VadOptions) -> Told:
    stream = VadStream(scorer, options)
    events = stream.accept_waveform(np.frombuffer(pcm, "<i2") * np.float32(1 / 32_768)) + stream.flush()
    return [(s.start_ms, s.end_ms, s.forced_end, round(s.speech_probability, 4)) for s in segments_of(events)]


def same(one: Told, other: Told) -> bool:
    """Equal to the millisecond, and in probability to the third place."""
    return [segment[:3] for segment in one] == [segment[:3] for segment in other] and np.allclose(
        [segment[3] for segment in one], [segment[3] for segment in other], atol=1e-3
    )
