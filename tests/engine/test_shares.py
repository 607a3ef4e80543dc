"""Shares as a state machine: whatever holders do, in whatever order, nothing idles and nobody is kept out or lost."""

import asyncio
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from app.engine.shares import AsyncShares, Holder, Shares, State, Ticket
from app.vad.errors import Overloaded

HOLDERS = st.builds(Holder, st.sampled_from(["ann", "bob", "cy", "dee"]), st.sampled_from(["home", "work"]))
PATIENCE_S = 10


class AnyOrder(RuleBasedStateMachine):
    """Shares, and beside them the plain list of all tickets that were ever given."""

    @initialize(
        total=st.sampled_from([0, 1, 2, 3, 4, 4, 5, 6, 9, 17]),
        line=st.none() | st.integers(0, 6),
        most=st.sampled_from([1, 1, 5]),
        trials=st.sampled_from([0, 1, 2, 6]),
    )
    def open(self, total: int, line: int | None, most: int, trials: int) -> None:
        self.total, self.line, self.most = total, line, most
        self.reserve = max(1, total // 8) if total >= 4 else 0
        self.trials = trials
        self.shares = Shares(total, line=line, patience_s=PATIENCE_S, trials=trials)
        self.tickets: list[Ticket] = []
        self.now = 0.0
        self.decided: list[tuple[Ticket, State]] = []
        self.using: set[Ticket] = set()
        """What its holders have not given back or laid aside."""
        self.news: dict[Ticket, State] = {}
        """The last that was decided of each ticket after its call had returned."""

    # ---- what holders do

    @rule(holder=HOLDERS, count=st.integers(2, 6))
    def arrive_often(self, holder: Holder, count: int) -> None:
        for _ in range(count):
            self.arrive(holder, 1)

    @rule(holder=HOLDERS, share=st.integers(1, 5), may_try=st.booleans())
    def arrive(self, holder: Holder, share: int, may_try: bool = True) -> None:
        amount = min(share, self.most)
        could_try = may_try and self.could_try(holder, amount)
        fitted, full = self.has_room_for(holder, amount), self.line is not None and self.shares.waiting >= self.line
        certain = self.shares.would_refuse(holder)
        could_displace = self.of(State.KEPT, State.WAITING)
        before = {ticket: ticket.state for ticket in self.tickets}
        ticket = self.shares.arrive(holder, self.now, amount, may_try=may_try)
        self.tickets.append(ticket)
        displaced = [each for each in could_displace if each.state is State.REFUSED]
        if fitted:
            assert ticket.state is State.IN_USE, "free is free"
            assert not displaced
        elif ticket.state is State.IN_USE:
            assert displaced, "the reserve is for those who hold nothing"
        else:
            assert could_try == (ticket.state is State.ON_TRIAL)
        if ticket.state is State.REFUSED:
            assert full, "refused although one more could wait"
            assert not displaced, "displaced for nothing"
            self.none_has_much_more(holder, ticket.amount)
        served_with_it = any(was is State.WAITING and each.state is State.IN_USE for each, was in before.items())
        for each in displaced if not served_with_it else ():
            self.displaced_fairly(each, ticket, was_kept=before[each] is State.KEPT)
        if amount == 1 and (may_try or not self.could_try(holder, 1)):
            assert certain == (ticket.state is State.REFUSED)
        self.note(before)
        if ticket.state is State.IN_USE:
            self.using.add(ticket)

    @precondition(lambda self: self.tickets)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(self.tickets))
        waited = self.of(State.WAITING)
        held = self.held()
        before = {each: each.state for each in self.tickets}
        self.using.discard(ticket)
        frees = ticket.state in (State.IN_USE, State.KEPT)
        self.shares.leave(ticket)
        served = [each for each in waited if each.state in (State.IN_USE, State.ON_TRIAL)]
        if frees and served and self.most == 1:
            held[ticket.holder.client] -= 1
            least = min(held[each.holder.client] for each in waited)
            assert held[served[0].holder.client] == least, "whoever holds least is next"
        self.note(before)

    @precondition(lambda self: self.of(State.ON_TRIAL))
    @rule(data=st.data())
    def end_trial(self, data: st.DataObject) -> None:
        trial = data.draw(st.sampled_from(self.of(State.ON_TRIAL)))
        before = {each: each.state for each in self.tickets}
        could_displace = self.of(State.WAITING)
        ticket = self.shares.end_trial(trial, self.now)
        self.tickets.append(ticket)
        assert trial.state is State.LEFT
        assert ticket.state is not State.ON_TRIAL, "one trial is enough"
        if ticket.state is State.IN_USE:
            self.using.add(ticket)
        for each in could_displace:
            if each.state is State.REFUSED:
                self.displaced_fairly(each, ticket, was_kept=False)
        self.note(before)

    @precondition(lambda self: self.using)
    @rule(data=st.data())
    def keep(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(sorted(self.using, key=lambda each: each.number)))
        before = {each: each.state for each in self.tickets}
        self.using.discard(ticket)
        self.shares.keep(ticket)
        self.note(before)

    @precondition(lambda self: self.of(State.KEPT))
    @rule(data=st.data())
    def use(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(self.of(State.KEPT)))
        self.shares.use(ticket)
        self.using.add(ticket)

    @precondition(lambda self: self.using and self.most > 1)
    @rule(data=st.data(), amount=st.integers(1, 4))
    def grow(self, data: st.DataObject, amount: int) -> None:
        ticket = data.draw(st.sampled_from(sorted(self.using, key=lambda each: each.number)))
        size, free = ticket.amount, self.shares.free
        before = {each: each.state for each in self.tickets}
        grown = self.shares.grow(ticket, amount)
        assert ticket.amount == size + amount * grown
        displaced = any(each.state is State.REFUSED and was is State.KEPT for each, was in before.items())
        if free - amount >= self.reserve:
            assert grown
            assert not displaced
        if grown and free - amount < self.reserve and not displaced:
            assert self.held()[ticket.holder.client] == ticket.amount <= self.reserve
        self.note(before)

    @precondition(lambda self: self.using and self.most > 1)
    @rule(data=st.data(), amount=st.integers(1, 4))
    def shrink(self, data: st.DataObject, amount: int) -> None:
        ticket = data.draw(st.sampled_from(sorted(self.using, key=lambda each: each.number)))
        size, before = ticket.amount, {each: each.state for each in self.tickets}
        self.shares.shrink(ticket, amount)
        assert ticket.amount == min(size, amount)
        self.note(before)

    @rule(seconds=st.floats(0, 2 * PATIENCE_S))
    def tick(self, seconds: float) -> None:
        self.now += seconds
        before = {each: each.state for each in self.tickets}
        waiting = self.of(State.WAITING)
        self.shares.tick(self.now)
        assert all(each.deadline <= self.now for each in waiting if each.state is not State.WAITING)
        assert all(ticket.deadline > self.now for ticket in self.of(State.WAITING)), "nobody waits for ever"
        self.note(before)

    @rule()
    def hear(self) -> None:
        heard = [ticket for ticket in self.shares.decided() if ticket.state is not State.KEPT]
        assert {ticket: ticket.state for ticket in heard}.items() <= self.news.items()
        self.decided += [(ticket, ticket.state) for ticket in heard]

    # ---- what holds whatever they do

    @invariant()
    def nothing_is_lost_or_counted_twice(self) -> None:
        held = self.held()
        assert self.shares.trying == sum(each.amount for each in self.of(State.ON_TRIAL)) <= self.trials
        assert self.shares.taken + self.shares.trying == sum(held.values())
        assert self.shares.taken <= self.total
        assert all(self.shares.held_by(client) == amount for client, amount in held.items())
        assert self.shares.waiting == len(self.of(State.WAITING))
        assert self.line is None or self.shares.waiting <= self.line

    @invariant()
    def nothing_that_is_not_reserved_idles_while_somebody_waits(self) -> None:
        for ticket in self.of(State.WAITING):
            assert not self.has_room_for(ticket.holder, ticket.amount)
            assert not (ticket.may_try and self.could_try(ticket.holder, ticket.amount))

    @invariant()
    def nobody_has_two_trials(self) -> None:
        trying = [ticket.holder.client for ticket in self.of(State.ON_TRIAL)]
        assert len(set(trying)) == len(trying)

    @invariant()
    def what_is_in_use_is_never_displaced(self) -> None:
        assert all(ticket.state is State.IN_USE for ticket in self.using)

    @invariant()
    def whoever_is_displaced_or_served_late_is_told_once(self) -> None:
        assert len(set(self.decided)) == len(self.decided)

    def teardown(self) -> None:
        """When all have gone, everything is there again, and all have been told."""
        if not hasattr(self, "shares"):
            return
        self.hear()
        refused = {(ticket, state) for ticket, state in self.news.items() if state is State.REFUSED}
        assert refused <= set(self.decided)
        for ticket in self.tickets:
            self.shares.leave(ticket)
        assert (self.shares.taken, self.shares.trying, self.shares.waiting) == (0, 0, 0)
        assert self.shares.arrive(Holder("eve"), self.now, self.total or 1).state is (
            State.IN_USE if self.total else State.WAITING if self.line != 0 else State.REFUSED
        )

    # ---- the rules, once more and plainly

    def has_room_for(self, holder: Holder, amount: int) -> bool:
        taken = sum(ticket.amount for ticket in self.of(State.IN_USE, State.KEPT))
        left = self.total - taken - (min(amount, self.total) or amount)
        return left >= (self.reserve if self.held()[holder.client] else 0)

    def could_try(self, holder: Holder, amount: int) -> bool:
        """Whether one that has come, or waits, can be on trial."""
        trying = self.of(State.ON_TRIAL)
        alone = all(each.holder != holder for each in self.of(State.IN_USE, State.KEPT, State.ON_TRIAL))
        others = all(each.holder.client != holder.client for each in trying)
        amount = min(amount, self.total) or amount
        return sum(each.amount for each in trying) + amount <= self.trials and alone and others

    def none_has_much_more(self, holder: Holder, amount: int) -> None:
        """Nobody has so much that its newest thing would have had to go for a refused newcomer's."""
        totals = self.totals()
        waiting = [each for each in self.of(State.WAITING) if each.holder.client != holder.client]
        most = max((totals[each.holder.client] for each in waiting), default=0)
        if waiting and self.most == 1:
            assert most - 1 < totals[holder.client] + amount

    def displaced_fairly(self, displaced: Ticket, newcomer: Ticket, *, was_kept: bool) -> None:
        mine, theirs = newcomer.holder, displaced.holder
        if mine.client != theirs.client:
            totals = self.totals()
            assert totals[theirs.client] >= totals[mine.client]
        elif not (was_kept and mine == theirs):  # of what it keeps itself it may have another in its place
            have = self.of(State.IN_USE, State.KEPT, State.ON_TRIAL, State.WAITING)
            assert sum(each.amount for each in have if each.holder == theirs) >= sum(
                each.amount for each in have if each.holder == mine
            )

    def held(self) -> Counter[str]:
        held = Counter[str]()
        for ticket in self.of(State.IN_USE, State.KEPT, State.ON_TRIAL):
            held[ticket.holder.client] += ticket.amount
        return held

    def totals(self) -> Counter[str]:
        totals = Counter[str]()
        for ticket in self.of(State.IN_USE, State.KEPT, State.ON_TRIAL, State.WAITING):
            totals[ticket.holder.client] += ticket.amount
        return totals

    def of(self, *states: State) -> list[Ticket]:
        return [ticket for ticket in self.tickets if ticket.state in states]

    def note(self, before: dict[Ticket, State]) -> None:
        """Record what has been decided about others than the one that the call was about."""
        for ticket, state in before.items():
            if state is State.WAITING and ticket.state in (State.IN_USE, State.REFUSED):
                self.news[ticket] = ticket.state
                if ticket.state is State.IN_USE:
                    self.using.add(ticket)
            elif (state is State.WAITING and ticket.state is State.ON_TRIAL) or (
                state in (State.KEPT, State.IN_USE) and ticket.state is State.REFUSED
            ):
                self.news[ticket] = ticket.state


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)


