"""The speech itself, cut out of the source at its own rate and channels: one WAV, or a zip of WAVs with a manifest.

The source is decoded a second time and passes by block by block; nothing longer than a block is ever held. A segment
covers the samples `start_ms * rate // 1000` up to `end_ms * rate // 1000`.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from zipstream import ZIP_STORED, ZipStream

from app.formats.rendering import Answering, Renderer, SourceBlocks
from app.formats.report import Report
from app.formats.tables import csv_text
from app.vad.errors import InvalidOption
from app.vad.segment import Segment

Block = NDArray[np.float32]
_MAX_WAV_BYTES = 0xFFFFFFFF - 64
_PCM, _FLOAT = 1, 3


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
        """RIFF header for so many frames. Raises `InvalidOption` past what a WAV can hold."""
        size = frames * self.frame_bytes
        if size > _MAX_WAV_BYTES:
            raise InvalidOption("format", "one WAV holds at most 4 GiB; use zip, with shorter segments")
        code = _FLOAT if self.bits == 32 else _PCM
        rate, width = self.sample_rate, self.frame_bytes
        form = struct.pack("<4sIHHIIHH", b"fmt ", 16, code, self.channels, rate, rate * width, width, self.bits)
        return b"RIFF" + struct.pack("<I", 36 + size + size % 2) + b"WAVE" + form + b"data" + struct.pack("<I", size)

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


def wav_form(report: Report, channels: int) -> WavForm:
    """How the report's audio is written."""
    return WavForm.like(report.audio.sample_rate, channels, report.audio.subtype)


def stream_wav(report: Report, blocks: Iterable[Block]) -> Iterator[bytes]:
    """All speech, one segment after the other, as one WAV; `blocks`: the decoded source, float32 [n, channels]."""
    if len(report.channels) > 1:
        raise InvalidOption("format", "wav holds one voice track; use zip with channel=split")
    segments = [segment for _, segment in report.in_order()]
    channel = report.channels[0].channel if report.channels else None
    form = wav_form(report, report.audio.channels if channel is None else 1)
    yield from _wav_of(segments, form, _Passing(blocks, channel))


def stream_zip(report: Report, open_blocks: SourceBlocks) -> Iterator[bytes]:
    """A WAV for each segment, stored, and `manifest.csv`; the source is opened once for each channel.

    A WAV's name carries its segment's index in the manifest, which goes by start over all channels. Raises
    `InvalidOption` before the first piece for a segment that no WAV can hold.
    """
    _refuse_what_no_wav_holds(report)
    archive = ZipStream(compress_type=ZIP_STORED)
    index_of = {(channel, segment.start_ms): index for index, (channel, segment) in enumerate(report.in_order(), 1)}
    for entry in report.channels:
        form = wav_form(report, report.audio.channels if entry.channel is None else 1)
        passing = _Passing(open_blocks(), entry.channel)
        for segment in entry.segments:
            index = index_of[entry.channel, segment.start_ms]
            archive.add(_wav_of([segment], form, passing), _entry_name(report, index, segment, entry.channel))
            yield from archive.all_files()
    archive.add(csv_text(report).encode(), "manifest.csv")
    yield from archive.finalize()


def _refuse_what_no_wav_holds(report: Report) -> None:
    # Found where the segment is written, this would break off an answer whose status has long been sent.
    for entry in report.channels:
        form = wav_form(report, report.audio.channels if entry.channel is None else 1)
        for segment in entry.segments:
            form.header(_length(segment, form.sample_rate))


def _entry_name(report: Report, index: int, segment: Segment, channel: int | None) -> str:
    track = "" if channel is None else f"_ch{channel}"
    return f"{report.name}{track}_{index:04d}_{segment.start_ms:06d}-{segment.end_ms:06d}.wav"


def _wav_of(segments: Sequence[Segment], form: WavForm, passing: "_Passing") -> Iterator[bytes]:
    frames = sum(_length(segment, form.sample_rate) for segment in segments)
    yield form.header(frames)
    for block in passing.cut(segments, form.sample_rate):
        yield form.encode(block)
    if padding := form.padding(frames):
        yield padding


def _length(segment: Segment, rate: int) -> int:
    return segment.end_ms * rate // 1000 - segment.start_ms * rate // 1000


class _Passing:
    """One pass over the source, from which segments are cut in order."""

    def __init__(self, blocks: Iterable[Block], channel: int | None) -> None:
        self._blocks = iter(blocks)
        self._channel = channel
        self._block: Block = np.zeros((0, 1), dtype=np.float32)
        self._first = 0

    def cut(self, segments: Iterable[Segment], rate: int) -> Iterator[Block]:
        """The samples of each segment, in pieces; silence where the source turns out shorter."""
        for segment in segments:
            start, stop = segment.start_ms * rate // 1000, segment.end_ms * rate // 1000
            while start < stop:
                piece = self._piece(start, stop)
                yield piece
                start += len(piece)

    def _piece(self, start: int, stop: int) -> Block:
        while start >= self._first + len(self._block):
            following = next(self._blocks, None)
            if following is None:
                return np.zeros((min(stop - start, 1 << 16), max(1, self._block.shape[1])), dtype=np.float32)
            self._first += len(self._block)
            self._block = following if self._channel is None else following[:, [self._channel]]
        return self._block[start - self._first : stop - self._first]


class WavRenderer(Renderer):
    """`format=wav`."""

    def __init__(self, answering: Answering) -> None:
        self._blocks = answering.blocks

    def finish(self, report: Report) -> Iterator[bytes]:
        """As `stream_wav`."""
        return stream_wav(report, self._blocks())


class ZipRenderer(Renderer):
    """`format=zip`."""

    def __init__(self, answering: Answering) -> None:
        self._blocks = answering.blocks

    def finish(self, report: Report) -> Iterator[bytes]:
        """As `stream_zip`."""
        return stream_zip(report, self._blocks)
