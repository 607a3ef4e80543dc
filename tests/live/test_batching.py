"""Streams that are scored together answer what each of them answers alone."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from app.live.session import LiveSession
from app.vad.blocks import Block, Scored
from app.vad.errors import NotReady
from app.vad.models.family import Scorer
from app.vad.models.fsmn.checkpoint import read_checkpoint
from app.vad.models.fsmn.network import FsmnScorer
from tests.engines import ScorerAround, loaded, model_on
from tests.live.client import cut, s16
from tests.live.managers import (
    Connected,
    Part,
    RunningManager,
    Told,
    WatchedScorer,
    alone,
    drive,
    feed,
    messages_of,
    running_manager,
    same,
    told,
)
from tests.segmentations import endpoint, tight
from tests.signals import bursts

OPTIONS = [
    endpoint(),
    endpoint(max_end_silence_time=200, speech_to_sil_time_thres=100),
    endpoint(do_extend=False, max_single_segment_time=1_000),
    endpoint(detect_mode=0),
    endpoint(snr_thres=10, decibel_thres=-20),
    tight(threshold=0.7, neg_threshold=0.5),
    tight(threshold=0.7, neg_threshold=0.5, max_speech_duration_s=1, min_silence_duration_ms=300),
]
SIZES = [320, 640, 1_282, 1_920, 3_200, 6_400, 19_200, 50_002]


def plan(number: int, samples: np.ndarray, chance: np.random.Generator) -> list[Part]:
    """Chunks of one size or another, with commands between them."""
    parts: list[Part] = []
    for chunk in cut(s16(samples), SIZES[number % len(SIZES)]):
        parts.append(chunk)
        if number % 3 == 0 and chance.random() < 0.03:
            parts.append("flush")
        elif number % 5 == 0 and chance.random() < 0.01:
            parts.append("reset")
    return [*parts, "end"]


def voice(number: int, chance: np.random.Generator) -> np.ndarray:
    """A few seconds, different for each stream."""
    seconds = float(chance.uniform(1, 8))
    edges = np.sort(chance.uniform(0, seconds, 6)).reshape(3, 2)
    return bursts(seconds, [(float(a), float(b)) for a, b in edges], seed=number)


async def all_at_once(running: RunningManager, plans: list[list[Part]]) -> list[LiveSession]:
    drives = [
        drive(running, parts, OPTIONS[number % len(OPTIONS)], np.random.default_rng(number))
        for number, parts in enumerate(plans)
    ]
    return list(await asyncio.gather(*drives))


def expected_of(scorer: Scorer[Any], plans: list[list[Part]]) -> list[Told]:
    return [alone(scorer, parts, OPTIONS[number % len(OPTIONS)]) for number, parts in enumerate(plans)]


def some_plans(count: int, seed: int) -> list[list[Part]]:
    chance = np.random.default_rng(seed)
    return [plan(number, voice(number, chance), chance) for number in range(count)]


async def test_many_streams_with_their_own_options(small_scorer: FsmnScorer) -> None:
    scorer, plans = WatchedScorer(small_scorer), some_plans(84, 11)
    async with running_manager(scorer) as running:
        sessions = await all_at_once(running, plans)
        assert running.manager.connected == 0
    assert scorer.pool.free == 2 * 200
    expected = expected_of(scorer, plans)
    wrong = [number for number, session in enumerate(sessions) if not same(told(session), expected[number])]
    assert wrong == []
    assert sum(map(len, expected)) > 100
    assert max(running.observer.batches) > 20, "they were scored together"
    for session, parts in zip(sessions, plans, strict=True):
        assert messages_of(session)[-1]["chunks"] == sum(isinstance(part, bytes) for part in parts)


async def test_two_interleaved_streams_of_the_same_audio(small_scorer: FsmnScorer) -> None:
    parts: list[Part] = [*cut(s16(bursts(8.0, [(1, 1.5), (2.2, 4), (5, 7.5)])), 3_200), "end"]
    first, second = endpoint(max_end_silence_time=300), tight(speech_pad_ms=0)
    async with running_manager(small_scorer) as running:
        both = await asyncio.gather(
            drive(running, parts, first, np.random.default_rng(1)),
            drive(running, parts, second, np.random.default_rng(1)),
        )
    assert same(told(both[0]), alone(small_scorer, parts, first))
    assert same(told(both[1]), alone(small_scorer, parts, second))
    assert told(both[0]) != told(both[1])


async def test_chunks_that_come_while_a_turn_is_being_gathered(small_scorer: FsmnScorer) -> None:
    """At most one piece of a stream's work is under way, also when there are so many that gathering makes a pause."""
    data = s16(bursts(3.0, [(0.5, 1.0), (1.6, 2.8)]))
    options = endpoint(max_end_silence_time=200, speech_to_sil_time_thres=100)
    async with running_manager(small_scorer, delay_s=0) as running:
        slots = [running.open(options, Connected()) for _ in range(150)]
        for chunk in cut(data, 640):
            for slot in slots:
                feed(running.manager, slot, chunk)
            await asyncio.sleep(0)
        for slot in slots:
            feed(running.manager, slot, "end")
        for _ in range(4_000):
            if all(slot.session.ended is not None for slot in slots):
                break
            await asyncio.sleep(0.005)
    expected = alone(small_scorer, [data, "end"], options)
    assert len(expected) == 2
    assert all(same(told(slot.session), expected) for slot in slots)


