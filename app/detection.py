"""One file from its path to its report: the walk that HTTP and the command line share.

audio (blocks at the model's rate) -> model (events) -> report (what every output format is made from)
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from app.analyses import Analysis
from app.audio.channel import Channel
from app.audio.input import AudioInput
from app.audio.passes import AudioPolicy
from app.audio.source import AudioSource, open_audio
from app.audio.stop import Stop
from app.engine.backend import Cost
from app.engine.engine import Engine
from app.engine.gate import AsyncGate, Gate, Shares
from app.engine.walk import RowEvents, blocks_in_flight, walk
from app.formats.report import AudioSummary, ChannelSegments, Report, Timing, forced_cuts
from app.observe import Observer
from app.serving import Model
from app.vad.chunks import Chunk, Chunker, new_chunker
from app.vad.errors import InvalidOption
from app.vad.posteriors import Posteriors, join_posteriors
from app.vad.segment import Segment, segments_of
from app.vad.segmenters.registry import Segmentation
from app.warnings import AnswerWarning, codes_of


@dataclass(frozen=True, slots=True)
class Job:
    """What is asked of one file."""

    source: AudioInput
    name: str
    """For the report; already harmless."""
    request_id: str
    model: Model
    segmentation: Segmentation
    channel: Channel = "mix"
    probabilities: bool = False
    members: bool = False
    """With `probabilities`: those of each member, or for each label, too."""
    warnings: tuple[AnswerWarning, ...] = ()
    """What the door has to tell of the request."""
    keep_for: str | None = None
    """Who may use the posteriors afterwards; None: they are not kept."""
    client: str = ""
    """Whose share of the memory it takes."""
    allowance: "ProbabilityAllowance | None" = None
    """What it shares with the other files of its request; None: it is alone."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What one step of a run has found."""

    channel: int | None
    """None for the mix of all channels."""
    segments: list[Segment]
    done_ms: int
    expected_ms: int | None
    chunks: list[Chunk] = field(default_factory=list)
    """Where chunks are asked for; the last ones are known in the end, and in the report."""


@dataclass(slots=True)
class _Row:
    channel: int | None
    chunker: Chunker | None
    segments: list[Segment] = field(default_factory=list)
    chunks: list[Chunk] = field(default_factory=list)
    frames: int = 0
    posteriors: list[Posteriors] = field(default_factory=list)
    reached: dict[str, int] = field(default_factory=dict)
    """For each label how many frames reach its threshold."""

    def joined(self) -> Posteriors:
        """All that were kept."""
        return join_posteriors(self.posteriors)


