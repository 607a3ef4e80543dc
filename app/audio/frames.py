"""Frames of codings that follow one another without a container: how long each says it is, and whether the last one is
whole.

MPEG audio (ISO 11172-3, 13818-3), ADTS and LOAS (ISO 14496-3) begin with a sync word and carry their length; the frames
of AMR (RFC 4867) have it by their kind and no sync word, so they can only be followed from the beginning.
"""

from collections.abc import Callable
from pathlib import Path

LengthOf = Callable[[bytes, int], int]
"""Bytes of the frame at a place, as its header has it; 0 where none begins."""

_MPEG_KBPS = {
    (3, 3): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (3, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (3, 1): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 3): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 1): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""By (MPEG-1: 3, MPEG-2 and 2.5: 2; layer I: 3, II: 2, III: 1), from index 1 on."""
_MPEG_HZ = (44_100, 48_000, 32_000)
"""Of MPEG-1, by the two bits of a header; MPEG-2 has the half, 2.5 the quarter (ISO 11172-3, 13818-3)."""
_AMR_BYTES = {
    b"#!AMR\n": (13, 14, 16, 18, 20, 21, 27, 32, 6, 0, 0, 0, 0, 0, 0, 1),
    b"#!AMR-WB\n": (18, 24, 33, 37, 41, 47, 51, 59, 61, 6, 0, 0, 0, 0, 1, 1),
}
"""By a file's first bytes and a frame's kind; 0: there is no such kind."""
_MOST_AMR_BYTES = 32 << 20
"""Two hours at the highest rate take 23 MB; a longer file is not followed."""
_TAIL_BYTES = 16 << 10
"""Of a file's end: eleven frames of the largest kind, ADTS's 1,440 bytes or MPEG's 1,441."""
_SURE = 4
"""Frames whose headers lead from one to the next; among random bytes that is as rare as one in 10^13."""


def chain(data: bytes, at: int, length_of: LengthOf, most: int) -> int:
    """How many frames follow one another from here on, as far as the bytes go; no more than `most` are counted."""
    count = 0
    while count < most and (length := length_of(data, at)):
        count += 1
        at += length
    return count


def mpeg_length(data: bytes, at: int) -> int:
    """Of MPEG audio, layers I to III; 0 also for the free format, whose length is nowhere."""
    if len(data) < at + 4 or data[at] != 0xFF or data[at + 1] & 0xE0 != 0xE0:
        return 0
    version, layer = (data[at + 1] >> 3) & 3, (data[at + 1] >> 1) & 3
    bitrate, rate_index = data[at + 2] >> 4, (data[at + 2] >> 2) & 3
    if version == 1 or layer == 0 or bitrate in (0, 15) or rate_index == 3:
        return 0
    kbps = _MPEG_KBPS[3 if version == 3 else 2, layer][bitrate - 1]
    rate = _MPEG_HZ[rate_index] // {3: 1, 2: 2, 0: 4}[version]
    padding = (data[at + 2] >> 1) & 1
    if layer == 3:
        return (12_000 * kbps // rate + padding) * 4
    return (72_000 if layer == 1 and version != 3 else 144_000) * kbps // rate + padding


def adts_length(data: bytes, at: int) -> int:
    """Of ADTS: twelve bits of sync, a rate that there is, thirteen bits of length, which count the header."""
    if len(data) < at + 6 or data[at] != 0xFF or data[at + 1] & 0xF6 != 0xF0 or (data[at + 2] >> 2) & 0xF >= 13:
        return 0
    length = (data[at + 3] & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
    return length if length > 7 else 0


def loas_length(data: bytes, at: int) -> int:
    """Of LOAS: eleven bits of sync, thirteen of length, which do not count these three bytes."""
    if len(data) < at + 3 or data[at] != 0x56 or data[at + 1] & 0xE0 != 0xE0:
        return 0
    return 3 + ((data[at + 1] & 0x1F) << 8 | data[at + 2])


def missing_of_last_frame(path: Path, length_of: LengthOf, first: int) -> int:
    """Bytes that the last frame of a file has and the file has not; 0 where it is whole, or where something else stands
    at the end, such as a tag. `first`: the byte that frames begin with.

    Frames are followed over the file's end alone: from the first place there from which some lead to one another.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _TAIL_BYTES))
        tail = file.read()
    at = tail.find(first)
    while at >= 0 and chain(tail, at, length_of, _SURE) < _SURE:
        at = tail.find(first, at + 1)
    if at < 0:
        return 0
    while length := length_of(tail, at):
        at += length
    return max(0, at - len(tail))


def missing_of_last_amr_frame(path: Path) -> int:
    """The same of an AMR file, which is followed from its beginning; 0 as well where it holds something else."""
    with path.open("rb") as file:
        data = file.read(_MOST_AMR_BYTES + 1)
    sizes = next((sizes for magic, sizes in _AMR_BYTES.items() if data.startswith(magic)), None)
    if sizes is None or len(data) > _MOST_AMR_BYTES:
        return 0
    at, end = data.index(b"\n") + 1, len(data)
    while at < end:
        # Four bits of kind; the two last ones are padding and always 0.
        size = sizes[data[at] >> 3 & 15] if not data[at] & 0x83 else 0
        if not size:
            return 0
        at += size
    return at - end
