"""What a WAV file really holds, whatever its lengths say.

A RIFF file is a list of chunks, each with its length in front; `data` holds the samples. Programs that stream or crash
leave lengths of 0 or placeholders, 32 bits wrap at 4 GiB, and recorders and `cat` put more samples, or whole files,
behind what the header counts. So every length is compared with the file:

- a placeholder (0, exactly 2^31, or within 64 KiB below 2^31 or 2^32) means: up to the end of the file;
- a larger length than there are bytes means that the file is cut;
- what follows a smaller one is more chunks when they lead, one after the other, to the file's end; the next file when
  it is a further `RIFF`, or another container's; a tag when it begins like one; and samples otherwise.

Whatever is read otherwise than the header says is reported; 0xFFFFFFFF means "unknown", and contradicts nothing.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import BinaryIO

from app.audio.follow import next_file
from app.audio.options import ENCODINGS, RawForm

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
_NAMES = (b"RIFF", b"RIFX", b"RF64", b"BW64")
"""What a file begins with."""
_CHUNKS = (b"data", b"fmt ", b"LIST", b"fact", b"JUNK")
_TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"\r\n--")
"""Also the line that ends a part of a form."""
_PADDING = 64 << 10
"""Zeros at the end up to a block of a disk or tape are padding."""
_PCM, _FLOAT, _ALAW, _MULAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
"""Tags of codings, as Microsoft's mmreg.h has them."""
_SUBFORMAT = bytes.fromhex("000000001000800000aa00389b71")
"""The rest of a subformat's name, where its first two bytes are such a tag."""
_BARE: Mapping[tuple[int, int], str] = {
    (_PCM, 8): "pcm_u8", (_PCM, 16): "pcm_s16", (_PCM, 24): "pcm_s24", (_PCM, 32): "pcm_s32",
    (_FLOAT, 32): "pcm_f32", (_FLOAT, 64): "pcm_f64", (_ALAW, 8): "alaw", (_MULAW, 8): "mulaw",
}  # fmt: skip
"""Codings of bare samples by tag and bits; those of several bytes go by `le` or `be` as well."""


@dataclass(frozen=True, slots=True)
class WaveFormat:
    """What a `fmt ` chunk says of the samples."""

    tag: int
    """The coding; for the extensible format that of its subformat."""
    channels: int
    sample_rate: int
    bits: int
    """Of a sample as it lies in the file."""
    plain: bool
    """Whether all that the chunk says of a sample agrees, and nothing in it is out of the ordinary."""
    big_endian: bool


@dataclass(frozen=True, slots=True)
class Wave:
    """What a WAV file holds, and how its header differs from that."""

    format: WaveFormat | None
    ranges: tuple[Range, ...]
    """Where its samples lie, in order."""
    as_declared: bool = True
    """Whether a reader that goes by the header finds exactly them."""
    repaired: str | None = None
    """How the header was wrong."""
    cut: str | None = None
    """How the file ends before its header says."""
    next_at: int | None = None
    """Where another file begins whose samples are not among these."""

    @property
    def tag(self) -> int | None:
        """Which coding the samples have; None: nothing says."""
        return None if self.format is None else self.format.tag

    @property
    def bare(self) -> RawForm | None:
        """The form of its samples, where they are bare ones that need no more than numpy.

        That is so where the header is wrong, so that no other reader finds them, and where it is plain: libsndfile
        takes three times as long over the same samples. It has the last word on what is out of the ordinary.
        """
        form = self.format
        if form is None or not form.channels or not form.sample_rate or (self.as_declared and not form.plain):
            return None
        name = _BARE.get((form.tag, form.bits))
        if name is not None and name not in ENCODINGS:
            name += "be" if form.big_endian else "le"
        return None if name is None else RawForm(ENCODINGS[name], form.sample_rate, form.channels)


def read_wave(file: BinaryIO, size: int, begin: int = 0) -> Wave | None:
    """Find what a RIFF, RIFX or RF64 file holds that begins at a byte; None when it has no `data` chunk.

    Of several files in one, the samples of those are read that have the first one's form, where they are bare samples.
    """
    found = _read_one(file, begin, size)
    if found is None:
        return None
    first, next_at = found
    if begin:
        text = f"{begin} bytes stand in front of the file, and were left out"
        first = replace(first, as_declared=False, repaired=f"{text}; {first.repaired}" if first.repaired else text)
    if next_at is None:
        return first
    ranges, last, count = list(first.ranges), first, 1
    while next_at is not None and count < _MAX_FILES:
        found = _read_one(file, next_at, size) if first.bare is not None else None
        if found is None or found[0].format != first.format:
            break
        last, next_at = found
        ranges += last.ranges
        count += 1
    text = f"{count} WAV files follow one another; all were read"
    if count == 1:
        return replace(first, next_at=next_at)
    return Wave(first.format, tuple(ranges), False, text if next_at is None else None, last.cut, next_at)


