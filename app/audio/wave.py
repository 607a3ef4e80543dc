"""What a WAV file really holds, whatever its lengths say.

A RIFF file is a list of chunks, each with its length in front; `data` holds the samples. Programs that stream or crash
leave lengths of 0 or placeholders, 32 bits wrap at 4 GiB, and recorders and `cat` put more samples, or whole files,
behind what the header counts. So every length is compared with the file:

- a placeholder (0, exactly 2^31, or within 64 KiB below 2^31 or 2^32) means: up to the end of the file;
- a larger length than there are bytes means that the file is cut;
- what follows a smaller one is more chunks when they lead, one after the other, to the file's end; the next file when
  it is a further `RIFF`; a tag when it begins like one; and samples otherwise.

Whatever is read otherwise than the header says is told; 0xFFFFFFFF says "unknown", and contradicts nothing.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from app.audio.pcm import ENCODINGS, RawForm

Range = tuple[int, int]
"""First byte, number of bytes."""

_UNKNOWN = 0xFFFFFFFF
"""A length that stands elsewhere, in RF64's `ds64`, or that was not known yet."""
_NEAR = 64 << 10
"""Placeholders lie so near below 2^31 or 2^32: 0x7FFFF000 (sox), 0x7FFFFFFF, 0xFFFFFFD0 (0xFFFFFFFF less a header)."""
_MAX_CHUNKS = 1_000
"""Before or behind the samples; broadcasters' files have a dozen."""
_MAX_FILES = 1_000
"""Files in one; more is not worth a repair."""
_TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICSBEGIN")
_PADDING = 64 << 10
"""Zeros at the end up to a block of a disk or tape are padding."""
_PCM, _FLOAT, _ALAW, _MULAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
"""Tags of codings, as Microsoft's mmreg.h has them."""


@dataclass(frozen=True, slots=True)
class WaveFormat:
    """What a `fmt ` chunk says of the samples."""

    tag: int
    """Coding of the samples; that of the subformat for the extensible one."""
    channels: int
    sample_rate: int
    bits: int
    big_endian: bool

    def raw_form(self) -> RawForm | None:
        """The form of its samples, where they are bare ones."""
        end = "be" if self.big_endian else "le"
        names: Mapping[tuple[int, int], str] = {
            (_PCM, 8): "pcm_u8", (_PCM, 16): f"pcm_s16{end}", (_PCM, 24): f"pcm_s24{end}", (_PCM, 32): f"pcm_s32{end}",
            (_FLOAT, 32): f"pcm_f32{end}", (_FLOAT, 64): f"pcm_f64{end}", (_ALAW, 8): "alaw", (_MULAW, 8): "mulaw",
        }  # fmt: skip
        name = names.get((self.tag, self.bits))
        if name is None or not self.channels or not self.sample_rate:
            return None
        return RawForm(ENCODINGS[name], self.sample_rate, self.channels)


@dataclass(frozen=True, slots=True)
class Wave:
    """What a WAV file holds, and how it is told otherwise."""

    format: WaveFormat | None
    ranges: tuple[Range, ...]
    """Where its samples lie, in order."""
    as_declared: bool = True
    """Whether a reader that goes by the header finds exactly them."""
    repaired: str | None = None
    """How the header was wrong."""
    cut: str | None = None
    """How the file ends before its header says."""


def look_at_wave(path: Path) -> Wave | None:
    """What a RIFF, RIFX or RF64 file holds; None when it has no `data` chunk."""
    size = path.stat().st_size
    with path.open("rb") as file:
        first = _one(file, 0, size)
        if first is None or first.joined is None:
            return first.wave if first is not None else None
        return _joined(file, size, first)


@dataclass(frozen=True, slots=True)
class _Found:
    wave: Wave
    joined: int | None = None
    """Where the next file begins."""


def _one(file: BinaryIO, start: int, size: int) -> _Found | None:
    """The file that begins at `start`."""
    file.seek(start)
    magic = file.read(12)[:4]
    order = ">" if magic == b"RIFX" else "<"
    form, long_length = None, None
    at = start + 12
    for _ in range(_MAX_CHUNKS):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            return None
        name, length = head[:4], struct.unpack(f"{order}I", head[4:])[0]
        if name == b"data":
            declared = long_length if long_length is not None and length == _UNKNOWN else length
            return _measured(file, form, at + 8, declared, size)
        if name == b"fmt ":
            form = _format(file.read(min(length, 40)), order)
        elif name == b"ds64" and magic in (b"RF64", b"BW64"):
            long_length = struct.unpack("<Q", file.read(16)[8:16].ljust(8, b"\0"))[0]
        at += 8 + length + length % 2
    return None


