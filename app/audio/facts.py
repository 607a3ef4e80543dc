"""What is wrong with a file, as its own structure tells without decoding: the facts behind `truncated`, `damaged`,
`joined` and `header_repaired`.

`LAYOUTS` is the one table: for each container what it is made of, where its structure says that the file ends, and how
it is followed from part to part (`parts`). There are four ways to say where it ends: one length in front for the whole
file; parts that each have a length and lead from one to the next; frames without a container, of which the last one's
length is compared; and a mark at the end. What says nothing, such as GSM or bare samples, cannot be found to be cut.

Where a file ends before the bytes do, and an audio file begins behind it, that one's first byte is reported, unless the
decoder reads it, too: MPEG audio, Ogg, Matroska and the like go on. WAV is a matter of its own (`wave`).

A look takes a few reads, or one pass over files that are followed. No length is trusted further than to compare it with
the file.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from app.audio import parts
from app.audio.containers import CHAIN, LengthOf, adts_length, chain, loas_length, mpeg_frame_ms, mpeg_length
from app.audio.follow import Count, Course, Lost, next_file
from app.audio.parts import MAX_PARTS
from app.audio.wave import Wave, read_wave

_NO_LENGTH = (0, 0xFFFFFFFF)
"""Lengths of 32 bits that programs write when they do not know the length."""
_OGG_PAGE = 27 + 255 + 255 * 255
"""Bytes of the largest Ogg page: its head, 255 lengths, and as many pieces of 255 bytes (RFC 3533)."""
_EBML_SEGMENT = 0x18538067
"""The element that holds all tracks (RFC 9559, 5.1)."""
_TAIL_BYTES = 16 << 10
"""Of a file's end: eleven frames of the largest kind, ADTS's 1,440 bytes or MPEG's 1,441."""
_LARGEST_MPEG_FRAME = 1_441
"""Bytes: MPEG-1, layer III, 320 kbit/s at 32 kHz, padded."""
End = int | str | None
"""Where a file's structure says that it ends, in bytes from its beginning; what its end lacks, where that is no number
of bytes; None where nothing is said, or where the end is as it should be."""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What a look at a file has found."""

    cut: str | None = None
    """How the file ends before it says; None: it does not, or does not say."""
    repaired: str | None = None
    """How it is read otherwise than its header says."""
    wave: Wave | None = None
    """Of WAV and RF64: the format and where the samples lie."""
    next_at: int | None = None
    """Where another file begins that is not decoded."""
    lost: Lost | None = None
    """Where its structure is broken."""
    counted: Count | None = None
    """How much sound it counts."""
    missing_ms: float = 0.0
    """Sound that it counts and for which it has no part."""
    missing_share: float = 0.0
    """The same, as a share of what it has a part for."""
    stumbles: int = 0
    """Packets that fail in a whole file, too: at tags between its parts, and at what stands around them."""
    reads_on: bool = False
    """Whether the file at `next_at` is decoded all the same, with what its head sounds like."""
    pauses: bool = False
    """Whether it has frames of silence that not every decoder knows (AMR)."""
    resumes: tuple[int, ...] = ()
    """Where the decoder, which stops at damage, has to begin again behind it."""


def examine(file: BinaryIO, container: str, begin: int = 0) -> FileFacts:
    """Find the facts of a file of this container, as `sniff` names it. `begin`: a WAV's first byte. Leaves `file`
    anywhere."""
    size = file.seek(0, 2)
    if container in ("WAV", "RF64"):
        wave = read_wave(file, size, begin)
        return FileFacts() if wave is None else FileFacts(wave.cut, wave.repaired, wave, wave.next_at)
    layout = LAYOUTS.get(container)
    if layout is None:
        return FileFacts()
    file.seek(0)
    end, course = layout.end(file, size), layout.follow(file, size)
    last = end if course.end is None else course.end
    next_at = course.next_at
    if next_at is None and isinstance(last, int) and last < size and container not in _READ_ON:
        next_at = next_file(file, last, size)
    if next_at is not None:
        course.leave_out_from(last if isinstance(last, int) and last < next_at else next_at)
    cut = end if isinstance(end, str) else course.cut
    declared = last if end is None else end
    if cut is None and isinstance(declared, int) and declared > size and next_at is None:
        cut = f"{declared - size} bytes of its last {layout.part} are missing"
    return FileFacts(
        cut,
        next_at=next_at,
        lost=course.lost,
        counted=course.counted,
        missing_ms=_uncovered_ms(file, course) if container == "MP3" and course.lost is not None else 0.0,
        missing_share=course.missing_share,
        # Where frames have no container, another one's bytes are taken for frames.
        stumbles=size if next_at is not None and container in _BARE_FRAMES else course.stumbles,
        reads_on=course.reads_on,
        pauses=course.pauses,
        resumes=course.resumes,
    )


# --- One length in front for the whole file -------------------------------------------------------------------------


def _iff(order: str) -> Callable[[BinaryIO, int], End]:
    """The outermost chunk's length, behind its name."""

    def end(file: BinaryIO, size: int) -> End:
        length: int = struct.unpack(f"{order}I", file.read(8)[4:].ljust(4, b"\0"))[0]
        return None if length in _NO_LENGTH else 8 + length

    return end


