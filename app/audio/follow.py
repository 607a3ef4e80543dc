"""A file followed from part to part: where its structure is broken, what it counts, and where another file begins.

Most containers are a row of parts, each of which says how long it is: frames, pages, blocks, packets. `follow` goes
from one to the next. Where a part should begin and none does, it looks for the next place from which some lead to one
another; what lies between is lost, unless it is a tag. What stands in front of the first part and behind the last one
is nobody's loss: half a frame, tags, padding. Nothing is decoded, so damage within a part is the decoder's to find.

Files are read in windows, once, and parts of one length are compared all at once.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

import numpy as np

from app.audio.containers import CHAIN, HEAD_BYTES, LengthOf, container_for_certain

_WINDOW = 1 << 20
"""Bytes that are read at a time; more than any part has, apart from tags with pictures."""
_MARGIN = 512
"""Bytes of a part that its length may depend on: an Ogg page's lengths of pieces are 255."""
_MOST_BYTES = 2 << 30
"""Files that are followed; what is behind is not looked at."""
ID3_BYTES, _APE_BYTES, _ID3V1_BYTES = 10, 32, 128
"""The head of an ID3v2 tag, head or foot of an APE tag, and all of an ID3v1 tag (id3.org; hydrogenaud.io)."""
LEAST_JUNK = 256
"""Bytes behind the last part that may be anything: the end of a form, some program's mark."""
_JUNK_STUMBLES = 2
"""Packets that fail at bytes that are neither a part nor a tag: the one with them in it, and the next."""


class Count(NamedTuple):
    """How much sound a file says that it holds."""

    samples: int
    rate: int
    """Hz; 0: the rate at which the file is decoded."""


class Lost(NamedTuple):
    """Where parts should be and none are."""

    places: int
    size: int
    """Bytes."""
    first_at: int
    whole: int
    """Bytes of all parts that are whole."""


@dataclass(slots=True)
class Course:
    """What following a file has found."""

    lost: Lost | None = None
    stumbles: int = 0
    """Packets that fail in a whole file, too: at tags between its parts, and at what stands around them."""
    counted: Count | None = None
    end: int | None = None
    """Where its parts end."""
    next_at: int | None = None
    """Where another file begins that the decoder does not read."""
    pauses: bool = False
    """Whether it has frames of silence that not every decoder knows (AMR)."""
    reads_on: bool = False
    """Whether the decoder reads that file, too, and stumbles over its head."""
    cut: str | None = None
    """How it ends before it says, where its parts are counted."""
    missing_share: float = 0.0
    """Parts that it counts and has not, as a share of those that it has."""
    resumes: tuple[int, ...] = ()
    """Parts behind losses at which the decoder, which stops at each loss, has to begin again."""
    parts: int = 0
    places: list[tuple[int, int]] = field(default_factory=list)
    """First byte and number of bytes of each loss, while it is followed."""
    whole: int = 0

    def leave_out_from(self, at: int) -> None:
        """Leave out what is lost from this byte on: another file begins there."""
        self.places = [place for place in self.places if place[0] < at]
        self.lost = None
        self.settle()

    def settle(self) -> "Course":
        """Sum up what is lost."""
        if self.places:
            self.lost = Lost(len(self.places), sum(size for _, size in self.places), self.places[0][0], self.whole)
        return self


