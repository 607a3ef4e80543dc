"""What audio files are read: THE list of containers and codings, from which the sniffer, the lists that bind ffmpeg,
the file endings that are picked from folders, and the documentation are made.

A container gets in when its demuxer opens nothing but the file it is given: no playlist, no list of files, no index
that names others. A coding gets in when it is one of sound: pictures and video never reach a decoder.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

Matches = Callable[[bytes], bool]


def _at(offset: int, *magics: bytes) -> Matches:
    return lambda head: any(head[offset : offset + len(magic)] == magic for magic in magics)


def _riff(*forms: bytes, names: tuple[bytes, ...] = (b"RIFF",)) -> Matches:
    return lambda head: head[:4] in names and head[8:12] in forms


def _every(stride: int, first: int, byte: int, mask: int = 0xFF, times: int = 5) -> Matches:
    """A byte that comes again at equal distances, as far as the head goes, `times` at least."""

    def matches(head: bytes) -> bool:
        seen = head[first::stride]
        return len(seen) >= times and all(each & mask == byte for each in seen)

    return matches


def _ebml(kind: bytes) -> Matches:
    return lambda head: head.startswith(b"\x1a\x45\xdf\xa3") and kind in head[:64]


@dataclass(frozen=True, slots=True)
class Container:
    """One kind of file that is read, and how it is known."""

    name: str
    """As answers have it in `audio.format`."""
    title: str
    """As documents and people call it."""
    demuxers: tuple[str, ...]
    """ffmpeg's, all names it goes by; none for what another decoder reads."""
    suffixes: tuple[str, ...]
    matches: Matches
    """Whether the first bytes are of this kind."""
    telling: bool = True
    """Whether the first bytes are plain enough that they are no samples by chance."""
    forced: bool = False
    """Whether ffmpeg has to be told the demuxer, which it would choose by the file's name alone."""
    tracks: bool = False
    """Whether it may hold several sounds, each with time stamps of its own."""

    spliced: bool = False
    """Whether recordings may follow one another in it, each with a clock of its own."""

    @property
    def clock(self) -> bool:
        """Whether its time stamps say when a sample is to be heard: of containers for several sounds, and of Ogg, whose
        pages carry positions. Those of the others only count samples."""
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
    Container("GSM", "GSM 06.10", ("gsm",), (".gsm",), _every(33, 0, 0xD0, 0xF0, times=6), telling=False,
              forced=True),
    Container("SILK", "SILK, of WeChat and QQ (the extra `silk`)", (), (".silk", ".slk"),
              _at(0, b"#!SILK_V3", b"\x02#!SILK_V3")),
    Container("AAC", "ADTS AAC", ("aac",), (".aac",), lambda head: False, telling=False),
    Container("LATM", "LATM, LOAS", ("loas",), (".latm", ".loas"), lambda head: False, telling=False, forced=True),
    Container("G722", "G.722 without a header (`encoding=g722`)", ("g722",), (), lambda head: False, telling=False),
    Container("G729", "G.729 without a header (`encoding=g729`)", ("g729",), (), lambda head: False, telling=False),
    Container("VOX", "Dialogic ADPCM without a header (`encoding=vox`)", ("alaw",), (), lambda head: False,
              telling=False),
)  # fmt: skip
"""In the order in which they are tried. MPEG audio, ADTS and LATM without anything in front are found by their frames
(`sniff`)."""

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
"""By what people call them, with the names of ffmpeg's decoders, of all versions."""

DEMUXERS = ",".join(sorted({name for container in CONTAINERS for name in container.demuxers}))
"""ffmpeg's whitelist of containers."""
DECODERS = ",".join(sorted({name for names in CODINGS.values() for name in names}))
"""ffmpeg's whitelist of codings."""
SUFFIXES = frozenset(suffix for container in CONTAINERS for suffix in container.suffixes)
"""What is picked from a folder; a file that is named is tried whatever it is called."""
