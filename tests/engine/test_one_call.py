"""A short file that is read in this process: opened, read, scored and segmented in one call of a scoring thread."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from app.audio.decode import AudioLimits
from app.audio.ffmpeg import find_ffmpeg
from app.audio.options import AudioInput
from app.audio.source import AudioPolicy, AudioSource
from app.detection import Detector, FileJob
from app.engine.engine import Engine
from app.engine.shares import Holder
from app.formats.report import Report
from app.models import Models
from app.observe import Observer
from app.registry import Registry
from app.request import DetectionRequest
from app.vad.blocks import Block, Scored
from app.vad.errors import InvalidAudio, Overloaded
from app.vad.models.family import Scorer
from app.vad.models.fsmn.network import FsmnScorer
from app.vad.posteriors import FloatArray
from tests.engine.sources import expected
from tests.engines import ScorerAround, loaded, new_models
from tests.signals import bursts
from tests.waiting import eventually

RATE = 16_000
CLIP = bursts(6.0, [(1, 3), (4, 5.5)])
LONG = bursts(25.0, [(1, 3), (6, 9), (12, 22)])
BLOCK_S = 10.0
ROOM = 256 << 20


class Blocks(Observer):
    """Counts the blocks that have been scored."""

    def __init__(self) -> None:
        self.scored = 0

    def block_scored(self, model: str, waited_s: float, inference_s: float) -> None:
        self.scored += 1


class Service:
    """A detector, and what it did: calls of scoring threads, calls of readers, blocks that were scored."""

    def __init__(self, models: Models, engine: Engine, observer: Blocks, room: int, patience_s: float) -> None:
        self.models, self.engine, self.observer = models, engine, observer
        self.calls = self.reads = observer.scored = 0
        limits = AudioLimits(max_seconds=3600)
        policy = AudioPolicy(limits, find_ffmpeg(None), BLOCK_S, 3600, room, patience_s)
        self.detector = Detector(engine, policy, observer)
        run, read = engine.run, engine.readers.run

        async def counted_run(*arguments: Any, **named: Any) -> Any:
            self.calls += 1
            return await run(*arguments, **named)

        async def counted_read(*arguments: Any) -> Any:
            self.reads += 1
            return await read(*arguments)

        engine.run, engine.readers.run = counted_run, counted_read  # type: ignore[method-assign]

    async def detect(self, source: AudioInput, **asked: Any) -> Report:
        plan = await DetectionRequest.parse(asked).resolve(self.models, Registry.of([]).formats)
        return (await self.detector.run(plan, FileJob(source, "a", holder=Holder("somebody")))).report()

    def at_rest(self) -> bool:
        status, memory = self.engine.status(), self.detector.memory.shares
        return (status.busy, status.waiting, memory.taken, memory.trying) == (0, 0, 0, 0)


@asynccontextmanager
async def serving(
    scorer: Scorer[Any], *, batch: int = 1, room: int = ROOM, patience_s: float = 30.0
) -> AsyncIterator[Service]:
    engine = Engine(workers=2)
    observer = Blocks()
    models = new_models(engine, loaded(scorer, batch=batch), observer=observer)
    await models.start()
    service = Service(models, engine, observer, room, patience_s)
    try:
        yield service
    finally:
        await asyncio.to_thread(engine.close)


def written(path: Path, samples: FloatArray, rate: int = RATE, **form: Any) -> AudioInput:
    soundfile.write(path, samples, rate, **form)
    return AudioInput(path)


def spans(report: Report) -> list[tuple[int, int]]:
    return [(segment.start_ms, segment.end_ms) for channel in report.channels for segment in channel.segments]


def of_16_bits(samples: FloatArray) -> FloatArray:
    """As a file of 16 bits gives them back."""
    return (np.round(samples * 32_768).clip(-32_768, 32_767) / 32_768).astype(np.float32)


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
async def test_a_clip_is_one_call(small_scorer: FsmnScorer, tmp_path: Path, name: str) -> None:
    async with serving(small_scorer) as service:
        report = await service.detect(written(tmp_path / name, CLIP, subtype="PCM_16"))
        assert (service.calls, service.reads) == (1, 0)
        assert spans(report) == expected(small_scorer, of_16_bits(CLIP))
        assert report.audio.duration_ms == 6_000
        assert service.observer.scored == 1
        assert report.timing.total_ms >= report.timing.inference_ms
        assert service.at_rest()


async def test_raw_samples_are_one_call(small_scorer: FsmnScorer, tmp_path: Path) -> None:
    path = tmp_path / "a.upload"
    path.write_bytes((of_16_bits(CLIP) * 32_768).astype("<i2").tobytes())
    async with serving(small_scorer) as service:
        options = DetectionRequest.parse({"encoding": "pcm_s16le", "sample_rate": str(RATE)})
        assert spans(await service.detect(options.input(path))) == expected(small_scorer, of_16_bits(CLIP))
        assert (service.calls, service.reads) == (1, 0)


async def test_a_clip_in_memory_is_one_call(small_scorer: FsmnScorer, tmp_path: Path) -> None:
    data = written(tmp_path / "a.wav", CLIP, subtype="PCM_16").path.read_bytes()
    path = tmp_path / "b.upload"
    async with serving(small_scorer) as service:
        source = AudioInput(path, data=data, spool=lambda: path.write_bytes(data) and None)
        assert spans(await service.detect(source)) == expected(small_scorer, of_16_bits(CLIP))
        assert (service.calls, service.reads) == (1, 0)


@pytest.mark.parametrize("rate", [8_000, 44_100])
async def test_a_clip_at_another_rate_gives_the_same_as_block_by_block(
    small_scorer: FsmnScorer, tmp_path: Path, rate: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = written(tmp_path / "a.wav", np.repeat(bursts(6.0, [(1, 3)], rate)[:, None], 2, axis=1), rate)
    async with serving(small_scorer) as service:
        found = spans(await service.detect(source))
        assert (service.calls, service.reads) == (1, 0)
        monkeypatch.setattr(AudioSource, "is_short", lambda *_: False)
        assert spans(await service.detect(source)) == found
        assert service.reads > 0


async def test_what_is_longer_than_a_block_goes_on_block_by_block(small_scorer: FsmnScorer, tmp_path: Path) -> None:
    async with serving(small_scorer) as service:
        report = await service.detect(written(tmp_path / "a.wav", LONG, subtype="PCM_16"))
        assert spans(report) == expected(small_scorer, of_16_bits(LONG))
        assert (service.calls, service.reads > 0) == (4, True), "opened by one call; three blocks"
        assert service.at_rest()


async def test_what_unpacks_to_far_more_is_read_block_by_block(small_scorer: FsmnScorer, tmp_path: Path) -> None:
    """Digital silence as FLAC is a hundredth of its samples: more memory than was set aside for the call."""
    async with serving(small_scorer) as service:
        report = await service.detect(written(tmp_path / "a.flac", np.zeros(9 * RATE, np.float32)))
        assert report.audio.duration_ms == 9_000
        assert service.reads > 0
        assert service.at_rest()


async def test_a_child_that_decodes_keeps_its_reader(small_scorer: FsmnScorer, tmp_path: Path) -> None:
    if find_ffmpeg(None) is None:
        pytest.skip("no ffmpeg is installed")
    async with serving(small_scorer) as service:
        report = await service.detect(written(tmp_path / "a.aiff", CLIP, subtype="PCM_16"))
        assert spans(report) == expected(small_scorer, of_16_bits(CLIP))
        assert (service.calls, service.reads > 0) == (1, True)


async def test_channels_apart_share_the_threads(small_scorer: FsmnScorer, tmp_path: Path) -> None:
    stereo = np.stack([CLIP, CLIP[::-1]], axis=1)
    async with serving(small_scorer) as service:
        report = await service.detect(written(tmp_path / "a.wav", stereo, subtype="FLOAT"), channel="split")
        assert len(report.channels) == 2
        assert service.observer.scored == 2
        assert service.reads > 0


async def test_where_blocks_gather_none_goes_alone(small_scorer: FsmnScorer, tmp_path: Path) -> None:
    async with serving(small_scorer, batch=4) as service:
        await service.detect(written(tmp_path / "a.wav", CLIP))
        assert service.reads > 0


async def test_what_is_wrong_with_the_file_is_told_and_nothing_is_kept(
    small_scorer: FsmnScorer, tmp_path: Path
) -> None:
    empty = written(tmp_path / "a.wav", np.zeros((0, 1), np.float32))
    broken = written(tmp_path / "b.wav", np.full(RATE, np.nan, np.float32), subtype="FLOAT")
    async with serving(small_scorer) as service:
        for source in (empty, broken):
            with pytest.raises(InvalidAudio):
                await service.detect(source)
            assert service.at_rest()


@asynccontextmanager
async def held_up(
    scorer: FsmnScorer, count: int
) -> "AsyncIterator[tuple[Service, threading.Event, Callable[[], int]]]":
    """A service whose scoring stands still until the event is set, and how many calls stand there."""
    release, standing = threading.Event(), threading.Semaphore(0)
    release.set()  # while the model warms up

    def wait(blocks: Sequence[Block[Any]]) -> Sequence[Scored[Any]]:
        if not release.is_set():
            standing.release()
            release.wait(20)
        return scorer.score(blocks)

    async with serving(ScorerAround(scorer, wait)) as service:
        release.clear()
        yield service, release, lambda: sum(standing.acquire(timeout=60) for _ in range(count))
        release.set()


async def test_a_cancelled_call_is_finished_and_dropped(small_scorer: FsmnScorer, tmp_path: Path) -> None:
    source = written(tmp_path / "a.wav", CLIP)
    async with held_up(small_scorer, 1) as (service, release, standing):
        task = asyncio.create_task(service.detect(source))
        assert await asyncio.to_thread(standing) == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert service.engine.status().busy == 1
        assert service.detector.memory.shares.taken > 0, "its memory is in use as long as its thread is"
        release.set()
        await asyncio.to_thread(eventually, service.at_rest)
        assert service.observer.scored == 0


async def test_a_call_that_has_not_begun_is_withdrawn(small_scorer: FsmnScorer, tmp_path: Path) -> None:
    source = written(tmp_path / "a.wav", CLIP)
    async with held_up(small_scorer, 3) as (service, release, standing):
        first = [asyncio.create_task(service.detect(source)) for _ in range(4)]
        assert await asyncio.to_thread(standing) == 3, "two threads and the one for first blocks; one is next"
        waiting = [asyncio.create_task(service.detect(source)) for _ in range(3)]
        await asyncio.to_thread(eventually, lambda: service.engine.status().waiting == 3)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        release.set()
        await asyncio.gather(*first)
        await asyncio.to_thread(eventually, service.at_rest)
        assert service.observer.scored == 4


async def test_a_long_file_that_is_cancelled_while_it_is_opened_is_closed(
    small_scorer: FsmnScorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[AudioSource] = []
    opening, release = threading.Event(), threading.Event()
    is_short = AudioSource.is_short

    def slowly(source: AudioSource, most_bytes: int) -> bool:
        opened.append(source)
        opening.set()
        release.wait(20)
        return is_short(source, most_bytes)

    monkeypatch.setattr(AudioSource, "is_short", slowly)
    async with serving(small_scorer) as service:
        task = asyncio.create_task(service.detect(written(tmp_path / "a.wav", LONG)))
        await asyncio.to_thread(opening.wait, 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        release.set()
        await asyncio.to_thread(eventually, service.at_rest)
        assert opened[0].decoder.closed


async def test_a_call_waits_for_memory_like_any_run(small_scorer: FsmnScorer, tmp_path: Path) -> None:
    source = written(tmp_path / "a.wav", CLIP)
    async with serving(small_scorer, room=1_000_000, patience_s=0.05) as service:
        held = service.detector.memory.shares.arrive(Holder("others"), 0.0, 1_000_000)
        with pytest.raises(Overloaded):
            await service.detect(source)
        service.detector.memory.leave(held)
        assert spans(await service.detect(source)) == expected(small_scorer, of_16_bits(CLIP))
        assert service.at_rest()


@pytest.mark.parametrize("name", ["a.wav", "a.aiff"])
async def test_a_clip_is_heard_though_long_files_have_all_the_memory(
    small_scorer: FsmnScorer, tmp_path: Path, name: str
) -> None:
    """In one call, and block by block."""
    source = written(tmp_path / name, CLIP, subtype="PCM_16")
    async with serving(small_scorer) as service:
        memory = service.detector.memory.shares
        held = memory.arrive(Holder("others"), 0.0, memory.total)
        assert memory.free == 0
        assert spans(await service.detect(source)) == expected(small_scorer, of_16_bits(CLIP))
        assert memory.trying == 0
        memory.leave(held)
        assert service.at_rest()


async def test_what_is_long_itself_begins_again_with_memory_of_its_own(
    small_scorer: FsmnScorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[AudioSource] = []
    source = written(tmp_path / "a.wav", LONG, subtype="PCM_16")
    blocks = AudioSource.__iter__

    def slowly(source: AudioSource) -> Iterator[FloatArray]:
        opened.append(source)
        for block in blocks(source):
            yield block
            time.sleep(0.8 if len(opened) == 1 else 0)

    monkeypatch.setattr(AudioSource, "__iter__", slowly)
    async with serving(small_scorer) as service:
        memory = service.detector.memory
        held = memory.shares.arrive(Holder("others"), 0.0, memory.shares.total)
        task = asyncio.create_task(service.detect(source))
        await asyncio.to_thread(eventually, lambda: memory.shares.trying)
        await asyncio.to_thread(eventually, lambda: memory.shares.waiting)
        assert memory.shares.trying == 0
        memory.leave(held)
        assert spans(await task) == expected(small_scorer, of_16_bits(LONG))
        assert [each.decoder.closed for each in opened] == [True, True]
        assert service.at_rest()
