"""Streams that are scored together answer what each of them answers alone."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from app.live.hub import Hub
from app.live.parameters import StreamParameters
from app.live.session import LiveSession
from app.vad.blocks import Block
from app.vad.models.fsmn.checkpoint import Checkpoint, read_checkpoint
from app.vad.models.fsmn.scorer import FsmnScorer
from app.vad.posteriors import FrameScores
from app.vad.segmenters.options import VadOptions
from tests.live.client import cut, s16
from tests.live.hubs import Part, Told, WatchedScorer, alone, drive, messages_of, running_hub, same, told
from tests.signals import bursts

OPTIONS = [
    VadOptions(),
    VadOptions(max_end_silence_time=200, speech_to_sil_time_thres=100),
    VadOptions(do_extend=False, max_single_segment_time=1_000),
    VadOptions(detect_mode=0),
    VadOptions(snr_thres=10, decibel_thres=-20),
    VadOptions(mode="tight"),
    VadOptions(mode="tight", max_speech_duration_s=1, min_silence_duration_ms=300),
]
SIZES = [320, 640, 1_282, 1_920, 3_200, 6_400, 19_200, 50_002]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def checkpoint(small_model: Path) -> Checkpoint:
    """The tiny model, read."""
    return read_checkpoint(small_model, model_id="small")


def plan(number: int, samples: np.ndarray, chance: np.random.Generator) -> list[Part]:
    """Chunks of one size or another, with wishes between them."""
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


async def all_at_once(hub: Hub, plans: list[list[Part]]) -> list[LiveSession]:
    drives = [
        drive(hub, parts, OPTIONS[number % len(OPTIONS)], np.random.default_rng(number))
        for number, parts in enumerate(plans)
    ]
    return list(await asyncio.gather(*drives))


def expected_of(scorer: FsmnScorer, plans: list[list[Part]]) -> list[Told]:
    return [alone(scorer, parts, OPTIONS[number % len(OPTIONS)]) for number, parts in enumerate(plans)]


async def test_many_streams_with_their_own_options(checkpoint: Checkpoint) -> None:
    scorer = WatchedScorer(checkpoint, CPU)
    chance = np.random.default_rng(11)
    plans = [plan(number, voice(number, chance), chance) for number in range(84)]
    batches: list[float] = []
    async with running_hub(scorer) as hub:
        hub.batcher.observers.batch = batches.append
        sessions = await all_at_once(hub, plans)
        assert hub.connected == 0
    assert scorer.bank.free == 2 * 200
    expected = expected_of(scorer, plans)
    wrong = [number for number, session in enumerate(sessions) if not same(told(session), expected[number])]
    assert wrong == []
    assert sum(map(len, expected)) > 100
    assert max(batches) > 20, "they were scored together"
    for session, parts in zip(sessions, plans, strict=True):
        assert messages_of(session)[-1]["chunks"] == sum(isinstance(part, bytes) for part in parts)


async def test_two_interleaved_streams_of_the_same_audio(small_scorer: FsmnScorer) -> None:
    parts: list[Part] = [*cut(s16(bursts(8.0, [(1, 1.5), (2.2, 4), (5, 7.5)])), 3_200), "end"]
    first, second = VadOptions(max_end_silence_time=300), VadOptions(mode="tight", speech_pad_ms=0)
    async with running_hub(small_scorer) as hub:
        both = await asyncio.gather(
            drive(hub, parts, first, np.random.default_rng(1)), drive(hub, parts, second, np.random.default_rng(1))
        )
    assert same(told(both[0]), alone(small_scorer, parts, first))
    assert same(told(both[1]), alone(small_scorer, parts, second))
    assert told(both[0]) != told(both[1])


async def test_chunks_that_come_while_a_turn_is_being_gathered(small_scorer: FsmnScorer) -> None:
    """At most one piece of a stream's work is under way, also when there are so many that gathering makes a pause."""
    data = s16(bursts(3.0, [(0.5, 1.0), (1.6, 2.8)]))
    options = VadOptions(max_end_silence_time=200, speech_to_sil_time_thres=100)

    def leave() -> None:
        return

    async with running_hub(small_scorer, delay_s=0) as hub:
        sessions = [hub.open("client", StreamParameters(), options, leave) for _ in range(150)]
        for chunk in cut(data, 640):
            for session in sessions:
                session.feed(chunk)
                hub.batcher.notify(session)
            await asyncio.sleep(0)
        for session in sessions:
            session.wish("end")
            hub.batcher.notify(session)
        for _ in range(4_000):
            if all(session.closing is not None for session in sessions):
                break
            await asyncio.sleep(0.005)
    expected = alone(small_scorer, [data, "end"], options)
    assert len(expected) == 2
    assert all(same(told(session), expected) for session in sessions)