def _au(file: BinaryIO, size: int) -> End:
    return parts.au_end(file)


def _w64(file: BinaryIO, size: int) -> End:
    """The outermost chunk's length stands behind its 16-byte name, and counts itself."""
    length = int.from_bytes(file.read(24)[16:], "little")
    return None if not length or length >> 63 else length


def _asf(file: BinaryIO, size: int) -> End:
    """The file's size stands in its properties object, unless it was broadcast."""
    head = file.read(8 << 10)  # the properties are among the first objects, some hundred bytes on
    at = head.find(b"\xa1\xdc\xab\x8c\x47\xa9\xcf\x11\x8e\xe4\x00\xc0\x0c\x20\x53\x65")
    broadcast = at < 0 or len(head) < at + 92 or head[at + 88] & 1
    return None if broadcast else int.from_bytes(head[at + 40 : at + 48], "little")


# --- Parts that lead from one to the next ---------------------------------------------------------------------------


def _last_part_end(
    file: BinaryIO, size: int, at: int, head_bytes: int, length_of: Callable[[bytes], int | None]
) -> int | None:
    """Follow parts to the one that reaches the file's end. `length_of`: bytes of a part, its head included, by its
    first `head_bytes`; None where it is not a part, or goes on to the file's end wherever that is."""
    for _ in range(MAX_PARTS):
        file.seek(at)
        length = length_of(file.read(head_bytes))
        if length is None:
            return None
        at += length
        if at >= size:
            return at
    return None


def _tta(file: BinaryIO, size: int) -> End:
    """The frames' lengths in front make up the whole."""
    return parts.tta(file, size).end


def _mp4(file: BinaryIO, size: int) -> End:
    """Boxes: 32 bits of length and a name. Length 1: one of 64 bits follows; 0: the box goes on to the file's end."""

    def length_of(head: bytes) -> int | None:
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:], "big")
        return length if len(head) >= 8 and length >= 8 and parts.is_name(head[4:8]) else None

    return _last_part_end(file, size, 0, 16, length_of)


def _matroska(file: BinaryIO, size: int) -> End:
    """EBML elements: name and length have one to eight bytes each. A segment without a length is followed by its parts'
    lengths; a cluster without one may go on for ever, as recorders write it."""

    def number_bytes(first: bytes) -> int:
        return 9 - first[0].bit_length() if first and first[0] else 0

    def length_of(head: bytes) -> int | None:
        name_bytes = number_bytes(head[:1])
        size_bytes = number_bytes(head[name_bytes : name_bytes + 1]) if name_bytes else 0
        if not name_bytes or not size_bytes or len(head) < name_bytes + size_bytes:
            return None
        no_length = (1 << 7 * size_bytes) - 1  # all bits set
        content = int.from_bytes(head[name_bytes : name_bytes + size_bytes], "big") & no_length
        if content != no_length:
            return name_bytes + size_bytes + content
        return name_bytes + size_bytes if int.from_bytes(head[:name_bytes], "big") == _EBML_SEGMENT else None

    return _last_part_end(file, size, 0, 12, length_of)


