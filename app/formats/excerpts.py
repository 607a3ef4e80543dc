"""The speech itself as audio: one WAV (`format=wav`), a zip with a WAV for each channel of it, or for each piece
(`format=zip`). Pieces are chunks where they are asked for, else segments.

The source is decoded a second time and passes by block by block: nothing longer than a block is held, and every piece
of the answer is of bounded size. With `excerpt_rate` the source is resampled before it passes. At any rate a stretch of
the source covers the samples `start_ms * rate // 1000` up to `end_ms * rate // 1000`.

A time map leads from a WAV's time back to the source's: stretches (start in the WAV, start in the source, length), ms,
in order, without gaps in the WAV's time. Their starts are those of samples, so they do not drift however many there
are.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from zipstream import ZIP_STORED, ZipStream

from app.formats.rendering import ExcerptOptions, RenderContext, Renderer, SourceBlocks
from app.formats.report import Piece, Report
from app.formats.texts import csv_text, segment_columns, segment_rows
from app.formats.wav import Block, WavForm
from app.vad.errors import InvalidOption

TIME_MAP, TIME_MAP_COUNT = "X-VAD-Time-Map", "X-VAD-Time-Map-Stretches"
"""Response headers: the time map, if it fits into one, and how many stretches it has."""
CLOCK_MAP = "X-VAD-Clock-Map"
"""Response header: `AudioSummary.clock_map`, if it has any stretches."""
_HEADER_BYTES = 3_000
"""Some proxies take 4 KiB for all headers together."""
_ZEROS_FRAMES = 1 << 16
"""Frames of silence in one piece."""
_DEFAULTS = ExcerptOptions()


class Stretch(Protocol):
    """A part of the source's time: a segment, a chunk or a piece."""

    @property
    def start_ms(self) -> int: ...

    @property
    def end_ms(self) -> int: ...

    @property
    def duration_ms(self) -> int: ...


@dataclass(frozen=True, slots=True)
class MappedStretch:
    """A stretch of a time map; ms."""

    start_ms: float
    """In the WAV."""
    source_ms: float
    """The same moment in the source."""
    duration_ms: float


def time_map(report: Report, options: ExcerptOptions = _DEFAULTS) -> list[MappedStretch]:
    """Map the time of the WAV that `format=wav` makes under these options."""
    if options.silence == "zero":
        return [MappedStretch(0.0, 0.0, float(report.audio.duration_ms))]
    rate = options.excerpt_rate or report.audio.sample_rate
    mapped, at = [], 0
    for piece in _kept(report, options):
        first, frames = piece.start_ms * rate // 1000, _frames(piece, rate)
        mapped.append(MappedStretch(_ms(at, rate), _ms(first, rate), _ms(frames, rate)))
        at += frames
    return mapped


def with_time_map(report: Report, options: ExcerptOptions) -> Report:
    """Add the time map to the members of the JSON document, if it was asked for and there is one WAV to map."""
    if not options.time_map or len(report.channels) > 1:
        return report
    return replace(report, extras={**report.extras, "time_map": _triples(report, options)})


def stream_wav(report: Report, blocks: Iterable[Block], options: ExcerptOptions = _DEFAULTS) -> Iterator[bytes]:
    """Write all speech of one channel, or of the mix, as one WAV: piece after piece, or each in its place with silence
    between.

    `blocks` is the decoded source at the rate of the excerpt, float32 [n, channels]. Raises `InvalidOption` for a
    report of several channels.
    """
    if len(report.channels) > 1:
        raise InvalidOption("format", "wav holds one voice track; use zip with channel=split")
    pieces = _kept(report, options)
    channel = report.channels[0].channel if report.channels else None
    form = _wav_form(report, channel, options)
    source = _SourceCut(blocks, channel, form)
    if options.silence == "cut":
        yield from _wav_of(pieces, form, source)
        return
    frames = report.audio.duration_ms * form.sample_rate // 1000
    yield form.header(frames)
    for block in source.cut_with_silence(pieces, frames):
        yield form.encode(block)
    if padding := form.padding(frames):
        yield padding


