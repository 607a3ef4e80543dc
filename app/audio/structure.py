"""What a file's own structure says of its length, read without decoding: facts for `truncated` and `header_repaired`.

Each container that says how long it is, or how long its parts are, is looked at in a few reads; nothing here trusts a
length further than to compare it with the file. A container that says nothing cannot be found to be cut.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from app.audio.wave import Wave, look_at_wave
from app.audio.xing import mp3_is_cut_short

_MAX_PARTS = 100_000
"""Boxes, elements and chunks at the outermost level: more than an hour's fragments; then it is not looked further."""
_OGG_PAGE = 27 + 255 + 255 * 255
"""Bytes of the largest Ogg page."""
_EBML_SEGMENT, _EBML_CLUSTER = 0x18538067, 0x1F43B675


@dataclass(frozen=True, slots=True)
class Structure:
    """What was found."""

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
    if container == "MP3":
        return Structure("bytes that its first frame counts are missing" if mp3_is_cut_short(path) else None)
    find = _CUTS.get(container)
    if find is None:
        return Structure()
    with path.open("rb") as file:
        return Structure(find(file, path.stat().st_size))


def _missing(end: int, size: int, what: str) -> str | None:
    return f"{end - size} bytes of its last {what} are missing" if end > size else None


def _mp4(file: BinaryIO, size: int) -> str | None:
    """Boxes: 32-bit length and name; 1: a 64-bit length follows; 0: to the end."""
    at = 0
    for _ in range(_MAX_PARTS):
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            return None
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:], "big")
        if length == 0:
            return None
        if length < 8:
            return None
        at += length
        if at >= size:
            return _missing(at, size, "box")
    return None


def _matroska(file: BinaryIO, size: int) -> str | None:
    """EBML elements; the segment's own length when it has one, else its parts'. A cluster without one may go on for
    ever, as a recorder writes it."""
    at, inside = 0, False
    for _ in range(_MAX_PARTS):
        file.seek(at)
        head = file.read(12)
        name_bytes = _vint_bytes(head[:1])
        size_bytes = _vint_bytes(head[name_bytes : name_bytes + 1]) if name_bytes else 0
        if not name_bytes or not size_bytes or len(head) < name_bytes + size_bytes:
            return None
        name = int.from_bytes(head[:name_bytes], "big")
        bits = 7 * size_bytes
        length = int.from_bytes(head[name_bytes : name_bytes + size_bytes], "big") & ((1 << bits) - 1)
        content = at + name_bytes + size_bytes
        if length == (1 << bits) - 1:
            if name != _EBML_SEGMENT or inside:
                return None
            at, inside = content, True
            continue
        at = content + length
        if at >= size:
            return _missing(at, size, "cluster" if name == _EBML_CLUSTER else "element")
    return None


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
    """Chunks with a 64-bit length; -1: to the end."""
    at = 8
    for _ in range(_MAX_PARTS):
        file.seek(at)
        head = file.read(12)
        if len(head) < 12:
            return None
        length = int.from_bytes(head[4:], "big", signed=True)
        if length < 0:
            return None
        at += 12 + length
        if at >= size:
            return _missing(at, size, "chunk")
    return None


def _w64(file: BinaryIO, size: int) -> str | None:
    """The length of the outermost chunk stands after its 16-byte name, itself included."""
    length = int.from_bytes(file.read(24)[16:], "little")
    return None if not length or length >> 63 else _missing(length, size, "chunk")


def _asf(file: BinaryIO, size: int) -> str | None:
    """The file's size stands in its properties object, unless it was broadcast."""
    head = file.read(8 << 10)
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
    "W64": _w64,
    "ASF": _asf,
    "FLV": _flv,
    "MPEG-TS": _mpegts,
}
