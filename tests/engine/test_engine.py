"""The engine: permits, cancellation, flat memory, who goes first."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
import torch

from app.engine.backend import Cost
from app.engine.device import NoSuchDevice, choose_device, quickest
from app.engine.engine import Engine
from app.engine.walk import walk
from app.models import Model
from app.vad.blocks import Block, Scored
from app.vad.errors import InvalidAudio, NotReady
from app.vad.models.family import Scorer
from app.vad.models.fsmn.network import FsmnScorer
from tests.engine.sources import Source, detect, expected
from tests.engines import ScorerAround, loaded, model_on
from tests.segmentations import endpoint
from tests.signals import bursts

SAMPLES = bursts(30.0, [(1, 3), (6, 9), (12, 22), (25, 25.4), (27, 30)])
CPU = torch.device("cpu")


@asynccontextmanager
async def serving(scorer: Scorer[Any], workers: int = 2) -> AsyncIterator[Model]:
    engine = Engine(workers=workers)
    try:
        yield model_on(engine, loaded(scorer))
    finally:
        await asyncio.to_thread(engine.close)


def at_rest(model: Model) -> bool:
    status = model.backend.engine.status()
    return (status.busy, status.waiting) == (0, 0)


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("block", [16_000, 50_000, 1_000_000])
async def test_segments_do_not_depend_on_workers_or_blocks(small_scorer: FsmnScorer, workers: int, block: int) -> None:
    async with serving(small_scorer, workers) as model:
        source = Source(SAMPLES, block)
        assert await detect(model, source) == expected(small_scorer, SAMPLES)
        assert source.closed


async def test_many_requests_at_once_each_get_their_own(small_scorer: FsmnScorer) -> None:
    parts = [SAMPLES[: 16_000 * seconds] for seconds in range(5, 30)]
    async with serving(small_scorer) as model:
        found = await asyncio.gather(*(detect(model, Source(part)) for part in parts))
        assert found == [expected(small_scorer, part) for part in parts]
        assert at_rest(model)


async def test_a_failing_source_fails_its_request_alone(small_scorer: FsmnScorer) -> None:
    async with serving(small_scorer) as model:
        broken = Source(SAMPLES, fail_after=4)
        with pytest.raises(InvalidAudio):
            await detect(model, broken)
        assert broken.closed
        assert await detect(model, Source(SAMPLES)) == expected(small_scorer, SAMPLES)


async def test_a_permit_is_held_until_the_thread_is_done_though_its_waiter_was_cancelled(
    small_scorer: FsmnScorer,
) -> None:
    release, running = threading.Event(), threading.Semaphore(0)
    most = [0, 0]
    lock = threading.Lock()

    def slow(blocks: Sequence[Block[Any]]) -> Sequence[Scored[Any]]:
        with lock:
            most[0] += 1
            most[1] = max(most[1], most[0])
        running.release()
        release.wait(20)
        with lock:
            most[0] -= 1
        return small_scorer.score(blocks)

    async with serving(ScorerAround(small_scorer, slow)) as model:
        tasks = [asyncio.create_task(detect(model, Source(SAMPLES))) for _ in range(8)]
        await asyncio.to_thread(lambda: (running.acquire(timeout=60), running.acquire(timeout=60)))
        for task in tasks:
            task.cancel()
        more = [asyncio.create_task(detect(model, Source(SAMPLES))) for _ in range(3)]
        await asyncio.sleep(0.05)
        busy = model.backend.engine.status().busy
        assert 2 <= busy <= 4, "two threads, one block that waits for them, one first block beside"
        release.set()
        assert await asyncio.gather(*more) == [expected(small_scorer, SAMPLES)] * 3
        assert most[1] <= 3, "two threads, and the one for first blocks"
        await asyncio.gather(*tasks, return_exceptions=True)
        assert at_rest(model)


async def test_closing_the_iterator_stops_within_a_block(small_scorer: FsmnScorer) -> None:
    async with serving(small_scorer, workers=1) as model:
        source = Source(np.tile(SAMPLES, 40))
        found = walk(model.backends, source, lambda: model.new_stream(endpoint(), isolated=True), Cost())
        await anext(found)
        await found.aclose()
        assert source.closed
        assert source.read < 15


async def test_a_closed_engine_says_not_ready(small_scorer: FsmnScorer) -> None:
    engine = Engine(workers=1)
    model = model_on(engine, loaded(small_scorer))
    engine.close()
    with pytest.raises((NotReady, RuntimeError)):
        await detect(model, Source(SAMPLES))
    with pytest.raises(NotReady):
        await model.backend.warm_up()


async def test_no_more_blocks_are_held_for_a_longer_file(small_scorer: FsmnScorer) -> None:
    """Memory is flat in length: what is read is never far ahead of what has been scored."""
    async with serving(small_scorer) as model:

        async def most_ahead(seconds: int) -> int:
            source = Source(np.tile(SAMPLES, seconds // 30), block=16_000)
            scored = ahead = 0
            streams = lambda: model.new_stream(endpoint(), isolated=True)  # noqa: E731
            async for _ in walk(model.backends, source, streams, Cost()):
                scored += 1
                ahead = max(ahead, source.read - scored)
            return ahead

        short, long = await most_ahead(30), await most_ahead(600)
        assert long <= model.backend.engine.workers + 4
        assert long <= short + 1


async def test_a_first_block_does_not_wait_for_long_files(small_scorer: FsmnScorer) -> None:
    """While every permit is held by later blocks of long files, which do not end, a new request is answered."""
    release = threading.Event()
    held = threading.Semaphore(0)

    def hold_the_long(blocks: Sequence[Block[Any]]) -> Sequence[Scored[Any]]:
        if blocks[0].discard:  # not the first of its file
            held.release()
            release.wait(20)
        return small_scorer.score(blocks)

    async with serving(ScorerAround(small_scorer, hold_the_long)) as model:
        long = [asyncio.create_task(detect(model, Source(SAMPLES))) for _ in range(4)]
        await asyncio.to_thread(lambda: (held.acquire(timeout=60), held.acquire(timeout=60)))
        short = SAMPLES[: 16_000 * 2]
        for _ in range(3):
            found = await asyncio.wait_for(detect(model, Source(short)), 10)
            assert found == expected(small_scorer, short)
        release.set()
        assert await asyncio.gather(*long) == [expected(small_scorer, SAMPLES)] * 4
        assert at_rest(model)


async def test_two_models_share_one_engine(small_scorer: FsmnScorer) -> None:
    """Files of both at once, on one pool of permits: each gets what it gets alone."""
    engine = Engine(workers=2)
    halved = ScorerAround(small_scorer, lambda blocks: small_scorer.score([quieter(block) for block in blocks]))
    models = [model_on(engine, loaded(small_scorer, "one")), model_on(engine, loaded(halved, "other"))]
    found = await asyncio.gather(*(detect(models[number % 2], Source(SAMPLES)) for number in range(12)))
    for number, one in enumerate(found):
        assert one == expected(models[number % 2].backend.scorer, SAMPLES)
    assert found[0] != found[1]
    engine.close()


def quieter(block: Block[Any]) -> Block[Any]:
    return Block(block.samples * np.float32(0.02), block.discard, block.final, block.state)


def test_the_quickest_type_is_taken_where_it_is_clearly_quicker() -> None:
    def takes(seconds: float) -> Callable[[], None]:
        return lambda: time.sleep(seconds)

    assert quickest({"float32": takes(0.02), "bfloat16": takes(0.002)}) == "bfloat16"
    assert quickest({"float32": takes(0.002), "bfloat16": takes(0.02)}) == "float32"
    assert quickest({"float32": takes(0.02), "bfloat16": takes(0.0199)}) == "float32"


def test_device_choice() -> None:
    assert choose_device("cpu", 0) == CPU
    if not torch.cuda.is_available():
        assert choose_device("auto", 0) == CPU
        with pytest.raises(NoSuchDevice):
            choose_device("cuda:3", 0)
