"""The speech itself, cut out of the source: one WAV, or a zip of WAVs with a manifest. What is cut out are chunks where
they are asked for, else segments.

The source is decoded a second time and passes by block by block; nothing longer than a block is ever held. Where
another rate is asked for, it has that rate when it passes, so a stretch covers the samples `start_ms * rate // 1000` up
to `end_ms * rate // 1000` whatever the rate is.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from zipstream import ZIP_STORED, ZipStream

from app.formats.rendering import Answering, ExcerptOptions, Renderer, SourceBlocks
from app.formats.report import Report
from app.formats.tables import segment_columns, segment_rows
from app.formats.time_map import (
    AS_THEY_ARE,
    CLOCK_MAP,
    TIME_MAP,
    TIME_MAP_COUNT,
    Stretch,
    is_kept,
    kept,
    length,
    ms_of,
    time_map,
)
from app.formats.wav import Block, WavForm
from app.vad.errors import InvalidOption
from app.vad.segment import Segment

_SILENCE_FRAMES = 1 << 16
"""Zeros in one piece."""
_HEADER_BYTES = 3_000
"""Proxies take all headers together in 4 KiB, some of them."""


def wav_form(report: Report, channel: int | None, options: ExcerptOptions = AS_THEY_ARE) -> WavForm:
    """How the report's audio is written, or one channel of it."""
    alone = channel is not None or options.excerpt_channels == 1
    rate = options.excerpt_rate or report.audio.sample_rate
    return WavForm.like(rate, 1 if alone else report.audio.channels, report.audio.subtype)


def stream_wav(report: Report, blocks: Iterable[Block], options: ExcerptOptions = AS_THEY_ARE) -> Iterator[bytes]:
    """All speech as one WAV: one stretch after the other, or each in its place with silence between; `blocks`: the
    decoded source at the rate of the excerpt, float32 [n, channels]."""
    if len(report.channels) > 1:
        raise InvalidOption("format", "wav holds one voice track; use zip with channel=split")
    pieces = kept(report.pieces(), options)
    channel = report.channels[0].channel if report.channels else None
    form, passing = wav_form(report, channel, options), _Passing(blocks, channel, options)
    if options.silence == "cut":
        yield from _wav_of(pieces, form, passing)
        return
    frames = report.audio.duration_ms * form.sample_rate // 1000
    yield form.header(frames)
    for block in passing.cut_with_silence(pieces, form, frames):
        yield form.encode(block)
    if padding := form.padding(frames):
        yield padding


def stream_zip(report: Report, open_blocks: SourceBlocks, options: ExcerptOptions = AS_THEY_ARE) -> Iterator[bytes]:
    """A WAV for each chunk or segment, stored, and `manifest.csv`; the source is opened once for each channel and
    label.

    A WAV's name carries its index in the manifest, which goes by start over all channels.
    """
    tracks = _chunk_tracks(report) if report.has_chunks else _segment_tracks(report)
    tracks = [(channel, [entry for entry in entries if is_kept(entry.stretch, options)]) for channel, entries in tracks]
    archive = ZipStream(compress_type=ZIP_STORED)
    for channel, entries in tracks:
        form, passing = wav_form(report, channel, options), _Passing(open_blocks(), channel, options)
        for entry in entries:
            archive.add(_wav_of([entry.stretch], form, passing), entry.name)
            yield from archive.all_files()
    names = {entry.index: entry.name for _, entries in tracks for entry in entries}
    archive.add(_manifest(report, names, options).encode(), "manifest.csv")
    yield from archive.finalize()


@dataclass(frozen=True, slots=True)
class _Entry:
    """A file of the archive."""

    index: int
    stretch: Stretch
    name: str


_Track = tuple[int | None, list[_Entry]]


def _chunk_tracks(report: Report) -> list[_Track]:
    chunks = report.chunks()
    return [
        (
            entry.channel,
            [
                _Entry(chunk.index, chunk, _entry_name(report, chunk.index, chunk, _suffix(chunk.channel, None)))
                for chunk in chunks
                if chunk.channel == entry.channel
            ],
        )
        for entry in report.channels
    ]


def _segment_tracks(report: Report) -> list[_Track]:
    index_of = {
        (channel, segment.label, segment.start_ms): index
        for index, (channel, segment) in enumerate(report.in_order(), 1)
    }

    def entry(channel: int | None, segment: Segment) -> _Entry:
        index = index_of[channel, segment.label, segment.start_ms]
        return _Entry(index, segment, _entry_name(report, index, segment, _suffix(channel, segment.label)))

    return [(track.channel, [entry(track.channel, each) for each in track.segments]) for track in report.tracks()]


def _suffix(channel: int | None, label: str | None) -> str:
    return ("" if channel is None else f"_ch{channel}") + (f"_{label}" if label else "")


def _entry_name(report: Report, index: int, stretch: Stretch, suffix: str) -> str:
    return f"{report.name}{suffix}_{index:04d}_{stretch.start_ms:06d}-{stretch.end_ms:06d}.wav"