class _Window:
    """A moving view of a file."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self.size = file, min(size, _MOST_BYTES)
        self.data, self.base = b"", 0

    def reach(self, at: int, ahead: int = _MARGIN) -> int:
        """Have `ahead` bytes from `at` on in `data`, as far as the file goes. Returns where in it `at` is."""
        end = self.base + len(self.data)
        if at < self.base or (at + ahead > end and end < self.size):
            self._file.seek(at)
            self.data, self.base = self._file.read(min(max(_WINDOW, ahead), self.size - at)), at
        return at - self.base


def follow(  # noqa: C901 - one way through a file, told in one place
    file: BinaryIO,
    size: int,
    length_of: LengthOf,
    *,
    start: int = 0,
    sync: bytes | None = None,
    certain: int = CHAIN,
    stride: tuple[int, int, int, int] | None = None,
    visit: Callable[[bytes, int, int], bool] | None = None,
    strips_tags: bool = False,
    least_junk: int | None = None,
) -> Course:
    """Follow parts from `start` on.

    `sync`: what each begins with; None: any byte may. `certain`: parts in a row that make sure that one begins there.
    `stride`: the length of all parts, and where in each which bits (mask) have which value. `visit`: called with a
    window, the part's place in it and in the file; False ends the following. `strips_tags`: whether the decoder knows a
    tag at the end. `least_junk`: bytes behind the last part, zeros and tags aside, from which on they
    are lost parts; None: they are the length of the last part, or more.
    """
    window, course = _Window(file, size), Course()
    size, at, begun, tagged = window.size, start, False, False
    end: int | None = None
    last = 0
    while at < size:
        place = window.reach(at)
        if begun and stride is not None and (many := _many(window.data, place, stride)):
            course.whole += many * stride[0]
            course.parts += many
            end = at = at + many * stride[0]
            last = stride[0]
            continue
        if length := length_of(window.data, place):
            if visit is not None and not visit(window.data, place, at):
                break
            course.stumbles += begun and tagged
            begun, tagged = True, False
            course.parts += 1
            course.whole += min(length, size - at)
            end = at = at + length
            last = length
            continue
        if tag := tag_bytes(window.data, place):
            tagged = True
            at += tag
            continue
        found = _find(window, at, length_of, sync, certain)
        if found is None:
            break
        if begun:
            course.places.append((at, found - at))
        else:
            course.stumbles += _JUNK_STUMBLES
        at = found
    course.end = end
    if at < size:
        course.stumbles += _JUNK_STUMBLES
        rest = len(window.data[window.reach(at, _WINDOW) :].strip(b"\0"))
        if begun and rest >= (max(LEAST_JUNK, last) if least_junk is None else least_junk):
            course.places.append((at, size - at))
    elif tagged and not strips_tags:
        course.stumbles += 1
    return course.settle()


def _many(data: bytes, at: int, stride: tuple[int, int, int, int]) -> int:
    """Parts of one length from here on that are in the window and begin as they should."""
    length, offset, mask, value = stride
    begins = np.frombuffer(data, np.uint8)[at + offset :: length]
    begins = begins[: (len(data) - at) // length]
    wrong = (begins & mask) != value
    return int(wrong.argmax()) if wrong.any() else len(begins)


def tag_bytes(data: bytes, at: int) -> int:
    """Bytes of the tag that begins here, or 0."""
    head = data[at : at + _APE_BYTES]
    if head[:3] == b"ID3" and len(head) >= ID3_BYTES:
        return ID3_BYTES + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    if head[:8] == b"APETAGEX" and len(head) == _APE_BYTES:
        # Its length counts items and footer; a header, which this is then, comes on top.
        length, flags = struct.unpack("<I4xI", head[12:24])
        return _APE_BYTES + length if flags & 1 << 29 else _APE_BYTES
    return _ID3V1_BYTES if head[:3] == b"TAG" else 0


def _find(window: _Window, at: int, length_of: LengthOf, sync: bytes | None, certain: int) -> int | None:
    """The next place from which parts lead to one another, or to the file's end; None where there is none."""
    at += 1
    while at < window.size:
        place = window.reach(at, _WINDOW // 2)
        data, last = window.data, window.base + len(window.data) >= window.size
        # So near to the window's end a row of parts cannot be seen whole.
        stop = len(data) if last else len(data) - _WINDOW // 4
        while place < stop:
            if sync is not None:
                place = data.find(sync, place, stop)
                if place < 0:
                    break
            if _leads_on(data, place, length_of, certain, last=last):
                return window.base + place
            place += 1
        at = window.base + stop
    return None


def _leads_on(data: bytes, at: int, length_of: LengthOf, certain: int, *, last: bool) -> bool:
    count = 0
    while count < certain:
        if at >= len(data):
            return count > 0 and (not last or at == len(data))
        length = length_of(data, at)
        if not length:
            return False
        count, at = count + 1, at + length
    return True


# --- What follows -----------------------------------------------------------------------------------------------------


def search(file: BinaryIO, start: int, size: int, signature: bytes) -> int | None:
    """The first place from `start` on where these bytes stand."""
    window, at = _Window(file, size), start
    while at < window.size:
        place = window.reach(at, _WINDOW // 2)
        found = window.data.find(signature, place)
        if found >= 0:
            return window.base + found
        at = window.base + len(window.data)
        if at < window.size:
            at -= len(signature) - 1
    return None


_MOST_BETWEEN = 192
"""Tags, or heads of zeros (1.5 MiB in all), that may lie between two files."""


def next_file(file: BinaryIO, end: int, size: int) -> int | None:
    """Where another audio file begins behind a file's `end`; None where tags, padding or something unknown follow.

    Tags and zeros between the two are passed over, but not without end: a gigabyte of them is nobody's padding.
    """
    at, begins = end, None
    for _ in range(_MOST_BETWEEN):
        if at >= size:
            break
        file.seek(at)
        data = file.read(HEAD_BYTES)
        if tag := tag_bytes(data, 0):
            begins = at if begins is None and data[:3] == b"ID3" else begins  # another file's, if one follows
            at += tag
            continue
        zeros = len(data) - len(data.lstrip(b"\0"))
        # The first bytes of some formats are zeros themselves.
        for offset in range(zeros, max(-1, zeros - 4), -1):
            if container_for_certain(data[offset:]) is not None:
                return at + offset if begins is None else begins
        if zeros < len(data):
            return None
        at += zeros
    return None