class TestAnyOrderForLong(AnyOrder.TestCase):  # type: ignore[misc,name-defined]
    """The same with many more examples."""

    pytestmark = pytest.mark.full
    settings = settings(max_examples=3_000, stateful_step_count=60, deadline=None)


def states(shares: Shares, client: str, count: int, address: str = "") -> list[State]:
    return [shares.arrive(Holder(client, address)).state for _ in range(count)]


def test_a_lone_client_has_all_but_the_reserve_and_the_line_behind_it() -> None:
    places = Shares(16, line=128, patience_s=50)
    assert states(places, "greedy", 143) == [State.IN_USE] * 14 + [State.WAITING] * 128 + [State.REFUSED]
    assert states(places, "second", 2) == [State.IN_USE, State.WAITING]
    assert states(places, "third", 1) == [State.IN_USE], "from the reserve"
    assert states(places, "fourth", 1) == [State.WAITING]


def test_long_things_of_many_clients_keep_no_newcomer_out() -> None:
    places = Shares(16, line=128, patience_s=50, trials=4)
    for number in range(16):
        assert states(places, f"long {number}", 1) == [State.IN_USE]
    trials = [places.arrive(Holder(f"more {number}"), may_try=True) for number in range(6)]
    assert [each.state for each in trials] == [State.ON_TRIAL] * 4 + [State.WAITING] * 2
    moved = [places.end_trial(each, 1.0) for each in trials[:4]]
    assert [each.state for each in moved] == [State.WAITING] * 4
    assert [each.state for each in trials[4:]] == [State.ON_TRIAL] * 2, "who waits has its trial, too"
    newcomer = places.arrive(Holder("newcomer"), 2.0, may_try=True)
    assert newcomer.state is State.ON_TRIAL
    assert not places.would_refuse(Holder("next")), "even when the line is full"
    assert places.arrive(Holder("newcomer"), 2.0, may_try=True).state is State.WAITING, "one of each client"
    assert places.arrive(Holder("long 3"), 2.0, may_try=True).state is State.WAITING, "it holds a place"


