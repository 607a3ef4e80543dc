"""What each container is made of, for `follow`: where its structure is broken, what it counts, and where it ends."""

import struct
import zlib
from typing import BinaryIO

import numpy as np

from app.audio.containers import LengthOf, ac3_length, adts_length, dts_length, loas_length, mpeg_length
from app.audio.follow import ID3_BYTES, LEAST_JUNK, Count, Course, follow, next_file, search, tag_bytes

MAX_PARTS = 100_000
"""Boxes, elements or chunks at the outermost level: more than an hour's fragments. Beyond them nothing is looked at."""
_OGG_HEADS = 3
"""Packets in front of a recording's sound: Vorbis has three."""
_AMR_CHAIN = 8
"""Frames in a row from which an AMR file is followed again: a frame has no sync word, any 13th byte may begin one."""
_ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
"""The name of ASF's file properties object."""
_ASF_DATA_HEAD = 50
"""Bytes in front of its packets in the data object."""
AMR_BYTES = {
    b"#!AMR\n": (13, 14, 16, 18, 20, 21, 27, 32, 6, 0, 0, 0, 0, 0, 0, 1),
    b"#!AMR-WB\n": (18, 24, 33, 37, 41, 47, 51, 59, 61, 6, 0, 0, 0, 0, 1, 1),
}
"""By a file's first bytes and a frame's kind (RFC 4867); 0: there is no such kind."""


# --- Frames without a container -------------------------------------------------------------------------------------


def mpeg_audio(file: BinaryIO, size: int) -> Course:
    return follow(file, size, mpeg_length, sync=b"\xff", strips_tags=True)


def adts(file: BinaryIO, size: int) -> Course:
    return follow(file, size, adts_length, sync=b"\xff", strips_tags=True)


def loas(file: BinaryIO, size: int) -> Course:
    return follow(file, size, loas_length, sync=b"\x56")


def ac3(file: BinaryIO, size: int) -> Course:
    return follow(file, size, ac3_length, sync=b"\x0b\x77")


def dts(file: BinaryIO, size: int) -> Course:
    return follow(file, size, dts_length, sync=b"\x7f\xfe\x80\x01", certain=2)


def gsm(file: BinaryIO, size: int) -> Course:
    """GSM 06.10: 33 bytes, the first of which begins with four bits of signature."""
    return follow(file, size, _constant(33, 0, 0xF0, 0xD0), stride=(33, 0, 0xF0, 0xD0))


def transport_stream(file: BinaryIO, size: int) -> Course:
    """Packets of 188 bytes with a sync byte, or 192 with a time stamp in front of it."""
    file.seek(0)
    packet = (188, 0, 0xFF, 0x47) if file.read(1) == b"\x47" else (192, 4, 0xFF, 0x47)
    return follow(file, size, _constant(*packet), stride=packet)


def _constant(length: int, offset: int, mask: int, value: int) -> LengthOf:
    def length_of(data: bytes, at: int) -> int:
        return length if at + offset < len(data) and data[at + offset] & mask == value else 0

    return length_of


def amr(file: BinaryIO, size: int) -> Course:
    """Frames have no sync word: a byte that says the kind, and whether the frame came through whole."""
    file.seek(0)
    head = file.read(16)
    magic = next((magic for magic in AMR_BYTES if head.startswith(magic)), None)
    if magic is None or len(head) <= len(magic):
        return Course()
    sizes, pauses = AMR_BYTES[magic], False
    needs_quality = bool(head[len(magic)] & 4)
    """Some programs never set the bit."""

    def length_of(data: bytes, at: int) -> int:
        # Four bits of kind; the last two are padding and always 0.
        if at >= len(data) or data[at] & 0x83:
            return 0
        kind = data[at] >> 3 & 15
        return sizes[kind] if data[at] & 4 or not needs_quality or kind == 15 else 0

    silence = sizes.index(6)

    def visit(data: bytes, place: int, at: int) -> bool:
        nonlocal pauses
        pauses = pauses or data[place] >> 3 & 15 >= silence
        return True

    course = follow(file, size, length_of, start=len(magic), certain=_AMR_CHAIN, visit=visit)
    course.pauses = pauses
    if course.stumbles:  # whatever stands behind the last frame is taken for frames
        course.stumbles = size
    joined = next((at for at, _ in course.places if _begins_at(file, at, magic)), None)
    if joined is not None:
        course.next_at, course.reads_on = joined, True
        course.places = [(at, length) for at, length in course.places if not _begins_at(file, at, magic)]
        course.lost = None
        course.settle()
    return course


