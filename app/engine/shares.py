"""Who may have how much of what is scarce: places, room, seats, bytes.

`Shares` is a protocol object: no I/O, no clock, no callbacks. Its caller reports who arrives, who leaves and what time
it is, and it decides. A ticket stands for what a holder asked for, and goes through these states:

    arrive ──> IN_USE ──── keep ───> KEPT ──── displaced ──> REFUSED
       │        ▲  ▲ └─── use ────────┘ └───── leave ──────> LEFT
       │        │  └ leave ──> LEFT
       ├──> WAITING ── leave ──> LEFT
       │        │ └── tick past the deadline, or displaced ──> REFUSED
       │        ▼
       ├──> ON_TRIAL ── leave, or end_trial, which arrives again ──> LEFT
       └──> REFUSED

Free means free. Who asks has whatever is free; shares count only when two want the same. What is in use is never taken
away, so a small reserve (an eighth, from four on) is for clients that hold nothing: somebody new is served at once,
however greedy the others are.

Waiting. Who holds least is next; among equals the one that was served longest ago, then the one that came first. So a
client with one request passes one with thousands. One that comes new counts as served a while ago, not never: or an
endless run of new clients would go before one that waits.

Full. A newcomer displaces the newest waiting or merely kept thing of whoever has most, if that one then still has as
much as the newcomer: one client can fill a line or a store while it is alone, and not keep another one out of it. Of
what it keeps itself its oldest goes.

Trials. Many clients that hold one thing each, for hours, could still keep a newcomer out that needs a moment. So a
little more, beyond the total, is for trials: those who hold nothing have one at a time. The caller ends trials that
take longer than a moment: such a ticket then waits like any other, and has no second trial.

Holders have two names: a client (its key, where keys are set), and an address within it. Clients are compared first, so
the thousand addresses of one key have the share of one key; then the addresses of the client that is next. It is fair
queueing by counts in place of tags (compare Demers, Keshav and Shenker, "Analysis and simulation of a fair queueing
algorithm", 1989): nothing has to be configured, or known of what a request will cost.

`AsyncShares` are shares for coroutines: they have the clock, and wake those whose tickets have been decided.
"""

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from operator import attrgetter
from typing import NamedTuple, TypeVar

from app.vad.errors import Overloaded

_RESERVED = 8
"""One part in so many is for those who hold nothing."""
_RESERVES_FROM = 4
"""Of less than this nothing is reserved: a quarter and more would be too much to leave idle."""
_RECENT = 64
"""Services that are remembered, and for how many a newcomer counts as not served. More than a client with its one
request has to wait for; and who waits is passed by no more newcomers than that."""


class Holder(NamedTuple):
    """Whose share something is."""

    client: str
    """The digest of a key; where there are none, the address."""
    address: str = ""
    """One of those that the client comes from."""


NOBODY = Holder("")
"""Of what runs beside no others."""


class State(Enum):
    """What became of a ticket."""

    WAITING = auto()
    IN_USE = auto()
    ON_TRIAL = auto()
    """In use for a moment, beyond the total."""
    KEPT = auto()
    """Held, and not used at the moment: it may be displaced."""
    REFUSED = auto()
    LEFT = auto()


@dataclass(slots=True, eq=False)
class Ticket:
    """What a holder asked for; changed by its shares alone."""

    holder: Holder
    amount: int
    deadline: float
    """When it has waited long enough, on the caller's clock, s."""
    number: int
    """In the order of arrival."""
    may_try: bool
    """Whether a trial is of use to it."""
    state: State = State.WAITING

    @property
    def served(self) -> bool:
        """Whether the holder has what it asked for."""
        return self.state is State.IN_USE or self.state is State.ON_TRIAL


@dataclass(slots=True)
class _Account:
    """What a client, or one of its addresses, has."""

    served: int
    """Number of the service that was its last."""
    held: int = 0
    """In use, on trial and kept."""
    total: int = 0
    """That, and what it waits for."""
    first: int = 0
    """Number of the ticket that has waited longest, if any waits."""