def _caf(file: BinaryIO, size: int) -> End:
    """Behind the file's head of 8 bytes chunks with 64 bits of length behind the name; -1: to the file's end."""

    def length_of(head: bytes) -> int | None:
        length = int.from_bytes(head[4:], "big", signed=True)
        return 12 + length if len(head) == 12 and length >= 0 else None

    return _last_part_end(file, size, 8, 12, length_of)


def _silk(file: BinaryIO, size: int) -> End:
    """Packets with 16 bits of length in front. A negative one marks the end; WeChat leaves it out."""

    def length_of(head: bytes) -> int | None:
        length = int.from_bytes(head, "little", signed=True)
        return 2 + length if len(head) == 2 and length >= 0 else None

    first = len(b"#!SILK_V3") + (file.read(1) == b"\x02")
    return _last_part_end(file, size, first, 2, length_of)


# --- Frames without a container -------------------------------------------------------------------------------------


def _last_frame_end(length_of: LengthOf, first: int) -> Callable[[BinaryIO, int], End]:
    """Where the last frame ends by its own length. It is looked for in the file's end alone, from the first place there
    from which some frames lead to one another; `first` is the byte that each begins with. Behind it may stand something
    else, such as a tag."""

    def end(file: BinaryIO, size: int) -> End:
        start = file.seek(max(0, size - _TAIL_BYTES))
        tail = file.read()
        at = tail.find(first)
        while at >= 0 and chain(tail, at, length_of, CHAIN) < CHAIN:
            at = tail.find(first, at + 1)
        if at < 0:
            return None
        while length := length_of(tail, at):
            at += length
        return start + at

    return end


def _mp3(file: BinaryIO, size: int) -> End:
    """ffmpeg stops short of what the first frame counts, and says nothing."""
    first, _, counted, _ = _first_mpeg_frame(file)
    if size - first + _LARGEST_MPEG_FRAME < counted:
        return "bytes that its first frame counts are missing"
    return _last_frame_end(mpeg_length, 0xFF)(file, size)


def _first_mpeg_frame(file: BinaryIO) -> tuple[int, int, int, float]:
    """Where it stands, how many frames and how many bytes its Xing or Info header counts, each 0 without one, and how
    long a frame is, ms."""
    file.seek(0)
    head = file.read(10)
    start = 0
    if len(head) == 10 and head[:3] == b"ID3":
        start = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
    file.seek(start)
    head = file.read(4 << 10)  # behind a tag the first frame begins at once, or after some padding
    first = head.find(b"\xff")
    frame = head[first : first + 256] if first >= 0 else b""  # the header lies within these
    at = max(frame.find(b"Xing"), frame.find(b"Info"))
    if at < 0:
        return start + first, 0, 0, 0.0
    flags = int.from_bytes(frame[at + 4 : at + 8], "big")  # 1: it counts frames; 2: it counts bytes
    fields = [int.from_bytes(frame[place : place + 4], "big") for place in (at + 8, at + 8 + 4 * (flags & 1))]
    return start + first, fields[0] if flags & 1 else 0, fields[1] if flags & 2 else 0, mpeg_frame_ms(frame)


def _uncovered_ms(file: BinaryIO, course: Course) -> float:
    """How much sound the first frame counts for which there is no frame; it does not count itself."""
    _, frames, _, frame_ms = _first_mpeg_frame(file)
    return max(0, frames + 1 - course.parts) * frame_ms


# --- A mark at the end ----------------------------------------------------------------------------------------------


