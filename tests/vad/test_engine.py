"""The engine and the device policy: slots, cancellation, the ladder of memory."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from app.engine.device import DevicePolicy, NoSuchDevice, choose_device, choose_dtype
from app.engine.engine import Engine, Usage
from app.vad.blocks import Block
from app.vad.errors import InvalidAudio, NotReady
from app.vad.models.fsmn.checkpoint import read_checkpoint
from app.vad.models.fsmn.scorer import FsmnScorer
from app.vad.posteriors import FloatArray, FrameScores
from app.vad.segment import Segment, segments_of
from app.vad.segmenters.options import VadOptions
from app.vad.stream import VadStream
from tests.signals import bursts

SAMPLES = bursts(30.0, [(1, 3), (6, 9), (12, 22), (25, 25.4), (27, 30)])
CPU = torch.device("cpu")


class Source:
    """Samples in blocks; says whether it was closed."""

    def __init__(self, samples: FloatArray, block: int = 32_000, fail_after: int | None = None) -> None:
        self._samples, self._block, self._fail_after = samples, block, fail_after
        self.closed = False
        self.read = 0

    def __iter__(self) -> Iterator[FloatArray]:
        for first in range(0, len(self._samples), self._block):
            if self._fail_after is not None and self.read >= self._fail_after:
                raise InvalidAudio("damaged")
            self.read += 1
            yield self._samples[None, first : first + self._block]

    def close(self) -> None:
        self.closed = True


def plain_policy(scorer: FsmnScorer) -> DevicePolicy:
    return DevicePolicy(CPU, scorer.score, lambda: scorer.score)


async def detect(engine: Engine, source: Source, usage: Usage | None = None) -> list[Segment]:
    events = []
    async for found in engine.detect(source, VadOptions(), usage or Usage()):
        events += found.events
    return segments_of(events)


def expected(scorer: FsmnScorer, samples: FloatArray = SAMPLES) -> list[tuple[int, int]]:
    stream = VadStream(scorer, VadOptions())
    return [(s.start_ms, s.end_ms) for s in segments_of(stream.accept_waveform(samples) + stream.flush())]


def pairs(segments: list[Segment]) -> list[tuple[int, int]]:
    return [(segment.start_ms, segment.end_ms) for segment in segments]


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("block", [16_000, 50_000, 1_000_000])
async def test_segments_do_not_depend_on_workers_or_blocks(small_scorer: FsmnScorer, workers: int, block: int) -> None:
    engine = Engine(small_scorer, plain_policy(small_scorer), workers=workers)
    source = Source(SAMPLES, block)
    assert pairs(await detect(engine, source)) == expected(small_scorer)
    assert source.closed
    engine.close()


async def test_many_requests_at_once_each_get_their_own(small_scorer: FsmnScorer) -> None:
    engine = Engine(small_scorer, plain_policy(small_scorer), workers=2)
    parts = [SAMPLES[: 16_000 * seconds] for seconds in range(5, 30)]
    found = await asyncio.gather(*(detect(engine, Source(part)) for part in parts))
    assert [pairs(segments) for segments in found] == [expected(small_scorer, part) for part in parts]
    assert (engine.status().busy, engine.status().waiting, engine.status().requests) == (0, 0, 0)
    engine.close()


async def test_a_failing_source_fails_its_request_alone(small_scorer: FsmnScorer) -> None:
    engine = Engine(small_scorer, plain_policy(small_scorer), workers=2)
    broken = Source(SAMPLES, fail_after=4)
    with pytest.raises(InvalidAudio):
        await detect(engine, broken)
    assert broken.closed
    assert pairs(await detect(engine, Source(SAMPLES))) == expected(small_scorer)
    engine.close()


async def test_a_slot_is_held_until_the_thread_is_done_though_its_waiter_was_cancelled(
    small_scorer: FsmnScorer,
) -> None:
    release, running = threading.Event(), threading.Semaphore(0)
    most = [0, 0]
    lock = threading.Lock()

    def slow(blocks: list[Block]) -> list[FrameScores]:
        with lock:
            most[0] += 1
            most[1] = max(most[1], most[0])
        running.release()
        release.wait(20)
        with lock:
            most[0] -= 1
        return small_scorer.score(blocks)

    engine = Engine(small_scorer, DevicePolicy(CPU, slow, lambda: slow), workers=2)
    tasks = [asyncio.create_task(detect(engine, Source(SAMPLES))) for _ in range(8)]
    await asyncio.to_thread(lambda: (running.acquire(timeout=20), running.acquire(timeout=20)))
    for task in tasks:
        task.cancel()
    more = [asyncio.create_task(detect(engine, Source(SAMPLES))) for _ in range(3)]
    await asyncio.sleep(0.05)
    assert 2 <= engine.status().busy <= 4, "two threads, one block that waits for them, one first block beside"
    release.set()
    assert [pairs(found) for found in await asyncio.gather(*more)] == [expected(small_scorer)] * 3
    assert most[1] <= 3, "two threads, and the one for first blocks"
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (engine.status().busy, engine.status().waiting, engine.status().requests) == (0, 0, 0)
    engine.close()


async def test_closing_the_iterator_stops_within_a_block(small_scorer: FsmnScorer) -> None:
    engine = Engine(small_scorer, plain_policy(small_scorer), workers=1)
    source = Source(np.tile(SAMPLES, 40))
    found = engine.detect(source, VadOptions(), Usage())
    await anext(found)
    await found.aclose()
    assert source.closed
    assert source.read < 15
    assert engine.status().requests == 0
    engine.close()


async def test_a_closed_engine_says_not_ready(small_scorer: FsmnScorer) -> None:
    engine = Engine(small_scorer, plain_policy(small_scorer), workers=1)
    engine.close()
    with pytest.raises((NotReady, RuntimeError)):
        await detect(engine, Source(SAMPLES))


async def test_no_more_blocks_are_held_for_a_longer_file(small_scorer: FsmnScorer) -> None:
    """Memory is flat in length: what is read is never far ahead of what has been scored."""
    engine = Engine(small_scorer, plain_policy(small_scorer), workers=2)

    async def most_ahead(seconds: int) -> int:
        source = Source(np.tile(SAMPLES, seconds // 30), block=16_000)
        scored = ahead = 0
        async for _ in engine.detect(source, VadOptions(), Usage()):
            scored += 1
            ahead = max(ahead, source.read - scored)
        return ahead

    short, long = await most_ahead(30), await most_ahead(600)
    assert long <= engine.workers + 4
    assert long <= short + 1
    engine.close()


# The ladder: out of memory on the device, whatever the rung that helps, changes no segment.


class Device:
    """Scores like the real one until told to run out of memory, by a rule on (call number, batch size)."""

    def __init__(self, scorer: FsmnScorer, fails: Callable[[int, int], bool]) -> None:
        self._scorer, self._fails = scorer, fails
        self.calls = 0

    def score(self, blocks: list[Block]) -> list[FrameScores]:
        self.calls += 1
        if self._fails(self.calls, len(blocks)):
            raise torch.OutOfMemoryError("out of memory")
        return self._scorer.score(blocks)


RUNGS: list[tuple[Callable[[int, int], bool], list[str], bool]] = [
    (lambda call, batch: False, [], False),
    (lambda call, batch: call == 1, ["free"], False),
    (lambda call, batch: batch > 2, ["free", "halve"], False),
    (lambda call, batch: batch > 1, ["free", "halve", "halve", "halve"], False),
    (lambda call, batch: True, ["free", "halve", "halve", "cpu", "cpu", "halve", "cpu", "cpu"], True),
]


@pytest.mark.parametrize(("fails", "actions", "degraded"), RUNGS, ids=["none", "free", "half", "single", "cpu"])
@pytest.mark.parametrize("chained", [False, True])
def test_each_rung_gives_the_same_scores(
    small_scorer: FsmnScorer, fails: Callable[[int, int], bool], actions: list[str], degraded: bool, chained: bool
) -> None:
    told: list[str] = []
    policy = DevicePolicy(CPU, Device(small_scorer, fails).score, lambda: small_scorer.score, "on_oom", told.append)

    def blocks() -> list[Block]:
        states = [small_scorer.new_state() if chained else None for _ in range(4)]
        return [Block(SAMPLES[i * 9_000 : i * 9_000 + 40_000], 0, False, state) for i, state in enumerate(states)]

    found, was_degraded = policy.score(blocks())
    for mine, right in zip(found, small_scorer.score(blocks()), strict=True):
        np.testing.assert_allclose(mine.silence, right.silence, atol=1e-6)
    assert (told, was_degraded) == (actions, degraded)


@settings(max_examples=15, deadline=None)
@given(rule=st.integers(0, 7))
def test_a_whole_file_is_right_whatever_runs_out(rule: int) -> None:
    scorer = _scorer()

    async def run() -> tuple[list[tuple[int, int]], bool]:
        device = Device(scorer, lambda call, batch: bool(call * 2654435761 >> 7 & rule))
        engine = Engine(scorer, DevicePolicy(CPU, device.score, lambda: scorer.score), workers=2)
        usage = Usage()
        found = await detect(engine, Source(SAMPLES), usage)
        engine.close()
        return pairs(found), usage.degraded

    found, _ = asyncio.run(run())
    assert found == expected(scorer)


_KEPT: dict[str, FsmnScorer] = {}


def _scorer() -> FsmnScorer:
    return _KEPT["scorer"]


@pytest.fixture(autouse=True)
def _keep(small_scorer: FsmnScorer) -> None:
    _KEPT["scorer"] = small_scorer


def test_cleanup_follows_its_mode(small_scorer: FsmnScorer, monkeypatch: pytest.MonkeyPatch) -> None:
    trims: list[str] = []
    for mode in ("always", "on_oom", "never"):
        monkeypatch.setattr("app.engine.device.trim_heap", lambda mode=mode: trims.append(mode))
        policy = DevicePolicy(CPU, small_scorer.score, lambda: small_scorer.score, mode)  # type: ignore[arg-type]
        for _ in range(5):
            policy.cleanup()
    assert trims == ["always"], "and not for each of a burst of calls"


def test_device_choice() -> None:
    assert choose_device("cpu", 0) == CPU
    assert choose_dtype("float32", CPU) == torch.float32
    assert choose_dtype("bfloat16", CPU) == torch.bfloat16
    if not torch.cuda.is_available():
        assert choose_device("auto", 0) == CPU
        with pytest.raises(NoSuchDevice):
            choose_device("cuda:3", 0)


@pytest.mark.gpu
def test_gpu_segments_equal_the_cpus(small_model: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU here")
    checkpoint = read_checkpoint(small_model, model_id="small")
    gpu, cpu = FsmnScorer(checkpoint, torch.device("cuda")), FsmnScorer(checkpoint, CPU)
    assert expected(gpu) == expected(cpu)


async def test_a_first_block_does_not_wait_for_long_files(small_scorer: FsmnScorer) -> None:
    """While every slot holds later blocks of long files, which do not end, a new request is answered."""
    release = threading.Event()
    held = threading.Semaphore(0)

    def hold_the_long(blocks: list[Block]) -> list[FrameScores]:
        if blocks[0].discard:  # not the first of its file
            held.release()
            release.wait(20)
        return small_scorer.score(blocks)

    engine = Engine(small_scorer, DevicePolicy(CPU, hold_the_long, lambda: hold_the_long), workers=2)
    long = [asyncio.create_task(detect(engine, Source(SAMPLES))) for _ in range(4)]
    await asyncio.to_thread(lambda: (held.acquire(timeout=20), held.acquire(timeout=20)))
    short = SAMPLES[: 16_000 * 2]
    for _ in range(3):
        found = await asyncio.wait_for(detect(engine, Source(short)), 10)
        assert pairs(found) == expected(small_scorer, short)
    release.set()
    assert [pairs(found) for found in await asyncio.gather(*long)] == [expected(small_scorer)] * 4
    assert (engine.status().busy, engine.status().waiting, engine.status().requests) == (0, 0, 0)
    engine.close()
