"""What a file's own structure says of its length, read without decoding: facts for `truncated` and `header_repaired`.

Each container that says how long it is, or how long its parts are, is looked at in a few reads; nothing here trusts a
length further than to compare it with the file. Where a file is frames without a container, the last one's length is
compared. A coding that says nothing, such as GSM, cannot be found to be cut.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from app.audio.frames import (
    adts_length,
    loas_length,
    missing_of_last_amr_frame,
    missing_of_last_frame,
    mpeg_length,
)
from app.audio.wave import Wave, look_at_wave
from app.audio.xing import mp3_is_cut_short

_MAX_PARTS = 100_000
"""Boxes, elements and chunks at the outermost level: more than an hour's fragments; then it is not looked further."""
_OGG_PAGE = 27 + 255 + 255 * 255
"""Bytes of the largest Ogg page: its head, 255 lengths, and as many pieces of 255 bytes (RFC 3533)."""
_EBML_SEGMENT = 0x18538067
"""The element that holds all tracks (RFC 9559, 5.1)."""
_EBML_HEAD_BYTES = 12
"""Four bytes of name, eight of length, at most."""
_CAF_HEAD_BYTES = 8
"""Of the file, in front of its first chunk."""


@dataclass(frozen=True, slots=True)
class Structure:
    """What a look at a file has found."""

    cut: str | None = None
    """How the file ends before it says; None: it does not, or does not say."""
    repaired: str | None = None
    """How it is read otherwise than its header says."""
    wave: Wave | None = None


def look(path: Path, container: str) -> Structure:
    """Of a file of this container, as `sniff` names it."""
    if container in ("WAV", "RF64"):
        wave = look_at_wave(path)
        return Structure() if wave is None else Structure(wave.cut, wave.repaired, wave)
    if container in _FRAMES:
        return Structure(_of_frames(path, container))
    find = _CUTS.get(container)
    if find is None:
        return Structure()
    with path.open("rb") as file:
        return Structure(find(file, path.stat().st_size))


_FRAMES: Mapping[str, Callable[[Path], int]] = {
    "MP3": lambda path: missing_of_last_frame(path, mpeg_length, 0xFF),
    "AAC": lambda path: missing_of_last_frame(path, adts_length, 0xFF),
    "LATM": lambda path: missing_of_last_frame(path, loas_length, 0x56),
    "AMR": missing_of_last_amr_frame,
}
"""Where a file is nothing but frames: the bytes that its last one lacks."""


def _of_frames(path: Path, container: str) -> str | None:
    if container == "MP3" and mp3_is_cut_short(path):
        return "bytes that its first frame counts are missing"
    missing = _FRAMES[container](path)
    return f"{missing} bytes of its last frame are missing" if missing else None


def _missing(end: int, size: int, what: str) -> str | None:
    return f"{end - size} bytes of its last {what} are missing" if end > size else None


def _walk(
    file: BinaryIO, size: int, at: int, head_bytes: int, length_of: Callable[[bytes], int | None], what: str
) -> str | None:
    """Parts that lead from one to the next: whether the last one is whole. `length_of`: bytes of a part, its head
    included, by its first `head_bytes`; None: it is no part, or goes on to the file's end, wherever that is."""
    for _ in range(_MAX_PARTS):
        file.seek(at)
        length = length_of(file.read(head_bytes))
        if length is None:
            return None
        at += length
        if at >= size:
            return _missing(at, size, what)
    return None


def _mp4(file: BinaryIO, size: int) -> str | None:
    """Boxes: 32-bit length and name; 1: a 64-bit length follows; 0: to the end."""

    def length_of(head: bytes) -> int | None:
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:], "big")
        return length if len(head) >= 8 and length >= 8 else None

    return _walk(file, size, 0, 16, length_of, "box")


def _matroska(file: BinaryIO, size: int) -> str | None:
    """EBML elements; the segment's own length when it has one, else its parts'. A cluster without one may go on for
    ever, as a recorder writes it."""

    def length_of(head: bytes) -> int | None:
        name_bytes = _vint_bytes(head[:1])
        size_bytes = _vint_bytes(head[name_bytes : name_bytes + 1]) if name_bytes else 0
        if not name_bytes or not size_bytes or len(head) < name_bytes + size_bytes:
            return None
        bits = 7 * size_bytes
        content = int.from_bytes(head[name_bytes : name_bytes + size_bytes], "big") & ((1 << bits) - 1)
        if content < (1 << bits) - 1:
            return name_bytes + size_bytes + content
        # All bits set: no length. Of the segment, so that its parts come next.
        return name_bytes + size_bytes if int.from_bytes(head[:name_bytes], "big") == _EBML_SEGMENT else None

    return _walk(file, size, 0, _EBML_HEAD_BYTES, length_of, "element")


