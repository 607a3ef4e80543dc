"""What container a file is, by its first bytes; never by its name or by what the client says."""

from collections.abc import Callable

from app.audio.containers import BY_NAME, CONTAINERS

HEAD_BYTES = 64 << 10
"""How much of a file `sniff` wants to see: what stands in front of MPEG audio by mistake is rarely more than half a
frame, a tag, or the header of some protocol."""
_CHAIN = 4
"""Frames whose headers have to lead from one to the next where something else stands in front: among random bytes that
is as rare as one in 10^13."""
_MPEG_KBPS = {
    (3, 3): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (3, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (3, 1): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 3): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 1): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""By (MPEG-1: 3, MPEG-2 and 2.5: 2; layer I: 3, II: 2, III: 1), from index 1 on (ISO 11172-3, 13818-3)."""
_MPEG_HZ = (44_100, 48_000, 32_000)

_TEXTS: tuple[tuple[tuple[bytes, ...], str], ...] = (
    ((b"data:",), "this is a data URI: decode what follows its comma, and send that"),
    ((b"http://", b"https://"), "this is a URL, and none is fetched here: send the audio itself"),
    ((b"{", b"["), "this is JSON: send the audio itself; audio in base64 has to be decoded first"),
    ((b"<",), "this is a page or another text with tags: send the audio itself"),
    ((b"#EXTM3U", b"ffconcat"), "this is a list of other files, and none of them is opened: send the audio itself"),
    (
        (b"#!SILK_V3", b"\x02#!SILK_V3"),
        "this is SILK, as WeChat has it, which is not read here: turn it into WAV first",
    ),
    ((b"PK\x03\x04", b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!"), "this is packed: unpack it first"),
    ((b"UklGR", b"T2dnU", b"SUQz", b"ZkxhQ", b"//u", b"//v", b"GkXfo", b"AAAA"), "this is base64: decode it first"),
)
"""What else people send, by its first bytes."""
_NEXT_STEP = "send the bytes as the body, or as form field `file`"
_UNKNOWN = (
    "this is not audio in any format known here (docs/audio.md lists them); raw samples need `encoding`, and mostly "
    "`sample_rate` and `channels`"
)


def sniff(head: bytes) -> str | None:
    """The container's name, such as `WAV`, or None when the bytes are of no audio container known here."""
    head = head[:HEAD_BYTES]
    for container in CONTAINERS:
        if container.matches(head):
            return container.name
    if _chain(head, 0, _loas_length) >= 2:
        return "LATM"
    return _mpeg_audio(head)


def container_for_certain(head: bytes) -> str | None:
    """As `sniff`, but only where the bytes cannot well be samples: a name in plain letters, or frames one after the
    other."""
    name = sniff(head)
    if name is None or BY_NAME[name].telling:
        return name
    return name if _chain(head, 0, _mpeg_length) >= 3 else None


def mpeg_audio_after_junk(head: bytes) -> int | None:
    """Where MPEG audio begins that has something else in front, such as half a frame; None when there is none."""
    head = head[:HEAD_BYTES]
    at = head.find(b"\xff", 1)
    while at >= 0:
        if _chain(head, at, _mpeg_length) >= _CHAIN:
            return at
        at = head.find(b"\xff", at + 1)
    return None


def advice(head: bytes) -> str:
    """What to tell somebody whose bytes are no audio that is known here."""
    start = head[:64].lstrip(b"\xef\xbb\xbf \t\r\n")
    for beginnings, told in _TEXTS:
        if start.startswith(beginnings):
            return f"{told}; {_NEXT_STEP}" if "send" not in told else f"{told}, {_NEXT_STEP.removeprefix('send ')}"
    return _UNKNOWN


def _chain(head: bytes, at: int, length_of: Callable[[bytes, int], int]) -> int:
    """How many frames follow one another from here on, as far as the head goes; no more than `_CHAIN` are counted."""
    count = 0
    while count < _CHAIN and (length := length_of(head, at)):
        count += 1
        at += length
    return count


def _mpeg_length(head: bytes, at: int) -> int:
    """Bytes of the MPEG audio frame here; 0 for none."""
    if len(head) < at + 4 or _mpeg_audio(head[at : at + 4]) != "MP3":
        return 0
    version, layer = (head[at + 1] >> 3) & 3, (head[at + 1] >> 1) & 3
    kbps = _MPEG_KBPS[3 if version == 3 else 2, layer][(head[at + 2] >> 4) - 1]
    rate = _MPEG_HZ[(head[at + 2] >> 2) & 3] // {3: 1, 2: 2, 0: 4}[version]
    padding = (head[at + 2] >> 1) & 1
    if layer == 3:
        return (12_000 * kbps // rate + padding) * 4
    return (72_000 if layer == 1 and version != 3 else 144_000) * kbps // rate + padding


def _loas_length(head: bytes, at: int) -> int:
    """Bytes of the LOAS frame here: eleven bits of sync, thirteen of length; 0 for none."""
    if len(head) < at + 3 or head[at] != 0x56 or head[at + 1] & 0xE0 != 0xE0:
        return 0
    return 3 + ((head[at + 1] & 0x1F) << 8 | head[at + 2])


def _mpeg_audio(head: bytes) -> str | None:
    """A bare MPEG audio or ADTS frame: eleven set bits, then fields that exclude most other bytes."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    if head[1] & 0xF6 == 0xF0:
        return "AAC" if (head[2] >> 2) & 0xF < 13 else None
    version, layer = (head[1] >> 3) & 3, (head[1] >> 1) & 3
    bitrate, rate = head[2] >> 4, (head[2] >> 2) & 3
    return "MP3" if version != 1 and layer != 0 and bitrate not in (0, 15) and rate != 3 else None
