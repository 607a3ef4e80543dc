"""The gate as a state machine: whatever clients do in whatever order, nobody is locked out, kept, or counted twice."""

import asyncio
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from app.engine.gate import AsyncGate, Gate, State, Ticket
from app.vad.errors import Overloaded

CLIENTS = st.sampled_from(["ann", "bob", "cy", "dee"])
PATIENCE_S = 10


class AnyOrder(RuleBasedStateMachine):
    """A gate, and beside it the plain list of all tickets that were ever given."""

    @initialize(room=st.integers(1, 9), line=st.none() | st.integers(0, 6))
    def open(self, room: int, line: int | None) -> None:
        self.room, self.line = room, line
        self.gate = Gate(room, line=line, patience_s=PATIENCE_S)
        self.tickets: list[Ticket] = []
        self.now = 0.0
        self.decided: list[Ticket] = []
        self.waited: set[Ticket] = set()

    @rule(client=CLIENTS, amount=st.integers(1, 12))
    def arrive(self, client: str, amount: int) -> None:
        full = self.line is not None and self.gate.waiting >= self.line
        certain = self.gate.would_refuse(client)
        queue = Counter(ticket.client for ticket in self.of(State.WAITING))
        ticket = self.gate.arrive(client, self.now, amount)
        self.tickets.append(ticket)
        if ticket.state is State.WAITING:
            self.waited.add(ticket)
        if ticket.state is State.REFUSED:
            assert full, "refused although somebody more could wait"
            assert max(queue.values(), default=0) < queue[client] + 2, "refused by clients that have more in the line"
        if amount == 1:
            assert certain == (ticket.state is State.REFUSED)

    @precondition(lambda self: self.tickets)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        self.gate.leave(data.draw(st.sampled_from(self.tickets)))

    @rule(seconds=st.floats(0, 2 * PATIENCE_S))
    def tick(self, seconds: float) -> None:
        self.now += seconds
        self.gate.tick(self.now)
        assert all(ticket.deadline > self.now for ticket in self.of(State.WAITING)), "nobody waits for ever"

    @rule()
    def hear(self) -> None:
        self.decided += self.gate.decided()

    @invariant()
    def nothing_is_lost_or_counted_twice(self) -> None:
        held = Counter[str]()
        for ticket in self.of(State.ADMITTED):
            held[ticket.client] += ticket.amount
        assert self.gate.shares.taken == sum(held.values()) <= self.room
        assert all(self.gate.shares.held_by(client) == amount for client, amount in held.items())
        assert self.gate.waiting == len(self.of(State.WAITING))
        assert self.line is None or self.gate.waiting <= self.line

    @invariant()
    def nobody_waits_for_what_is_his(self) -> None:
        for ticket in self.of(State.WAITING):
            assert not self.gate.shares.fits(ticket.client, ticket.amount)

    @invariant()
    def something_is_free_for_somebody_new(self) -> None:
        """Places: while fewer clients are inside than a full room has binary digits, a new one finds one."""
        admitted = self.of(State.ADMITTED)
        if all(ticket.amount == 1 for ticket in admitted):
            holders = {ticket.client for ticket in admitted}
            if 2 ** len(holders) <= self.room:
                assert self.gate.shares.free >= 1

    @invariant()
    def whoever_waited_is_told_once(self) -> None:
        assert len(set(self.decided)) == len(self.decided)
        assert set(self.decided) <= self.waited

    def teardown(self) -> None:
        """When all have gone, everything is there again."""
        if not hasattr(self, "gate"):
            return
        self.hear()
        decided = {ticket for ticket in self.waited if ticket.state in (State.ADMITTED, State.REFUSED)}
        assert decided <= set(self.decided)
        for ticket in self.tickets:
            self.gate.leave(ticket)
        assert (self.gate.shares.taken, self.gate.waiting) == (0, 0)

    def of(self, state: State) -> list[Ticket]:
        return [ticket for ticket in self.tickets if ticket.state is state]


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


