"""Frames of a WebSocket: where a client's begin and end, how many it may send, and how a message to it is framed.

A frame costs the same to read whether it holds a second of audio or nothing, and its sender next to nothing: a peer
that sends empty ones as fast as a network carries them would keep an event loop busy with nothing else. So a connection
has a budget of small frames, which fills again with time. Frames that carry sound are never counted: what is done with
them is bounded elsewhere, by the session's inbox.
"""

MESSAGE_BYTES = 1 << 20
"""A message: 32 s of 16-bit audio at 16 kHz, far more than live audio comes in."""
TURN_S = 0.002
"""What comes at once from one connection is read for so long before others have their turn of the event loop."""
SMALL_BYTES = 32
"""A frame with less is small. Speech that is sent as it is spoken, 20 ms at a time, has 40 bytes and more even as Opus,
2.5 ms of telephone sound have 20."""
BURST_FRAMES = 4_096
"""Small frames that a connection may send at once, and most small parts of one message."""
FRAMES_PER_S = 500
"""Small frames for as long as it likes: one each 2 ms. So many take a hundredth of a core."""
_CONTROL = 0x08
"""Set in the opcodes of pings, pongs and close frames (RFC 6455, 5.5)."""
_FINAL, _MASKED = 0x80, 0x80
"""Flags in a frame's first byte and in its second."""


class FrameBudget:
    """Counts the small frames of one connection."""

    def __init__(self, now: float) -> None:
        self._left, self._counted_at = float(BURST_FRAMES), now
        self._parts = 0
        """Of the message under way."""

    def takes(self, first: int, size: int, now: float) -> bool:
        """Count a frame by its first byte and the size of its payload. False: it is one too many."""
        control = bool(first & _CONTROL)
        if size >= SMALL_BYTES and not control:
            if first & _FINAL:
                self._parts = 0
            return True
        if not control:
            self._parts = 0 if first & _FINAL else self._parts + 1
        self._left = min(BURST_FRAMES, self._left + (now - self._counted_at) * FRAMES_PER_S) - 1
        self._counted_at = now
        return self._left >= 0 and self._parts <= BURST_FRAMES


def frame_at(data: bytes, start: int) -> tuple[int, int]:
    """Where the payload of the client's frame at `start` begins and ends. Of a frame whose head is not whole the end is
    that of what has to come first. One that the library refuses by its head (not masked, too long) begins at 0, and
    ends with that head."""
    known = len(data) - start
    if known < 2 or not data[start + 1] & _MASKED:
        return 0, start + 2
    length = data[start + 1] & ~_MASKED
    payload = start + 6
    if length == 126:
        if known < 4:
            return 0, start + 4
        payload, length = start + 8, data[start + 2] << 8 | data[start + 3]
    elif length == 127:
        if known < 10:
            return 0, start + 10
        payload, length = start + 14, int.from_bytes(data[start + 2 : start + 10], "big")
    return (payload, payload + length) if length <= MESSAGE_BYTES else (0, payload)


def text_frame(payload: bytes) -> bytes:
    """A whole text message of the server's, which is not masked."""
    size = len(payload)
    if size < 126:
        return b"\x81%c" % size + payload
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload
