"""NIST SPHERE, the files of older speech corpora: a head of text, in lines, and bare samples behind it.

The head's first line is `NIST_1A`, the second its own length, and each further one a field: name, type (`-i` number,
`-s3` text of three letters) and value. Samples are PCM in either byte order, or mu-law or A-law; a corpus may also have
them compressed, which no library here undoes.
"""

import re
from dataclasses import dataclass
from typing import BinaryIO

from app.audio.options import ENCODINGS, RawForm
from app.vad.errors import InvalidAudio, UnsupportedAudio

MAGIC = b"NIST_1A"
_FIELD = re.compile(r"(\w+)\s+-[a-z]\d*\s+(.*)")
_MOST_HEAD = 64 << 10
"""Bytes; corpora have 1,024, and a multiple of it where somebody has written much about a recording."""
_CODINGS = {"ulaw": "mulaw", "mu-law": "mulaw", "alaw": "alaw", "a-law": "alaw"}


@dataclass(frozen=True, slots=True)
class Sphere:
    """What a head says."""

    raw: RawForm
    start: int
    """Where the samples begin, in bytes."""
    declared: int | None
    """How many bytes of them there are; None where it does not say."""


def read_sphere(file: BinaryIO) -> Sphere:
    """Raises `InvalidAudio` for a head that makes no sense, and `UnsupportedAudio` for samples that are compressed."""
    file.seek(0)
    head = file.read(_MOST_HEAD)
    lines = head.split(b"\n", 2)
    start = int(lines[1]) if len(lines) == 3 and lines[1].strip().isdigit() else 0
    if not 16 <= start <= _MOST_HEAD:
        raise InvalidAudio("the header of the SPHERE file does not state its length")
    text = head[:start].decode("latin-1").partition("end_head")[0]
    found = (_FIELD.match(line) for line in text.splitlines())
    fields = {field[1].lower(): field[2].strip() for field in found if field is not None}
    coding, *packed = fields.get("sample_coding", "pcm").lower().split(",")
    if packed:
        raise UnsupportedAudio(
            f"the SPHERE file's samples are compressed ({', '.join(packed)[:40]}), which is not read here: unpack it "
            "with `sph2pipe -f wav` first"
        )
    width, order = fields.get("sample_n_bytes", ""), fields.get("sample_byte_format", "")
    name = _CODINGS.get(coding) or _pcm(coding, width, order)
    rate, channels = fields.get("sample_rate", ""), fields.get("channel_count", "1")
    if name is None or not rate.isdigit() or not channels.isdigit() or not int(channels):
        told = f"{coding[:20]}, {width[:8] or 'no'} bytes, order {order[:8] or 'not given'}"
        raise UnsupportedAudio(f"the SPHERE file's samples are in an unsupported format: {told}")
    raw = RawForm(ENCODINGS[name], int(rate), int(channels))
    count = fields.get("sample_count", "")
    return Sphere(raw, start, int(count) * raw.frame_bytes if count.isdigit() and int(count) else None)


def _pcm(coding: str, width: str, order: str) -> str | None:
    """The order names the bytes' places, the lowest byte's being 0: `01` is little-endian, `10` big-endian."""
    if coding not in ("pcm", "pcm-2", "linear") or width not in ("2", "3", "4"):
        return None
    places = "0123"[: int(width)]
    endian = {places: "le", places[::-1]: "be"}.get(order)
    return None if endian is None else f"pcm_s{8 * int(width)}{endian}"
