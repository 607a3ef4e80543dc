"""A live session's place in the service: whose it is, who is connected, and where its state is kept."""

from dataclasses import dataclass, field
from typing import Any, Protocol

from app.live.session import LiveSession
from app.serving import Model
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
        """Nothing to do: nobody sleeps here."""

    def dismiss(self) -> None:
        """Nothing to do: nobody is there."""


NOBODY = NoConnection()


@dataclass(frozen=True, slots=True)
class PoolRow:
    """Where one member's state is kept."""

    pool: Pool[Any] | None
    """None where the model gains nothing by it."""
    row: int


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
    rows: list[PoolRow] = field(default_factory=list)
    """Where the states of the model's members are kept; empty when they are given back."""
    connection: Connection = field(default=NOBODY)
    left: float | None = None
    """When its client went; None while it is there."""
    warned: bool = False
    """Whether its warnings have been counted."""
    scoring: bool = False
    """Whether a block of its stream is under way."""
