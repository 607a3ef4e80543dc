"""What audio files are read, and how one is recognised by its first bytes; never by its name or by what a client says.

`CONTAINERS` and `CODINGS` are the one list from which recognition, the lists that bind ffmpeg, the file endings that
are picked from folders, and the documentation are made.

A container gets in when its demuxer opens nothing but the file it is given: no playlist, no list of files, no index
that names others. A coding gets in when it is one of sound: pictures and video never reach a decoder.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

# --- Frames that follow one another without a container -------------------------------------------------------------
# MPEG audio (ISO 11172-3, 13818-3), ADTS and LOAS (ISO 14496-3): each frame begins with a sync word and has its length.

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


def chain(data: bytes, at: int, length_of: LengthOf, most: int) -> int:
    """Count the frames that follow one another from `at` on, as far as the bytes go, up to `most`."""
    count = 0
    while count < most and (length := length_of(data, at)):
        count += 1
        at += length
    return count


def mpeg_length(data: bytes, at: int) -> int:
    """MPEG audio, layers I to III; 0 also for the free format, which states no length."""
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


def mpeg_frame_ms(frame: bytes) -> float:
    """How long the sound of a frame is that `mpeg_length` knows, ms."""
    version, layer, rate_index = (frame[1] >> 3) & 3, (frame[1] >> 1) & 3, (frame[2] >> 2) & 3
    if version == 1 or layer == 0 or rate_index == 3:
        return 0.0
    samples = 384 if layer == 3 else 576 if layer == 1 and version != 3 else 1152
    return samples * 1000 / (_MPEG_HZ[rate_index] // {3: 1, 2: 2, 0: 4}[version])


def adts_length(data: bytes, at: int) -> int:
    """ADTS: twelve bits of sync, a valid rate, and thirteen bits of length, the header included."""
    if len(data) < at + 6 or data[at] != 0xFF or data[at + 1] & 0xF6 != 0xF0 or (data[at + 2] >> 2) & 0xF >= 13:
        return 0
    length = (data[at + 3] & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
    return length if length > 7 else 0


def loas_length(data: bytes, at: int) -> int:
    """LOAS: eleven bits of sync and thirteen of length, which do not count these three bytes."""
    if len(data) < at + 3 or data[at] != 0x56 or data[at + 1] & 0xE0 != 0xE0:
        return 0
    return 3 + ((data[at + 1] & 0x1F) << 8 | data[at + 2])


def dts_length(data: bytes, at: int) -> int:
    """DTS in 16-bit words, big-endian: a core frame has fourteen bits of length, an extension sixteen or twenty (ETSI
    TS 102 114)."""
    if len(data) < at + 10:
        return 0
    if data[at : at + 4] == b"\x7f\xfe\x80\x01":
        return ((data[at + 5] & 3) << 12 | data[at + 6] << 4 | data[at + 7] >> 4) + 1
    if data[at : at + 4] != b"\x64\x58\x20\x25":
        return 0
    bits = int.from_bytes(data[at + 5 : at + 10], "big")
    return (bits >> 5 & 0xFFFFF if bits >> 37 & 1 else bits >> 13 & 0xFFFF) + 1


_AC3_KBPS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)
"""By half of the six bits of a header (ETSI TS 102 366, table 4.13)."""


def ac3_length(data: bytes, at: int) -> int:
    """AC-3 by its bit rate, Enhanced AC-3 by eleven bits of length (ETSI TS 102 366)."""
    if len(data) < at + 6 or data[at] != 0x0B or data[at + 1] != 0x77:
        return 0
    if data[at + 5] >> 3 > 10:
        length = 2 * (((data[at + 2] & 7) << 8 | data[at + 3]) + 1)
        return length if length > 6 else 0
    rate, size = data[at + 4] >> 6, data[at + 4] & 0x3F
    if rate == 3 or size >= 2 * len(_AC3_KBPS):
        return 0
    kbps = _AC3_KBPS[size >> 1]
    return 2 * (2 * kbps, 320 * kbps // 147 + (size & 1), 3 * kbps)[rate]


# --- The list -------------------------------------------------------------------------------------------------------

Matches = Callable[[bytes], bool]


def _at(offset: int, *magics: bytes) -> Matches:
    return lambda head: any(head[offset : offset + len(magic)] == magic for magic in magics)


def _riff(*forms: bytes, names: tuple[bytes, ...] = (b"RIFF",)) -> Matches:
    return lambda head: head[:4] in names and head[8:12] in forms


_SHARE = 0.8
"""Text in Cyrillic, whose letters begin with two of the sixteen bytes that GSM frames begin with, has half of it."""


def _every(stride: int, first: int, byte: int, mask: int = 0xFF, times: int = 5, share: float = 0.0) -> Matches:
    """Whether a byte comes again at equal distances, `times` at the beginning, and in this share of all places in the
    head: a file may be damaged there."""

    def matches(head: bytes) -> bool:
        seen = [each & mask == byte for each in head[first::stride]]
        return len(seen) >= times and all(seen[:times]) and sum(seen) >= share * len(seen)

    return matches


def _ebml(kind: bytes) -> Matches:
    return lambda head: head.startswith(b"\x1a\x45\xdf\xa3") and kind in head[:64]


@dataclass(frozen=True, slots=True)
class Container:
    """One kind of file that is read, and how it is recognised."""

    name: str
    """As answers have it in `audio.format`."""
    title: str
    """As documents and people call it."""
    demuxers: tuple[str, ...]
    """All of ffmpeg's names for it; empty where another decoder reads it."""
    suffixes: tuple[str, ...]
    matches: Matches = lambda head: False
    """Whether these first bytes are of this kind; never where only frames (`sniff`) or the request tell."""
    telling: bool = True
    """Whether bytes that match cannot well be samples by chance."""
    forced: bool = False
    """Whether ffmpeg has to be told the demuxer: it would choose it by the file's name alone."""
    tracks: bool = False
    """Whether it may hold several sounds, each with time stamps of its own."""
    spliced: bool = False
    """Whether recordings may follow one another in it, each with a clock of its own."""

    @property
    def clock(self) -> bool:
        """Whether its time stamps say when a sample is played: in containers for several sounds, and in Ogg, whose
        pages carry positions. Other containers' time stamps only count samples."""
        return self.tracks or self.name == "OGG"


