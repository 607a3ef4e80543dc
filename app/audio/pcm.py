"""Codings of bare samples: one table for raw bodies, live chunks, and WAV files.

G.711's two laws are tables of 256 values, made from their definition (ITU-T G.711): mu-law stores the logarithm of the
magnitude plus a bias of 132, A-law the magnitude in segments of 16 steps. Both are scaled to 16 bits here, as in every
other decoder.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.vad.errors import InvalidOption

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
    scale = np.float32(1 / (1 << (bits - 1)))

    def decode(data: bytes) -> Samples:
        samples: Samples = np.frombuffer(data, dtype=kind).astype(np.float32) * scale
        return samples

    return decode


def _floats(kind: str) -> Callable[[bytes], Samples]:
    return lambda data: np.frombuffer(data, dtype=kind).astype(np.float32)


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
        raise InvalidOption("encoding", f"{name[:32]!r} is not known here; there are: {', '.join(ENCODINGS)}")
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
