"""What container a file is, by its first bytes; never by its name or by what the client says."""

from app.audio.containers import CONTAINERS
from app.audio.frames import adts_length, chain, loas_length, mpeg_length

HEAD_BYTES = 64 << 10
"""How much of a file `sniff` wants to see: what stands in front of MPEG audio by mistake is rarely more than half a
frame, a tag, or the header of some protocol."""
_CHAIN = 4
"""Frames whose headers have to lead from one to the next where something else stands in front: among random bytes that
is as rare as one in 10^13."""

_TEXTS: tuple[tuple[tuple[bytes, ...], str], ...] = (
    ((b"data:",), "this is a data URI: decode what follows its comma, and send that"),
    ((b"http://", b"https://"), "this is a URL, and none is fetched here: send the audio itself"),
    ((b"{", b"["), "this is JSON: send the audio itself; audio in base64 has to be decoded first"),
    ((b"<",), "this is a page or another text with tags: send the audio itself"),
    ((b"#EXTM3U", b"ffconcat"), "this is a list of other files, and none of them is opened: send the audio itself"),
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
    if chain(head, 0, loas_length, 2) == 2:
        return "LATM"
    return _mpeg_audio(head)


def container_for_certain(head: bytes) -> str | None:
    """As `sniff`, but only where the bytes cannot well be samples: a name in plain letters, or frames one after the
    other. A single frame's sync word is nothing: one chunk of speech in some hundred begins with one."""
    head = head[:HEAD_BYTES]
    for container in CONTAINERS:
        if container.telling and container.matches(head):
            return container.name
    by_frames = {"MP3": mpeg_length, "AAC": adts_length, "LATM": loas_length}
    return next((name for name, length_of in by_frames.items() if chain(head, 0, length_of, _CHAIN) == _CHAIN), None)


def mpeg_audio_after_junk(head: bytes) -> int | None:
    """Where MPEG audio begins that has something else in front, such as half a frame; None when there is none."""
    head = head[:HEAD_BYTES]
    at = head.find(b"\xff", 1)
    while at >= 0:
        if chain(head, at, mpeg_length, _CHAIN) == _CHAIN:
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


def _mpeg_audio(head: bytes) -> str | None:
    """A bare ADTS or MPEG audio frame."""
    if len(head) >= 4 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return "AAC" if (head[2] >> 2) & 0xF < 13 else None
    return "MP3" if mpeg_length(head, 0) else None