def test_a_trial_that_is_over_has_a_place_if_one_is_free_by_then() -> None:
    places = Shares(1, line=1, patience_s=50, trials=1)
    inside, trial = places.arrive(Holder("ann")), places.arrive(Holder("bob"), may_try=True)
    places.leave(inside)
    assert places.end_trial(trial, 1.0).state is State.IN_USE


@pytest.mark.parametrize(("total", "most"), [(1, 1), (2, 2), (3, 3), (4, 3), (8, 7), (16, 14), (1_000, 875)])
def test_the_reserve_is_an_eighth_from_four_on(total: int, most: int) -> None:
    assert states(Shares(total), "greedy", total).count(State.IN_USE) == most


@pytest.mark.parametrize("places", [1, 2, 16])
def test_one_request_is_next_beside_thousands(places: int) -> None:
    shares = Shares(places, line=4_000, patience_s=50)
    greedy = [shares.arrive(Holder("greedy")) for _ in range(2_000)]
    for number in range(shares.free):
        assert states(shares, f"has of the reserve {number}", 1) == [State.IN_USE]
    for turn in range(200):
        alone = shares.arrive(Holder("alone"))
        if alone.state is State.WAITING:
            inside = [ticket for ticket in greedy if ticket.state is State.IN_USE]
            shares.leave(inside[turn % len(inside)])
            assert alone.state is State.IN_USE, turn
        shares.leave(alone)


