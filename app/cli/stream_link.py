"""What detects the speech in a stream for the command line: this process, or a server."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from app.cli.stream_feed import Feed
from app.vad.errors import VadError

Message = Mapping[str, Any]
Tell = Callable[[Message], None]
"""Told every message of the protocol, `done` included; not those about the connection."""


class StreamFailed(VadError):
    """The stream ended before it was done."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        """As in the service's `error` messages and problem documents."""


class Link(Protocol):
    """One stream."""

    async def run(self, feed: Feed, tell: Tell) -> None:
        """Send the sound, tell what comes back; returns after `done`. Raises `StreamFailed`, what the feed raises."""
        ...