def _manifest(report: Report, names: dict[int, str], options: ExcerptOptions) -> str:
    """A line for each chunk, or each segment as `format=csv` has it, and which file holds it: none where it is too
    short. With `time_map` also the source's time of the file's first sample."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    mapped = ["source_ms"] if options.time_map else []
    rate = options.excerpt_rate or report.audio.sample_rate
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
    writer.writerow([*columns, "file", *mapped])
    for row in rows:
        source_ms = [ms_of(row[1] * rate // 1000, rate)] if options.time_map else []
        writer.writerow([*row, names.get(row[0], ""), *source_ms])
    return out.getvalue()


def _wav_of(stretches: Sequence[Stretch], form: WavForm, passing: "_Passing") -> Iterator[bytes]:
    frames = sum(length(stretch, form.sample_rate) for stretch in stretches)
    yield form.header(frames)
    for block in passing.cut(stretches, form.sample_rate):
        yield form.encode(block)
    if padding := form.padding(frames):
        yield padding


class _Passing:
    """One pass over the source, from which stretches are cut in order."""

    def __init__(self, blocks: Iterable[Block], channel: int | None, options: ExcerptOptions) -> None:
        self._blocks = iter(blocks)
        self._channel, self._mono = channel, options.excerpt_channels == 1
        self._block: Block = np.zeros((0, 1), dtype=np.float32)
        self._first = 0

    def cut(self, stretches: Iterable[Stretch], rate: int) -> Iterator[Block]:
        """The samples of each stretch, in pieces; silence where the source turns out shorter."""
        for stretch in stretches:
            yield from self._between(stretch.start_ms * rate // 1000, stretch.end_ms * rate // 1000)

    def cut_with_silence(self, stretches: Iterable[Stretch], form: WavForm, frames: int) -> Iterator[Block]:
        """So many samples: those of the stretches in their places, and zeros."""
        at = 0
        for stretch in stretches:
            start = min(frames, max(at, stretch.start_ms * form.sample_rate // 1000))
            stop = min(frames, stretch.end_ms * form.sample_rate // 1000)
            yield from _silence(start - at, form.channels)
            yield from self._between(start, stop)
            at = max(start, stop)
        yield from _silence(frames - at, form.channels)

    def _between(self, start: int, stop: int) -> Iterator[Block]:
        while start < stop:
            piece = self._piece(start, stop)
            yield piece
            start += len(piece)

    def _piece(self, start: int, stop: int) -> Block:
        while start >= self._first + len(self._block):
            following = next(self._blocks, None)
            if following is None:
                return np.zeros((min(stop - start, _SILENCE_FRAMES), max(1, self._block.shape[1])), dtype=np.float32)
            self._first += len(self._block)
            self._block = self._chosen(following)
        return self._block[start - self._first : stop - self._first]

    def _chosen(self, block: Block) -> Block:
        if self._channel is not None:
            return block[:, [self._channel]]
        return block.mean(axis=1, keepdims=True, dtype=np.float32) if self._mono else block


def _silence(frames: int, channels: int) -> Iterator[Block]:
    for start in range(0, frames, _SILENCE_FRAMES):
        yield np.zeros((min(_SILENCE_FRAMES, frames - start), channels), dtype=np.float32)


def _clock_headers(report: Report) -> dict[str, str]:
    told = ";".join(",".join(map(str, stretch)) for stretch in report.audio.clock_map)
    return {CLOCK_MAP: told} if 0 < len(told) <= _HEADER_BYTES else {}


class WavRenderer(Renderer):
    """`format=wav`: all speech as one file."""

    def __init__(self, answering: Answering) -> None:
        self._blocks, self._options = answering.blocks, answering.excerpts

    def finish(self, report: Report) -> Iterator[bytes]:
        """Bytes of the file, as `stream_wav` makes them."""
        return stream_wav(report, self._blocks(), self._options)

    def headers(self, report: Report) -> dict[str, str]:
        """With `time_map` the map, where it is short enough for a header, and always how many stretches it has."""
        if not self._options.time_map:
            return {}
        mapped = time_map(report, self._options)
        told = ";".join(f"{each.start_ms:.12g},{each.source_ms:.12g},{each.duration_ms:.12g}" for each in mapped)
        headers = {TIME_MAP_COUNT: str(len(mapped)), **_clock_headers(report)}
        return headers | {TIME_MAP: told} if len(told) <= _HEADER_BYTES else headers


class ZipRenderer(Renderer):
    """`format=zip`: a WAV for each segment or chunk."""

    def __init__(self, answering: Answering) -> None:
        self._blocks, self._options = answering.blocks, answering.excerpts

    def finish(self, report: Report) -> Iterator[bytes]:
        """Bytes of the archive, as `stream_zip` makes them."""
        return stream_zip(report, self._blocks, self._options)

    def headers(self, report: Report) -> dict[str, str]:
        """With `time_map`, how the source's two clocks lie; the rest stands in the manifest."""
        return _clock_headers(report) if self._options.time_map else {}