def test_an_endless_run_of_newcomers_does_not_go_before_who_waits() -> None:
    shares = Shares(1, line=9, patience_s=50)
    inside = shares.arrive(Holder("first"))
    waiting = shares.arrive(Holder("patient"))
    for number in range(200):
        newcomer = shares.arrive(Holder(f"newcomer {number}"))
        shares.leave(inside)
        if waiting.state is State.IN_USE:
            return
        assert newcomer.state in (State.IN_USE, State.WAITING)
        inside = next(each for each in [newcomer, *shares.decided()] if each.state is State.IN_USE)
    raise AssertionError("it waits for ever")


def test_equals_are_served_in_turn() -> None:
    shares = Shares(1, line=99, patience_s=50)
    inside = shares.arrive(Holder("ann"))
    for client in ("ann", "ann", "ann", "bob", "bob", "bob", "cy", "cy", "cy"):
        shares.arrive(Holder(client))
    order = []
    for _ in range(9):
        shares.leave(inside)
        [inside] = shares.decided()
        order.append(inside.holder.client)
    assert order == ["bob", "cy", "ann"] * 3


def test_a_newcomer_displaces_the_newest_of_whoever_has_most() -> None:
    shares = Shares(1, line=3, patience_s=30)
    inside, *waiting = [shares.arrive(Holder("greedy")) for _ in range(4)]
    other = shares.arrive(Holder("other"))
    assert [ticket.state for ticket in waiting] == [State.WAITING, State.WAITING, State.REFUSED]
    assert other.state is State.WAITING
    assert shares.decided() == [waiting[-1]]
    assert states(shares, "other", 1) == [State.WAITING], "two each, with the one that is in use"
    assert states(shares, "other", 1) == [State.REFUSED]
    shares.leave(inside)
    assert other.state is State.IN_USE


def test_the_addresses_of_one_key_have_the_share_of_one_key() -> None:
    shares = Shares(16, line=32, patience_s=30)
    for number in range(60):
        states(shares, "key", 1, f"192.0.2.{number}")
    assert shares.held_by("key") == 14, "one key holds nothing of the reserve, from however many addresses"
    one, another = shares.arrive(Holder("other key", "a")), shares.arrive(Holder("other key", "b"))
    assert (one.state, another.state) == (State.IN_USE, State.WAITING)


def test_within_a_key_its_addresses_take_turns() -> None:
    shares = Shares(2, line=99, patience_s=30)
    inside = [shares.arrive(Holder("key", "greedy")) for _ in range(50)][:2]
    alone = shares.arrive(Holder("key", "alone"))
    shares.leave(inside[0])
    assert alone.state is State.IN_USE


