"""Who may have how much of what is scarce: places, room, bytes.

`Gate` is a protocol object: no I/O, no clock, no callbacks. Its caller reports who arrives, who leaves and what time it
is, and it decides. Clients are names; a ticket stands for what one of them asked for, and goes through these states:

    arrive ──> ADMITTED ──────────────── leave ──> LEFT
       │          ▲
       ├──> WAITING ── leave ──> LEFT
       │          └── tick past the deadline, or displaced ──> REFUSED
       └──> REFUSED

Shares. A client may take something only if it then has no more than is left free to all others (dynamic thresholds:
Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches", 1998). So one client has at
most half, rounded up, two greedy ones together three quarters, and somebody new finds something free until there are
about as many greedy clients as the room has binary digits. Nothing has to be configured, known or taken back.

Waiting. The client that has least goes first, among equals the one that came first; nobody waits for what is free for
it. When the line is full, a newcomer displaces the last ticket of the client that has most in it, if that is two or
more above the newcomer's: one client can fill the line while it is alone, and not keep another one out of it.

`AsyncGate` is a gate for coroutines: it has the clock, and wakes those whose tickets have been decided.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from app.vad.errors import Overloaded


class State(Enum):
    """What became of a ticket."""

    WAITING = auto()
    ADMITTED = auto()
    REFUSED = auto()
    LEFT = auto()


@dataclass(slots=True, eq=False)
class Ticket:
    """What a client asked for; changed by its gate alone."""

    client: str
    amount: int
    deadline: float
    """When it has waited long enough, on the caller's clock, s."""
    state: State = State.WAITING


class Shares:
    """A scarce quantity and who has how much of it."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.taken = 0
        """What all clients have together."""
        self._held: Counter[str] = Counter()

    @property
    def free(self) -> int:
        """How much of the total nobody has."""
        return self.total - self.taken

    def held_by(self, client: str) -> int:
        """What one client has."""
        return self._held[client]

    def fits(self, client: str, amount: int) -> bool:
        """Whether the client may take so much now. More than the total counts as the total."""
        return self._held[client] + min(amount, self.total) <= self.free

    def take(self, client: str, amount: int) -> None:
        """Record that the client took `amount`."""
        self._held[client] += amount
        self.taken += amount

    def give_back(self, client: str, amount: int) -> None:
        """Record that the client gave `amount` back."""
        self.taken -= amount
        self._held[client] -= amount
        if not self._held[client]:
            del self._held[client]  # or the names of all clients that ever came would stay


class Gate:
    """See the module's head."""

    def __init__(self, room: int, *, line: int | None = 0, patience_s: float = 0.0) -> None:
        """`room`: how much there is. `line`: tickets that may wait; None: any number. `patience_s`: longest wait."""
        self.shares = Shares(room)
        self._line_limit, self._patience_s = line, patience_s
        self._line: list[Ticket] = []
        self._decided: list[Ticket] = []

    @property
    def waiting(self) -> int:
        """How many tickets wait in the line."""
        return len(self._line)

    def arrive(self, client: str, now: float, amount: int = 1) -> Ticket:
        """Ask for `amount`; the ticket's state says what the client gets. `now`: the caller's clock, s."""
        ticket = Ticket(client, min(amount, self.shares.total), now + self._patience_s)
        if self.shares.fits(client, ticket.amount):
            self._admit(ticket)
            return ticket
        if self._line_is_full:
            displaced = self._to_displace(client)
            if displaced is None:
                ticket.state = State.REFUSED
                return ticket
            self._refuse(displaced)
        self._line.append(ticket)
        return ticket

    def would_admit(self, client: str) -> bool:
        """Whether `arrive` would admit a ticket of one at once."""
        return self.shares.fits(client, 1)

    def would_refuse(self, client: str) -> bool:
        """Whether `arrive` would refuse a ticket of one at once."""
        return not self.shares.fits(client, 1) and self._line_is_full and self._to_displace(client) is None

    def leave(self, ticket: Ticket) -> None:
        """Give back what the ticket stands for, or stop waiting. A second call does nothing."""
        if ticket.state is State.ADMITTED:
            self.shares.give_back(ticket.client, ticket.amount)
        elif ticket.state is State.WAITING:
            self._line.remove(ticket)
        else:
            return
        ticket.state = State.LEFT
        # The order changes with every ticket that is let in. Small asks pass large ones: a client that waits for much
        # must not hold up one that needs little, and is refused when its own time is over.
        while fitting := [each for each in self._line if self.shares.fits(each.client, each.amount)]:
            first = min(fitting, key=lambda each: self.shares.held_by(each.client))
            self._line.remove(first)
            self._admit(first)
            self._decided.append(first)

    def tick(self, now: float) -> None:
        """Refuse waiting tickets past their deadline."""
        for ticket in [ticket for ticket in self._line if ticket.deadline <= now]:
            self._refuse(ticket)

    def decided(self) -> list[Ticket]:
        """The tickets that waited and have been admitted or refused since the last call."""
        decided, self._decided = self._decided, []
        return [ticket for ticket in decided if ticket.state is not State.LEFT]

    @property
    def _line_is_full(self) -> bool:
        return self._line_limit is not None and len(self._line) >= self._line_limit

    def _to_displace(self, client: str) -> Ticket | None:
        """The last ticket of the client that has most in the line, if a newcomer of `client` may displace it."""
        lengths = Counter(ticket.client for ticket in self._line)
        longest = max(lengths, key=lambda each: lengths[each], default=None)
        if longest is None or lengths[longest] < lengths[client] + 2:
            return None
        return next(ticket for ticket in reversed(self._line) if ticket.client == longest)

    def _admit(self, ticket: Ticket) -> None:
        self.shares.take(ticket.client, ticket.amount)
        ticket.state = State.ADMITTED

    def _refuse(self, ticket: Ticket) -> None:
        self._line.remove(ticket)
        ticket.state = State.REFUSED
        self._decided.append(ticket)