def _read_one(file: BinaryIO, start: int, size: int) -> tuple[Wave, int | None] | None:
    """The file that begins at `start`, and where the next one in it begins; None without a `data` chunk."""
    file.seek(start)
    magic = file.read(12)[:4]
    if magic not in _NAMES:
        return None
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
            return _measure(file, form, at + 8, declared, size)
        if name == b"fmt ":
            form = wave_format(file.read(min(length, 40)), order)
        elif name == b"ds64" and magic in (b"RF64", b"BW64"):
            long_length = struct.unpack("<Q", file.read(16)[8:16].ljust(8, b"\0"))[0]
        at += 8 + length
        if length % 2:
            file.seek(at)
            at += _padding(file.read(5))
    return None


def _padding(following: bytes) -> int:
    """Bytes between a chunk of odd length and the next one, of which these are the first five from its end on: one, as
    the format has it, unless a program has left it out."""
    padded, bare = following[1:5], following[:4]
    return 0 if bare.isascii() and bare.decode().isprintable() and padded not in _CHUNKS and len(bare) == 4 else 1


def wave_format(chunk: bytes, order: str) -> WaveFormat | None:
    """What a `fmt ` chunk says; None for one that is cut. `order`: of its bytes, as `struct` has it."""
    if len(chunk) < 16:
        return None
    tag, channels, rate, _, align, bits = struct.unpack(f"{order}HHIIHH", chunk[:16])
    plain = tag != _EXTENSIBLE or chunk[26:40] == _SUBFORMAT
    if tag == _EXTENSIBLE and len(chunk) >= 26:
        tag = struct.unpack(f"{order}H", chunk[24:26])[0]
    # 20 bits in containers of 24, 24 in 32: the container's width is what lies in the file.
    width = align // channels * 8 if channels and align % channels == 0 and tag in (_PCM, _FLOAT) else bits
    width = width if width >= bits else -(-bits // 8) * 8
    plain = plain and 8 * align == bits * channels and width == bits
    return WaveFormat(tag, channels, rate, width, plain, order == ">")


def is_placeholder(declared: int) -> bool:
    """Whether programs write this length of samples where they do not know it."""
    return declared == 0 or (1 << 31) - _NEAR <= declared <= 1 << 31 or (1 << 32) - _NEAR <= declared < 1 << 32


def _measure(file: BinaryIO, form: WaveFormat | None, start: int, declared: int, size: int) -> tuple[Wave, int | None]:
    """Compare the `declared` bytes of samples from `start` on with the file."""
    there = size - start
    plain = Wave(form, ((start, min(declared, there)),))
    if declared == _UNKNOWN:
        return replace(plain, ranges=((start, there),)), None
    follows, next_at = _what_follows(file, start + declared, size) if declared < there else ("nothing", size)
    if is_placeholder(declared) and (declared > there or follows == "samples"):
        text = f"the length of its samples is a placeholder, {declared:#x}; all {there} bytes were read"
        return Wave(form, ((start, there),), declared > there, text), None
    if declared > there:
        return replace(plain, cut=f"{declared - there} of {declared} bytes of samples are missing"), None
    if follows != "samples":
        return plain, next_at if follows == "file" else None
    # Where 32 bits have wrapped the samples go on to the chunks that follow; else to the end.
    length = there
    if wraps := (there - declared) >> 32:
        unwrapped = declared + (wraps << 32)
        if _what_follows(file, start + unwrapped, size)[0] != "samples":
            length = unwrapped
    text = f"the header counts {declared} bytes of samples; {length - declared} more follow, and were read"
    return Wave(form, ((start, length),), False, text), None


def _what_follows(file: BinaryIO, at: int, size: int) -> tuple[str, int]:
    """`nothing`, `file` and where it begins, `chunks`, `tag`, `padding` or `samples`; another container's file is one,
    too."""
    if size - at <= 1:
        return "nothing", size
    for place in dict.fromkeys((_even(at), at)):
        end = _end_of_chunks(file, place, size)
        if end is not None:
            return ("file", end) if end < size - 1 else ("chunks", end)
    if (other := next_file(file, at, size)) is not None:
        return "file", other
    file.seek(at)
    head = file.read(_PADDING)
    if any(head.startswith(tag) or head[1:].startswith(tag) for tag in _TAGS):
        return "tag", at
    if size - at <= _PADDING and not any(head):
        return "padding", at
    return "samples", at


def _end_of_chunks(file: BinaryIO, at: int, size: int) -> int | None:
    """Where chunks with printable names, none or more, lead: to the file's end or to another file; None when they lead
    nowhere."""
    for _ in range(_MAX_CHUNKS):
        file.seek(at)
        head = file.read(12)
        if size - at <= 1 or (head[:4] in _NAMES and head[8:] == b"WAVE"):
            return at
        if len(head) < 8 or not all(0x20 <= byte < 0x7F for byte in head[:4]):
            return None
        at += 8 + _even(int.from_bytes(head[4:8], "little"))
        if at > size + 1:
            return None
    return None


def _even(number: int) -> int:
    return number + number % 2
