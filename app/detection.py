"""One file from its plan to its report.

    audio (blocks at the model's rate) -> model (posteriors, events) -> rows (one a channel) -> report

A `Run` walks a file so, and gathers what it finds channel by channel.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from app.audio.decode import NeedsChild, Stop
from app.audio.options import AudioInput
from app.audio.source import AudioPolicy, AudioSource, bytes_at_once, open_audio
from app.engine.backend import Cost, Score
from app.engine.engine import Engine, Turn
from app.engine.shares import NOBODY, AsyncShares, Holder, Shares, State, Ticket
from app.engine.walk import RowEvents, blocks_in_flight, samples_beside, score_whole, walk
from app.formats.report import AudioSummary, ChannelSegments, Report, Timing, base_name, forced_cuts, safe_name
from app.observe import Observer
from app.request import Plan
from app.vad.chunks import Chunk, new_chunker
from app.vad.errors import InvalidOption, Overloaded
from app.vad.posteriors import Column, DoubleArray, FloatArray, Posteriors, join_posteriors, ten_thousandths
from app.vad.segment import OVERLAP, Event, Segment, clip, segments_of
from app.warnings import AnswerWarning, codes_of

if TYPE_CHECKING:
    from app.analyses import Keeping

_VALUE_BYTES = 2
"""For each probability until it is written (`Column`)."""
_WRITING_BYTES = 56
"""For each probability that is written: a number of 24 bytes, its places in the lists of three documents, its digits as
text and as bytes: 54, measured."""
_FOR_TRIALS = 8
"""Of the memory for decoded audio, one part in so many is for clips beside long files that have all the rest."""
_TRIAL_S = 1.0
"""How long a file may use that memory."""
_SENDING = 2
"""Copies of an answer while it is sent: the application's, and what the socket has not taken."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What one step of a run has found."""

    channel: int | None
    """None for the mix of all channels."""
    segments: list[Segment]
    done_ms: int
    expected_ms: int | None
    chunks: list[Chunk] = field(default_factory=list)
    """Where chunks are asked for. The last ones are known at the end, and are in the report."""


class ChannelGatherer:
    """What is found in one channel, or in the mix of all."""

    def __init__(self, plan: Plan, channel: int | None, *, keeps: bool) -> None:
        """`keeps`: whether the posteriors are kept, for other options later."""
        self.channel = channel
        self.frames = 0
        self.posteriors: list[Posteriors] = []
        self._columns: list[NDArray[np.uint16]] = []
        """Probabilities that are asked for, [columns, frames] of each step, in ten thousandths."""
        self._plan, self._keeps = plan, keeps
        self._grid = plan.chosen.model.grid
        self._chunker = new_chunker(plan.segmentation.chunks, self._grid.frame_ms)
        self._segments: list[Segment] = []
        self._chunks: list[Chunk] = []
        self._frames_over = dict.fromkeys(self._grid.labels, 0)
        """For each label the number of frames that reach its threshold."""

    def push(
        self, events: list[Event], posteriors: Posteriors, final_ms: int, duration_ms: int
    ) -> tuple[list[Segment], list[Chunk]]:
        """Add what a step found, and return its complete segments and chunks. `final_ms`: no later segment begins
        before this. `duration_ms`: audio read so far, past which none ends."""
        segments, chunks = [clip(segment, duration_ms) for segment in segments_of(events)], list[Chunk]()
        self._segments.extend(segments)
        if self._chunker is not None:
            spoken = [segment for segment in segments if segment.is_speech]
            chunks = self._chunker.accept(spoken, posteriors.speech, final_ms)
            self._chunks.extend(chunks)
        self.frames += len(posteriors)
        for column, label in enumerate(self._grid.labels):
            over = posteriors.column(column).speech >= self._plan.segmentation.options.frame_threshold(label)
            self._frames_over[label] += int(np.count_nonzero(over))
        if self._keeps:
            self.posteriors.append(posteriors)
        if self._plan.request.probabilities and len(posteriors):
            self._columns.append(np.stack([ten_thousandths(column) for column in self._probabilities(posteriors)]))
        return segments, chunks

    def drop_posteriors(self) -> None:
        """Keep none any more."""
        self.posteriors.clear()
        self._keeps = False

    def finish(self, duration_ms: int) -> ChannelSegments:
        """Return everything found, once the audio has ended."""
        chunks = None if self._chunker is None else (*self._chunks, *self._chunker.finish(duration_ms))
        ratios = {
            label: round(over / self.frames, 3) if self.frames else 0.0 for label, over in self._frames_over.items()
        }
        found = ChannelSegments(
            self.channel,
            tuple(sorted(self._segments, key=lambda segment: segment.start_ms)),
            ratios=ratios or None,
            chunks=chunks,
        )
        if not self._plan.request.probabilities:
            return found
        none = np.zeros((columns_of(self._plan), 0), np.uint16)
        speech, *members = (Column(column) for column in np.concatenate([none, *self._columns], axis=1))
        named = dict(zip(_member_names(self._plan), members, strict=True)) if self._plan.request.members else None
        return replace(found, probabilities=speech, member_probabilities=named)

    def _probabilities(self, posteriors: Posteriors) -> "list[FloatArray | DoubleArray]":
        """Those of speech, and, if asked for, of each member of a sum or of each label, and of overlap."""
        columns: list[FloatArray | DoubleArray] = [posteriors.speech]
        if not self._plan.request.members:
            return columns
        if self._grid.labels:
            return columns + [posteriors.column(at).speech for at in range(len(self._grid.labels))]
        columns += [posteriors.speech] if posteriors.members is None else list(posteriors.members.T)
        return columns + ([posteriors.of_overlap().speech] if self._plan.request.overlap else [])