def places(gate: Gate, client: str, count: int) -> list[State]:
    return [gate.arrive(client, 0.0).state for _ in range(count)]


def test_one_client_has_half_and_leaves_the_other_half() -> None:
    gate = Gate(16, line=32, patience_s=30)
    assert places(gate, "greedy", 40) == [State.ADMITTED] * 8 + [State.WAITING] * 32
    assert places(gate, "second", 5) == [State.ADMITTED] * 4 + [State.WAITING]
    assert places(gate, "third", 2) == [State.ADMITTED] * 2


@pytest.mark.parametrize(("room", "most"), [(1, 1), (2, 1), (3, 2), (5, 3), (16, 8)])
def test_half_is_rounded_up(room: int, most: int) -> None:
    assert places(Gate(room), "greedy", room).count(State.ADMITTED) == most


def test_a_newcomer_displaces_the_last_of_whoever_fills_the_line() -> None:
    gate = Gate(1, line=3, patience_s=30)
    first, *waiting = [gate.arrive("greedy", 0.0) for _ in range(4)]
    other = gate.arrive("other", 0.0)
    assert [ticket.state for ticket in waiting] == [State.WAITING, State.WAITING, State.REFUSED]
    assert other.state is State.WAITING
    assert gate.decided() == [waiting[-1]]
    gate.leave(first)
    assert waiting[0].state is State.ADMITTED, "among those who have nothing, whoever came first"


def test_whoever_has_least_goes_first() -> None:
    gate = Gate(4, line=9, patience_s=30)
    held = [gate.arrive("greedy", 0.0) for _ in range(2)]
    late = [gate.arrive("greedy", 0.0) for _ in range(3)]
    gate.arrive("other", 0.0)
    gate.arrive("third", 0.0)
    newcomer = gate.arrive("fourth", 0.0)
    assert newcomer.state is State.WAITING
    gate.leave(held[0])
    assert newcomer.state is State.ADMITTED
    assert all(ticket.state is State.WAITING for ticket in late)


def test_little_passes_much_and_much_is_told_when_its_time_is_over() -> None:
    gate = Gate(100, line=None, patience_s=30)
    gate.arrive("ann", 0.0, 60)
    much, little = gate.arrive("bob", 0.0, 50), gate.arrive("cy", 1.0, 20)
    assert (much.state, little.state) == (State.WAITING, State.ADMITTED)
    gate.tick(30.0)
    assert gate.decided() == [much]
    assert much.state is State.REFUSED


def test_what_is_larger_than_everything_is_let_in_alone() -> None:
    gate = Gate(100, line=None, patience_s=30)
    whole = gate.arrive("ann", 0.0, 1_000)
    assert whole.state is State.ADMITTED
    assert gate.arrive("bob", 0.0, 1).state is State.WAITING


async def test_a_coroutine_waits_for_its_turn_and_is_told_when_there_is_none() -> None:
    gate = AsyncGate(Gate(1, line=1, patience_s=0.05), "full")
    inside = await gate.enter("ann")
    with pytest.raises(Overloaded, match="full"):
        await gate.enter("bob")
    waiting = asyncio.create_task(gate.enter("bob"))
    await asyncio.sleep(0)
    gate.leave(inside)
    assert (await waiting).state is State.ADMITTED


async def test_cancelling_gives_back_a_turn_even_one_that_has_just_come() -> None:
    gate = AsyncGate(Gate(1, line=2, patience_s=30), "full")
    inside = await gate.enter("ann")
    waiting = [asyncio.create_task(gate.enter(name)) for name in ("bob", "cy")]
    await asyncio.sleep(0)
    gate.leave(inside)  # bob has it now, and does not know yet
    waiting[0].cancel()
    assert (await waiting[1]).state is State.ADMITTED
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]
    assert (gate.gate.shares.taken, gate.gate.waiting) == (1, 0)
