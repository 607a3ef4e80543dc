"""What is to be read: a file, and what a request says of it that the file does not say itself.

One table has the codings of bare samples, for raw bodies, live chunks and WAV files; another those codings without a
header that ffmpeg decodes. G.711's two laws are tables of 256 values, made from their definition (ITU-T G.711): mu-law
stores the logarithm of the magnitude plus a bias of 132, A-law the magnitude in segments of 16 steps. Both are scaled
to 16 bits here, as in every other decoder.
"""

import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from app.audio.clock import Clock
from app.vad.errors import InvalidOption
from app.vad.options import Options

Samples = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a sample is written."""

    name: str
    sample_bytes: int
    decode: Callable[[bytes], Samples]
    """Whole samples to float32 [n]; full scale is 1."""
    usual_rate: int = 16_000
    """Hz, where nothing is said."""
    subtype: str = ""
    """What the service calls it in answers, as libsndfile does."""
    floats: bool = False
    """Whether a sample may be NaN or infinite."""


def _integers(kind: str, bits: int) -> Callable[[bytes], Samples]:
    scale, stored = np.float32(1 / (1 << (bits - 1))), np.dtype(kind)

    def decode(data: bytes) -> Samples:
        samples: Samples = np.frombuffer(data, dtype=stored).astype(np.float32)
        samples *= scale  # in place: a further array is memory that is not in the cache
        return samples

    return decode


def _floats(kind: str) -> Callable[[bytes], Samples]:
    stored = np.dtype(kind)
    return lambda data: np.frombuffer(data, dtype=stored).astype(np.float32)


def _unsigned_bytes(data: bytes) -> Samples:
    samples: Samples = (np.frombuffer(data, dtype=np.uint8).astype(np.float32) - np.float32(128)) * np.float32(1 / 128)
    return samples


def _three_bytes(*, big_endian: bool) -> Callable[[bytes], Samples]:
    def decode(data: bytes) -> Samples:
        raw = np.frombuffer(data, dtype=np.uint8).reshape(-1, 3)
        # As the upper three bytes of 32 bits, so that the sign comes out right by itself.
        words = np.zeros((len(raw), 4), dtype=np.uint8)
        words[:, 1:] = raw[:, ::-1] if big_endian else raw
        samples: Samples = words.view("<i4")[:, 0].astype(np.float32) * np.float32(2.0**-31)
        return samples

    return decode


def _table(values: NDArray[np.int64]) -> Callable[[bytes], Samples]:
    table = (values / 32_768).astype(np.float32)

    def decode(data: bytes) -> Samples:
        samples: Samples = table[np.frombuffer(data, dtype=np.uint8)]
        return samples

    return decode


def _mu_law() -> NDArray[np.int64]:
    code = ~np.arange(256) & 0xFF
    magnitude = (((code & 0x0F) << 3) + 132 << ((code >> 4) & 7)) - 132
    return np.where(code & 0x80, -magnitude, magnitude)


def _a_law() -> NDArray[np.int64]:
    code = np.arange(256) ^ 0x55
    segment, step = (code >> 4) & 7, (code & 0x0F) << 4
    magnitude = np.where(segment == 0, step + 8, (step + 0x108) << np.maximum(segment - 1, 0))
    return np.where(code & 0x80, magnitude, -magnitude)


ENCODINGS: Mapping[str, Encoding] = {
    encoding.name: encoding
    for encoding in (
        Encoding("pcm_s16le", 2, _integers("<i2", 16), subtype="PCM_16"),
        Encoding("pcm_s16be", 2, _integers(">i2", 16), subtype="PCM_16"),
        Encoding("pcm_s24le", 3, _three_bytes(big_endian=False), subtype="PCM_24"),
        Encoding("pcm_s24be", 3, _three_bytes(big_endian=True), subtype="PCM_24"),
        Encoding("pcm_s32le", 4, _integers("<i4", 32), subtype="PCM_32"),
        Encoding("pcm_s32be", 4, _integers(">i4", 32), subtype="PCM_32"),
        Encoding("pcm_f32le", 4, _floats("<f4"), subtype="FLOAT", floats=True),
        Encoding("pcm_f32be", 4, _floats(">f4"), subtype="FLOAT", floats=True),
        Encoding("pcm_f64le", 8, _floats("<f8"), subtype="DOUBLE", floats=True),
        Encoding("pcm_f64be", 8, _floats(">f8"), subtype="DOUBLE", floats=True),
        Encoding("pcm_u8", 1, _unsigned_bytes, subtype="PCM_U8"),
        Encoding("mulaw", 1, _table(_mu_law()), usual_rate=8_000, subtype="ULAW"),
        Encoding("alaw", 1, _table(_a_law()), usual_rate=8_000, subtype="ALAW"),
    )
}
"""By name, as `encoding=` takes them."""

ALIASES: Mapping[str, str] = {
    "s16le": "pcm_s16le",
    "s16be": "pcm_s16be",
    "f32le": "pcm_f32le",
    "pcm_mulaw": "mulaw",
    "ulaw": "mulaw",
    "pcmu": "mulaw",
    "g711_ulaw": "mulaw",
    "pcm_alaw": "alaw",
    "pcma": "alaw",
    "g711_alaw": "alaw",
}
"""What other programs call them."""

_BY_CONTENT_TYPE: Mapping[str, str] = {
    "audio/l16": "pcm_s16be",  # RFC 2586: network byte order
    "audio/l24": "pcm_s24be",  # RFC 3190: the same
    "audio/basic": "mulaw",  # RFC 2046: mu-law, 8 kHz, one channel
    "audio/pcmu": "mulaw",
    "audio/pcma": "alaw",
    "audio/pcm": "pcm_s16le",
    "audio/x-mulaw": "mulaw",
    "audio/x-alaw": "alaw",
}
_NUMBER = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class RawForm:
    """How raw samples are to be read; nothing in them says so."""

    encoding: Encoding
    sample_rate: int
    """Hz, of every channel."""
    channels: int

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of every channel."""
        return self.encoding.sample_bytes * self.channels


