"""A live session's place in the service: whose it is, who is connected, and where its state is kept."""

from dataclasses import dataclass, field
from typing import Any, Protocol

from app.live.session import LiveSession
from app.models import Model
from app.vad.models.family import Pool


class Connection(Protocol):
    """What holds the socket."""

    def wake(self) -> None:
        """The session has messages, or room for more audio, or has ended."""
        ...

    def dismiss(self) -> None:
        """Let go of the session at once and close."""
        ...


class NoConnection:
    """While nobody is there."""

    def wake(self) -> None:
        """Nobody sleeps."""

    def dismiss(self) -> None:
        """Nobody is there."""


NOBODY = NoConnection()


@dataclass(slots=True, eq=False)
class Seat:
    """Made and changed by the hub, but for `scoring`, which is the batcher's."""

    token: str
    """Its name, which only its client knows."""
    client: str
    """Who may come back to it."""
    session: LiveSession
    model: Model
    since: float
    """The hub's clock when it was opened."""
    seen: float
    """When its client last sent something."""
    pool: Pool[Any] | None = None
    row: int = -1
    """Of the pool; -1 when it has none (any more)."""
    connection: Connection = field(default=NOBODY)
    left: float | None = None
    """When its client went; None while it is there."""
    scoring: bool = False
    """Whether a block of its stream is under way."""
