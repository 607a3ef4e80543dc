"""One file from its path to its report: the walk that HTTP and the command line share.

audio (blocks at the model's rate) -> engine (events) -> report (what every output format is made from)
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from typing_extensions import Self

from app.analyses import Analysis
from app.audio.choose import open_decoder
from app.audio.decode import Block, Decoder
from app.audio.limits import AudioLimits
from app.audio.source import AudioSource, open_audio
from app.engine.engine import Engine, RowEvents, Usage
from app.formats.report import AudioSummary, ChannelSegments, ModelInfo, Report, Timing
from app.vad.errors import InvalidOption
from app.vad.posteriors import FrameScores, join_scores
from app.vad.segment import Segment, segments_of
from app.vad.segmenters.options import VadOptions

_PASS_FRAMES = 1 << 16
Channel = int | Literal["mix", "split"]


@dataclass(frozen=True, slots=True)
class Job:
    """What is asked of one file."""

    path: Path
    name: str
    """For the report; already harmless."""
    request_id: str
    options: VadOptions
    channel: Channel = "mix"
    probabilities: bool = False
    keep_for: str | None = None
    """Who may use the frame scores afterwards; None: they are not kept."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What one step of a run has found."""

    channel: int | None
    """None for the mix of all channels."""
    segments: list[Segment]
    done_ms: int
    expected_ms: int | None


@dataclass(frozen=True, slots=True)
class AudioPolicy:
    """How audio files are read."""

    limits: AudioLimits
    ffmpeg: Path | None
    block_seconds: float
    max_probability_s: float


@dataclass(slots=True)
class _Row:
    channel: int | None
    segments: list[Segment] = field(default_factory=list)
    frames: int = 0
    scores: list[FrameScores] = field(default_factory=list)

    def joined(self) -> FrameScores:
        """All scores kept."""
        return join_scores(self.scores)


class Detector:
    """A model, an engine and a way to read files."""

    def __init__(
        self,
        engine: Engine,
        model: ModelInfo,
        audio: AudioPolicy,
        default_options: tuple[Mapping[str, Any], ...],
    ) -> None:
        """`default_options`: layers under a request's own, lowest first. Raises `InvalidOption` for wrong ones."""
        self.engine = engine
        self.model = model
        self.audio = audio
        self.observers: list[Callable[[str, float, int], None]] = []
        """Told of each finished file: decoder, seconds decoding, audio in ms."""
        self._default_options = default_options
        self.options({})

    def options(self, given: Mapping[str, Any]) -> VadOptions:
        """The options in force for a request. Raises `InvalidOption`."""
        return VadOptions.parse(*self._default_options, given)

    def start(self, job: Job) -> "Run":
        """A run that is driven by iterating it."""
        return Run(self, job)

    async def detect(self, job: Job, tell: Callable[[Progress], None] = lambda step: None) -> Report:
        """Run a job to its end, telling each step. Raises the `AudioError`s, `InvalidOption`, `NotReady`."""
        return (await self.run(job, tell)).report()

    async def run(self, job: Job, tell: Callable[[Progress], None] = lambda step: None) -> "Run":
        """As `detect`, for what a run knows beside its report."""
        run = self.start(job)
        async with aclosing(run.steps()) as steps:
            async for step in steps:
                tell(step)
        return run


