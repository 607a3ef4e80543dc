"""The semaphore in front of the scoring threads: balance under any history, and who goes first."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from app.engine.backend import Backend, Cost
from app.engine.device import Ladder
from app.engine.engine import BlockCosts, Engine, FairSemaphore, Turn
from app.observe import Observer
from app.vad.blocks import Block, Scored
from app.vad.models.fsmn.network import FsmnScorer
from tests.engines import ScorerAround


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


async def order_of(
    slots: FairSemaphore, asked: list[tuple[str, Turn]], costs: Mapping[str, float] | None = None
) -> list[str]:
    """In which order waiters get in, one at a time."""
    entered: list[str] = []

    async def enter(name: str, turn: Turn) -> None:
        await slots.acquire(turn, (costs or {}).get(name, 1.0))
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


async def test_a_block_of_a_slow_model_counts_as_several_of_a_quick_one() -> None:
    slots = await held(1)
    slow, quick = Turn(), Turn()
    entered = await order_of(slots, [("slow", slow)] * 10 + [("quick", quick)] * 40, {"slow": 4.0})
    for count in range(1, 50):
        spent = {name: entered[:count].count(name) * cost for name, cost in (("slow", 4), ("quick", 1))}
        assert abs(spent["slow"] - spent["quick"]) <= 5, "as much time for each, whichever began"


async def test_a_client_with_one_clip_passes_one_with_many() -> None:
    slots = await held(1)
    asked = [("greedy", Turn("greedy")) for _ in range(14)] + [("one", Turn("one"))]
    assert (await order_of(slots, asked)).index("one") <= 1
    asked = [("greedy", Turn("greedy")) for _ in range(14)] + [
        (f"one {number}", Turn(f"{number}")) for number in range(5)
    ]
    order = await order_of(slots, asked)
    assert max(order.index(name) for name in set(order) - {"greedy"}) <= 6
    assert not slots._first_of


async def test_a_lone_client_s_clips_are_served_as_they_come() -> None:
    slots = await held(1)
    names = [str(number) for number in range(9)]
    assert await order_of(slots, [(name, Turn("alone")) for name in names]) == names


async def test_who_leaves_the_line_lets_no_later_clip_of_its_client_pass_another() -> None:
    slots = await held(1)
    entered: list[str] = []

    async def enter(name: str) -> None:
        await slots.acquire(Turn("one"))
        entered.append(name)

    async def begun(*names: str) -> list[asyncio.Task[None]]:
        tasks = [asyncio.create_task(enter(name)) for name in names]
        await asyncio.sleep(0)
        return tasks

    gone, stay = (await begun("first", "second")), (await begun("third", "fourth"))
    for task in gone:
        task.cancel()
    await asyncio.sleep(0)
    later = await begun("fifth")
    for _ in range(3):
        slots.release(kept=False)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    await asyncio.gather(*stay, *later)
    assert entered == ["third", "fourth", "fifth"]


async def test_costs_are_told_in_blocks_of_the_quickest_model() -> None:
    costs = BlockCosts()
    assert costs.of("fsmn") == 1, "nothing is known yet"
    costs.add("fsmn", 0.004)
    costs.add("pyannote", 0.04)
    assert (costs.of("fsmn"), costs.of("pyannote"), costs.of("new")) == (1, pytest.approx(10), 1)
    costs.add("pyannote", 4.0)
    assert costs.of("pyannote") == 32, "one disturbed measurement is not believed at its word"
    for _ in range(60):
        costs.add("pyannote", 0.04)
    assert costs.of("pyannote") == pytest.approx(10, rel=0.05)


async def test_what_a_backend_measures_is_what_its_next_block_costs(small_scorer: FsmnScorer) -> None:
    """Two models, one of which takes ten times as long: its file has a tenth of the blocks, not as many."""
    engine = Engine(workers=1)
    order: list[str] = []

    def scoring(name: str, pause_s: float) -> Backend:
        def score(blocks: Sequence[Block[Any]]) -> list[Scored[Any]]:
            order.append(name)
            time.sleep(pause_s)
            return small_scorer.score(blocks)

        scorer = ScorerAround(small_scorer, score)
        return Backend(name, engine, scorer, Ladder(scorer, lambda: scorer, "cpu"), Observer())

    slow, quick = scoring("slow", 0.05), scoring("quick", 0.0)
    block = Block(np.zeros(16_000, np.float32), 0, True, None)
    try:
        for backend in (slow, quick):
            await backend.score([block], Turn(), Cost())
        assert engine.costs.of("slow") > 4 * engine.costs.of("quick") == 4
        order.clear()
        turns = {slow: Turn(), quick: Turn()}
        tasks = [asyncio.create_task(each.score([block], turns[each], Cost())) for each in [slow, quick] * 20]
        await asyncio.gather(*tasks)
        assert order[:20].count("slow") <= 8
    finally:
        engine.close()


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