def _member_names(plan: Plan) -> Sequence[str]:
    """What the probabilities that `members` asks for are named."""
    model, overlap = plan.chosen.model, [OVERLAP] if plan.request.overlap else []
    return model.grid.labels or [*(member.info.name for member in model.members), *overlap]


class Results:
    """What one request has in memory until its answer has been sent: probabilities, and what is written of them.

    While they are found, a probability takes two bytes: those who run share one budget, and there is room for all as
    long as `VAD_MAX_PROBABILITY_MINUTES` are what it is by default. Writing takes some thirty times as much for a
    moment. So whoever writes has room for that before it begins, and waits for it.
    """

    def __init__(self, detector: "Detector", holder: Holder) -> None:
        self._found, self._writing = detector.found, detector.writing
        self._holder = holder
        self._limit_s = self._left_s = detector.audio.max_probability_s
        self._held: Ticket | None = None
        self._written: Ticket | None = None

    def start(self) -> None:
        """Count from nothing, whatever an attempt that was given up has found."""
        self.close()
        self._left_s = self._limit_s

    def add(self, seconds: float, values: int) -> None:
        """Count probabilities of so much more audio. Raises `InvalidOption` when they are too many for one request, and
        `Overloaded` when there is no room for them."""
        self._left_s -= seconds
        if self._left_s < 0:
            limit = f"{self._limit_s / 60:g} minutes"
            raise InvalidOption(
                "probabilities", f"are available for at most {limit} of audio, counting all channels and files"
            )
        size, held = _VALUE_BYTES * values, self._held
        if held is None:
            ticket = self._found.arrive(self._holder, amount=size)
            held = self._held = ticket if ticket.state is State.IN_USE else None
        elif not self._found.grow(held, size):
            held = None
        if held is None:
            raise Overloaded("too many probabilities are being found; please try again in a moment")

    async def start_writing(self, values: int) -> None:
        """Wait for room in which so many can be written. Raises `Overloaded` when that takes too long."""
        if values:
            self._written = await self._writing.enter(self._holder, _WRITING_BYTES * values)

    def wrote(self, size: int) -> None:
        """Keep no more room than so many bytes of an answer need while they are sent."""
        if self._written is not None:
            self._writing.shrink(self._written, _SENDING * size)

    def close(self) -> None:
        """Give everything back, once the answer has been sent. A second call does nothing."""
        if self._held is not None:
            self._found.leave(self._held)
        if self._written is not None:
            self._writing.leave(self._written)
        self._held = self._written = None


@dataclass(frozen=True, slots=True)
class FileJob:
    """One file of a request."""

    source: AudioInput
    file_name: str | None
    """As the client has it."""
    request_id: str = ""
    holder: Holder = NOBODY
    """Whose share of the memory it takes."""
    keeping: "Keeping | None" = None
    """Counts its posteriors, if they are to be kept; None: nobody does."""
    results: Results | None = None
    """Shared with the other files of the request; None for a file alone, whose answer nobody counts."""

    @property
    def name(self) -> str:
        """For the report: the file's name, made harmless, without its ending."""
        return safe_name(self.file_name)


class Detector:
    """The engine, and a way to read files for it."""

    def __init__(self, engine: Engine, audio: AudioPolicy, observer: Observer) -> None:
        self.engine = engine
        self.audio = audio
        self.observer = observer
        # One budget over all runs: so many blocks of so many channels are what memory goes into.
        trials = audio.decoded_bytes // _FOR_TRIALS
        self.memory = AsyncShares(
            Shares(audio.decoded_bytes - trials, line=None, patience_s=audio.patience_s, trials=trials),
            "too much audio is being decoded; please try again in a moment",
        )

        self.found = Shares(audio.decoded_bytes)
        """Memory for probabilities until they are written."""
        self.writing = AsyncShares(
            Shares(audio.decoded_bytes, line=None, patience_s=audio.patience_s),
            "too many probabilities are being written; please try again in a moment",
        )

    async def run(self, plan: Plan, job: FileJob, on_progress: Callable[[Progress], None] = lambda step: None) -> "Run":
        """Run a file to its end. Raises the `AudioError`s, `InvalidOption`, `NotReady`."""
        run = Run(self, plan, job)
        async with aclosing(run.steps()) as steps:
            async for step in steps:
                on_progress(step)
        return run


