"""What is wrong with a file, as its own structure tells without decoding: the facts behind `truncated` and
`header_repaired`.

`LAYOUTS` is the one table: for each container what it is made of, and where its structure says that the file ends.
There are four ways to say so: one length in front for the whole file; parts that each have a length and lead from one
to the next; frames without a container, of which the last one's length is compared; and a mark at the end. What says
nothing, such as GSM or bare samples, cannot be found to be cut.

WAV comes first, and is read by what it really holds, whatever its lengths say. A RIFF file is a list of chunks, each
with its length in front; `data` holds the samples. Programs that stream or crash leave lengths of 0 or placeholders, 32
bits wrap at 4 GiB, and recorders and `cat` put more samples, or whole files, behind what the header counts. So every
length is compared with the file:

- a placeholder (0, exactly 2^31, or within 64 KiB below 2^31 or 2^32) means: up to the end of the file;
- a larger length than there are bytes means that the file is cut;
- what follows a smaller one is more chunks when they lead, one after the other, to the file's end; the next file when
  it is a further `RIFF`; a tag when it begins like one; and samples otherwise.

Whatever is read otherwise than the header says is reported; 0xFFFFFFFF means "unknown", and contradicts nothing.

A look takes a few reads. No length is trusted further than to compare it with the file.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import BinaryIO, NamedTuple

from app.audio.containers import CHAIN, LengthOf, adts_length, chain, loas_length, mpeg_length
from app.audio.options import ENCODINGS, RawForm

_MAX_PARTS = 100_000
"""Boxes, elements or chunks at the outermost level: more than an hour's fragments. Beyond them nothing is looked at."""
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
_AMR_BYTES = {
    b"#!AMR\n": (13, 14, 16, 18, 20, 21, 27, 32, 6, 0, 0, 0, 0, 0, 0, 1),
    b"#!AMR-WB\n": (18, 24, 33, 37, 41, 47, 51, 59, 61, 6, 0, 0, 0, 0, 1, 1),
}
"""By a file's first bytes and a frame's kind (RFC 4867); 0: there is no such kind."""
_MOST_AMR_BYTES = 32 << 20
"""Two hours at the highest rate take 23 MB; a longer file is not followed."""

End = int | str | None
"""Where a file's structure says that it ends, in bytes from its beginning; what its end lacks, where that is no number
of bytes; None where nothing is said, or where the end is as it should be."""
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


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What a look at a file has found."""

    cut: str | None = None
    """How the file ends before it says; None: it does not, or does not say."""
    repaired: str | None = None
    """How it is read otherwise than its header says."""
    wave: Wave | None = None
    """Of WAV and RF64: the format and where the samples lie."""


def examine(file: BinaryIO, container: str) -> FileFacts:
    """Find the facts of a file of this container, as `sniff` names it. Leaves `file` anywhere."""
    size = file.seek(0, 2)
    if container in ("WAV", "RF64"):
        wave = read_wave(file, size)
        return FileFacts() if wave is None else FileFacts(wave.cut, wave.repaired, wave)
    layout = LAYOUTS.get(container)
    if layout is None:
        return FileFacts()
    file.seek(0)
    end = layout.end(file, size)
    if isinstance(end, int):
        return FileFacts(f"{end - size} bytes of its last {layout.part} are missing" if end > size else None)
    return FileFacts(end)


# --- One length in front for the whole file -------------------------------------------------------------------------


def _iff(order: str) -> Callable[[BinaryIO, int], End]:
    """The outermost chunk's length, behind its name."""

    def end(file: BinaryIO, size: int) -> End:
        length: int = struct.unpack(f"{order}I", file.read(8)[4:].ljust(4, b"\0"))[0]
        return None if length in _NO_LENGTH else 8 + length

    return end


def _au(file: BinaryIO, size: int) -> End:
    offset, length = struct.unpack(">II", file.read(12)[4:].ljust(8, b"\0"))
    return None if length in _NO_LENGTH else offset + length


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
    for _ in range(_MAX_PARTS):
        file.seek(at)
        length = length_of(file.read(head_bytes))
        if length is None:
            return None
        at += length
        if at >= size:
            return at
    return None


def _mp4(file: BinaryIO, size: int) -> End:
    """Boxes: 32 bits of length and a name. Length 1: one of 64 bits follows; 0: the box goes on to the file's end."""

    def length_of(head: bytes) -> int | None:
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:], "big")
        return length if len(head) >= 8 and length >= 8 else None

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