class ProbabilityAllowance:
    """How much of a request's probabilities may still be told: they are held in memory until its answer is made."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = self._left_s = limit_s

    def take(self, seconds: float) -> None:
        """So much more. Raises `InvalidOption` when it is too much."""
        self._left_s -= seconds
        if self._left_s < 0:
            limit = f"{self._limit_s / 60:g} minutes"
            raise InvalidOption("probabilities", f"can be had for {limit} of audio, all channels and files together")


class Detector:
    """The engine, and a way to read files for it."""

    def __init__(self, engine: Engine, audio: AudioPolicy, observer: Observer) -> None:
        self.engine = engine
        self.audio = audio
        self.observer = observer
        # One budget over all runs, in fair shares: so many blocks of so many channels are what memory goes into.
        self.memory = AsyncGate(
            Gate(audio.decoded_bytes, line=None, patience_s=audio.patience_s),
            "too much audio is being decoded; please try again in a moment",
        )
        self.kept = Shares(audio.kept_bytes)

    def new_allowance(self) -> ProbabilityAllowance:
        """What the files of one request share."""
        return ProbabilityAllowance(self.audio.max_probability_s)

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
        self._cost = Cost()
        self._rows: list[_Row] = []
        self._report: Report | None = None
        self._stop = Stop()
        self._allowance = job.allowance or detector.new_allowance()
        self._kept_bytes: int | None = None if job.keep_for is None else 0
        """Counted in `Detector.kept`; None when the posteriors are not to be kept, or not any more."""
        self._started = time.perf_counter()

    async def steps(self) -> AsyncGenerator[Progress, None]:
        """Found segments and progress, block by block. Closing it stops the work within one block."""
        model, segmentation = self._job.model, self._job.segmentation
        source = await self._open()
        # Where only one block is scored at a time anyway, each goes on from the one before it, without a warm-up.
        isolated = self._detector.engine.workers > 1 or any(backend.batch > 1 for backend in model.backends)
        async with self._memory(source):
            found = walk(model.backends, source, lambda: model.new_stream(segmentation, isolated=isolated), self._cost)
            async with aclosing(found):
                async for step in found:
                    yield self._take(step, source)
        for row in self._rows:
            if row.chunker is not None:
                row.chunks.extend(row.chunker.finish(source.duration_ms))
        self._report = self._made(source)
        observer = self._detector.observer
        observer.file_done(model.info.name, source.decoder_name, source.decode_seconds, source.duration_ms)
        observer.warned(codes_of(self._report.warnings))

    @asynccontextmanager
    async def _memory(self, source: AudioSource) -> AsyncIterator[None]:
        """Room for what this run has in memory while it runs. Closes the source when there is none in time."""
        held = source.bytes_held(blocks_in_flight(self._job.model.backends[0]))
        try:
            room = await self._detector.memory.enter(self._job.client, held)
        except BaseException:
            source.close()
            raise
        try:
            yield
        finally:
            self._detector.memory.leave(room)
            self._give_back_kept()

    def report(self) -> Report:
        """The whole answer; after `steps` has ended."""
        if self._report is None:
            raise RuntimeError("the run has not ended")
        return self._report

    def _made(self, source: AudioSource) -> Report:
        model = self._job.model
        device = "cpu" if self._cost.degraded else model.device
        channels = tuple(self._channel(row) for row in self._rows)
        return Report(
            request_id=self._job.request_id,
            name=self._job.name,
            model=model.info,
            device=device,
            degraded=self._cost.degraded,
            audio=_summary(source),
            channels=channels,
            options=self._job.segmentation.document(),
            timing=Timing(
                queue_ms=_ms(self._cost.queue_s),
                decode_ms=_ms(source.decode_seconds),
                inference_ms=_ms(self._cost.inference_s),
                total_ms=_ms(time.perf_counter() - self._started),
            ),
            labels=self._job.model.grid.labels,
            frame_ms=self._frame_ms,
            warnings=self._warnings(source, channels),
        )

    def _warnings(self, source: AudioSource, channels: Sequence[ChannelSegments]) -> tuple[AnswerWarning, ...]:
        given, heard = self._job.warnings, source.warnings()
        degraded = [AnswerWarning("degraded", "the CPU stood in for the device")] if self._cost.degraded else []
        return (*given, *heard, *degraded, *forced_cuts(channels))

    @property
    def _frame_ms(self) -> int:
        return self._job.model.grid.frame_ms

    async def _open(self) -> AudioSource:
        opening = asyncio.ensure_future(self._detector.engine.readers.run(self._open_in_thread))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            # A decoder may hang before it tells what the file is, and its thread with it.
            self._stop.stop()
            opening.add_done_callback(_close_opened)
            raise

    def _open_in_thread(self) -> AudioSource:
        audio, grid = self._detector.audio, self._job.model.grid
        return open_audio(
            self._job.source,
            sample_rate=grid.sample_rate,
            channel=self._job.channel,
            block_seconds=audio.block_seconds,
            limits=audio.limits,
            ffmpeg=audio.ffmpeg,
            stop=self._stop,
        )

    def _take(self, step: RowEvents, source: AudioSource) -> Progress:
        while step.row >= len(self._rows):
            chunker = new_chunker(self._job.segmentation.chunks, self._frame_ms)
            self._rows.append(_Row(self._channel_of(len(self._rows)), chunker))
        row = self._rows[step.row]
        segments = segments_of(step.events)
        row.segments.extend(segments)
        chunks: list[Chunk] = []
        if row.chunker is not None:
            spoken = [segment for segment in segments if segment.is_speech]
            chunks = row.chunker.accept(spoken, step.posteriors.speech, step.settled_ms)
            row.chunks.extend(chunks)
        row.frames += len(step.posteriors)
        for column, label in enumerate(self._job.model.grid.labels):
            frames = step.posteriors.column(column).speech >= self._job.segmentation.threshold(label)
            row.reached[label] = row.reached.get(label, 0) + int(np.count_nonzero(frames))
        if self._job.probabilities or self._job.keep_for is not None:
            self._keep(row, step.posteriors)
        expected = source.expected_seconds
        expected_ms = None if expected is None else round(expected * 1000)
        return Progress(row.channel, segments, row.frames * self._frame_ms, expected_ms, chunks)

    def _channel_of(self, row: int) -> int | None:
        channel = self._job.channel
        if isinstance(channel, int):
            return channel
        return row if channel == "split" else None

    def _keep(self, row: _Row, posteriors: Posteriors) -> None:
        """Keep the posteriors of a step, as long as that is within bounds: nobody knows how long the audio is."""
        if self._job.probabilities:
            self._allowance.take(len(posteriors) * self._frame_ms / 1000)
        elif self._kept_bytes is None:
            return
        row.posteriors.append(posteriors)
        if self._kept_bytes is None:
            return
        if self._detector.kept.fits(self._job.client, posteriors.nbytes):
            self._detector.kept.take(self._job.client, posteriors.nbytes)
            self._kept_bytes += posteriors.nbytes
            return
        # More than may be kept: the answer will say that nothing is.
        self._give_back_kept()
        self._kept_bytes = None
        if not self._job.probabilities:
            for each in self._rows:
                each.posteriors.clear()

    def _give_back_kept(self) -> None:
        if self._kept_bytes:
            self._detector.kept.give_back(self._job.client, self._kept_bytes)
            self._kept_bytes = 0

    def _channel(self, row: _Row) -> ChannelSegments:
        labels = self._job.model.grid.labels
        ratios = {label: round(row.reached.get(label, 0) / row.frames, 3) if row.frames else 0.0 for label in labels}
        segments = tuple(sorted(row.segments, key=lambda segment: segment.start_ms))
        chunks = None if row.chunker is None else tuple(row.chunks)
        found = ChannelSegments(row.channel, segments, ratios=ratios if labels else None, chunks=chunks)
        if not self._job.probabilities:
            return found
        heard = row.joined()
        return replace(
            found,
            probabilities=_rounded(heard.speech),
            member_probabilities=self._apart(heard) if self._job.members else None,
        )

    def _apart(self, heard: Posteriors) -> dict[str, list[float]]:
        model = self._job.model
        if model.grid.labels:
            return {label: _rounded(heard.column(index).speech) for index, label in enumerate(model.grid.labels)}
        names = [member.info.name for member in model.members]
        columns = heard.members if heard.members is not None else heard.speech[:, None]
        return {name: _rounded(columns[:, index]) for index, name in enumerate(names)}

    def analysis(self) -> Analysis | None:
        """The posteriors, for other options later; after `steps` has ended, of a job that keeps them. None when they
        have become too many."""
        if self._kept_bytes is None:
            return None
        rows = tuple((row.channel, row.joined()) for row in self._rows)
        return Analysis(self.report(), rows, self._job.model)


def _summary(source: AudioSource) -> AudioSummary:
    info, clock, (track, tracks) = source.info, source.clock_facts, source.track
    return AudioSummary(
        duration_ms=source.duration_ms,
        sample_rate=info.sample_rate,
        channels=info.channels,
        format=info.format,
        subtype=info.subtype,
        truncated=source.truncated,
        track=track,
        tracks=tracks,
        late_start_ms=clock.late_start_ms,
        time_gap_ms=clock.gap_ms,
        time_gaps=tuple((gap.at_ms, gap.duration_ms) for gap in clock.gaps),
        clock_map=clock.stretches,
    )


def _rounded(values: "np.ndarray") -> list[float]:
    found: list[float] = np.round(values.astype(np.float64), 4).tolist()
    return found


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _close_opened(opening: "asyncio.Future[AudioSource]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
