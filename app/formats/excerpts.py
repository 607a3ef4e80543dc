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
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from zipstream import ZIP_STORED, ZipStream

from app.formats.report import Piece, Report
from app.formats.texts import csv_text, segment_columns, segment_rows
from app.vad.errors import InvalidOption
from app.vad.options import Options
from app.vad.segment import OVERLAP

Block = NDArray[np.float32]
"""[n, channels], in [-1, 1]."""
SourceBlocks = Callable[[], Iterable[Block]]
"""Begins a fresh pass over the decoded source: float32 [n, channels], at `excerpt_rate` if set."""
TIME_MAP, TIME_MAP_COUNT = "X-VAD-Time-Map", "X-VAD-Time-Map-Stretches"
"""Response headers: the time map, if it fits into one, and how many stretches it has."""
CLOCK_MAP = "X-VAD-Clock-Map"
"""Response header: `AudioSummary.clock_map`, if it has any stretches."""
HEADER_BYTES = 2_000
"""Most of what grows with the audio, or with the number of files, in an answer's head. Some proxies take 4 KiB for all
of it, and the file's name may need 650 more."""
_ZEROS_FRAMES = 1 << 16
"""Frames of silence in one piece."""
_MAX_RIFF_BYTES = 0xFFFFFFFF - 64
"""RIFF counts in 32 bits; the header takes its share."""
_PCM, _FLOAT = 1, 3
"""WAVE_FORMAT_PCM and WAVE_FORMAT_IEEE_FLOAT, the codings that a header names."""


class ExcerptOptions(Options):
    """How `format=wav` and `format=zip` cut the audio."""

    silence: Literal["cut", "zero"] = Field(
        "cut",
        description="With `format=wav`. `cut`: only the speech, joined together. `zero`: the full length of the "
        "source, with zeros where nobody speaks.",
    )
    time_map: bool = Field(
        False,
        description="Adds where each piece came from in the source: the header `X-VAD-Time-Map` "
        "(`start,source,duration;…`, in ms) with `format=wav`, a column of the manifest with `format=zip`, `time_map` "
        "with `format=json`.",
    )
    excerpt_rate: int | None = Field(
        None,
        ge=8_000,
        le=48_000,
        description="Sample rate of `format=wav` and `format=zip`. Not set: the source's.",
        json_schema_extra={"unit": "Hz"},
    )
    excerpt_channels: int | None = Field(
        None, ge=1, le=1, description="1: the mean of the source's channels. Not set: all channels."
    )
    min_excerpt_s: float = Field(
        0.0,
        ge=0,
        le=600,
        allow_inf_nan=False,
        description="Shorter pieces are left out of `format=wav` and `format=zip`.",
        json_schema_extra={"unit": "s"},
    )


_DEFAULTS = ExcerptOptions()


@dataclass(frozen=True, slots=True)
class WavForm:
    """How samples are written."""

    sample_rate: int
    channels: int
    bits: int

    @classmethod
    def like(cls, sample_rate: int, channels: int, subtype: str) -> "WavForm":
        """The form that loses nothing of a source subtype; 16 bits where the source has no more."""
        bits = {"PCM_24": 24, "PCM_32": 32, "FLOAT": 32, "DOUBLE": 32}.get(subtype, 16)
        return cls(sample_rate, channels, bits)

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return self.channels * self.bits // 8

    def header(self, frames: int) -> bytes:
        """Header for so many frames: RIFF, or RF64 (EBU Tech 3306) past what RIFF's 32 bits count."""
        size = frames * self.frame_bytes
        code = _FLOAT if self.bits == 32 else _PCM
        rate, width = self.sample_rate, self.frame_bytes
        form = struct.pack("<4sIHHIIHH", b"fmt ", 16, code, self.channels, rate, rate * width, width, self.bits)
        if size <= _MAX_RIFF_BYTES:
            return (
                b"RIFF" + struct.pack("<I", 36 + size + size % 2) + b"WAVE" + form + b"data" + struct.pack("<I", size)
            )
        # The true lengths stand in `ds64`; 0xFFFFFFFF in both usual places says so.
        lengths = struct.pack("<4sIQQQI", b"ds64", 28, 72 + size + size % 2, size, frames, 0)
        return b"RF64\xff\xff\xff\xffWAVE" + lengths + form + b"data\xff\xff\xff\xff"

    def padding(self, frames: int) -> bytes:
        """What follows the samples: RIFF chunks have an even length."""
        return bytes(frames * self.frame_bytes % 2)

    def encode(self, block: Block) -> bytes:
        """Samples in [-1, 1], [n, channels], as the data chunk has them; 32 bits are floats."""
        if self.bits == 32:
            return block.astype("<f4").tobytes()
        full = 1 << (self.bits - 1)
        whole = np.clip(np.rint(block.astype(np.float64) * full), -full, full - 1).astype("<i4")
        if self.bits == 16:
            return whole.astype("<i2").tobytes()
        return whole.reshape(-1, 1).view(np.uint8).reshape(-1, 4)[:, :3].tobytes()


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
    """Add the time map to the members of the JSON document, if there is one WAV to map."""
    if len(report.channels) > 1:
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
        tracks = {key: stretches for key, stretches in tracks.items() if key[1] != OVERLAP}
        for index, (channel, segment) in enumerate(report.in_order(), 1):
            if segment.label != OVERLAP:  # it is in the speech already
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


def wav_headers(report: Report, options: ExcerptOptions) -> dict[str, str]:
    """Return those of one WAV: its time map, if it was asked for, as far as it fits."""
    if not options.time_map:
        return {}
    mapped = time_map(report, options)
    text = ";".join(f"{each.start_ms:.12g},{each.source_ms:.12g},{each.duration_ms:.12g}" for each in mapped)
    headers = {TIME_MAP_COUNT: str(len(mapped))}
    if len(text) > HEADER_BYTES:
        return headers | clock_headers(report, options)
    return headers | {TIME_MAP: text} | clock_headers(report, options, HEADER_BYTES - len(text))


def clock_headers(report: Report, options: ExcerptOptions, room: int = HEADER_BYTES) -> dict[str, str]:
    """Return those of every answer that is audio: with `time_map`, how the file's clock differs from the samples, as
    far as there is room."""
    text = ";".join(",".join(map(str, stretch)) for stretch in report.audio.clock_map) if options.time_map else ""
    return {CLOCK_MAP: text} if 0 < len(text) <= room else {}


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