def stream_channel_wavs(
    report: Report, open_blocks: SourceBlocks, options: ExcerptOptions = _DEFAULTS
) -> Iterator[bytes]:
    """Write a zip with the speech of each channel as one WAV, its time map if asked for, and `segments.csv`.

    The source is decoded once for each channel.
    """
    archive = ZipStream(compress_type=ZIP_STORED)
    for alone in report.by_channel():
        name = f"{report.name}_ch{alone.channels[0].channel}.wav"
        archive.add(stream_wav(alone, open_blocks(), options), name)
        if options.time_map:
            archive.add(json.dumps(_triples(alone, options)).encode(), f"{name}.map.json")
        yield from archive.all_files()
    archive.add(csv_text(report).encode(), "segments.csv")
    yield from archive.finalize()


def stream_zip(report: Report, open_blocks: SourceBlocks, options: ExcerptOptions = _DEFAULTS) -> Iterator[bytes]:
    """Write a zip with a WAV for each chunk or segment, and `manifest.csv`.

    A WAV's name has its index in the manifest, which goes by start over all channels. The source is decoded once for
    each channel and label, because segments of different labels may overlap.
    """
    tracks: dict[tuple[int | None, str | None], list[tuple[int, Stretch]]]
    if report.has_chunks:
        tracks = {(entry.channel, None): [] for entry in report.channels}
        for chunk in report.chunks():
            tracks[chunk.channel, None].append((chunk.index, chunk))
    else:
        tracks = {(track.channel, track.label): [] for track in report.tracks()}
        for index, (channel, segment) in enumerate(report.in_order(), 1):
            tracks.setdefault((channel, segment.label), []).append((index, segment))
    archive = ZipStream(compress_type=ZIP_STORED)
    names: dict[int, str] = {}
    for (channel, label), stretches in tracks.items():
        form = _wav_form(report, channel, options)
        source = _SourceCut(open_blocks(), channel, form)
        prefix = report.name + ("" if channel is None else f"_ch{channel}") + (f"_{label}" if label else "")
        for index, stretch in stretches:
            if not _is_kept(stretch, options):
                continue
            names[index] = f"{prefix}_{index:04d}_{stretch.start_ms:06d}-{stretch.end_ms:06d}.wav"
            archive.add(_wav_of([stretch], form, source), names[index])
            yield from archive.all_files()
    archive.add(_manifest(report, names, options).encode(), "manifest.csv")
    yield from archive.finalize()


class WavRenderer(Renderer):
    """`format=wav`."""

    def __init__(self, context: RenderContext) -> None:
        self._blocks, self._options = context.blocks, context.excerpts

    def finish(self, report: Report) -> Iterator[bytes]:
        return stream_wav(report, self._blocks(), self._options)

    def headers(self, report: Report) -> dict[str, str]:
        if not self._options.time_map:
            return {}
        mapped = time_map(report, self._options)
        text = ";".join(f"{each.start_ms:.12g},{each.source_ms:.12g},{each.duration_ms:.12g}" for each in mapped)
        headers = {TIME_MAP_COUNT: str(len(mapped)), **_clock_headers(report)}
        return headers | {TIME_MAP: text} if len(text) <= _HEADER_BYTES else headers


class ChannelWavsRenderer(Renderer):
    """`format=wav` with `channel=split`."""

    def __init__(self, context: RenderContext) -> None:
        self._blocks, self._options = context.blocks, context.excerpts

    def finish(self, report: Report) -> Iterator[bytes]:
        return stream_channel_wavs(report, self._blocks, self._options)

    def headers(self, report: Report) -> dict[str, str]:
        return _clock_headers(report) if self._options.time_map else {}


class ZipRenderer(Renderer):
    """`format=zip`."""

    def __init__(self, context: RenderContext) -> None:
        self._blocks, self._options = context.blocks, context.excerpts

    def finish(self, report: Report) -> Iterator[bytes]:
        return stream_zip(report, self._blocks, self._options)

    def headers(self, report: Report) -> dict[str, str]:
        return _clock_headers(report) if self._options.time_map else {}


def _kept(report: Report, options: ExcerptOptions) -> list[Piece]:
    return [piece for piece in report.pieces() if _is_kept(piece, options)]


def _is_kept(stretch: Stretch, options: ExcerptOptions) -> bool:
    return stretch.duration_ms >= options.min_excerpt_s * 1000


def _frames(stretch: Stretch, rate: int) -> int:
    return stretch.end_ms * rate // 1000 - stretch.start_ms * rate // 1000