def _vint_bytes(first: bytes) -> int:
    """Bytes of a number of variable length; 0 for none."""
    return 9 - first[0].bit_length() if first and first[0] else 0


def _ogg(file: BinaryIO, size: int) -> str | None:
    """The last page must be whole, and marked as the last of its stream."""
    start = max(0, size - 2 * _OGG_PAGE)
    file.seek(start)
    tail = file.read()
    last = tail.rfind(b"OggS")
    if last < 0 or len(tail) - last < 27:
        return "its last page is missing"
    segments = tail[last + 27 : last + 27 + tail[last + 26]]
    end = last + 27 + tail[last + 26] + sum(segments)
    if end > len(tail):
        return _missing(end, len(tail), "page")
    return None if tail[last + 5] & 4 else "no page is marked as the last one"


def _chunks(order: str) -> Callable[[BinaryIO, int], str | None]:
    """IFF: the outermost chunk's length; 0 and 0xFFFFFFFF are placeholders."""

    def find(file: BinaryIO, size: int) -> str | None:
        head = file.read(8)
        length = int.from_bytes(head[4:], "big" if order == ">" else "little")
        return None if length in (0, 0xFFFFFFFF) else _missing(8 + length, size, "chunk")

    return find


def _au(file: BinaryIO, size: int) -> str | None:
    offset, length = struct.unpack(">II", file.read(12)[4:].ljust(8, b"\0"))
    return None if length in (0, 0xFFFFFFFF) else _missing(offset + length, size, "part")


def _caf(file: BinaryIO, size: int) -> str | None:
    """Chunks with a 64-bit length behind their name; -1: to the end."""

    def length_of(head: bytes) -> int | None:
        length = int.from_bytes(head[4:], "big", signed=True)
        return 12 + length if len(head) == 12 and length >= 0 else None

    return _walk(file, size, _CAF_HEAD_BYTES, 12, length_of, "chunk")


def _silk(file: BinaryIO, size: int) -> str | None:
    """Packets with a 16-bit length in front; a negative one is a mark of the end, which WeChat leaves out."""

    def length_of(head: bytes) -> int | None:
        length = int.from_bytes(head, "little", signed=True)
        return 2 + length if len(head) == 2 and length >= 0 else None

    first = len(b"#!SILK_V3") + (file.read(1) == b"\x02")
    return _walk(file, size, first, 2, length_of, "packet")


def _w64(file: BinaryIO, size: int) -> str | None:
    """The length of the outermost chunk stands after its 16-byte name, itself included."""
    length = int.from_bytes(file.read(24)[16:], "little")
    return None if not length or length >> 63 else _missing(length, size, "chunk")


def _asf(file: BinaryIO, size: int) -> str | None:
    """The file's size stands in its properties object, unless it was broadcast."""
    head = file.read(8 << 10)  # the properties come within the first objects, some hundred bytes on
    at = head.find(b"\xa1\xdc\xab\x8c\x47\xa9\xcf\x11\x8e\xe4\x00\xc0\x0c\x20\x53\x65")
    if at < 0 or len(head) < at + 92:
        return None
    declared = int.from_bytes(head[at + 40 : at + 48], "little")
    broadcast = head[at + 88] & 1
    return None if broadcast else _missing(declared, size, "packet")


def _flv(file: BinaryIO, size: int) -> str | None:
    """Every tag is followed by its length: the last one's must lead to a tag."""
    file.seek(max(0, size - 4))
    length = int.from_bytes(file.read(4), "big")
    file.seek(max(0, size - 4 - length))
    head = file.read(4)
    whole = len(head) == 4 and head[0] & 0x1F in (8, 9, 18) and int.from_bytes(head[1:], "big") + 11 == length
    return None if whole else "its last tag is not whole"


def _mpegts(file: BinaryIO, size: int) -> str | None:
    """Packets of 188 bytes, or 192 with a time stamp in front."""
    head = file.read(5 * 192)
    packet = 188 if head[0:1] == b"\x47" else 192
    return None if size % packet == 0 else f"its last packet has {size % packet} of {packet} bytes"


_CUTS: Mapping[str, Callable[[BinaryIO, int], str | None]] = {
    "MP4": _mp4,
    "MATROSKA": _matroska,
    "WEBM": _matroska,
    "OGG": _ogg,
    "AIFF": _chunks(">"),
    "AVI": _chunks("<"),
    "AU": _au,
    "CAF": _caf,
    "SILK": _silk,
    "W64": _w64,
    "ASF": _asf,
    "FLV": _flv,
    "MPEG-TS": _mpegts,
}