def _begins_at(file: BinaryIO, at: int, magic: bytes) -> bool:
    file.seek(at)
    return file.read(len(magic)) == magic


# --- Containers -------------------------------------------------------------------------------------------------------


def ogg(file: BinaryIO, size: int) -> Course:
    """Pages: 27 bytes, then the lengths of their pieces. Each stream numbers its own, and decoders drop a page whose
    check sum is wrong, mostly without a word."""
    numbers: dict[int, int] = {}
    headed = 0
    skipped: list[tuple[int, int]] = []
    dropped: list[tuple[int, int]] = []

    def length_of(data: bytes, at: int) -> int:
        if data[at : at + 5] != b"OggS\0" or at + 27 > len(data):
            return 0
        pieces = data[at + 27 : at + 27 + data[at + 26]]
        return 27 + len(pieces) + sum(pieces)

    def visit(data: bytes, place: int, at: int) -> bool:
        nonlocal headed
        serial, number = struct.unpack_from("<II", data, place + 14)
        begins = data[place + 5] & 2
        headed += bool(begins)
        if not begins and serial in numbers and number > numbers[serial] + 1:
            skipped.append((at, 0))
        numbers[serial] = number
        length = length_of(data, place)
        page = data[place : place + length]
        if len(page) < length:
            file.seek(at)
            page = file.read(length)
        if at + length <= size and _ogg_sum(page) != struct.unpack_from("<I", page, 22)[0]:
            dropped.append((at, length))
        return True

    course = follow(file, size, length_of, sync=b"OggS", certain=1, visit=visit)
    course.places = sorted(course.places + dropped)
    course.whole -= sum(length for _, length in dropped)
    # Older decoders take the heads of a recording that follows for sound.
    course.stumbles += _OGG_HEADS * max(0, headed - 1)
    if skipped and not course.places:  # pages that are gone without a trace
        course.places = skipped
    return course.settle()


_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _ogg_sum(page: bytes) -> int:
    """A page's check sum (RFC 3533): zlib's polynomial with the bits the other way round, begun at 0 and not
    inverted; its own four bytes count as zeros."""
    turned = (page[:22] + bytes(4) + page[26:]).translate(_REVERSED_BITS)
    return int(f"{zlib.crc32(turned, 0xFFFFFFFF) ^ 0xFFFFFFFF:032b}"[::-1], 2)


def matroska(file: BinaryIO, size: int) -> Course:
    """Elements: a name and a length, whose first bits say how many bytes each takes. A segment and its clusters are
    entered, so that what is followed are blocks of sound and picture."""

    def length_at(data: bytes, at: int) -> int | None:
        """Bytes of a length and of what it counts; None where it is not known."""
        size_bytes = 9 - data[at].bit_length() if at < len(data) and data[at] else 9
        content = int.from_bytes(data[at : at + size_bytes], "big") & (1 << 7 * size_bytes) - 1
        return None if content == (1 << 7 * size_bytes) - 1 else size_bytes + content

    def length_of(data: bytes, at: int) -> int:
        name_bytes = 5 - data[at].bit_length() + 4 if at < len(data) and data[at] else 9
        size_at = at + name_bytes
        if name_bytes > 4 or size_at >= len(data) or not data[size_at]:
            return 0
        name, size_bytes = data[at:size_at], 9 - data[size_at].bit_length()
        if name in _ENTERED:
            return name_bytes + size_bytes
        length = length_at(data, size_at)
        return 0 if length is None or name not in _ELEMENTS else name_bytes + length

    heads: list[int] = []
    sized = False
    segment_end: int | None = None

    def visit(data: bytes, place: int, at: int) -> bool:
        nonlocal sized, segment_end
        if data[place : place + 4] == _EBML:
            heads.append(at)
        elif data[place : place + 4] == _ENTERED[0]:
            length = length_at(data, place + 4)
            sized = sized or length is not None
            segment_end = None if length is None else at + 4 + length
        return True

    course = follow(file, size, length_of, sync=_ENTERED[1], certain=3, visit=visit, least_junk=1)
    stop = 0 if segment_end is None else min(segment_end, size)
    if course.end is not None and not course.places and course.end < stop:
        course.places = [(course.end, stop - course.end)]
        course.settle()
    if sized and len(heads) > 2:  # ffmpeg goes on to the second file, and no further where segments have a length
        course.next_at = heads[2]
    return course


_EBML = b"\x1a\x45\xdf\xa3"
_ENTERED = (b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75")
"""Segment and cluster (RFC 9559)."""
_ELEMENTS = frozenset(
    number.to_bytes((number.bit_length() + 7) // 8, "big")
    for number in (
        0x1A45DFA3, 0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367, 0xEC, 0xBF,
        0xE7, 0xA7, 0xAB, 0x5854, 0xA3, 0xA0, 0xAF,
    )
)  # fmt: skip
"""What else stands in a file, a segment or a cluster."""


def wavpack(file: BinaryIO, size: int) -> Course:
    """Blocks with 32 bytes of head: their length, which samples they hold, and how many the file has."""
    counted, next_at = None, None
    begun = broken = False
    reached = 0
    resumes: list[int] = []

    def length_of(data: bytes, at: int) -> int:
        if data[at : at + 4] != b"wvpk" or at + 32 > len(data) or data[at + 9] != 4:
            return 0
        length: int = struct.unpack_from("<I", data, at + 4)[0]
        return length + 8 if 24 <= length <= 1 << 24 else 0

    def visit(data: bytes, place: int, at: int) -> bool:
        nonlocal counted, next_at, begun, broken, reached
        index_high, total_high, total, index, samples, flags = struct.unpack_from("<BBIIII", data, place + 10)
        broken = broken or (begun and at != reached)
        reached = at + length_of(data, place)
        if samples and not index and not index_high and flags & 0x800:  # the first block of a file's first samples
            if begun:
                next_at = at
                return False
            begun = True
            rate = (6000, 8000, 9600, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000,
                    192000, 0)[flags >> 23 & 15]  # fmt: skip
            counted = Count(total_high << 32 | total, rate) if total != 0xFFFFFFFF and rate else None
        elif broken and flags & 0x800:  # one that begins all channels of some samples
            resumes.append(at)
            broken = False
        return True

    course = follow(file, size, length_of, sync=b"wvpk", certain=1, visit=visit)
    course.counted, course.next_at, course.resumes = counted, next_at, tuple(resumes)
    return course


def asf(file: BinaryIO, size: int) -> Course:
    """Packets of one length, behind the header and the data object's head; each begins with the same flags."""
    file.seek(0)
    head = file.read(64 << 10)
    header_bytes = int.from_bytes(head[16:24], "little")
    at = head.find(_ASF_FILE)
    if at < 0 or len(head) < at + 96 or not 30 <= header_bytes < size:
        return Course()
    packets, packet = int.from_bytes(head[at + 56 : at + 64], "little"), struct.unpack_from("<I", head, at + 92)[0]
    first = header_bytes + _ASF_DATA_HEAD
    file.seek(first)
    flags = file.read(1)
    if not flags or not flags[0] & 0x80 or not 64 <= packet <= 1 << 20:  # without error correction nothing tells
        return Course()
    end = first + packets * packet if packets else size
    stride = (packet, 0, 0xFF, flags[0])
    return follow(file, min(end, size), _constant(*stride), start=first, stride=stride)


def tta(file: BinaryIO, size: int) -> Course:
    """True Audio: behind a head of 22 bytes stand the lengths of the frames, which make up the rest."""
    file.seek(0)
    start = tag_bytes(file.read(ID3_BYTES), 0)
    file.seek(start)
    head = file.read(22)
    if len(head) < 22 or head[:4] != b"TTA1":
        return Course()
    rate, samples = struct.unpack_from("<II", head, 10)
    frames = -(-samples // (256 * rate // 245)) if rate else size
    lengths = np.frombuffer(file.read(4 * frames), "<u4") if 4 * frames < size else np.zeros(0, "<u4")
    if not frames or len(lengths) < frames:
        return Course()
    return Course(counted=Count(samples, rate), end=start + 22 + 4 * frames + 4 + int(lengths.sum(dtype=np.int64)))


def monkeys_audio(file: BinaryIO, size: int) -> Course:
    """Monkey's Audio: from version 3.98 on the head has the lengths of all that follows."""
    file.seek(0)
    head = file.read(52)
    if len(head) < 52 or head[:4] != b"MAC " or struct.unpack_from("<H", head, 4)[0] < 3980:
        return Course()
    *lengths, samples, samples_high, tail = struct.unpack_from("<7I", head, 8)
    return Course(end=sum(lengths) + samples + (samples_high << 32) + tail)


def mp4(file: BinaryIO, size: int) -> Course:
    """Boxes: 32 bits of length and a name. Another file's begin with `ftyp`, or with a second `moov`."""
    course, at, names = Course(), 0, set[bytes]()
    for _ in range(MAX_PARTS):
        if at >= size:
            break
        file.seek(at)
        head = file.read(16)
        length, name = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:], "big")
        if (name == b"ftyp" and names & {b"moov", b"moof", b"mdat"}) or (name == b"moov" and name in names):
            course.next_at, course.reads_on = at, b"moof" in names
            break
        if len(head) < 8 or length < 8 or not is_name(name):
            break
        names.add(name)
        course.whole, at = min(size, at + length), at + length
    if at < size and b"moof" in names and course.next_at is None and search(file, at, size, b"moof"):
        # Where the row of fragments is broken the decoder stops.
        course.places = [(at, size - at)]
    course.end = at
    return course.settle()


def is_name(name: bytes) -> bool:
    """Whether these are letters, as names of boxes and chunks are."""
    return name.isascii() and name.decode().isprintable()


def caf(file: BinaryIO, size: int) -> Course:
    """Behind the file's head of 8 bytes chunks with 64 bits of length behind the name; -1: to the file's end."""
    at = 8
    for _ in range(MAX_PARTS):
        if at >= size:
            return Course()
        file.seek(at)
        head = file.read(12)
        length = int.from_bytes(head[4:], "big", signed=True)
        if len(head) < 12 or length < 0 or (at + length > size and head[:4] not in _CAF_CHUNKS):
            break
        at += 12 + length
    return Course(end=at, next_at=search(file, at, size, _CAF_BEGINS))


_CAF_CHUNKS = (b"desc", b"data", b"pakt", b"kuki", b"chan", b"info", b"free")
_CAF_BEGINS = b"caff\0\1\0\0desc"


def avi(file: BinaryIO, size: int) -> Course:
    """Chunks of the first list of samples, `movi`."""
    at = 12
    for _ in range(64):  # headers and padding stand in front of it
        file.seek(at)
        head = file.read(12)
        length = int.from_bytes(head[4:8], "little")
        if len(head) < 12:
            return Course()
        if head[:4] == b"LIST" and head[8:] == b"movi":
            course = follow(file, min(size, at + 8 + length), _avi_chunk, start=at + 12, certain=3)
            course.end = None
            return course
        at += 8 + length + length % 2
    return Course()


def _avi_chunk(data: bytes, at: int) -> int:
    name = data[at : at + 4]
    if len(data) < at + 8:
        return 0
    if name == b"LIST":
        return 12
    length: int = struct.unpack_from("<I", data, at + 4)[0]
    known = name[:2].isdigit() or name in (b"JUNK", b"idx1") or name[:2] == b"ix"
    return 8 + length + length % 2 if known and length <= 1 << 24 else 0


def flv(file: BinaryIO, size: int) -> Course:
    """A file's head says whether it has sound (4) and picture (1), and is 9 bytes long. Tags follow, each with its
    length before and behind it; the first has none before it."""
    heads = [b"FLV\x01" + bytes([kinds]) + b"\0\0\0\x09\0\0\0\0" for kinds in (1, 4, 5)]
    next_at = min((at for head in heads if (at := search(file, 1, size, head))), default=None)
    first_ms, last_ms = None, 0

    def visit(data: bytes, place: int, at: int) -> bool:
        nonlocal first_ms, last_ms
        if data[place] & 0x1F == 8:  # 24 bits of time, and above them another 8
            last_ms = data[place + 7] << 24 | int.from_bytes(data[place + 4 : place + 7], "big")
            first_ms = last_ms if first_ms is None else first_ms
        return True

    course = follow(file, next_at or size, _flv_tag, start=13, sync=b"\x08", visit=visit)
    if course.places and first_ms is not None and last_ms > first_ms:  # the decoder may stop there
        course.counted = Count(last_ms - first_ms, 1000)
    course.next_at, course.end = next_at, None
    return course


def _flv_tag(data: bytes, at: int) -> int:
    # Sound, picture or data, of a stream that is always 0.
    if len(data) < at + 11 or data[at] & 0x1F not in (8, 9, 18) or data[at + 8 : at + 11] != b"\0\0\0":
        return 0
    length = 11 + int.from_bytes(data[at + 1 : at + 4], "big")
    behind = data[at + length : at + length + 4]
    return length + 4 if len(behind) < 4 or int.from_bytes(behind, "big") == length else 0


def realmedia(file: BinaryIO, size: int) -> Course:
    """Chunks with 32 bits of length; the one of sound counts its packets, which have 16. Another file's head is 18
    bytes long, and its kind is 0."""

    def packet(data: bytes, at: int) -> int:
        # Versions 0 and 1, and 12 bytes of head; nobody has more streams.
        if len(data) < at + 12 or data[at] or data[at + 1] > 1 or data[at + 4] or data[at + 5] > 63:
            return 0
        length: int = struct.unpack_from(">H", data, at + 2)[0]
        return length if length > 12 else 0

    next_at, at = search(file, 1, size, b".RMF\0\0\0\x12\0"), 0
    for _ in range(64):
        file.seek(at)
        name, length, packets = struct.unpack(">4sI2xI", file.read(14).ljust(14, b"\0"))
        if name == b"DATA":
            stop = min(next_at or size, at + length if length > 18 else size, size)
            course = follow(file, stop, packet, start=at + 18, sync=b"\0", certain=_RM_CHAIN)
            if course.parts < packets and not course.places:
                course.cut = f"{packets - course.parts} of its {packets} packets are missing"
            elif course.places and course.parts:
                course.missing_share = max(0, packets - course.parts) / course.parts
            course.next_at, course.reads_on = next_at, True
            return course
        if length < 10 or not is_name(name):
            break
        at += length
    return Course(next_at=next_at, reads_on=True)


_RM_CHAIN = 4
"""Packets in a row from which a RealMedia file is followed again: they have no sync word."""


def au(file: BinaryIO, size: int) -> Course:
    """Samples up to a length. The decoder reads on, over the head of another such file, too."""
    end = au_end(file)
    following = None if end is None or end >= size else next_file(file, end, size)
    if end is None or (following is not None and _begins_at(file, following, b".snd")):
        return Course()
    if following is not None:
        return Course(end=end, next_at=following, reads_on=True)
    return _ends_at(file, end, size)


def au_end(file: BinaryIO) -> int | None:
    """Where its samples end; None where it does not say."""
    file.seek(4)
    offset, length = struct.unpack(">II", file.read(8).ljust(8, b"\0"))
    return None if length in (0, 0xFFFFFFFF) else offset + length


def voc(file: BinaryIO, size: int) -> Course:
    """Blocks with 24 bits of length behind the kind; kind 0 is the end, and has none."""
    file.seek(20)
    at = int.from_bytes(file.read(2), "little")
    for _ in range(MAX_PARTS):
        file.seek(at)
        head = file.read(4)
        if len(head) < 1 or head[0] == 0:
            return _ends_at(file, at + 1, size)
        if len(head) < 4 or head[0] > 9:
            return _ends_at(file, at, size)
        at += 4 + int.from_bytes(head[1:], "little")
    return Course()


def _ends_at(file: BinaryIO, end: int, size: int) -> Course:
    """A file that is heard up to `end`: what stands behind it is lost, if it is more than some program's mark."""
    course = Course(end=end, whole=end)
    if end < size:
        file.seek(end)
        if size - end > 1 << 20 or len(file.read().strip(b"\0")) >= LEAST_JUNK:
            course.places = [(end, size - end)]
    return course.settle()