def _ms(frames: int, rate: int) -> float:
    return round(frames * 1000 / rate, 3)


def _triples(report: Report, options: ExcerptOptions) -> list[tuple[float, float, float]]:
    return [(each.start_ms, each.source_ms, each.duration_ms) for each in time_map(report, options)]


def _clock_headers(report: Report) -> dict[str, str]:
    text = ";".join(",".join(map(str, stretch)) for stretch in report.audio.clock_map)
    return {CLOCK_MAP: text} if 0 < len(text) <= _HEADER_BYTES else {}


def _wav_form(report: Report, channel: int | None, options: ExcerptOptions) -> WavForm:
    mono = channel is not None or options.excerpt_channels == 1
    rate = options.excerpt_rate or report.audio.sample_rate
    return WavForm.like(rate, 1 if mono else report.audio.channels, report.audio.subtype)


def _wav_of(stretches: Sequence[Stretch], form: WavForm, source: "_SourceCut") -> Iterator[bytes]:
    frames = sum(_frames(stretch, form.sample_rate) for stretch in stretches)
    yield form.header(frames)
    for block in source.cut(stretches):
        yield form.encode(block)
    if padding := form.padding(frames):
        yield padding


def _manifest(report: Report, names: dict[int, str], options: ExcerptOptions) -> str:
    """Tabulate chunks, or segments as `format=csv` does, with the file that holds each: none if it is too short.
    With `time_map` also the source's time of the file's first sample."""
    columns: list[str]
    rows: list[list[Any]]
    if report.has_chunks:
        columns = ["index", "start_ms", "end_ms", "duration_ms", "channel", "segments"]
        rows = [
            [each.index, each.start_ms, each.end_ms, each.duration_ms, "" if each.channel is None else each.channel,
             " ".join(map(str, each.segments))]
            for each in report.chunks()
        ]  # fmt: skip
    else:
        columns, rows = segment_columns(report), segment_rows(report)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*columns, "file", *(["source_ms"] if options.time_map else [])])
    rate = options.excerpt_rate or report.audio.sample_rate
    for row in rows:
        source_ms = [_ms(row[1] * rate // 1000, rate)] if options.time_map else []
        writer.writerow([*row, names.get(row[0], ""), *source_ms])
    return out.getvalue()


class _SourceCut:
    """One pass over the source, from which stretches are cut in order."""

    def __init__(self, blocks: Iterable[Block], channel: int | None, form: WavForm) -> None:
        self._blocks, self._channel, self._form = iter(blocks), channel, form
        self._block: Block = np.zeros((0, form.channels), dtype=np.float32)
        self._first = 0  # position of `_block` in the source, frames

    def cut(self, stretches: Iterable[Stretch]) -> Iterator[Block]:
        """Yield the samples of each stretch in blocks; silence where the source turns out shorter."""
        rate = self._form.sample_rate
        for stretch in stretches:
            yield from self._between(stretch.start_ms * rate // 1000, stretch.end_ms * rate // 1000)

    def cut_with_silence(self, stretches: Iterable[Stretch], frames: int) -> Iterator[Block]:
        """Yield `frames` in all: the stretches in their places, and zeros around them."""
        at, rate = 0, self._form.sample_rate
        for stretch in stretches:
            start = min(frames, max(at, stretch.start_ms * rate // 1000))
            stop = min(frames, stretch.end_ms * rate // 1000)
            yield from self._zeros(start - at)
            yield from self._between(start, stop)
            at = max(start, stop)
        yield from self._zeros(frames - at)

    def _between(self, start: int, stop: int) -> Iterator[Block]:
        while start < stop:
            while start >= self._first + len(self._block):
                following = next(self._blocks, None)
                if following is None:
                    yield from self._zeros(stop - start)
                    return
                self._first += len(self._block)
                if self._channel is not None:
                    following = following[:, [self._channel]]
                elif self._form.channels == 1 < following.shape[1]:
                    following = following.mean(axis=1, keepdims=True, dtype=np.float32)
                self._block = following
            part = self._block[start - self._first : stop - self._first]
            yield part
            start += len(part)

    def _zeros(self, frames: int) -> Iterator[Block]:
        for start in range(0, frames, _ZEROS_FRAMES):
            yield np.zeros((min(_ZEROS_FRAMES, frames - start), self._form.channels), dtype=np.float32)