class AsyncGate:
    """A gate for coroutines of one event loop."""

    def __init__(self, gate: Gate, refusal: str, clock: Callable[[], float] = time.monotonic) -> None:
        """`refusal`: the text of the `Overloaded` that refused clients get."""
        self.gate = gate
        self._refusal, self._clock = refusal, clock
        self._sleepers: dict[Ticket, asyncio.Future[None]] = {}

    async def enter(self, client: str, amount: int = 1) -> Ticket:
        """Wait until the client is admitted; the ticket must be given to `leave`. Cancelling gives everything back.

        Raises `Overloaded`: at once when too many wait, or when the time to wait is over.
        """
        ticket = self.gate.arrive(client, self._clock(), amount)
        self._wake()  # whoever was displaced
        if ticket.state is State.WAITING:
            await self._decision(ticket)
        if ticket.state is not State.ADMITTED:
            raise Overloaded(self._refusal)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Give back what the ticket stands for. A second call does nothing."""
        self.gate.leave(ticket)
        self._wake()

    async def _decision(self, ticket: Ticket) -> None:
        loop = asyncio.get_running_loop()
        self._sleepers[ticket] = loop.create_future()
        alarm = loop.call_later(max(0.0, ticket.deadline - self._clock()), self._tick)
        try:
            await self._sleepers[ticket]
        except asyncio.CancelledError:
            self.leave(ticket)
            raise
        finally:
            alarm.cancel()
            del self._sleepers[ticket]

    def _tick(self) -> None:
        # The loop's clock may be a little ahead of the one that deadlines were made with.
        self.gate.tick(self._clock() + 0.001)
        self._wake()

    def _wake(self) -> None:
        for ticket in self.gate.decided():
            sleeper = self._sleepers.get(ticket)
            if sleeper is not None and not sleeper.done():
                sleeper.set_result(None)
