"""What a live session holds is bounded, however long it lasts and whatever its client does."""

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from app.live.protocols import PROTOCOLS
from app.live.queues import HISTORY_MESSAGES, INBOX_ITEMS, OUTBOX_MESSAGES
from app.live.session import LiveSession, PendingBlock, next_blocks
from app.request import Plan
from app.vad.blocks import Scored
from app.vad.errors import InvalidAudio
from app.vad.models.fsmn.network import FsmnScorer
from app.vad.models.scorer import StatePool
from app.vad.segmenters.registry import Segmentation
from app.vad.stream import VadStream
from tests.live.client import cut, s16
from tests.live.managers import live_plan
from tests.segmentations import endpoint, tight
from tests.signals import bursts


class Session:
    """A session, and its row of a pool."""

    def __init__(self, scorer: FsmnScorer, pool: StatePool, segmentation: Segmentation, **options: Any) -> None:
        self.row = pool.open()
        model: Any = SimpleNamespace(
            grid=scorer.grid, new_stream=lambda chosen: VadStream(scorer, chosen.new_segmenter)
        )
        self.session = LiveSession(live_plan(model, segmentation, **options), PROTOCOLS["vad"], buffer_s=10)


def advance(scorer: FsmnScorer, pool: StatePool, sessions: list[Session]) -> None:
    """Everything that waits, scored together."""
    while True:
        pending = next_blocks([each.session for each in sessions])
        works = [(each, work) for each, work in zip(sessions, pending, strict=True) if isinstance(work, PendingBlock)]
        if not works:
            return
        found = scorer.score([work.blocks[0] for _, work in works])
        for (each, work), scored in zip(works, found, strict=True):
            state = scored.state and pool.store([each.row], [scored.state])[0]
            each.session.commit(work, [Scored(scored.posteriors, state)])


SHARED = (FsmnScorer, StatePool, Segmentation, Plan, SimpleNamespace, torch.Tensor, type)
GROWING = "_segments"


def held_bytes(thing: object, seen: set[int] | None = None) -> int:
    """Bytes of everything that only this object leads to; the list of segments, which may grow, is left out."""
    seen = set() if seen is None else seen
    if id(thing) in seen or isinstance(thing, SHARED) or callable(thing):
        return 0
    seen.add(id(thing))
    if isinstance(thing, np.ndarray):
        return thing.nbytes if thing.base is None else held_bytes(thing.base, seen)
    if isinstance(thing, (list, tuple, set)) or type(thing).__name__ == "deque":
        return sys.getsizeof(thing) + sum(held_bytes(item, seen) for item in thing)  # type: ignore[attr-defined]
    if isinstance(thing, dict):
        return sys.getsizeof(thing) + sum(held_bytes(item, seen) for pair in thing.items() for item in pair)
    slots = [name for cls in type(thing).__mro__ for name in getattr(cls, "__slots__", ())]
    members = [*getattr(thing, "__dict__", {}), *slots]
    inner = [getattr(thing, name, None) for name in members if name != GROWING]
    return sys.getsizeof(thing) + sum(held_bytes(item, seen) for item in inner)


def test_what_a_session_holds_does_not_grow_with_time(small_scorer: FsmnScorer) -> None:
    """A quarter of an hour of silence, of talk, and of one unbroken noise."""
    talk = bursts(60.0, [(start, start + 2.5) for start in range(1, 60, 5)])
    inputs = {"silence": np.zeros(960_000, np.float32), "talk": talk, "noise": bursts(60.0, [(0, 60)])}
    pool = small_scorer.new_pool(12)
    made = [
        (name, Session(small_scorer, pool, options, probabilities=True))
        for name in inputs
        for options in (endpoint(), tight(), tight(max_speech_duration_s=20))
    ]
    sessions = [session for _, session in made]
    minutes = {name: cut(s16(samples), 64_000) for name, samples in inputs.items()}
    sizes: list[list[int]] = []
    for _minute in range(15):
        for part in range(30):
            for name, each in made:
                each.session.receive_audio(minutes[name][part], 0.0)
            advance(small_scorer, pool, sessions)
            for each in sessions:
                fetch_all(each.session)
        sizes.append([held_bytes(each.session) for each in sessions])
    assert all(each.session.ended is None and each.session.received_ms == 900_000 for each in sessions)
    assert all(20_000 < size < 200_000 for size in sizes[-1]), sizes[-1]
    for (name, each), early, late in zip(made, sizes[9], sizes[-1], strict=True):
        assert late < early * 1.05 + 2_000, (name, each.session.plan.segmentation.options.mode)