CONTAINERS: tuple[Container, ...] = (
    Container("WAV", "RIFF WAVE", ("wav",), (".wav",), _riff(b"WAVE", names=(b"RIFF", b"RIFX"))),
    Container("RF64", "RF64, BW64", ("rf64",), (".rf64", ".bw64"), _riff(b"WAVE", names=(b"RF64", b"BW64"))),
    Container("AVI", "AVI", ("avi",), (".avi",), _riff(b"AVI ", b"AVIX"), tracks=True),
    Container("AIFF", "AIFF, AIFF-C", ("aiff",), (".aiff", ".aif", ".aifc"), _riff(b"AIFF", b"AIFC", names=(b"FORM",))),
    Container("FLAC", "FLAC", ("flac",), (".flac",), _at(0, b"fLaC")),
    Container("OGG", "Ogg", ("ogg",), (".ogg", ".oga", ".opus", ".spx"), _at(0, b"OggS"), spliced=True),
    Container("WEBM", "WebM", ("webm",), (".webm",), _ebml(b"webm"), tracks=True),
    Container("MATROSKA", "Matroska", ("matroska",), (".mka", ".mkv"), _ebml(b""), tracks=True),
    Container(
        "MP4", "MP4, QuickTime, 3GP", ("mov", "mp4", "m4a", "3gp", "3g2", "mj2"),
        (".m4a", ".mp4", ".m4b", ".mov", ".3gp", ".3g2"),
        _at(4, b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"wide", b"free", b"skip", b"pnot"), tracks=True,
    ),
    Container("MP3", "MPEG audio, layers I to III", ("mp3",), (".mp3", ".mp2"), _at(0, b"ID3")),
    Container("ASF", "ASF, Windows Media", ("asf",), (".wma", ".wmv", ".asf"),
              _at(0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"), tracks=True),
    Container("FLV", "Flash video", ("flv",), (".flv",), _at(0, b"FLV\x01"), tracks=True),
    Container("MPEG-TS", "MPEG transport stream", ("mpegts",), (".ts", ".m2ts", ".mts"),
              lambda head: _every(188, 0, 0x47)(head) or _every(192, 4, 0x47)(head), tracks=True,
              spliced=True),
    Container("MPEG-PS", "MPEG program stream", ("mpeg",), (".mpg", ".mpeg", ".vob"), _at(0, b"\x00\x00\x01\xba"),
              tracks=True, spliced=True),
    Container("MXF", "MXF", ("mxf",), (".mxf",), _at(0, b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02"), tracks=True),
    Container("RM", "RealMedia, RealAudio", ("rm",), (".rm", ".ra", ".rmvb"), _at(0, b".RMF", b".ra\xfd"), tracks=True),
    Container("AMR", "AMR, AMR-WB", ("amr", "amrnb", "amrwb"), (".amr", ".awb"), _at(0, b"#!AMR")),
    Container("CAF", "Core Audio", ("caf",), (".caf",), _at(0, b"caff")),
    Container("AU", "Sun audio", ("au",), (".au", ".snd"), _at(0, b".snd")),
    Container("W64", "Wave64", ("w64",), (".w64",), _at(0, b"riff\x2e\x91\xcf\x11")),
    Container("WAVPACK", "WavPack", ("wv",), (".wv",), _at(0, b"wvpk")),
    Container("APE", "Monkey's Audio", ("ape",), (".ape",), _at(0, b"MAC ")),
    Container("TTA", "True Audio", ("tta",), (".tta",), _at(0, b"TTA1")),
    Container("VOC", "Creative Voice", ("voc",), (".voc",), _at(0, b"Creative Voice File\x1a")),
    Container("TRUEHD", "TrueHD", ("truehd",), (".thd",), _at(4, b"\xf8\x72\x6f\xba"), forced=True),
    Container("MLP", "MLP", ("mlp",), (".mlp",), _at(4, b"\xf8\x72\x6f\xbb"), forced=True),
    Container("DTS", "DTS", ("dts", "dtshd"), (".dts", ".dtshd"),
              _at(0, b"\x7f\xfe\x80\x01", b"\xfe\x7f\x01\x80", b"\x1f\xff\xe8\x00", b"\xff\x1f\x00\xe8", b"DTSHDHDR")),
    Container("AC3", "AC-3, E-AC-3", ("ac3", "eac3"), (".ac3", ".eac3", ".ec3"), _at(0, b"\x0b\x77"), telling=False),
    Container("GSM", "GSM 06.10", ("gsm",), (".gsm",), _every(33, 0, 0xD0, 0xF0, times=6, share=_SHARE), telling=False,
              forced=True),
    Container("SPHERE", "NIST SPHERE", (), (".sph", ".nist"), _at(0, b"NIST_1A")),
    Container("SILK", "SILK, of WeChat and QQ (the extra `silk`)", (), (".silk", ".slk"),
              _at(0, b"#!SILK_V3", b"\x02#!SILK_V3")),
    Container("AAC", "ADTS AAC", ("aac",), (".aac",), telling=False),
    Container("LATM", "LATM, LOAS", ("loas",), (".latm", ".loas"), telling=False, forced=True),
    Container("G722", "G.722 without a header (`encoding=g722`)", ("g722",), (), telling=False),
    Container("G729", "G.729 without a header (`encoding=g729`)", ("g729",), (), telling=False),
    Container("VOX", "Dialogic ADPCM without a header (`encoding=vox`)", ("alaw",), (), lambda head: False,
              telling=False),
)  # fmt: skip
"""In the order in which they are tried. MPEG audio, ADTS and LATM with nothing in front are found by their frames."""

BY_NAME: Mapping[str, Container] = {container.name: container for container in CONTAINERS}

CODINGS: Mapping[str, tuple[str, ...]] = {
    "PCM": (
        "pcm_s8", "pcm_u8", "pcm_s16be", "pcm_s16le", "pcm_s24be", "pcm_s24le", "pcm_s32be", "pcm_s32le", "pcm_f32be",
        "pcm_f32le", "pcm_f64be", "pcm_f64le", "pcm_bluray", "pcm_dvd", "s302m",
    ),
    "G.711 A-law, mu-law": ("pcm_alaw", "pcm_mulaw"),
    "ADPCM: IMA, Microsoft, Yamaha, Flash, Dialogic": (
        "adpcm_ima_qt", "adpcm_ima_wav", "adpcm_ms", "adpcm_yamaha", "adpcm_swf", "adpcm_ct", "adpcm_sbpro_2",
        "adpcm_sbpro_3", "adpcm_sbpro_4", "adpcm_ima_oki",
    ),
    "G.722, G.723.1, G.726, G.729": ("g722", "adpcm_g722", "g723_1", "g726", "g726le", "adpcm_g726", "adpcm_g726le",
                                     "g729"),
    "GSM 06.10": ("gsm", "gsm_ms", "libgsm", "libgsm_ms"),
    "AMR, AMR-WB": ("amrnb", "amrwb", "amr_nb", "amr_wb", "libopencore_amrnb", "libopencore_amrwb"),
    "AAC": ("aac", "aac_fixed", "aac_latm"),
    "MPEG layers I to III": ("mp1", "mp1float", "mp2", "mp2float", "mp3", "mp3float", "mp3adu", "mp3adufloat"),
    "Opus, Vorbis, Speex": ("opus", "libopus", "vorbis", "libvorbis", "speex", "libspeex"),
    "FLAC, ALAC, WavPack, Monkey's Audio, True Audio": ("flac", "alac", "wavpack", "ape", "tta"),
    "AC-3, E-AC-3, DTS, TrueHD, MLP": ("ac3", "ac3_fixed", "eac3", "dca", "truehd", "mlp"),
    "Windows Media Audio": ("wmav1", "wmav2", "wmapro", "wmalossless", "wmavoice"),
    "RealAudio, Nellymoser": ("cook", "ra_144", "ra_288", "real_144", "real_288", "sipr", "atrac3", "nellymoser"),
}  # fmt: skip
"""By what people call them: the names of ffmpeg's decoders, in all its versions."""

DEMUXERS = ",".join(sorted({name for container in CONTAINERS for name in container.demuxers}))
"""ffmpeg's whitelist of containers."""
DECODERS = ",".join(sorted({name for names in CODINGS.values() for name in names}))
"""ffmpeg's whitelist of codings."""
SUFFIXES = frozenset(suffix for container in CONTAINERS for suffix in container.suffixes)
"""Endings of the files that are picked from a folder. A file that is named itself is tried whatever its ending."""


# --- Recognition ----------------------------------------------------------------------------------------------------

HEAD_BYTES = 64 << 10
"""Of a file, for `sniff`: what stands in front of MPEG audio by mistake is rarely more than half a frame, a tag, or the
header of some protocol."""
CHAIN = 4
"""Frames in a row that make MPEG audio certain: random bytes contain as many once in 10^13."""

_TEXTS: tuple[tuple[tuple[bytes, ...], str], ...] = (
    ((b"data:",), "this is a data URI: decode what follows its comma, and send that"),
    ((b"http://", b"https://"), "this is a URL, and none is fetched here: send the audio itself"),
    ((b"{", b"["), "this is JSON: send the audio itself; audio in base64 has to be decoded first"),
    ((b"<",), "this is a page or another text with tags: send the audio itself"),
    ((b"#EXTM3U", b"ffconcat"), "this is a list of other files, and none of them is opened: send the audio itself"),
    ((b"PK\x03\x04", b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!"), "this is packed: unpack it first"),
    ((b"UklGR", b"T2dnU", b"SUQz", b"ZkxhQ", b"//u", b"//v", b"GkXfo", b"AAAA"), "this is base64: decode it first"),
)
"""Other things that people send, by their first bytes, with what to tell them."""
_NEXT_STEP = "send the bytes as the body, or as form field `file`"
_UNKNOWN = (
    "this is not audio in any format known here (docs/audio.md lists them); raw samples need `encoding`, and mostly "
    "`sample_rate` and `channels`"
)


FLAC_BEGINS = (b"fLaC\0\0\0\x22", b"fLaC\x80\0\0\x22")
"""A FLAC begins so: its name, and the head of a block of 34 bytes, which may be the last one (RFC 9639)."""


def sniff(head: bytes) -> str | None:
    """Name the container, such as `WAV`; None when the bytes are of none that is read here."""
    head = head[:HEAD_BYTES]
    for container in CONTAINERS:
        if container.matches(head):
            return container.name
    if chain(head, 0, loas_length, 2) == 2:
        return "LATM"
    if len(head) >= 4 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return "AAC" if (head[2] >> 2) & 0xF < 13 else None  # a rate that there is
    return "MP3" if mpeg_length(head, 0) else None


def container_for_certain(head: bytes) -> str | None:
    """As `sniff`, but only where the bytes cannot well be samples: a name in plain letters, or frames in a row.

    A single frame's sync word proves nothing: one chunk of speech in some hundred begins with one.
    """
    head = head[:HEAD_BYTES]
    for container in CONTAINERS:
        if container.telling and container.matches(head):
            return container.name
    by_frames = {"MP3": mpeg_length, "AAC": adts_length, "LATM": loas_length}
    return next((name for name, length_of in by_frames.items() if chain(head, 0, length_of, CHAIN) == CHAIN), None)


def begins_later(head: bytes) -> tuple[str, int] | None:
    """A WAV or FLAC file that begins behind something else, such as a byte order mark, empty lines, zeros, or the head
    of a form's part: its container, and its first byte."""
    head = head[:HEAD_BYTES]
    if _text_of(head) is not None:
        return None
    found = [("FLAC", at) for begin in FLAC_BEGINS if (at := head.find(begin)) > 0]
    at = head.find(b"WAVE", 9)
    while at >= 0:
        container = next((each.name for each in CONTAINERS[:2] if each.matches(head[at - 8 : at + 4])), None)
        if container is not None:
            found.append((container, at - 8))
            break
        at = head.find(b"WAVE", at + 1)
    return min(found, key=lambda each: each[1], default=None)


def has_mpeg_audio_after_junk(head: bytes) -> bool:
    """Whether MPEG audio begins behind something else, such as half a frame."""
    head = head[:HEAD_BYTES]
    at = head.find(b"\xff", 1)
    while at >= 0 and chain(head, at, mpeg_length, CHAIN) < CHAIN:
        at = head.find(b"\xff", at + 1)
    return at >= 0


def advice(head: bytes) -> str:
    """What to tell somebody whose bytes are not audio that is read here."""
    text = _text_of(head)
    if text is None:
        return _UNKNOWN
    return f"{text}; {_NEXT_STEP}" if "send" not in text else f"{text}, {_NEXT_STEP.removeprefix('send ')}"


def _text_of(head: bytes) -> str | None:
    start = head[:64].lstrip(b"\xef\xbb\xbf \t\r\n")
    return next((text for beginnings, text in _TEXTS if start.startswith(beginnings)), None)
