"""Whether an MP3 file ends before its header says: ffmpeg stops at the end of any of them without a word."""

from pathlib import Path

_HEAD_BYTES = 4 << 10
"""Behind a tag the first frame begins at once, or after some padding."""
_FIRST_FRAME_BYTES = 256
"""The names below lie within these of the first frame's beginning."""
_NAMES = (b"Xing", b"Info")
_HAS_FRAMES, _HAS_BYTES = 1, 2
"""Flags of the header: which of its fields there are."""
_LARGEST_FRAME_BYTES = 1_441
"""MPEG-1, layer III, 320 kbit/s at 32 kHz, padded."""


def mp3_is_cut_short(path: Path) -> bool:
    """Whether more than a frame is missing of the bytes that a Xing or Info header promises; False without one."""
    with path.open("rb") as file:
        start = _after_tag(file.read(10))
        file.seek(start)
        head = file.read(_HEAD_BYTES)
    first = head.find(b"\xff")
    promised = _promised_bytes(head[first : first + _FIRST_FRAME_BYTES]) if first >= 0 else None
    return promised is not None and path.stat().st_size - start - first + _LARGEST_FRAME_BYTES < promised


def _after_tag(head: bytes) -> int:
    """Where an ID3v2 tag ends; 0 when there is none."""
    if len(head) < 10 or head[:3] != b"ID3":
        return 0
    size = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    return 10 + size


def _promised_bytes(frame: bytes) -> int | None:
    at = max(frame.find(name) for name in _NAMES)
    flags = int.from_bytes(frame[at + 4 : at + 8], "big")
    if at < 0 or not flags & _HAS_BYTES:
        return None
    field = at + (12 if flags & _HAS_FRAMES else 8)
    return int.from_bytes(frame[field : field + 4], "big")