def _format(chunk: bytes, order: str) -> WaveFormat | None:
    if len(chunk) < 16:
        return None
    tag, channels, rate, _, align, bits = struct.unpack(f"{order}HHIIHH", chunk[:16])
    if tag == _EXTENSIBLE and len(chunk) >= 26:
        tag = struct.unpack(f"{order}H", chunk[24:26])[0]
    # 20 bits in containers of 24, 24 in 32: the container's width is what lies in the file.
    width = align // channels * 8 if channels and align % channels == 0 and tag in (_PCM, _FLOAT) else bits
    return WaveFormat(tag, channels, rate, width if width >= bits else -(-bits // 8) * 8, order == ">")


def _measured(file: BinaryIO, form: WaveFormat | None, start: int, declared: int, size: int) -> _Found:
    there = size - start
    plain = Wave(form, ((start, min(declared, there)),))
    if declared == _UNKNOWN:
        return _Found(replace(plain, ranges=((start, there),)))
    follows, place = _what_follows(file, start + declared, size) if declared < there else ("nothing", size)
    if _is_placeholder(declared) and (declared > there or follows == "samples"):
        told = f"the length of its samples is a placeholder, {declared:#x}; all {there} bytes were read"
        return _Found(Wave(form, ((start, there),), declared > there, told))
    if declared > there:
        return _Found(replace(plain, cut=f"{declared - there} of {declared} bytes of samples are missing"))
    if follows == "file":
        return _Found(plain, place)
    if follows != "samples":
        return _Found(plain)
    length = _unwrapped(file, start, declared, size)
    told = f"it counts {declared} bytes of samples; {length - declared} more follow, and were read"
    return _Found(Wave(form, ((start, length),), False, told))


def _is_placeholder(length: int) -> bool:
    near = (1 << 31) - _NEAR <= length <= 1 << 31 or (1 << 32) - _NEAR <= length < 1 << 32
    return length == 0 or near


def _unwrapped(file: BinaryIO, start: int, declared: int, size: int) -> int:
    """Bytes of samples of a file with more than its header counts: where 32 bits have wrapped, up to the chunks that
    follow; else all there are."""
    times = (size - start - declared) >> 32
    if times:
        length = declared + (times << 32)
        if _what_follows(file, start + length, size)[0] != "samples":
            return length
    return size - start


def _what_follows(file: BinaryIO, at: int, size: int) -> tuple[str, int]:
    """`nothing`, `file` and where it begins, `chunks`, `tag`, `padding` or `samples`."""
    if size - at <= 1:
        return "nothing", size
    for place in dict.fromkeys((_even(at), at)):
        end = _end_of_chunks(file, place, size)
        if end is not None:
            return ("file", end) if end < size - 1 else ("chunks", end)
    file.seek(at)
    head = file.read(16)
    if any(head.startswith(tag) or head[1:].startswith(tag) for tag in _TAGS):
        return "tag", at
    if size - at <= _PADDING and not any(head) and not any(file.read(_PADDING)):
        return "padding", at
    return "samples", at


def _is_riff(file: BinaryIO, at: int) -> bool:
    file.seek(at)
    head = file.read(12)
    return head[:4] in (b"RIFF", b"RIFX") and head[8:] == b"WAVE"


def _end_of_chunks(file: BinaryIO, at: int, size: int) -> int | None:
    """Where chunks with printable names, none or more, lead: to the file's end or to another file; None when they lead
    nowhere."""
    for _ in range(_MAX_CHUNKS):
        if size - at <= 1 or _is_riff(file, at):
            return at
        file.seek(at)
        head = file.read(8)
        if len(head) < 8 or not all(0x20 <= byte < 0x7F for byte in head[:4]):
            return None
        at += 8 + _even(int.from_bytes(head[4:], "little"))
        if at > size + 1:
            return None
    return None


def _joined(file: BinaryIO, size: int, first: _Found) -> Wave:
    """Several files in one: the samples of those that are of the first one's form."""
    ranges, found, count = list(first.wave.ranges), first, 1
    while found.joined is not None and count < _MAX_FILES:
        following = _one(file, found.joined, size)
        if following is None or following.wave.format != first.wave.format:
            told = f"another WAV file of another form follows at byte {found.joined}, and was not read"
            return Wave(first.wave.format, tuple(ranges), False, told)
        ranges += following.wave.ranges
        found, count = following, count + 1
    told = f"{count} WAV files follow one another; all were read"
    return Wave(first.wave.format, tuple(ranges), False, told, found.wave.cut)


def _even(number: int) -> int:
    return number + number % 2
