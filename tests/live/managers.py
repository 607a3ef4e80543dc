"""A session manager in this process, and its sessions driven without sockets."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from app.audio.signal import parse_channel
from app.engine.engine import Engine
from app.engine.shares import Holder
from app.formats.registry import Formats
from app.live.batcher import Slot
from app.live.session import Command, LiveSession
from app.live.sessions import LiveLimits, SessionManager
from app.models import Chosen, Model
from app.observe import Observer
from app.request import DetectionRequest, Plan
from app.vad.models.family import Scorer
from app.vad.models.scorer import StatePool
from app.vad.segment import segments_of
from app.vad.segmenters.registry import MODE, Segmentation
from app.vad.stream import VadStream
from tests.engines import Loaded, ScorerAround, loaded, model_on

COMMANDS = get_args(Command)
Part = bytes | str
Told = list[tuple[int, int, bool, float]]
"""(start, end, forced, speech probability) of every segment."""


class WatchedScorer(ScorerAround):
    """Remembers its pool."""

    pool: StatePool

    def __init__(self, inner: Scorer[Any]) -> None:
        super().__init__(inner, inner.score)

    def new_pool(self, capacity: int) -> StatePool:
        self.pool = self.inner.new_pool(capacity)  # type: ignore[assignment]
        return self.pool


class LiveObserver(Observer):
    """Counts what the manager and its batcher tell."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.dropped: list[str] = []

    def live_batch(self, streams: int) -> None:
        self.batches.append(streams)

    def live_dropped(self, reason: str) -> None:
        self.dropped.append(reason)


def live_plan(model: Model, segmentation: Segmentation, **options: Any) -> Plan:
    """What a client asks for who sets these options beside those of the segmenter."""
    request = DetectionRequest.parse({MODE: segmentation.options.mode}, options)
    form = Formats().choose(None, None)
    return Plan(
        request, Chosen(model, {}), segmentation, parse_channel(request.channel), form, True, request.stream_form()
    )


@dataclass
class RunningManager:
    """A session manager, its model, and what it tells of itself."""

    manager: SessionManager
    model: Model
    observer: LiveObserver

    def open(self, segmentation: Segmentation, connection: "Connected", **options: Any) -> Slot:
        """A new session of the model."""
        return self.manager.open(Holder("client"), live_plan(self.model, segmentation, **options), connection)


class Connected:
    """A client's side without a socket."""

    def __init__(self, *, may_be_dismissed: bool = False) -> None:
        self.dismissed, self.woken = False, 0
        self._may_be_dismissed = may_be_dismissed

    def wake(self) -> None:
        self.woken += 1

    def dismiss(self) -> None:
        assert self._may_be_dismissed, "nobody takes it over"
        self.dismissed = True


def limits(**given: Any) -> LiveLimits:
    return LiveLimits(**{"streams": 200, "buffer_s": 10, "idle_s": 60, "session_ttl_s": 0, "max_s": 36_000, **given})


@contextlib.asynccontextmanager
async def running_manager(
    scorer: Scorer[Any] | Loaded,
    delay_s: float = 0.002,
    clock: Callable[[], float] = time.monotonic,
    **given: Any,
) -> AsyncIterator[RunningManager]:
    """A manager around an engine of two threads; `given`: limits."""
    observer = LiveObserver()
    engine = Engine(workers=2)
    model = model_on(engine, scorer if isinstance(scorer, Loaded) else loaded(scorer), observer)
    manager = SessionManager(engine, limits(**given), delay_s, observer, clock)
    manager.start()
    try:
        yield RunningManager(manager, model, observer)
    finally:
        await manager.close()
        await asyncio.to_thread(engine.close)


async def drive(
    running: RunningManager, parts: Sequence[Part], segmentation: Segmentation, pauses: np.random.Generator,
    **parameters: Any,
) -> LiveSession:  # fmt: skip
    """A session through all parts (bytes are fed, words are commands), at an uneven pace, until it ends."""
    manager, connection = running.manager, Connected()
    slot = running.open(segmentation, connection, **parameters)
    session = slot.session
    for part in parts:
        while session.is_full and session.ended is None:  # noqa: ASYNC110 - it belongs to nobody else's event loop
            await asyncio.sleep(0.001)
        feed(manager, slot, part)
        if pauses.random() < 0.2:
            await asyncio.sleep(float(pauses.random()) * 0.01)
    while session.ended is None:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    manager.leave(slot, connection)
    return session


def feed(manager: SessionManager, slot: Slot, part: Part) -> None:
    """A chunk, or a command."""
    if isinstance(part, bytes):
        slot.session.receive_audio(part, manager.clock())
    else:
        slot.session.receive_command(part)  # type: ignore[arg-type]
    manager.received(slot)


def messages_of(session: LiveSession) -> list[Any]:
    """Everything that it has said and nobody has fetched."""
    return [json.loads(text) for text in session._outbox._waiting]


def told(session: LiveSession) -> Told:
    """Segments of its last message."""
    segments = messages_of(session)[-1]["segments"]
    return [(s["start_ms"], s["end_ms"], s["forced_end"], s["speech_probability"]) for s in segments]


def alone(scorer: Scorer[Any], parts: Sequence[Part], segmentation: Segmentation) -> Told:
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
                (base_ms + a, base_ms + b, forced, p) for a, b, forced, p in _segments(scorer, utterance, segmentation)
            ]
            before += len(utterance)
            utterance = b""
    return found


def _segments(scorer: Scorer[Any], pcm: bytes, segmentation: Segmentation) -> Told:
    stream = VadStream(scorer, segmentation.new_segmenter)
    events = stream.accept_waveform(np.frombuffer(pcm, "<i2") * np.float32(1 / 32_768)) + stream.flush()
    return [(s.start_ms, s.end_ms, s.forced_end, round(s.speech_probability, 4)) for s in segments_of(events)]


def same(one: Told, other: Told) -> bool:
    """Equal to the millisecond, and in probability to the third place."""
    return [segment[:3] for segment in one] == [segment[:3] for segment in other] and np.allclose(
        [segment[3] for segment in one], [segment[3] for segment in other], atol=1e-3
    )