class Run:
    """One job under way."""

    def __init__(self, detector: Detector, job: Job) -> None:
        self._detector = detector
        self._job = job
        self._usage = Usage()
        self._rows: list[_Row] = []
        self._source: AudioSource | None = None
        self._started = time.perf_counter()

    async def steps(self) -> AsyncGenerator[Progress, None]:
        """Found segments and progress, block by block. Closing it stops the work within one block."""
        engine = self._detector.engine
        source = self._source = await self._open()
        found = engine.detect(source, self._job.options, self._usage)
        async with aclosing(found):
            async for step in found:
                yield self._take(step, source)
        for observe in self._detector.observers:
            observe(source.decoder_name, source.decode_seconds, source.duration_ms)

    def report(self) -> Report:
        """The whole answer; after `steps` has ended."""
        source = self._source
        if source is None:
            raise RuntimeError("the run has not begun")
        info, detector = source.info, self._detector
        device = "cpu" if self._usage.degraded else str(detector.engine.policy.device)
        return Report(
            request_id=self._job.request_id,
            name=self._job.name,
            model=detector.model,
            device=device,
            degraded=self._usage.degraded,
            audio=AudioSummary(
                duration_ms=source.duration_ms,
                sample_rate=info.sample_rate,
                channels=info.channels,
                format=info.format,
                subtype=info.subtype,
                truncated=source.truncated,
            ),
            channels=tuple(self._channel(row) for row in self._rows),
            options=self._job.options.model_dump(mode="json"),
            timing=Timing(
                queue_ms=_ms(self._usage.queue_s),
                decode_ms=_ms(source.decode_seconds),
                inference_ms=_ms(self._usage.inference_s),
                total_ms=_ms(time.perf_counter() - self._started),
            ),
            frame_ms=self._frame_ms,
        )

    @property
    def _frame_ms(self) -> int:
        return self._detector.engine.scorer.grid.frame_ms

    async def _open(self) -> AudioSource:
        opening = asyncio.ensure_future(self._detector.engine.in_reader(self._open_in_thread))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_opened)
            raise

    def _open_in_thread(self) -> AudioSource:
        audio, grid = self._detector.audio, self._detector.engine.scorer.grid
        return open_audio(
            self._job.path,
            sample_rate=grid.sample_rate,
            channel=self._job.channel,
            block_seconds=audio.block_seconds,
            limits=audio.limits,
            ffmpeg=audio.ffmpeg,
        )

    def _take(self, step: RowEvents, source: AudioSource) -> Progress:
        while step.row >= len(self._rows):
            self._rows.append(_Row(self._channel_of(len(self._rows))))
        row = self._rows[step.row]
        segments = segments_of(step.events)
        row.segments.extend(segments)
        row.frames += len(step.scores)
        if self._job.probabilities or self._job.keep_for is not None:
            self._keep(row, step.scores)
        expected = source.expected_seconds
        expected_ms = None if expected is None else round(expected * 1000)
        return Progress(row.channel, segments, row.frames * self._frame_ms, expected_ms)

    def _channel_of(self, row: int) -> int | None:
        channel = self._job.channel
        if isinstance(channel, int):
            return channel
        return row if channel == "split" else None

    def _keep(self, row: _Row, scores: FrameScores) -> None:
        limit_s = self._detector.audio.max_probability_s
        if self._job.probabilities and row.frames * self._frame_ms > limit_s * 1000:
            raise InvalidOption("probabilities", f"can be had for audio of up to {limit_s / 60:g} minutes")
        row.scores.append(scores)

    def _channel(self, row: _Row) -> ChannelSegments:
        probabilities = None
        if self._job.probabilities:
            probabilities = np.round(1.0 - row.joined().silence.astype(np.float64), 4).tolist()
        return ChannelSegments(row.channel, tuple(row.segments), probabilities)

    def analysis(self) -> Analysis:
        """The frame scores, for other options later; after `steps` has ended, of a job that keeps them."""
        rows = tuple((row.channel, row.joined()) for row in self._rows)
        return Analysis(self.report(), rows, self._detector.engine.scorer.grid)


class SourcePasses:
    """Fresh passes over a file's decoded samples at its own rate; leaving the context ends all of them."""

    def __init__(self, path: Path, audio: AudioPolicy) -> None:
        self._path, self._audio = path, audio
        self._decoders: list[Decoder] = []

    def blocks(self) -> Iterator[Block]:
        """Float32 [n, channels], from the beginning; blocking."""
        decoder = open_decoder(self._path, self._audio.limits, self._audio.ffmpeg)
        self._decoders.append(decoder)
        while len(block := decoder.read(_PASS_FRAMES)):
            yield block
        decoder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for decoder in self._decoders:
            decoder.close()


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _close_opened(opening: "asyncio.Future[AudioSource]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