class Run:
    """One file under way."""

    def __init__(self, detector: Detector, plan: Plan, job: FileJob) -> None:
        self.plan, self.job = plan, job
        self._detector = detector
        self._model = plan.chosen.model
        self._cost = Cost()
        self._rows: list[ChannelGatherer] = []
        self._report: Report | None = None
        self._stop = Stop()
        self._results = job.results or Results(detector, job.holder)
        self._keeps = plan.request.keep
        """Whether the posteriors are to be kept, and there is room for them so far."""
        self._started = time.perf_counter()

    async def steps(self) -> AsyncGenerator[Progress, None]:
        """Yield what is found, block by block. Closing the iterator stops the work within one block."""
        observer = self._detector.observer
        try:
            source, whole = await self._in_one_call()
            if source is None:
                source = await self._open()
            if whole is not None:
                yield self._progress(whole, source)
            else:
                async with aclosing(self._block_by_block(source)) as found:
                    async for source, step in found:
                        yield self._progress(step, source)
        finally:
            if self.job.results is None:
                self._results.close()
        self._report = self._finish(source)
        observer.file_done(self._model.info.name, source.decoder.name, source.decode_seconds, source.duration_ms)
        observer.warned(codes_of(self._report.warnings))

    def report(self) -> Report:
        """The whole answer, after `steps` has ended."""
        if self._report is None:
            raise RuntimeError("the run has not ended")
        return self._report

    def posteriors(self) -> tuple[tuple[int | None, Posteriors], ...] | None:
        """(channel, posteriors) of every row, after `steps` has ended. None if they became too many, or were not asked
        for."""
        return tuple((row.channel, join_posteriors(row.posteriors)) for row in self._rows) if self._keeps else None

    async def _in_one_call(self) -> tuple[AudioSource | None, RowEvents | None]:
        """Open, read, score, segment and close the file in one call of a scoring thread, if it is short and read in
        this process. Else nothing has been read: the source is open, or None where it has not been opened either."""
        model, job, memory = self._model, self.job, self._detector.memory
        backend = model.backends[0]
        room = bytes_at_once(job.source, model.grid.sample_rate, self._detector.audio.block_seconds)
        # Members of a sum are scheduled apart, and a device that gathers blocks fills its batches with other files'.
        if room is None or len(model.backends) > 1 or backend.batch > 1:
            return None, None

        def call(score: Score) -> tuple[AudioSource | None, RowEvents | None]:
            try:
                source = self._open_in_thread(in_process=True)
            except NeedsChild:
                return None, None
            self._stop.when_stopped(source.close)
            if not source.is_short(room):
                source.decoder.may_start_child = True
                return source, None
            try:
                with source:
                    return source, score_whole(source, model.new_stream(self.plan.segmentation), score)
            except NeedsChild:  # a FLAC is damaged midway
                return None, None

        ticket = await memory.enter(job.holder, room, may_try=True)  # the call is over in a moment
        try:
            return await backend.run(call, Turn(job.holder.client), self._cost, on_end=lambda: memory.leave(ticket))
        except asyncio.CancelledError:
            self._stop.stop()
            raise

    async def _open(self) -> AudioSource:
        opening = asyncio.ensure_future(self._detector.engine.readers.run(self._open_in_thread))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            # A decoder may hang before it says what the file is, and its thread with it.
            self._stop.stop()
            opening.add_done_callback(_close_opened)
            raise

    def _open_in_thread(self, *, in_process: bool = False) -> AudioSource:
        audio = self._detector.audio
        return open_audio(
            self.job.source,
            sample_rate=self._model.grid.sample_rate,
            channel=self.plan.channel,
            block_seconds=audio.block_seconds,
            limits=audio.limits,
            ffmpeg=audio.ffmpeg,
            stop=self._stop,
            in_process=in_process,
        )

    async def _block_by_block(self, source: AudioSource) -> AsyncGenerator[tuple[AudioSource, RowEvents], None]:
        """Hold room for what this run has in memory while it runs. Closes the source, also when there is no room in
        time.

        A clip is not to wait for long files that have all the room: it is heard on trial. What turns out to be long
        itself begins again when it has room of its own.
        """
        model, memory = self._model, self._detector.memory
        held = source.bytes_held(blocks_in_flight(model.backends[0]), samples_beside(model.backends))
        try:
            ticket = await memory.enter(self.job.holder, held, may_try=True)
        except BaseException:
            source.close()
            raise
        try:
            if ticket.state is State.ON_TRIAL:
                try:
                    found = await asyncio.wait_for(self._walk_whole(source), _TRIAL_S)
                except asyncio.TimeoutError:
                    ticket = memory.end_trial(ticket)
                    await memory.served(ticket)
                    source, self._cost = await self._open(), Cost()
                else:
                    for step in found:
                        yield source, step
                    return
            async with aclosing(self._walk(source)) as steps:
                async for step in steps:
                    yield source, step
        finally:
            source.close()
            memory.leave(ticket)

    def _walk(self, source: AudioSource) -> AsyncGenerator[RowEvents, None]:
        model, engine = self._model, self._detector.engine
        # Where only one block is scored at a time anyway, each goes on from the one before it, without a warm-up.
        isolated = engine.workers > 1 or any(backend.batch > 1 for backend in model.backends)
        new_stream = partial(model.new_stream, self.plan.segmentation, isolated=isolated)
        return walk(model.backends, source, new_stream, self._cost, self.job.holder.client)

    async def _walk_whole(self, source: AudioSource) -> list[RowEvents]:
        async with aclosing(self._walk(source)) as steps:
            return [step async for step in steps]

    def _progress(self, found: RowEvents, source: AudioSource) -> Progress:
        plan, frame_ms = self.plan, self._model.grid.frame_ms
        while found.row >= len(self._rows):
            number = plan.channel if isinstance(plan.channel, int) else len(self._rows)
            self._rows.append(
                ChannelGatherer(plan, None if plan.channel in ("mix", "loudest") else number, keeps=self._keeps)
            )
        row = self._rows[found.row]
        if plan.request.probabilities:
            frames = len(found.posteriors)
            self._results.add(frames * frame_ms / 1000, frames * columns_of(plan))
        self._count_kept(found.posteriors)
        segments, chunks = row.push(found.events, found.posteriors, found.final_ms, source.duration_ms)
        expected = source.expected_seconds
        expected_ms = None if expected is None else round(expected * 1000)
        return Progress(row.channel, segments, row.frames * frame_ms, expected_ms, chunks)

    def _count_kept(self, posteriors: Posteriors) -> None:
        """Count posteriors that are to be kept. Nobody knows how long the audio is: past the bound none are kept, and
        the answer says so."""
        keeping = self.job.keeping
        if not self._keeps or keeping is None or keeping.add(posteriors.nbytes):
            return
        self._keeps = False
        for row in self._rows:
            row.drop_posteriors()

    def _finish(self, source: AudioSource) -> Report:
        model, cost = self._model, self._cost
        channels = tuple(row.finish(source.duration_ms) for row in self._rows)
        degraded = [AnswerWarning("degraded", "the CPU did the work instead of the device")] if cost.degraded else []
        return Report(
            request_id=self.job.request_id,
            name=self.job.name,
            model=model.info,
            device="cpu" if cost.degraded else model.device,
            degraded=cost.degraded,
            audio=_summary(source, base_name(self.job.file_name)),
            channels=channels,
            options=self.plan.segmentation.document(),
            timing=Timing(
                queue_ms=round(cost.queue_s * 1000),
                decode_ms=round(source.decode_seconds * 1000),
                inference_ms=round(cost.inference_s * 1000),
                total_ms=round((time.perf_counter() - self._started) * 1000),
            ),
            labels=self.plan.segmentation.labels(model.grid),
            frame_ms=model.grid.frame_ms,
            warnings=(*self.plan.warnings, *source.warnings(), *degraded, *forced_cuts(channels)),
        )


def _summary(source: AudioSource, file_name: str) -> AudioSummary:
    info, decoder, clock = source.info, source.decoder, source.decoder.clock_facts
    return AudioSummary(
        duration_ms=source.duration_ms,
        sample_rate=info.sample_rate,
        channels=info.channels,
        format=info.format,
        subtype=info.subtype,
        truncated=decoder.truncated,
        track=decoder.track,
        tracks=decoder.track_count,
        late_start_ms=clock.late_start_ms,
        time_gap_ms=clock.gap_ms,
        time_gaps=tuple((gap.at_ms, gap.duration_ms) for gap in clock.gaps),
        clock_map=clock.stretches,
        file_name=file_name,
    )


def columns_of(plan: Plan) -> int:
    """Probabilities of each frame that are asked for."""
    return 1 + (len(_member_names(plan)) if plan.request.members else 0)


def _close_opened(opening: "asyncio.Future[AudioSource]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