@pytest.mark.reference
async def test_the_published_model(reference: Path, published_scorer: FsmnScorer) -> None:
    samples, _ = soundfile.read(reference / "audio" / "vad_example.wav", dtype="float32")
    chance = np.random.default_rng(5)
    plans = [plan(number, samples[number * 40_000 :][:120_000], chance) for number in range(24)]
    async with running_hub(published_scorer) as hub:
        sessions = await all_at_once(hub, plans)
    expected = expected_of(published_scorer, plans)
    assert [n for n, session in enumerate(sessions) if not same(told(session), expected[n])] == []
    assert sum(map(len, expected)) > 30


class Fragile(WatchedScorer):
    """Fails on every block that holds the mark, and once on any other batch if told to."""

    MARK = np.float32(12_345 / 32_768)
    fail_once = False

    def score(self, blocks: list[Block]) -> list[FrameScores]:
        if any((block.samples == self.MARK).sum() > 20 for block in blocks):
            raise RuntimeError("a marked block")
        if self.fail_once and len(blocks) > 5:
            self.fail_once = False
            raise RuntimeError("once")
        return super().score(blocks)


async def test_one_bad_stream_does_not_end_the_others(checkpoint: Checkpoint) -> None:
    scorer = Fragile(checkpoint, CPU)
    chance = np.random.default_rng(3)
    plans = [plan(number, voice(number, chance), chance) for number in range(20)]
    plans[7].insert(len(plans[7]) // 2, np.full(1_600, 12_345, "<i2").tobytes())
    async with running_hub(scorer) as hub:
        sessions = await all_at_once(hub, plans)
        assert hub.connected == 0
    bad = sessions.pop(7)
    plans.pop(7)
    assert (bad.closing.code, bad.closing.reason) == (1011, "internal")
    assert messages_of(bad)[-1]["code"] == "internal"
    assert "marked" not in messages_of(bad)[-1]["detail"]
    options = [OPTIONS[number % len(OPTIONS)] for number in range(20) if number != 7]
    for session, parts, option in zip(sessions, plans, options, strict=True):
        assert same(told(session), alone(scorer, parts, option))
    assert scorer.bank.free == 2 * 200


async def test_a_batch_that_fails_once_fails_nobody(checkpoint: Checkpoint) -> None:
    scorer = Fragile(checkpoint, CPU)
    chance = np.random.default_rng(4)
    plans = [plan(number, voice(number, chance), chance) for number in range(30)]
    scorer.fail_once = True
    async with running_hub(scorer) as hub:
        sessions = await all_at_once(hub, plans)
    assert scorer.fail_once is False
    assert all(same(told(s), e) for s, e in zip(sessions, expected_of(scorer, plans), strict=True))


async def test_rooms_are_given_back_to_the_last_one(checkpoint: Checkpoint) -> None:
    """Sessions that are left with their work under way, over and over, more often than there are rooms."""
    scorer = WatchedScorer(checkpoint, CPU)

    def leave() -> None:
        return

    async with running_hub(scorer, streams=10) as hub:
        for _ in range(100):
            sessions = [hub.open("client", StreamParameters(), VadOptions(), leave) for _ in range(5)]
            for session in sessions:
                session.feed(bytes(6_400))
                hub.batcher.notify(session)
            await asyncio.sleep(0.002)
            for session in sessions:
                hub.leave(session, leave)
        for _ in range(1_000):
            if scorer.bank.free == 20:
                break
            await asyncio.sleep(0.005)
        assert (scorer.bank.free, hub.connected) == (20, 0)
