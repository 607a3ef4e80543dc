"""How much of a file could not be heard, from what its structure counts and what its decoder reports.

Three facts make a file damaged: its row of parts is broken (`follow`), fewer samples came out than it counts, or its
decoder reports packets that it could not decode. A whole file shows none of them, but two things look like it: a
decoder stumbles over tags between frames, and over the end of a file that is cut, which is told as that.
"""

import re
from dataclasses import dataclass

from app.audio.facts import FileFacts

_SURE_MS = 50
"""Fewer samples than a file counts, by no more than a frame or two, are no loss: codings pad and trim."""
_SANE = 10
"""A clock that is ahead by more of what was heard is damaged itself."""

# What ffmpeg's versions 5 to 9 write for a packet that could not be decoded, in lower case; for one that was decoded
# though its check sum is wrong; and for bytes that are no packet at all.
_FAILED = ("error submitting packet to decoder", "decoding error:", "error while decoding stream #")
_CORRUPT = "corrupt decoded frame"
_WRONG = re.compile(
    r"crc error|frame crc mismatch|checksum failed|parity check failed|missing gsm magic"
    r"|error parsing opus packet header|overflow \(.*spectral rle"
)
_BROKEN = re.compile(
    r"crc mismatch!|error during demuxing|invalid as first byte of an ebml number|invalid track number"
    r"|exceeds containing master element|packet mismatch|packet_obj_size|packet_frag_size is invalid"
    r"|packet fragment position invalid|invalid block header"
    r"|(?:file|pipe):.*: (?:invalid data|error number|end of file)"
)


@dataclass(slots=True)
class Trouble:
    """What a decoder reports, counted."""

    failed: int = 0
    """Packets that it could not decode."""
    corrupt: int = 0
    wrong: int = 0
    broken: int = 0
    early: int = 0
    """Of the same, while it looked at the beginning of the file: not all that is broken there is missed later."""

    def add(self, text: str, *, early: bool = False) -> None:
        """Count one line of ffmpeg's log, in lower case, without its level."""
        if early:
            self.early += _BROKEN.search(text) is not None
        elif text.startswith(_FAILED):
            self.failed += 1
        elif _CORRUPT in text:
            self.corrupt += 1
        elif _WRONG.search(text):
            self.wrong += 1
        elif _BROKEN.search(text):
            self.broken += 1

    @property
    def doubtful(self) -> int:
        """Packets that it has decoded though something in them is wrong."""
        # A packet that fails has mostly been found to be wrong before.
        return max(self.corrupt, self.wrong - self.failed, 0)


def describe(facts: FileFacts, trouble: Trouble, heard_ms: float, *, cut: bool, clock_ms: int) -> str | None:
    """Say how a file is damaged; None where it is not.

    `heard_ms`: sound that was decoded. `cut`: whether it is told that the file's end is missing. `clock_ms`: how much
    more time there is by the file's own clock.
    """
    stumbles = facts.stumbles + cut
    told = []
    if trouble.failed > stumbles and not facts.reads_on:
        told.append(_packets(trouble.failed, "could not be decoded"))
    if trouble.doubtful > cut:
        told.append(_packets(trouble.doubtful, "were decoded although something in them is wrong"))
    counted_ms = 0.0 if facts.counted is None else facts.counted.samples * 1000 / facts.counted.rate
    missing_ms = max(0.0, counted_ms - heard_ms)
    if facts.lost is not None:
        places = "1 place" if facts.lost.places == 1 else f"{facts.lost.places} places"
        told.append(f"its structure is broken in {places}, the first at byte {facts.lost.first_at}")
    elif (trouble.broken and not (stumbles or facts.next_at)) or (clock_ms and (trouble.broken or trouble.early)):
        told.append("its structure is broken")
    if not told and (missing_ms < _SURE_MS or cut):
        return None
    if missing_ms >= 1:
        told.append(f"{missing_ms:.0f} of {counted_ms:.0f} ms are missing")
    elif without_part_ms := facts.missing_ms or facts.missing_share * heard_ms:
        told.append(f"{without_part_ms:.0f} ms are missing")
    elif 0 < clock_ms < _SANE * heard_ms:
        told.append(f"by its own clock {clock_ms} ms are missing")
    elif facts.lost is not None and facts.lost.whole and facts.lost.size:
        about_ms = facts.lost.size / facts.lost.whole * heard_ms
        told.append(f"{facts.lost.size} bytes there, as many as about {about_ms:.0f} ms take, are no audio")
    return "; ".join(told)


def _packets(count: int, what: str) -> str:
    return f"{count} packets {what}" if count != 1 else f"1 packet {what.replace('were', 'was').replace('them', 'it')}"
