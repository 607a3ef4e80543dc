"""Blocks of many files as one batch, as on a GPU; here on the CPU, with the same code."""

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from app.engine.backend import Cost
from app.engine.engine import Engine, Turn
from app.models import Model
from app.vad.blocks import Block, Scored
from app.vad.models.fsmn.network import FsmnScorer
from app.vad.posteriors import FloatArray
from tests.engine.sources import Source, Spans, detect, expected
from tests.engines import ScorerAround, loaded, model_on
from tests.signals import bursts

RATE = 16_000
SAMPLES = bursts(40.0, [(1, 30), (6, 9), (12, 22), (25, 25.4), (27, 38)])


class Counting(ScorerAround):
    """Remembers how many blocks each batch had; fails when a block is loud beyond measure."""

    def __init__(self, scorer: FsmnScorer) -> None:
        super().__init__(scorer, self._count)
        self.batches: list[int] = []

    def _count(self, blocks: Sequence[Block[Any]]) -> Sequence[Scored[Any]]:
        self.batches.append(len(blocks))
        if any(np.abs(block.samples).max(initial=0) > 100 for block in blocks):
            raise ValueError("a device that fails")
        return self.inner.score(blocks)


def batched(scorer: FsmnScorer, size: int, workers: int = 2) -> tuple[Model, Counting]:
    score = Counting(scorer)
    return model_on(Engine(workers=workers), loaded(score, batch=size)), score


async def found_in(model: Model, samples: FloatArray) -> Spans:
    return await detect(model, Source(samples, RATE))


async def test_many_files_share_batches_and_each_gets_its_own_segments(small_scorer: FsmnScorer) -> None:
    model, score = batched(small_scorer, 8)
    parts = [SAMPLES[: RATE * seconds] for seconds in range(10, 40)]
    found = await asyncio.gather(*(found_in(model, part) for part in parts))
    assert found == [expected(small_scorer, part) for part in parts]
    assert 1 < max(score.batches) <= 8
    assert sum(score.batches) / len(score.batches) > 4, "batches are filled when much waits"
    model.backend.engine.close()


async def test_one_long_file_fills_batches_by_itself(small_scorer: FsmnScorer) -> None:
    model, score = batched(small_scorer, 4)
    samples = np.tile(SAMPLES, 5)
    assert await found_in(model, samples) == expected(small_scorer, samples)
    assert max(score.batches) > 1
    model.backend.engine.close()


async def test_a_block_that_comes_as_a_batch_ends_is_scored(small_scorer: FsmnScorer) -> None:
    """The one who waited is there again before whatever else the end of a batch brings about."""
    model, score = batched(small_scorer, 4, workers=1)
    turn, block = Turn(), Block(SAMPLES[:RATE], 12, False, None)

    async def one_after_the_other() -> None:
        for _ in range(6):
            await model.backend.score_file_block(block, turn, Cost())

    await asyncio.wait_for(one_after_the_other(), 30)
    assert score.batches == [1] * 6
    model.backend.engine.close()


async def test_a_cancelled_file_leaves_the_queue_and_the_others_go_on(small_scorer: FsmnScorer) -> None:
    model, _ = batched(small_scorer, 4)
    tasks = [asyncio.ensure_future(found_in(model, SAMPLES)) for _ in range(12)]
    await asyncio.sleep(0.01)
    for task in tasks[::2]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results[::2])
    assert results[1::2] == [expected(small_scorer, SAMPLES)] * 6
    assert await found_in(model, SAMPLES) == expected(small_scorer, SAMPLES)
    model.backend.engine.close()


async def test_a_failing_batch_is_told_to_those_in_it_and_ends(small_scorer: FsmnScorer) -> None:
    model, _ = batched(small_scorer, 4)
    with pytest.raises(ValueError, match="a device that fails"):
        await found_in(model, SAMPLES + 1000)
    assert await found_in(model, SAMPLES) == expected(small_scorer, SAMPLES)
    status = model.backend.engine.status()
    assert (status.busy, status.waiting) == (0, 0)
    model.backend.engine.close()
