"""What a live session holds is bounded, however long it lasts and whatever its client does."""

import sys
from typing import Any

import numpy as np
import pytest
import torch

from app.live.parameters import StreamParameters
from app.live.session import HISTORY, INBOX_LIMIT, OUTBOX_LIMIT, LiveSession, Owner
from app.vad.models.fsmn.scorer import FsmnScorer
from app.vad.models.state import StateBank
from app.vad.segmenters.options import VadOptions
from tests.live.client import cut, s16
from tests.signals import bursts


def new_session(scorer: FsmnScorer, bank: StateBank, options: VadOptions, **parameters: Any) -> LiveSession:
    owner = Owner("token", "client")
    return LiveSession(owner, StreamParameters(**parameters), options, scorer, bank.open(), buffer_s=10)


def advance(scorer: FsmnScorer, sessions: list[LiveSession]) -> None:
    """Everything that waits, scored together."""
    while True:
        works = [(session, work) for session in sessions if (work := session.take()) is not None]
        if not works:
            return
        scores = scorer.score([work.block for _, work in works])
        for (session, work), found in zip(works, scores, strict=True):
            session.give(work, found)


SHARED = (FsmnScorer, StateBank, VadOptions, StreamParameters, type)
GROWING = "_segments"


def held_bytes(thing: object, seen: set[int] | None = None) -> int:
    """Bytes of everything that only this object leads to; the list of segments, which may grow, is left out."""
    seen = set() if seen is None else seen
    if id(thing) in seen or isinstance(thing, SHARED) or callable(thing):
        return 0
    seen.add(id(thing))
    if isinstance(thing, np.ndarray):
        return thing.nbytes if thing.base is None else held_bytes(thing.base, seen)
    if isinstance(thing, torch.Tensor):
        return thing.untyped_storage().nbytes()
    if isinstance(thing, (list, tuple, set)) or type(thing).__name__ == "deque":
        return sys.getsizeof(thing) + sum(held_bytes(item, seen) for item in thing)  # type: ignore[attr-defined]
    if isinstance(thing, dict):
        return sys.getsizeof(thing) + sum(held_bytes(item, seen) for pair in thing.items() for item in pair)
    slots = [name for cls in type(thing).__mro__ for name in getattr(cls, "__slots__", ())]
    members = [*getattr(thing, "__dict__", {}), *slots]
    inner = [getattr(thing, name, None) for name in members if name != GROWING]
    return sys.getsizeof(thing) + sum(held_bytes(item, seen) for item in inner)


def test_what_a_session_holds_does_not_grow_with_time(small_scorer: FsmnScorer) -> None:
    """An hour of silence, of talk, and of one unbroken noise."""
    talk = bursts(60.0, [(start, start + 2.5) for start in range(1, 60, 5)])
    inputs = {"silence": np.zeros(960_000, np.float32), "talk": talk, "noise": bursts(60.0, [(0, 60)])}
    bank = small_scorer.new_bank(12)
    made = [
        (name, new_session(small_scorer, bank, options, probabilities=True))
        for name in inputs
        for options in (VadOptions(), VadOptions(mode="tight"), VadOptions(mode="tight", max_speech_duration_s=20))
    ]
    sessions = [session for _, session in made]
    minutes = {name: cut(s16(samples), 64_000) for name, samples in inputs.items()}
    sizes: list[list[int]] = []
    for _minute in range(60):
        for part in range(30):
            for name, session in made:
                session.feed(minutes[name][part])
            advance(small_scorer, sessions)
            for session in sessions:
                session.outbox.clear()
        sizes.append([held_bytes(session) for session in sessions])
    assert all(session.closing is None and session.received_ms == 3_600_000 for session in sessions)
    assert all(20_000 < size < 200_000 for size in sizes[-1]), sizes[-1]
    for (name, session), early, late in zip(made, sizes[14], sizes[-1], strict=True):
        assert late < early * 1.05 + 2_000, (name, session.options.mode)


def test_what_waits_is_bounded(small_scorer: FsmnScorer) -> None:
    bank = small_scorer.new_bank(3)
    loud, small, wishes = (new_session(small_scorer, bank, VadOptions()) for _ in range(3))
    while not loud.is_full:
        loud.feed(bytes(3_200))
    assert loud.received_ms == 10_000
    while not small.is_full:
        small.feed(b"\0")
    assert small.received_samples == INBOX_LIMIT // 2
    for _ in range(INBOX_LIMIT):
        wishes.wish("flush")
    assert wishes.is_full
    rooms: list[int] = []
    for number, session in enumerate((loud, small, wishes)):
        session.on_room = lambda number=number: rooms.append(number)  # type: ignore[misc]
    advance(small_scorer, [loud, small, wishes])
    assert set(rooms) == {0, 1, 2}
    assert not any(session.is_full for session in (loud, small, wishes))


@pytest.mark.parametrize("kind", ["probabilities", "flushes", "pongs"])
def test_what_nobody_fetches_is_bounded(small_scorer: FsmnScorer, kind: str) -> None:
    session = new_session(
        small_scorer, small_scorer.new_bank(1), VadOptions(), probabilities=True, probability_interval_ms=10
    )
    for _ in range(2 * OUTBOX_LIMIT):
        if session.closing is not None:
            break
        if kind == "probabilities":
            session.feed(bytes(320))
        elif kind == "flushes":
            session.wish("flush")
        else:
            session.say({"type": "pong", "received_ms": 0})
        advance(small_scorer, [session])
    assert session.closing is not None
    assert (session.closing.code, session.closing.reason) == (1008, "slow_reader")
    assert len(session.outbox) <= OUTBOX_LIMIT + 2
    assert len(session._history) <= HISTORY