def test_little_passes_much_and_much_is_told_when_its_time_is_over() -> None:
    shares = Shares(100, line=None, patience_s=30)
    shares.arrive(Holder("ann"), 0.0, 60)
    much, little = shares.arrive(Holder("bob"), 0.0, 50), shares.arrive(Holder("cy"), 1.0, 20)
    assert (much.state, little.state) == (State.WAITING, State.IN_USE)
    shares.tick(30.0)
    assert shares.decided() == [much]
    assert much.state is State.REFUSED


def test_what_is_larger_than_everything_is_let_in_alone() -> None:
    shares = Shares(100, line=None, patience_s=30)
    assert shares.arrive(Holder("ann"), 0.0, 1_000).state is State.IN_USE
    assert shares.arrive(Holder("bob"), 0.0, 1).state is State.WAITING


def test_what_grows_stops_at_the_reserve_unless_it_is_little() -> None:
    disk = Shares(800)
    greedy, little = disk.arrive(Holder("greedy"), amount=100), disk.arrive(Holder("little"), amount=1)
    while disk.grow(greedy, 10):
        pass
    assert disk.free >= 99
    assert [disk.grow(little, 9) for _ in range(12)] == [True] * 11 + [False]


def kept_by(shares: Shares, client: str, count: int) -> list[Ticket]:
    tickets = []
    for _ in range(count):
        ticket = shares.arrive(Holder(client))
        shares.keep(ticket)
        tickets.append(ticket)
    return tickets


def test_one_that_keeps_more_and_more_displaces_its_own_oldest_alone() -> None:
    shares = Shares(32)
    [mine] = kept_by(shares, "bob", 1)
    theirs = kept_by(shares, "ann", 100)
    assert mine.state is State.KEPT
    assert [ticket.state for ticket in theirs] == [State.REFUSED] * 73 + [State.KEPT] * 27
    assert shares.decided() == theirs[:73]


def test_somebody_else_displaces_the_newest_of_whoever_keeps_most() -> None:
    shares = Shares(8)
    theirs = kept_by(shares, "ann", 7)
    kept_by(shares, "bob", 3)
    assert [ticket.state for ticket in theirs] == [State.KEPT] * 5 + [State.REFUSED] * 2
    assert shares.free == 0


def test_what_was_used_again_is_not_the_oldest_any_more() -> None:
    shares = Shares(3)
    first, second, third = kept_by(shares, "ann", 3)
    shares.use(first)
    shares.keep(first)
    shares.arrive(Holder("ann"))
    assert [each.state for each in (first, second, third)] == [State.KEPT, State.REFUSED, State.KEPT]


def test_names_are_forgotten() -> None:
    shares = Shares(4, line=4, patience_s=1)
    for number in range(10_000):
        shares.leave(shares.arrive(Holder(f"client {number}", f"address {number % 7}")))
        shares.leave(shares.arrive(Holder("key", f"address {number}")))
    assert len(shares._clients) <= 65
    assert len(shares._clients["key"].addresses) <= 65


async def test_a_coroutine_waits_for_its_turn_and_is_told_when_there_is_none() -> None:
    places = AsyncShares(Shares(1, line=1, patience_s=0.05), "full")
    inside = await places.enter(Holder("ann"))
    with pytest.raises(Overloaded, match="full"):
        await places.enter(Holder("bob"))
    waiting = asyncio.create_task(places.enter(Holder("bob")))
    await asyncio.sleep(0)
    places.leave(inside)
    assert (await waiting).state is State.IN_USE


async def test_a_coroutine_that_is_displaced_is_told() -> None:
    places = AsyncShares(Shares(1, line=2, patience_s=30), "full")
    inside = await places.enter(Holder("ann"))
    waiting = [asyncio.create_task(places.enter(Holder("ann"))) for _ in range(2)]
    await asyncio.sleep(0)
    other = asyncio.create_task(places.enter(Holder("bob")))
    with pytest.raises(Overloaded, match="full"):
        await waiting[1]
    places.leave(inside)
    assert (await other).state is State.IN_USE
    places.leave(other.result())
    assert (await waiting[0]).state is State.IN_USE


async def test_cancelling_gives_back_a_turn_even_one_that_has_just_come() -> None:
    places = AsyncShares(Shares(1, line=2, patience_s=30), "full")
    inside = await places.enter(Holder("ann"))
    waiting = [asyncio.create_task(places.enter(Holder(name))) for name in ("bob", "cy")]
    await asyncio.sleep(0)
    places.leave(inside)  # bob has it now, and does not know yet
    waiting[0].cancel()
    assert (await waiting[1]).state is State.IN_USE
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]
    assert (places.shares.taken, places.shares.waiting) == (1, 0)
