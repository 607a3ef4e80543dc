"""Who may have how much of what is scarce: places, room, bytes. A protocol object: no I/O, no clock, no callbacks.

It is told who arrives, who leaves and what time it is, and decides. Clients are names; a ticket stands for what one of
them asked for, and goes through these states:

    arrive ──> ADMITTED ──────────────── leave ──> LEFT
       │          ▲
       ├──> WAITING ── leave ──> LEFT
       │          └── tick past the deadline, or displaced ──> REFUSED
       └──> REFUSED

Shares. A client may take something only if it then has no more than is left free to all others (dynamic thresholds:
Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches", 1998). So one client has at
most half, rounded up, two greedy ones together three quarters, and somebody new finds something free until there are
about as many greedy clients as the room has binary digits. Nothing has to be configured, known or taken back.

Waiting. Whoever has least goes first, among equals whoever came first; nobody waits for what is free for him. When
the line is full, a newcomer displaces the last ticket of the client that has most in it, if that is two or more above
the newcomer's: one client can fill the line while it is alone, and not keep another one out of it.
"""

from collections import Counter
from dataclasses import dataclass
from enum import Enum, auto


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
        self._held: Counter[str] = Counter()
        self._taken = 0

    @property
    def taken(self) -> int:
        """What all clients have together."""
        return self._taken

    @property
    def free(self) -> int:
        """How much of the total nobody has taken."""
        return self.total - self._taken

    def held_by(self, client: str) -> int:
        """What one client has."""
        return self._held[client]

    def fits(self, client: str, amount: int) -> bool:
        """Whether the client may take so much now. What is larger than everything counts as everything."""
        return self._held[client] + min(amount, self.total) <= self.free

    def take(self, client: str, amount: int) -> None:
        """It has taken it."""
        self._held[client] += amount
        self._taken += amount

    def give_back(self, client: str, amount: int) -> None:
        """It has given it back."""
        self._taken -= amount
        self._held[client] -= amount
        if not self._held[client]:
            del self._held[client]  # or the names of all clients that ever came would stay


class Gate:
    """See the module's head."""

    def __init__(self, room: int, *, line: int | None = 0, patience_s: float = 0.0) -> None:
        """`room`: how much there is. `line`: tickets that may wait; None: any number. `patience_s`: how long one waits
        at most."""
        self.shares = Shares(room)
        self._line_limit, self._patience_s = line, patience_s
        self._line: list[Ticket] = []
        self._decided: list[Ticket] = []

    @property
    def waiting(self) -> int:
        """How many tickets wait in the line."""
        return len(self._line)

    def arrive(self, client: str, now: float, amount: int = 1) -> Ticket:
        """A client asks for something; the ticket's state says what it gets. `now`: the caller's clock, s."""
        ticket = Ticket(client, min(amount, self.shares.total), now + self._patience_s)
        if self.shares.fits(client, ticket.amount):
            self._admit(ticket)
        elif self._make_way(client):
            self._line.append(ticket)
        else:
            ticket.state = State.REFUSED
        return ticket

    def would_admit(self, client: str) -> bool:
        """Whether `arrive` would admit a ticket of one at once."""
        return self.shares.fits(client, 1)

    def would_refuse(self, client: str) -> bool:
        """Whether `arrive` would refuse a ticket of one at once."""
        return not self.shares.fits(client, 1) and self._is_full and self._to_displace(client) is None

    def leave(self, ticket: Ticket) -> None:
        """Whoever had the ticket is done, or does not wait any more; more than once is as good as once."""
        if ticket.state is State.ADMITTED:
            self.shares.give_back(ticket.client, ticket.amount)
        elif ticket.state is State.WAITING:
            self._line.remove(ticket)
        else:
            return
        ticket.state = State.LEFT
        self._admit_from_line()

    def tick(self, now: float) -> None:
        """So late is it: whoever has waited long enough is refused."""
        for ticket in [ticket for ticket in self._line if ticket.deadline <= now]:
            self._refuse(ticket)

    def decided(self) -> list[Ticket]:
        """The tickets that waited and have been admitted or refused since this was asked last."""
        decided, self._decided = self._decided, []
        return [ticket for ticket in decided if ticket.state is not State.LEFT]

    @property
    def _is_full(self) -> bool:
        return self._line_limit is not None and len(self._line) >= self._line_limit

    def _admit(self, ticket: Ticket) -> None:
        self.shares.take(ticket.client, ticket.amount)
        ticket.state = State.ADMITTED

    def _admit_from_line(self) -> None:
        # The order changes with every ticket that is let in. Small asks pass large ones: who waits for much must not
        # hold up who needs little, and is told when its own time is over.
        while fitting := [ticket for ticket in self._line if self.shares.fits(ticket.client, ticket.amount)]:
            ticket = min(fitting, key=lambda each: self.shares.held_by(each.client))
            self._line.remove(ticket)
            self._admit(ticket)
            self._decided.append(ticket)

    def _make_way(self, client: str) -> bool:
        """Whether the line has room for one more, now or after somebody else's last has been sent away."""
        if not self._is_full:
            return True
        last = self._to_displace(client)
        if last is None:
            return False
        self._refuse(last)
        return True

    def _to_displace(self, client: str) -> Ticket | None:
        lengths = Counter(ticket.client for ticket in self._line)
        longest = max(lengths, key=lambda each: lengths[each], default=None)
        if longest is None or lengths[longest] < lengths[client] + 2:
            return None
        return next(ticket for ticket in reversed(self._line) if ticket.client == longest)

    def _refuse(self, ticket: Ticket) -> None:
        self._line.remove(ticket)
        ticket.state = State.REFUSED
        self._decided.append(ticket)