def _ogg(file: BinaryIO, size: int) -> End:
    """The last page must be whole, and marked as the last of its stream."""
    start = file.seek(max(0, size - 2 * _OGG_PAGE))
    tail = file.read()
    last = tail.rfind(b"OggS")
    if last < 0 or len(tail) - last < 27:
        return "its last page is missing"
    pieces = tail[last + 27 : last + 27 + tail[last + 26]]
    end = start + last + 27 + tail[last + 26] + sum(pieces)
    return end if end > size or tail[last + 5] & 4 else "no page is marked as the last one"


def _flv(file: BinaryIO, size: int) -> End:
    """Behind every tag stands its length: the last one must lead back to a tag."""
    file.seek(max(0, size - 4))
    length = int.from_bytes(file.read(4), "big")
    file.seek(max(0, size - 4 - length))
    head = file.read(4)
    whole = len(head) == 4 and head[0] & 0x1F in (8, 9, 18) and int.from_bytes(head[1:], "big") + 11 == length
    return None if whole else "its last tag is not whole"


def _mpegts(file: BinaryIO, size: int) -> End:
    """Packets of 188 bytes, or 192 with a time stamp in front."""
    packet = 188 if file.read(1) == b"\x47" else 192
    return -(-size // packet) * packet


def _nothing(file: BinaryIO, size: int) -> None:
    """Its structure does not say where it ends, or `parts` knows."""


def _not_followed(file: BinaryIO, size: int) -> Course:
    """Its parts are not looked at: what is wrong in them shows when it is decoded."""
    return Course()


_BARE_FRAMES = ("MP3", "AAC", "LATM", "AC3", "DTS", "GSM", "AMR")
_READ_ON = ("AVI", "AU")
"""Containers with one length in front whose decoder reads on behind it."""


class Layout(NamedTuple):
    """How a container's files are looked at. Both functions get the file and its size."""

    part: str
    """What is cut when the file ends too early."""
    end: Callable[[BinaryIO, int], End]
    """Called with the file at its beginning."""
    follow: Callable[[BinaryIO, int], Course] = _not_followed


LAYOUTS: Mapping[str, Layout] = {
    # One length in front for the whole file.
    "AIFF": Layout("chunk", _iff(">")),
    "AVI": Layout("chunk", _iff("<"), parts.avi),
    "AU": Layout("part", _au, parts.au),
    "W64": Layout("chunk", _w64),
    "ASF": Layout("packet", _asf, parts.asf),
    "TTA": Layout("frame", _tta, parts.tta),
    "APE": Layout("frame", _nothing, parts.monkeys_audio),
    # Parts that lead from one to the next.
    "MP4": Layout("box", _mp4, parts.mp4),
    "MATROSKA": Layout("element", _matroska, parts.matroska),
    "WEBM": Layout("element", _matroska, parts.matroska),
    "CAF": Layout("chunk", _caf, parts.caf),
    "WAVPACK": Layout("block", _nothing, parts.wavpack),
    "VOC": Layout("block", _nothing, parts.voc),
    "SILK": Layout("packet", _silk),
    "RM": Layout("chunk", _nothing, parts.realmedia),
    "AMR": Layout("frame", _nothing, parts.amr),
    # Frames without a container.
    "MP3": Layout("frame", _mp3, parts.mpeg_audio),
    "AAC": Layout("frame", _last_frame_end(adts_length, 0xFF), parts.adts),
    "LATM": Layout("frame", _last_frame_end(loas_length, 0x56), parts.loas),
    "AC3": Layout("frame", _nothing, parts.ac3),
    "DTS": Layout("frame", _nothing, parts.dts),
    "GSM": Layout("frame", _nothing, parts.gsm),
    # A mark at the end.
    "OGG": Layout("page", _ogg, parts.ogg),
    "FLV": Layout("tag", _flv, parts.flv),
    "MPEG-TS": Layout("packet", _mpegts, parts.transport_stream),
}
"""By a container's name. FLAC is not here: it counts its samples, so that its decoder knows what is missing."""