def fetch_all(session: LiveSession) -> None:
    while session.next_message() is not None:
        session.message_sent()


def test_what_waits_is_bounded(small_scorer: FsmnScorer) -> None:
    pool = small_scorer.new_pool(3)
    made = [Session(small_scorer, pool, endpoint()) for _ in range(3)]
    loud, small, commands = (each.session for each in made)
    while not loud.is_full:
        loud.receive_audio(bytes(3_200), 0.0)
    assert loud.received_ms == 10_000
    while not small.is_full:
        small.receive_audio(b"\0", 0.0)
    assert small.received_samples == INBOX_ITEMS // 2
    for _ in range(INBOX_ITEMS):
        commands.receive_command("flush")
    assert commands.is_full
    advance(small_scorer, pool, made)
    assert not any(session.is_full for session in (loud, small, commands))


def test_streams_of_a_turn_are_read_together_and_do_not_touch_each_other(small_scorer: FsmnScorer) -> None:
    """Of several forms, with chunks of several lengths; and one of them with what is no number."""
    generator = np.random.default_rng(3)
    forms: list[dict[str, Any]] = [
        {},
        {"encoding": "mulaw", "sample_rate": 8_000},
        {"encoding": "pcm_f32le", "channels": 2},
        {"sample_rate": 48_000},
        {"encoding": "pcm_s16be"},
        {},
    ]

    def sessions() -> list[LiveSession]:
        pool = small_scorer.new_pool(len(forms))
        return [Session(small_scorer, pool, endpoint(), **form).session for form in forms]

    together, alone, broken = sessions(), sessions(), sessions()[2]
    for turn in range(6):
        for one, other in zip(together, alone, strict=True):
            values = generator.uniform(-1, 1, int(generator.integers(1, 4_000))).astype("<f4")
            data = values.tobytes() if one.form.encoding == "pcm_f32le" else (values * 32_767).astype("<i2").tobytes()
            one.receive_audio(data, 0.0)
            other.receive_audio(data, 0.0)
        if turn == 3:
            broken.receive_audio(np.array([0.5, np.nan] * 300, "<f4").tobytes(), 0.0)
        *found, failed = next_blocks([*together, broken])
        assert isinstance(failed, InvalidAudio) == (turn == 3)
        for one, piece in zip(found, [next_blocks([each])[0] for each in alone], strict=True):
            assert type(one) is type(piece)
            if isinstance(one, PendingBlock) and isinstance(piece, PendingBlock):
                for block, same in zip(one.blocks, piece.blocks, strict=True):
                    assert block is not None
                    assert same is not None
                    assert np.array_equal(block.samples, same.samples)
    assert [each.warnings for each in together] == [each.warnings for each in alone]


def test_levels_are_those_of_the_clients_samples(small_scorer: FsmnScorer) -> None:
    """As in files: of every channel, and at the client's own rate. The mean of these two is far below full scale."""
    each = Session(small_scorer, small_scorer.new_pool(1), endpoint(), channels=2, sample_rate=48_000)
    loud = np.where(np.arange(48_000) // 60 % 2, 32_767, -32_768).astype("<i2")
    each.session.receive_audio(np.stack((np.zeros_like(loud), loud), axis=1).tobytes(), 0.0)
    next_blocks([each.session])
    assert [warning.code for warning in each.session.warnings] == ["clipped"]


@pytest.mark.parametrize("kind", ["probabilities", "flushes", "pongs"])
def test_what_nobody_fetches_is_bounded(small_scorer: FsmnScorer, kind: str) -> None:
    pool = small_scorer.new_pool(1)
    each = Session(small_scorer, pool, endpoint(), probabilities=True, probability_interval_ms=10)
    session = each.session
    for _ in range(2 * OUTBOX_MESSAGES):
        if session.ended is not None:
            break
        if kind == "probabilities":
            session.receive_audio(bytes(320), 0.0)
        elif kind == "flushes":
            session.receive_command("flush")
        else:
            session.say({"type": "pong", "received_ms": 0})
        advance(small_scorer, pool, [each])
    assert session.ended == "slow_reader"
    assert len(session._outbox._waiting) <= OUTBOX_MESSAGES + 2
    assert len(session._outbox._history) <= HISTORY_MESSAGES