def find_encoding(name: str) -> Encoding:
    """The coding of that name or alias. Raises `InvalidOption`."""
    known = ENCODINGS.get(ALIASES.get(name.lower(), name.lower()))
    if known is None:
        raise InvalidOption("encoding", f"{name[:32]!r} is not a known encoding; there are: {', '.join(ENCODINGS)}")
    return known


def raw_form(encoding: str, sample_rate: int | None = None, channels: int | None = None) -> RawForm:
    """The form that options name; without a rate the coding's usual one, without channels mono.

    Raises `InvalidOption`.
    """
    known = find_encoding(encoding)
    return RawForm(known, sample_rate or known.usual_rate, channels or 1)


def form_of_content_type(content_type: str) -> RawForm | None:
    """The form that a media type with its parameters (`rate`, `channels`) names; None for one that is not of raw
    samples."""
    media_type, *parameters = (part.strip().lower() for part in content_type.split(";"))
    encoding = _BY_CONTENT_TYPE.get(media_type)
    if encoding is None:
        return None
    given = dict(part.split("=", 1) for part in parameters if "=" in part)
    numbers = {name: int(value) for name, value in given.items() if _NUMBER.fullmatch(value)}
    return raw_form(encoding, numbers.get("rate"), numbers.get("channels"))


@dataclass(frozen=True, slots=True)
class Headerless:
    """A coding whose files have no header and that is more than bare samples: each sample depends on those
    before it. ffmpeg decodes it when it is told which one it is. Its sound is mono."""

    container: str
    """What `audio.format` calls it; an entry of `CONTAINERS`."""
    demuxer: str
    """ffmpeg's, which hands over the file's bytes."""
    usual_rate: int
    """Hz, where nothing is said."""
    decoder: str | None = None
    """ffmpeg's, where the demuxer does not imply it; then the request may say the rate, too."""
    sample_rate: int | None = None
    """Hz, as the request says; None: the usual one."""

    @property
    def arguments(self) -> tuple[str, ...]:
        """ffmpeg's, in front of the file."""
        if self.decoder is None:
            return ("-f", self.demuxer)
        rate = str(self.sample_rate or self.usual_rate)
        return ("-f", self.demuxer, "-ar", rate, "-ac", "1", "-c:a", self.decoder)


_VOX = Headerless("VOX", "alaw", 8_000, decoder="adpcm_ima_oki")
"""Dialogic's: 4 bits a sample. ffmpeg has no demuxer for it; that of A-law hands over bytes just as they come."""
HEADERLESS: Mapping[str, Headerless] = {
    "g722": Headerless("G722", "g722", 16_000),
    "g729": Headerless("G729", "g729", 8_000),
    "vox": _VOX,
    "adpcm_oki": _VOX,
}
"""As `encoding=` takes them."""


