"""The two bounded queues of a live session: what its client has sent and what is on its way to the client.

When the inbox is full the client is not read from, so TCP holds it up. When the outbox overflows the stream ends,
because nobody reads at the other end.
"""

import json
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from app.live.pcm import PcmReader
from app.vad.segmenters.registry import Segmentation

Json = Any

INBOX_ITEMS = 1_000
"""Most chunks and commands that wait. At 100 ms a chunk `buffer_s` is reached long before: this bounds tiny chunks."""
_BLOCK_S = 5.0
"""Most audio in a block. It takes some 5 ms of a core, so a client that is far behind hardly holds up the others."""
_BACKLOG_S = 1.0
"""So much audio waits when a client sends faster than it is scored, or catches up after a break."""

OUTBOX_MESSAGES = 1_000
"""Most messages that wait to be sent. It takes minutes of events to fill, so the client is taken for gone."""
OUTBOX_BYTES = 4 << 20
"""The same for messages with samples: the longest five utterances or so."""
HISTORY_MESSAGES = 256
"""Messages kept for a client that comes back. At ten probabilities a second they go back 25 s, about as long as
a session waits for its client."""
HISTORY_BYTES = 4 << 20
"""The same for messages with samples. JSON of ours is ASCII nearly throughout, so characters count as bytes."""
_MOST_PARTS = 16_384
"""Of a message, read in a millisecond or two. One that sets every option has a hundred; FunASR's clients send hot
words."""


class Chunk(NamedTuple):
    """Whole samples of every channel."""

    data: bytes
    received: float
    """When they came, by the receiver's clock."""


@dataclass(frozen=True, slots=True)
class Change:
    """Options that come into force where this stands among the chunks."""

    segmentation: Segmentation
    note: Any
    """Handed to the protocol then."""


@dataclass(frozen=True, slots=True)
class Drop:
    """The utterance under way is dropped where this stands among the chunks."""

    starts_over: bool
    """Whether its time and all segments are dropped, too."""


@dataclass(frozen=True, slots=True)
class Reform:
    """Samples of another form come from where this stands among the chunks: at the beginning of a recording."""

    reader: PcmReader
    sample_rate: int
    """Of what comes, Hz."""


Final = Literal["flush", "finish", "end"]
"""The utterance ends where this stands among the chunks; with `finish` the recording does, and another may follow; with
`end` the stream."""


Item = Chunk | Change | Drop | Reform | Final


class Inbox:
    """Chunks and commands in the order in which they came."""

    def __init__(self, buffer_s: float, bytes_per_s: int) -> None:
        """`buffer_s`: audio that may wait."""
        self._items: deque[Item] = deque()
        self._buffer_s, self._bytes = buffer_s, 0
        self.use_rate(bytes_per_s)

    def use_rate(self, bytes_per_s: int) -> None:
        """Count audio by so many bytes from now on."""
        self._full_bytes, self._backlog_bytes = self._buffer_s * bytes_per_s, _BACKLOG_S * bytes_per_s
        self._block_bytes = _BLOCK_S * bytes_per_s

    def __len__(self) -> int:
        return len(self._items)

    @property
    def is_full(self) -> bool:
        return self._bytes >= self._full_bytes or len(self._items) >= INBOX_ITEMS

    @property
    def has_backlog(self) -> bool:
        """Whether so much waits that waiting for more, to score it together, gains nothing."""
        return self.is_full or self._bytes >= self._backlog_bytes

    def put(self, item: Item) -> None:
        if isinstance(item, Chunk):
            self._bytes += len(item.data)
        self._items.append(item)

    def next_is_chunk(self) -> bool:
        """Whether samples come next. The inbox must not be empty."""
        return isinstance(self._items[0], Chunk)

    def take(self) -> Change | Drop | Reform | Final:
        """Take what comes next, which must not be a chunk."""
        item = self._items.popleft()
        if isinstance(item, Chunk):
            raise TypeError("samples come next")
        return item

    def take_chunks(self) -> list[Chunk]:
        """Take the chunks that come next, up to a block's worth of audio."""
        found: list[Chunk] = []
        taken = 0
        while self._items and taken < self._block_bytes and isinstance(item := self._items[0], Chunk):
            found.append(item)
            self._items.popleft()
            taken += len(item.data)
        self._bytes -= taken
        return found


class Outbox:
    """Messages that wait to be sent, and the last ones that were emitted, for a client that comes back."""

    def __init__(self, *, keeps: bool) -> None:
        """`keeps`: whether to keep the last messages, because the client can come back."""
        self._keeps = keeps
        self._waiting: deque[str] = deque()
        self._waiting_bytes = 0
        self._history: deque[str] = deque()
        self._history_bytes = 0
        self.last_seq = 0
        """Number of the newest message that was emitted."""

    @property
    def overflows(self) -> bool:
        """Whether more waits than a client that reads would leave."""
        # One message is taken whatever its size.
        too_large = self._waiting_bytes > OUTBOX_BYTES and len(self._waiting) > 1
        return too_large or len(self._waiting) > OUTBOX_MESSAGES

    def next_message(self) -> str | None:
        """The oldest message that has not been sent."""
        return self._waiting[0] if self._waiting else None

    def all_messages(self) -> Sequence[str]:
        """All messages that have not been sent."""
        return tuple(self._waiting)

    def message_sent(self, count: int = 1) -> None:
        for _ in range(count):
            self._waiting_bytes -= len(self._waiting.popleft())

    def say(self, message: Json) -> None:
        """Queue an answer to something that the client has sent; it has no number and is not kept."""
        self._post(encode(message))

    def emit(self, message: Json, *, numbered: bool) -> None:
        """Queue the next message of the stream. `numbered`: an object gets `seq`."""
        self.last_seq += 1
        if numbered and isinstance(message, dict):
            message["seq"] = self.last_seq
        text = encode(message)
        if self._keeps:
            self._history.append(text)
            self._history_bytes += len(text)
            # The newest one stays, whatever its size.
            while len(self._history) > HISTORY_MESSAGES or (
                self._history_bytes > HISTORY_BYTES and len(self._history) > 1
            ):
                self._history_bytes -= len(self._history.popleft())
        self._post(text)

    def replay(self, after: int | None) -> bool:
        """Queue the messages after number `after` again; for None leave those that were never handed to a socket.
        Return False when they are no longer kept."""
        if after is None:
            return True
        missed = max(0, self.last_seq - after)
        if missed > len(self._history):
            return False
        self._waiting = deque(list(self._history)[len(self._history) - missed :])
        self._waiting_bytes = sum(map(len, self._waiting))
        return True

    def _post(self, text: str) -> None:
        self._waiting.append(text)
        self._waiting_bytes += len(text)


def decode(text: str) -> Json:
    """Read a client's JSON. Raises ValueError, also for one of so many parts that reading it would hold up all other
    streams: audio in base64 is long, and one part."""
    if text.count(",") + text.count("[") + text.count("{") > _MOST_PARTS:
        raise ValueError("too many parts")
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("too deep") from None


def encode(message: Json) -> str:
    """Write JSON without spaces, with the letters of any script as they are. The result can always be sent in UTF-8."""
    text = json.dumps(message, separators=(",", ":"), ensure_ascii=False)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            # A client may name a thing by half a surrogate pair (JSON's "\ud800"), which UTF-8 cannot carry. It gets it
            # back as it came: escaped.
            return json.dumps(message, separators=(",", ":"))
    return text