def _amr(file: BinaryIO, size: int) -> End:
    """Frames have no sync word: they can only be followed from the beginning, by their kinds."""
    if size > _MOST_AMR_BYTES:
        return None
    data = file.read()
    sizes = next((sizes for magic, sizes in _AMR_BYTES.items() if data.startswith(magic)), None)
    if sizes is None:
        return None
    at = data.index(b"\n") + 1
    while at < len(data):
        # Four bits of kind; the two last ones are padding and always 0.
        length = sizes[data[at] >> 3 & 15] if not data[at] & 0x83 else 0
        if not length:
            return None
        at += length
    return at


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
    """The first frame may hold a Xing or Info header, which counts all bytes; ffmpeg stops short of it silently."""
    head = file.read(10)
    start = 0
    if len(head) == 10 and head[:3] == b"ID3":
        start = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
    file.seek(start)
    head = file.read(4 << 10)  # behind a tag the first frame begins at once, or after some padding
    first = head.find(b"\xff")
    frame = head[first : first + 256] if first >= 0 else b""  # the header lies within these
    at = max(frame.find(b"Xing"), frame.find(b"Info"))
    flags = int.from_bytes(frame[at + 4 : at + 8], "big")  # 1: it counts frames; 2: it counts bytes
    if at >= 0 and flags & 2:
        field = at + (12 if flags & 1 else 8)
        counted = int.from_bytes(frame[field : field + 4], "big")
        if size - start - first + _LARGEST_MPEG_FRAME < counted:
            return "bytes that its first frame counts are missing"
    return _last_frame_end(mpeg_length, 0xFF)(file, size)


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


class Layout(NamedTuple):
    """How the end of a container's files is found."""

    part: str
    """What is cut when the file ends too early."""
    end: Callable[[BinaryIO, int], End]
    """By the file, read from its beginning on, and its size."""


LAYOUTS: Mapping[str, Layout] = {
    # One length in front for the whole file.
    "AIFF": Layout("chunk", _iff(">")),
    "AVI": Layout("chunk", _iff("<")),
    "AU": Layout("part", _au),
    "W64": Layout("chunk", _w64),
    "ASF": Layout("packet", _asf),
    # Parts that lead from one to the next.
    "MP4": Layout("box", _mp4),
    "MATROSKA": Layout("element", _matroska),
    "WEBM": Layout("element", _matroska),
    "CAF": Layout("chunk", _caf),
    "SILK": Layout("packet", _silk),
    "AMR": Layout("frame", _amr),
    # Frames without a container.
    "MP3": Layout("frame", _mp3),
    "AAC": Layout("frame", _last_frame_end(adts_length, 0xFF)),
    "LATM": Layout("frame", _last_frame_end(loas_length, 0x56)),
    # A mark at the end.
    "OGG": Layout("page", _ogg),
    "FLV": Layout("tag", _flv),
    "MPEG-TS": Layout("packet", _mpegts),
}
"""By a container's name. FLAC is not here: it counts its samples, so that its decoder knows what is missing."""

# --- RIFF -------------------------------------------------------------------------------------------------------------


def read_wave(file: BinaryIO, size: int) -> Wave | None:
    """Find what a RIFF, RIFX or RF64 file of `size` bytes holds; None when it has no `data` chunk.

    Of several files in one, the samples of those are read that have the first one's form.
    """
    found = _read_one(file, 0, size)
    if found is None or found[1] is None:
        return None if found is None else found[0]
    first, next_at = found
    ranges, last, count = list(first.ranges), first, 1
    while next_at is not None and count < _MAX_FILES:
        found = _read_one(file, next_at, size)
        if found is None or found[0].format != first.format:
            text = f"another WAV file of another form follows at byte {next_at}, and was not read"
            return Wave(first.format, tuple(ranges), False, text)
        last, next_at = found
        ranges += last.ranges
        count += 1
    return Wave(first.format, tuple(ranges), False, f"{count} WAV files follow one another; all were read", last.cut)


def _read_one(file: BinaryIO, start: int, size: int) -> tuple[Wave, int | None] | None:
    """The file that begins at `start`, and where the next one in it begins; None without a `data` chunk."""
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
            return _measure(file, form, at + 8, declared, size)
        if name == b"fmt ":
            form = wave_format(file.read(min(length, 40)), order)
        elif name == b"ds64" and magic in (b"RF64", b"BW64"):
            long_length = struct.unpack("<Q", file.read(16)[8:16].ljust(8, b"\0"))[0]
        at += 8 + length + length % 2
    return None


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


def _end_of_chunks(file: BinaryIO, at: int, size: int) -> int | None:
    """Where chunks with printable names, none or more, lead: to the file's end or to another file; None when they lead
    nowhere."""
    for _ in range(_MAX_CHUNKS):
        file.seek(at)
        head = file.read(12)
        if size - at <= 1 or (head[:4] in (b"RIFF", b"RIFX") and head[8:] == b"WAVE"):
            return at
        if len(head) < 8 or not all(0x20 <= byte < 0x7F for byte in head[:4]):
            return None
        at += 8 + _even(int.from_bytes(head[4:8], "little"))
        if at > size + 1:
            return None
    return None


def _even(number: int) -> int:
    return number + number % 2