def find_headerless(name: str, sample_rate: int | None, channels: int | None) -> Headerless | None:
    """The coding of that name; None when there is none. Raises `InvalidOption` for a rate or a number of channels that
    it cannot have."""
    coding = HEADERLESS.get(name.lower())
    if coding is None:
        return None
    if channels not in (None, 1):
        raise InvalidOption("channels", f"{name.lower()} has one channel")
    if coding.decoder is None and sample_rate not in (None, coding.usual_rate):
        raise InvalidOption("sample_rate", f"{name.lower()} has {coding.usual_rate} Hz and no other rate")
    return coding if coding.decoder is None else replace(coding, sample_rate=sample_rate)


@dataclass(frozen=True, slots=True)
class AudioInput:
    """A file and how it is to be read."""

    path: Path
    """Where it lies; where `data` is, only once `on_disk` has been called."""
    raw: RawForm | None = None
    """Of bare samples; None: the file says what it is."""
    raw_for_certain: bool = True
    """Whether somebody has said so by name. A content type alone is believed only of a file that is nothing else:
    `audio/basic` is what programs call Sun's files with a header, too."""
    headerless: Headerless | None = None
    """Of a coding that no header tells and no table here decodes, such as G.722."""
    track: int | Literal["all"] | None = None
    """Which of several sounds, from 0; `all`: each is a channel; None: the container's default one, or the first that
    can be read."""
    clock: Clock = "samples"
    data: bytes | None = None
    """The whole file, where it is in memory."""
    spool: Callable[[], None] | None = None
    """Writes `data` to `path`; more than once is as good as once. To be given with `data`; its owner removes the
    file."""

    def open(self) -> BinaryIO:
        """A new reader of its bytes."""
        return self.path.open("rb") if self.data is None else io.BytesIO(self.data)

    @property
    def size(self) -> int:
        """Bytes."""
        return self.path.stat().st_size if self.data is None else len(self.data)

    def on_disk(self) -> Path:
        """Where a child process finds it. Blocking. Raises OSError, and `Overloaded` where there is no space."""
        if self.spool is not None:
            self.spool()
        return self.path


_TRACK_PATTERN = r"^(all|[0-9]|[1-5][0-9]|6[0-3])$"


class InputOptions(Options):
    """How the audio is read: options of every door that takes files."""

    track: Annotated[int, Field(ge=0, le=63)] | Literal["all"] | None = Field(
        None,
        description="Which sound track of the file, from 0. `all`: each track by itself, as the mean of its channels. "
        "Not set: the container's default track, or else the first readable one.",
        json_schema_extra={"pattern": _TRACK_PATTERN},
    )
    clock: Clock = Field(
        "samples",
        description="What times count. `samples`: decoded samples, as in FunASR. `container`: a player's clock; lost "
        "packets and a late start of the sound count as silence.",
    )
    encoding: str | None = Field(
        None,
        description=f"Encoding of raw samples, which have no header: {', '.join(f'`{name}`' for name in ENCODINGS)}. "
        f"Mono only: {', '.join(f'`{name}`' for name in HEADERLESS)}. Over HTTP a `Content-Type` can say the same: "
        "`audio/L16` or `audio/L24` (big-endian, RFC 2586 and 3190), `audio/basic`, `audio/PCMU`, `audio/PCMA` or "
        "`audio/pcm` (little-endian), with `rate` and `channels`.",
        json_schema_extra={"examples": [*ENCODINGS, *HEADERLESS]},
    )
    sample_rate: int | None = Field(
        None,
        ge=4_000,
        le=384_000,
        description="Sample rate of raw samples. Not set: 16000, or 8000 for mu-law, A-law and `vox`. `g722` and "
        "`g729` have their own.",
        json_schema_extra={"unit": "Hz"},
    )
    channels: int | None = Field(
        None,
        ge=1,
        le=64,
        description="Number of interleaved channels in raw samples. Not set: 1. With more than 8, choose one by its "
        "number, such as `channel=3`.",
    )

    def source(self, path: Path, content_type: str = "") -> AudioInput:
        """The input that these options and a media type make of a file. Raises `InvalidOption`."""
        plain = AudioInput(path, track=self.track, clock=self.clock)
        if self.encoding is not None:
            headerless = find_headerless(self.encoding, self.sample_rate, self.channels)
            if headerless is not None:
                return replace(plain, headerless=headerless)
            return replace(plain, raw=raw_form(self.encoding, self.sample_rate, self.channels))
        form = form_of_content_type(content_type)
        if form is not None:
            form = RawForm(form.encoding, self.sample_rate or form.sample_rate, self.channels or form.channels)
            return replace(plain, raw=form, raw_for_certain=False)
        for name in ("sample_rate", "channels"):
            if getattr(self, name) is not None:
                raise InvalidOption(name, "is for raw samples, together with encoding; other files state it themselves")
        return plain
