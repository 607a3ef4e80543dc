"""Messages on their way to a client: those that wait, and the last ones for a client that comes back."""

from collections import deque

from app.live.messages import Json, encode

WAITING_LIMIT = 1_000
"""Messages that nobody fetches: minutes of events, after which the client is taken for gone."""
WAITING_BYTES = 4 << 20
"""The same for messages with samples: some five of the longest utterances."""
HISTORY = 256
"""Messages kept for a client that comes back: with probabilities, ten a second, as long as a session waits for it."""
HISTORY_BYTES = 4 << 20
"""The same for messages with samples. JSON of ours is ASCII nearly throughout, so characters count as bytes."""


class Outbox:
    """What one session has to say and has not sent yet."""

    def __init__(self, *, keeps: bool) -> None:
        """`keeps`: whether there is a way to come back, and so a use for what has been sent."""
        self._keeps = keeps
        self._waiting: deque[str] = deque()
        self._waiting_bytes = 0
        self._history: deque[str] = deque()
        self._history_bytes = 0
        self.last_seq = 0
        """Number of the newest message."""

    @property
    def overflows(self) -> bool:
        """Whether more waits than a client that reads would leave."""
        # One message is taken whatever its size.
        too_large = self._waiting_bytes > WAITING_BYTES and len(self._waiting) > 1
        return too_large or len(self._waiting) > WAITING_LIMIT

    def next_message(self) -> str | None:
        """The oldest message that has not been sent."""
        return self._waiting[0] if self._waiting else None

    def message_sent(self) -> None:
        """It has: what could not be sent is kept for a client that comes back."""
        self._waiting_bytes -= len(self._waiting.popleft())

    def say(self, message: Json) -> None:
        """A message outside the stream's own, which has no number and is not kept."""
        self._post(encode(message))

    def emit(self, message: Json, *, numbered: bool) -> None:
        """The next message of the stream's own; an object gets `seq` if they are `numbered`."""
        self.last_seq += 1
        if numbered and isinstance(message, dict):
            message["seq"] = self.last_seq
        text = encode(message)
        if self._keeps:
            self._remember(text)
        self._post(text)

    def replay(self, after: int | None) -> bool:
        """Let the messages after number `after` wait again, or, for None, leave those that were never handed to a
        socket. False when they are no longer kept."""
        if after is None:
            return True
        missed = max(0, self.last_seq - after)
        if missed > len(self._history):
            return False
        self._waiting = deque(list(self._history)[len(self._history) - missed :])
        self._waiting_bytes = sum(map(len, self._waiting))
        return True

    def _remember(self, text: str) -> None:
        self._history.append(text)
        self._history_bytes += len(text)
        # The newest one stays, whatever its size.
        while len(self._history) > HISTORY or (self._history_bytes > HISTORY_BYTES and len(self._history) > 1):
            self._history_bytes -= len(self._history.popleft())

    def _post(self, text: str) -> None:
        self._waiting.append(text)
        self._waiting_bytes += len(text)
