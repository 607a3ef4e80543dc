"""The semaphore in front of the scoring threads: balance under any history, and who goes first."""

import asyncio

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from app.engine.engine import FairSemaphore, Turn


class PermitsMachine(RuleBasedStateMachine):
    """Any order of asking, finishing and giving up leaves as many permits as there were."""

    COUNT, KEPT = 2, 1

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.slots = FairSemaphore(self.COUNT, self.KEPT)
        self.waiting: dict[asyncio.Task[bool], bool] = {}
        """Whether each waits for its job's first block."""
        self.holding: list[bool] = []
        """Of each permit whether it is one that is kept."""
        self.turns = [Turn() for _ in range(4)]

    def let_run(self) -> None:
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.run_until_complete(asyncio.sleep(0))
        for task, first in list(self.waiting.items()):
            if task.done():
                del self.waiting[task]
                if not task.cancelled():
                    assert first or not task.result(), "kept for first blocks"
                    self.holding.append(task.result())

    @rule(turn=st.none() | st.integers(0, 3))
    def ask(self, turn: int | None) -> None:
        self.begin(turn)
        self.let_run()

    def begin(self, number: int | None) -> "asyncio.Task[bool]":
        turn = Turn() if number is None else self.turns[number]
        first = turn.tag is None
        task = self.loop.create_task(self.slots.acquire(turn))
        self.waiting[task] = first
        return task

    @rule(turn=st.none() | st.integers(0, 3))
    def ask_and_give_up_at_once(self, turn: int | None) -> None:
        task = self.begin(turn)
        self.loop.run_until_complete(asyncio.sleep(0))
        task.cancel()
        self.let_run()

    @precondition(lambda self: self.holding)
    @rule()
    def finish(self) -> None:
        self.slots.release(kept=self.holding.pop())
        self.let_run()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(list(self.waiting))).cancel()
        self.let_run()

    @precondition(lambda self: self.waiting and self.holding)
    @rule(data=st.data())
    def give_up_in_the_moment_of_being_let_in(self, data: st.DataObject) -> None:
        task = data.draw(st.sampled_from(list(self.waiting)))
        self.slots.release(kept=self.holding.pop(0))
        task.cancel()
        self.let_run()

    @invariant()
    def permits_balance(self) -> None:
        assert self.slots.free + self.holding.count(False) == self.COUNT
        assert self.slots.kept_free + self.holding.count(True) == self.KEPT
        assert self.slots.waiting == len(self.waiting)
        assert not (self.slots.free and self.waiting)
        assert not (self.slots.kept_free and any(self.waiting.values()))

    def teardown(self) -> None:
        for task in self.waiting:
            task.cancel()
        self.let_run()
        while self.holding:
            self.finish()
        assert (self.slots.free, self.slots.kept_free, self.slots.waiting) == (self.COUNT, self.KEPT, 0)
        self.loop.close()


TestPermitsMachine = PermitsMachine.TestCase
TestPermitsMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


async def order_of(slots: FairSemaphore, asked: list[tuple[str, Turn]]) -> list[str]:
    """In which order waiters get in, one at a time."""
    entered: list[str] = []

    async def enter(name: str, turn: Turn) -> None:
        await slots.acquire(turn)
        entered.append(name)

    tasks = [asyncio.create_task(enter(name, turn)) for name, turn in asked]
    await asyncio.sleep(0)
    for _ in tasks:
        slots.release(kept=False)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    return entered


async def held(count: int) -> FairSemaphore:
    slots = FairSemaphore(count)
    for _ in range(count):
        await slots.acquire(Turn())
    return slots


async def test_a_new_job_goes_before_the_queued_blocks_of_long_ones() -> None:
    slots = await held(1)
    long, other, clip = Turn(), Turn(), Turn()
    asked = [("long", long), ("long", long), ("other", other), ("other", other), ("clip", clip)]
    entered = await order_of(slots, asked)
    assert entered.index("clip") <= 2
    assert entered[-1] in ("long", "other")


async def test_long_jobs_take_turns() -> None:
    slots = await held(1)
    first, second = Turn(), Turn()
    entered = await order_of(slots, [("a", first)] * 4 + [("b", second)] * 4)
    assert all(abs(entered[:count].count("a") - entered[:count].count("b")) <= 1 for count in range(1, 9))


async def test_an_endless_run_of_clips_does_not_starve_a_long_job() -> None:
    slots = await held(1)
    long = Turn()
    got_in = asyncio.create_task(slots.acquire(long))
    await asyncio.sleep(0)
    slots.release(kept=False)
    await got_in
    waiting = asyncio.create_task(slots.acquire(long))
    await asyncio.sleep(0)
    for clips in range(40):
        clip = asyncio.create_task(slots.acquire(Turn()))
        await asyncio.sleep(0)
        slots.release(kept=False)
        await asyncio.sleep(0)
        if waiting.done():
            assert clips <= 10
            clip.cancel()
            return
        await clip
    pytest.fail("the long job never got in")
