"""Blocks of many files as one batch, as on a GPU; here on the CPU, with the same code."""

import asyncio
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from app.engine.device import DevicePolicy
from app.engine.engine import Engine, Usage
from app.vad.blocks import Block
from app.vad.models.fsmn.scorer import FsmnScorer
from app.vad.posteriors import FloatArray, FrameScores
from app.vad.segment import segments_of
from app.vad.segmenters.options import VadOptions
from app.vad.stream import VadStream
from tests.signals import bursts

RATE = 16_000
SAMPLES = bursts(40.0, [(1, 3), (6, 9), (12, 22), (25, 25.4), (27, 38)])
Spans = list[tuple[int, int]]


class Source:
    """Samples in blocks of a second."""

    def __init__(self, samples: FloatArray) -> None:
        self._samples = samples

    def __iter__(self) -> Iterator[FloatArray]:
        for first in range(0, len(self._samples), RATE):
            yield self._samples[None, first : first + RATE]

    def close(self) -> None:
        """Nothing is open."""


class Counting:
    """Scores, and remembers how many blocks each batch had; fails when a block is loud beyond measure."""

    def __init__(self, scorer: FsmnScorer) -> None:
        self._scorer = scorer
        self.batches: list[int] = []

    def __call__(self, blocks: list[Block]) -> list[FrameScores]:
        self.batches.append(len(blocks))
        if any(np.abs(block.samples).max(initial=0) > 100 for block in blocks):
            raise ValueError("a device that fails")
        return self._scorer.score(blocks)


def batched(scorer: FsmnScorer, size: int) -> tuple[Engine, Counting]:
    score = Counting(scorer)
    return Engine(scorer, DevicePolicy(torch.device("cpu"), score, lambda: scorer.score), workers=2, batch=size), score


async def detect(engine: Engine, samples: FloatArray) -> Spans:
    events = []
    async for found in engine.detect(Source(samples), VadOptions(), Usage()):
        events += found.events
    return [(segment.start_ms, segment.end_ms) for segment in segments_of(events)]


def expected(scorer: FsmnScorer, samples: FloatArray) -> Spans:
    stream = VadStream(scorer, VadOptions())
    events = stream.accept_waveform(samples) + stream.flush()
    return [(segment.start_ms, segment.end_ms) for segment in segments_of(events)]


async def test_many_files_share_batches_and_each_gets_its_own_segments(small_scorer: FsmnScorer) -> None:
    engine, score = batched(small_scorer, 8)
    parts = [SAMPLES[: RATE * seconds] for seconds in range(10, 40)]
    found = await asyncio.gather(*(detect(engine, part) for part in parts))
    assert found == [expected(small_scorer, part) for part in parts]
    assert 1 < max(score.batches) <= 8
    assert sum(score.batches) / len(score.batches) > 4, "batches are filled when much waits"
    engine.close()


async def test_one_long_file_fills_batches_by_itself(small_scorer: FsmnScorer) -> None:
    engine, score = batched(small_scorer, 4)
    samples = np.tile(SAMPLES, 5)
    assert await detect(engine, samples) == expected(small_scorer, samples)
    assert max(score.batches) > 1
    engine.close()


async def test_a_cancelled_file_leaves_the_queue_and_the_others_go_on(small_scorer: FsmnScorer) -> None:
    engine, _ = batched(small_scorer, 4)
    tasks = [asyncio.ensure_future(detect(engine, SAMPLES)) for _ in range(12)]
    await asyncio.sleep(0.01)
    for task in tasks[::2]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results[::2])
    assert results[1::2] == [expected(small_scorer, SAMPLES)] * 6
    assert await detect(engine, SAMPLES) == expected(small_scorer, SAMPLES)
    engine.close()


async def test_a_failing_batch_is_told_to_those_in_it_and_ends(small_scorer: FsmnScorer) -> None:
    engine, _ = batched(small_scorer, 4)
    with pytest.raises(ValueError, match="a device that fails"):
        await detect(engine, SAMPLES + 1000)
    assert await detect(engine, SAMPLES) == expected(small_scorer, SAMPLES)
    status = engine.status()
    assert (status.busy, status.waiting, status.requests) == (0, 0, 0)
    engine.close()