@dataclass(slots=True)
class _Address(_Account):
    waiting: dict[Ticket, None] = field(default_factory=dict)
    """In the order of arrival, as `kept` in that of the last use."""
    kept: dict[Ticket, None] = field(default_factory=dict)


@dataclass(slots=True)
class _Client(_Account):
    addresses: dict[str, _Address] = field(default_factory=dict)
    trying: int = 0
    """Tickets on trial, of its addresses together: 0 or 1."""

    @property
    def waiting(self) -> bool:
        return self.total > self.held


class Shares:
    """See the module's head."""

    def __init__(self, total: int, *, line: int | None = 0, patience_s: float = 0.0, trials: int = 0) -> None:
        """`total`: how much there is. `line`: tickets that may wait; None: any number. `patience_s`: longest wait.
        `trials`: how much may be on trial beyond the total."""
        self.total = total
        self.taken = 0
        """What all have together, but for what is on trial."""
        self.trying = 0
        """How much is on trial."""
        self._trials = trials
        self.reserve = max(1, total // _RESERVED) if total >= _RESERVES_FROM else 0
        """For clients that hold nothing."""
        self._line_limit, self._patience_s = line, patience_s
        self._clients: dict[str, _Client] = {}
        self._line: dict[Ticket, None] = {}
        """Waiting tickets of all, in the order of arrival."""
        self._kept = 0
        """Kept tickets of all."""
        self._decided: list[Ticket] = []
        self._numbers = itertools.count()
        self._services = 0
        self._recent: deque[Holder] = deque()
        """Whom the last services were for."""

    @property
    def free(self) -> int:
        """How much of the total nobody has."""
        return self.total - self.taken

    @property
    def waiting(self) -> int:
        """How many tickets wait."""
        return len(self._line)

    def held_by(self, client: str) -> int:
        """What one client has, all its addresses together."""
        account = self._clients.get(client)
        return 0 if account is None else account.held

    def fits(self, holder: Holder, amount: int = 1) -> bool:
        """Whether `arrive` would give the holder this out of what is free."""
        left = self.free - amount
        return left >= self.reserve or (left >= 0 and not self.held_by(holder.client))

    def would_refuse(self, holder: Holder) -> bool:
        """Whether `arrive` would refuse a ticket of one."""
        if self.fits(holder) or not self._line_is_full:
            return False
        probe = self._ask(holder, 0.0, 1, may_try=True)
        if self._may_try(probe):
            self._withdraw(probe)
            return False
        own = self._address(holder).kept
        may_displace = own or self._victim(holder, _kept_of) or self._victim(holder, _waiting_of)
        self._withdraw(probe)
        return not may_displace

    def arrive(self, holder: Holder, now: float = 0.0, amount: int = 1, *, may_try: bool = False) -> Ticket:
        """Ask for `amount`; the ticket's state says what the holder gets. `now`: the caller's clock, s. `may_try`:
        whether a trial is of use to it.

        More than the total counts as the total. Who is displaced is told by `decided`.
        """
        line_was_full = self._line_is_full
        ticket = self._ask(holder, now + self._patience_s, min(amount, self.total) or amount, may_try)
        if self.fits(holder, ticket.amount):
            self._serve(ticket)
        elif self._make_room(holder, ticket.amount):
            self._serve(ticket)
            self._serve_line()  # what was displaced may have been more
        elif self._may_try(ticket):
            self._serve(ticket, State.ON_TRIAL)
        elif line_was_full:
            displaced = self._victim(holder, _waiting_of)
            if displaced is None:
                self._withdraw(ticket)
                ticket.state = State.REFUSED
            else:
                self._refuse(displaced)
        return ticket

    def end_trial(self, ticket: Ticket, now: float) -> Ticket:
        """Have a trial be over: the ticket leaves, and another, without a trial, arrives in its place."""
        self.leave(ticket)
        return self.arrive(ticket.holder, now, ticket.amount)

    def grow(self, ticket: Ticket, amount: int) -> bool:
        """Have a ticket in use stand for `amount` more. False: there is no room, and nothing changes.

        A client whose one thing grows may grow into the reserve while it is no larger than that. Who is displaced is
        told by `decided`.
        """
        holder, left, held = ticket.holder, self.free - amount, self.held_by(ticket.holder.client)
        alone = held == ticket.amount and held + amount <= self.reserve
        self._count(holder, total=amount)
        if left < self.reserve and not (left >= 0 and alone) and not self._make_room(holder, amount):
            self._count(holder, total=-amount)
            return False
        ticket.amount += amount
        self._count(holder, held=amount, total=0)
        self._serve_line()  # what was displaced may have been more
        return True

    def shrink(self, ticket: Ticket, amount: int) -> None:
        """Have a ticket in use stand for no more than `amount`."""
        rest = max(0, ticket.amount - amount)
        ticket.amount -= rest
        self._count(ticket.holder, held=-rest, total=-rest)
        self._serve_line()

    def keep(self, ticket: Ticket) -> None:
        """Record that what the ticket stands for is not in use, and may be displaced."""
        if ticket.state is State.IN_USE:
            ticket.state = State.KEPT
            self._address(ticket.holder).kept[ticket] = None
            self._kept += 1
            self._serve_line()

    def use(self, ticket: Ticket) -> None:
        """Record that something that was kept is in use again. `keep` makes it the newest of what is kept."""
        if ticket.state is State.KEPT:
            ticket.state = State.IN_USE
            del self._address(ticket.holder).kept[ticket]
            self._kept -= 1

    def leave(self, ticket: Ticket) -> None:
        """Give back what the ticket stands for, or stop waiting. A second call does nothing."""
        self.use(ticket)
        if ticket.state is State.WAITING:
            self._withdraw(ticket)
            ticket.state = State.LEFT
        elif ticket.served:
            if ticket.state is State.ON_TRIAL:
                self.trying -= ticket.amount
                self.taken += ticket.amount  # which counting takes away
                self._clients[ticket.holder.client].trying -= 1
            ticket.state = State.LEFT
            self._count(ticket.holder, held=-ticket.amount, total=-ticket.amount)
            self._serve_line()
            self._forget(ticket.holder)

    def tick(self, now: float) -> None:
        """Refuse waiting tickets past their deadline."""
        for ticket in list(self._line):
            if ticket.deadline > now:
                return  # all wait equally long at most
            self._refuse(ticket)

    def decided(self) -> list[Ticket]:
        """The tickets that waited or were kept, and have been served or refused since the last call."""
        decided, self._decided = self._decided, []
        return [ticket for ticket in dict.fromkeys(decided) if ticket.state is not State.LEFT]

    # ---- who is next

    def _serve_line(self) -> None:
        while self._line and (found := self._next()) is not None:
            self._serve(*found)
            self._decided.append(found[0])

    def _next(self) -> tuple[Ticket, State] | None:
        """The first in order that can be served, and how. Small asks pass large ones that do not fit: a client that
        waits for much must not hold up one that needs little, and is refused when its own time is over."""
        for client in _in_order(client for client in self._clients.values() if client.waiting):
            for address in _in_order(address for address in client.addresses.values() if address.waiting):
                for ticket in address.waiting:
                    if self.fits(ticket.holder, ticket.amount) or self._make_room(ticket.holder, ticket.amount):
                        return ticket, State.IN_USE
                    if self._may_try(ticket):
                        return ticket, State.ON_TRIAL
                    if ticket.amount == 1 and not self._kept and self.trying >= self._trials:
                        return None  # nobody can ask for less, and nobody behind it holds less
        return None

    def _may_try(self, ticket: Ticket) -> bool:
        """Whether a ticket that waits can be on trial now."""
        if self.trying + ticket.amount > self._trials or not ticket.may_try:
            return False
        client = self._clients[ticket.holder.client]
        return not client.trying and not client.addresses[ticket.holder.address].held

    # ---- who has to go

    @property
    def _line_is_full(self) -> bool:
        return self._line_limit is not None and len(self._line) >= self._line_limit

    def _victim(self, newcomer: Holder, things_of: "_Things") -> Ticket | None:
        """What a newcomer, which has been counted, displaces: the newest thing of whoever has most, if that one then
        still has as much as the newcomer. Clients are compared, then the addresses of the newcomer's own client."""
        mine = self._clients[newcomer.client]
        my_address = mine.addresses[newcomer.address]
        others = [each for each in self._clients.values() if each is not mine and _heaviest(each, things_of)]
        other = max(others, key=lambda each: each.total, default=None)
        if other is not None and (address := _heaviest(other, things_of)) is not None:
            newest = next(reversed(things_of(address)))
            if other.total - newest.amount >= mine.total:
                return newest
        neighbour = _heaviest(mine, things_of, but=my_address)
        if neighbour is not None:
            newest = next(reversed(things_of(neighbour)))
            if neighbour.total - newest.amount >= my_address.total:
                return newest
        return None

    def _make_room(self, newcomer: Holder, amount: int) -> bool:
        """Displace kept things so that a newcomer, which has been counted, has room: as many as that takes, or none."""
        if not self._kept:
            return False
        own, unreserved = self._address(newcomer).kept, max(0, self.free - self.reserve)
        displaced: list[Ticket] = []
        freed = 0
        # What is displaced is the newcomer's, without a look at the reserve: it is as large as it was.
        while amount > freed + unreserved and not self.fits(newcomer, amount):
            ticket = self._victim(newcomer, _kept_of) or next(iter(own), None)
            if ticket is None:
                for each in reversed(displaced):
                    self._put_back(each, first=each.holder == newcomer)
                return False
            self._take_out(ticket)
            displaced.append(ticket)
            freed += ticket.amount
        for ticket in displaced:
            ticket.state = State.REFUSED
            self._forget(ticket.holder)
        self._decided += displaced
        return True

    def _take_out(self, kept: Ticket) -> None:
        address = self._address(kept.holder)
        del address.kept[kept]
        self._kept -= 1
        self._count(kept.holder, held=-kept.amount, total=-kept.amount)

    def _put_back(self, kept: Ticket, *, first: bool) -> None:
        address = self._address(kept.holder)
        address.kept = {kept: None, **address.kept} if first else {**address.kept, kept: None}
        self._kept += 1
        self._count(kept.holder, held=kept.amount, total=kept.amount)

    # ---- accounts

    def _ask(self, holder: Holder, deadline: float, amount: int, may_try: bool) -> Ticket:
        ticket = Ticket(holder, amount, deadline, next(self._numbers), may_try)
        client = self._clients.get(holder.client)
        if client is None:
            client = self._clients[holder.client] = _Client(self._services - _RECENT)
        address = client.addresses.get(holder.address)
        if address is None:
            address = client.addresses[holder.address] = _Address(self._services - _RECENT)
        if not client.waiting:
            client.first = ticket.number
        if not address.waiting:
            address.first = ticket.number
        client.total += amount
        address.total += amount
        address.waiting[ticket] = self._line[ticket] = None
        return ticket

    def _stop_waiting(self, ticket: Ticket, client: _Client, address: _Address) -> None:
        del self._line[ticket], address.waiting[ticket]
        if address.waiting and address.first == ticket.number:
            address.first = next(iter(address.waiting)).number
        if client.first == ticket.number:
            firsts = [each.first for each in client.addresses.values() if each.waiting]
            client.first = min(firsts, default=0)

    def _withdraw(self, ticket: Ticket) -> None:
        client = self._clients[ticket.holder.client]
        self._stop_waiting(ticket, client, client.addresses[ticket.holder.address])
        self._count(ticket.holder, total=-ticket.amount)
        self._forget(ticket.holder)

    def _serve(self, ticket: Ticket, state: State = State.IN_USE) -> None:
        client = self._clients[ticket.holder.client]
        address = client.addresses[ticket.holder.address]
        self._stop_waiting(ticket, client, address)
        ticket.state = state
        self._services += 1
        self._recent.append(ticket.holder)
        if state is State.ON_TRIAL:
            self.trying += ticket.amount
            client.trying += 1
        else:
            self.taken += ticket.amount
        for account in (client, address):
            account.held += ticket.amount
            account.served = self._services
        if len(self._recent) > _RECENT:
            self._forget(self._recent.popleft())

    def _refuse(self, ticket: Ticket) -> None:
        self._withdraw(ticket)
        ticket.state = State.REFUSED
        self._decided.append(ticket)

    def _address(self, holder: Holder) -> _Address:
        return self._clients[holder.client].addresses[holder.address]

    def _count(self, holder: Holder, *, held: int = 0, total: int) -> None:
        client = self._clients[holder.client]
        self.taken += held
        for account in (client, client.addresses[holder.address]):
            account.held += held
            account.total += total

    def _forget(self, holder: Holder) -> None:
        """Drop accounts that are empty and not served lately, or those of all who ever came would stay."""
        client, stale = self._clients.get(holder.client), self._services - _RECENT
        if client is None:
            return
        address = client.addresses.get(holder.address)
        if address is not None and not address.total and address.served <= stale:
            del client.addresses[holder.address]
        if not client.total and client.served <= stale:
            del self._clients[holder.client]


_ORDER = attrgetter("held", "served", "first")
_Things = Callable[[_Address], dict[Ticket, None]]
_AnyAccount = TypeVar("_AnyAccount", _Client, _Address)


def _waiting_of(address: _Address) -> dict[Ticket, None]:
    return address.waiting


def _kept_of(address: _Address) -> dict[Ticket, None]:
    return address.kept


def _heaviest(client: _Client, things_of: _Things, but: _Address | None = None) -> _Address | None:
    """Of the client's addresses that have such things the one that has most of all."""
    having = [each for each in client.addresses.values() if each is not but and things_of(each)]
    return max(having, key=lambda each: each.total, default=None)


def _in_order(accounts: Iterable[_AnyAccount]) -> Iterator[_AnyAccount]:
    """Who waits, from the next one on. Mostly no other is asked for, so they are not sorted before."""
    waiting = list(accounts)
    next_one = min(waiting, key=_ORDER, default=None)
    if next_one is not None:
        yield next_one
        yield from (each for each in sorted(waiting, key=_ORDER) if each is not next_one)


class AsyncShares:
    """Shares for coroutines of one event loop."""

    def __init__(self, shares: Shares, refusal: str, clock: Callable[[], float] = time.monotonic) -> None:
        """`refusal`: the text of the `Overloaded` that refused holders get."""
        self.shares = shares
        self._refusal, self._clock = refusal, clock
        self._sleepers: dict[Ticket, asyncio.Future[None]] = {}

    async def enter(self, holder: Holder, amount: int = 1, *, may_try: bool = False) -> Ticket:
        """Wait until the holder is served; the ticket must be given to `leave`. Cancelling gives everything back.

        `may_try`: take a trial as well, which the caller ends. Raises `Overloaded`: at once when too many wait, or when
        the time to wait is over, or somebody else has to be let in.
        """
        ticket = self.shares.arrive(holder, self._clock(), amount, may_try=may_try)
        self._wake()  # whoever was displaced
        return await self.served(ticket)

    async def served(self, ticket: Ticket) -> Ticket:
        """Wait until the ticket is served, as `enter` does."""
        if ticket.state is State.WAITING:
            await self._decision(ticket)
        if not ticket.served:
            raise Overloaded(self._refusal)
        return ticket

    def end_trial(self, ticket: Ticket) -> Ticket:
        """The ticket that takes the place of one whose trial is over: in use if there is room by now, else it may
        wait (`served`)."""
        ticket = self.shares.end_trial(ticket, self._clock())
        self._wake()
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Give back what the ticket stands for. A second call does nothing."""
        self.shares.leave(ticket)
        self._wake()

    def shrink(self, ticket: Ticket, amount: int) -> None:
        """Have a ticket stand for no more than `amount`."""
        self.shares.shrink(ticket, amount)
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
        self.shares.tick(self._clock() + 0.001)
        self._wake()

    def _wake(self) -> None:
        for ticket in self.shares.decided():
            sleeper = self._sleepers.get(ticket)
            if sleeper is not None and not sleeper.done():
                sleeper.set_result(None)