@pytest.mark.reference
async def test_the_published_model(reference: Path, published_scorer: FsmnScorer) -> None:
    samples, _ = soundfile.read(reference / "audio" / "vad_example.wav", dtype="float32")
    chance = np.random.default_rng(5)
    plans = [plan(number, samples[number * 40_000 :][:120_000], chance) for number in range(24)]
    async with running_manager(published_scorer) as running:
        sessions = await all_at_once(running, plans)
    expected = expected_of(published_scorer, plans)
    assert [n for n, session in enumerate(sessions) if not same(told(session), expected[n])] == []
    assert sum(map(len, expected)) > 30


class Fragile(WatchedScorer):
    """Fails on every block that holds the mark, and once on any other batch if told to: after half of it was scored."""

    MARK = np.float32(12_345 / 32_768)
    fail_once = False

    def score(self, blocks: Sequence[Block[Any]]) -> Sequence[Scored[Any]]:
        if any((block.samples == self.MARK).sum() > 20 for block in blocks):
            raise RuntimeError("a marked block")
        if self.fail_once and len(blocks) > 5:
            self.fail_once = False
            self.inner.score(blocks[: len(blocks) // 2])
            raise RuntimeError("once")
        return self.inner.score(blocks)


async def test_one_bad_stream_does_not_end_the_others(small_scorer: FsmnScorer) -> None:
    scorer, plans = Fragile(small_scorer), some_plans(20, 3)
    plans[7].insert(len(plans[7]) // 2, np.full(1_600, 12_345, "<i2").tobytes())
    async with running_manager(scorer) as running:
        sessions = await all_at_once(running, plans)
        assert running.manager.connected == 0
    bad = sessions.pop(7)
    plans.pop(7)
    assert bad.ended == "internal"
    assert messages_of(bad)[-1]["code"] == "internal"
    assert "marked" not in messages_of(bad)[-1]["detail"]
    options = [OPTIONS[number % len(OPTIONS)] for number in range(20) if number != 7]
    for session, parts, option in zip(sessions, plans, options, strict=True):
        assert same(told(session), alone(small_scorer, parts, option))
    assert scorer.pool.free == 2 * 200


async def test_a_batch_that_fails_once_fails_nobody(small_scorer: FsmnScorer) -> None:
    scorer, plans = Fragile(small_scorer), some_plans(30, 4)
    scorer.fail_once = True
    async with running_manager(scorer) as running:
        sessions = await all_at_once(running, plans)
    assert scorer.fail_once is False
    assert all(same(told(s), e) for s, e in zip(sessions, expected_of(small_scorer, plans), strict=True))


class OutOfMemory(WatchedScorer):
    """A device without room for more than so many blocks; half of the batch has been scored when that shows."""

    most = 2

    def score(self, blocks: Sequence[Block[Any]]) -> Sequence[Scored[Any]]:
        if len(blocks) > self.most:
            self.inner.score(blocks[: len(blocks) // 2])
            raise torch.OutOfMemoryError("out of memory")
        return self.inner.score(blocks)


@pytest.mark.parametrize("most", [2, 0], ids=["halved", "cpu"])
async def test_no_stream_moves_twice_when_memory_runs_out(small_scorer: FsmnScorer, most: int) -> None:
    scorer, plans = OutOfMemory(small_scorer), some_plans(30, 8)
    scorer.most = most
    async with running_manager(loaded(scorer, on_cpu=lambda: small_scorer)) as running:
        sessions = await all_at_once(running, plans)
    assert all(same(told(s), e) for s, e in zip(sessions, expected_of(small_scorer, plans), strict=True))


async def test_bfloat16_on_the_device_and_float32_on_the_cpu_in_one_stream(small_model: Path) -> None:
    """Streams go on across types: none dies, and none is further off than the type's own rounding explains."""
    checkpoint = read_checkpoint(small_model)
    device = FsmnScorer(checkpoint, torch.device("cpu"), torch.bfloat16)
    cpu = FsmnScorer(checkpoint, torch.device("cpu"))
    scorer, plans = Flickering(device), some_plans(20, 9)
    async with running_manager(loaded(scorer, on_cpu=lambda: cpu)) as running:
        sessions = await all_at_once(running, plans)
    assert scorer.failures > 20
    assert all(session.ended == "done" for session in sessions)
    for session, right in zip(sessions, expected_of(cpu, plans), strict=True):
        assert len(told(session)) == len(right)
        for mine, exact in zip(told(session), right, strict=True):
            assert np.abs(np.array(mine[:2]) - np.array(exact[:2])).max() <= 20


class Flickering(WatchedScorer):
    """Memory that is there at one call and not at the next."""

    calls = failures = 0

    def score(self, blocks: Sequence[Block[Any]]) -> Sequence[Scored[Any]]:
        self.calls += 1
        if self.calls % 5 in (0, 1, 2):
            self.failures += 1
            raise torch.OutOfMemoryError("out of memory")
        return self.inner.score(blocks)


async def test_a_stream_that_is_shut_down_is_told_so(small_scorer: FsmnScorer) -> None:
    """Not that its audio was wrong."""
    async with running_manager(small_scorer) as running:
        slot = running.open(endpoint(), Connected())
        await asyncio.to_thread(running.model.backend.engine.close)
        with pytest.raises(NotReady):
            await running.model.backend.warm_up()
        feed(running.manager, slot, s16(bursts(1.0, [(0.2, 0.8)])))
        for _ in range(1_000):
            if slot.session.ended is not None:
                break
            await asyncio.sleep(0.005)
    assert slot.session.ended == "not_ready"
    assert messages_of(slot.session)[-1]["code"] == "not_ready"


async def test_rows_are_given_back_to_the_last_one(small_scorer: FsmnScorer) -> None:
    """Sessions that are left with their work under way, over and over, more often than there are rows."""
    scorer = WatchedScorer(small_scorer)
    async with running_manager(scorer, streams=10) as running:
        for _ in range(100):
            connected = [Connected() for _ in range(5)]
            slots = [running.open(endpoint(), connection) for connection in connected]
            for slot in slots:
                feed(running.manager, slot, bytes(6_400))
            await asyncio.sleep(0.002)
            for slot, connection in zip(slots, connected, strict=True):
                running.manager.leave(slot, connection)
        for _ in range(1_000):
            if scorer.pool.free == 20:
                break
            await asyncio.sleep(0.005)
        assert (scorer.pool.free, running.manager.connected) == (20, 0)


async def test_streams_of_two_models_are_never_in_one_batch(small_scorer: FsmnScorer) -> None:
    """Each is scored by its own, and answers what it answers alone."""
    quiet = ScorerAround(
        small_scorer,
        lambda blocks: small_scorer.score(
            [Block(block.samples * np.float32(0.05), block.discard, block.final, block.state) for block in blocks]
        ),
    )
    plans = some_plans(24, 12)
    async with running_manager(small_scorer) as running:
        other = RunningManager(
            running.manager, model_on(running.model.backend.engine, loaded(quiet, "quiet")), running.observer
        )
        sessions = await asyncio.gather(
            *(
                drive((running, other)[number % 2], parts, endpoint(), np.random.default_rng(number))
                for number, parts in enumerate(plans)
            )
        )
    for number, (session, parts) in enumerate(zip(sessions, plans, strict=True)):
        assert same(told(session), alone((small_scorer, quiet)[number % 2], parts, endpoint()))
    assert max(running.observer.batches) > 5
