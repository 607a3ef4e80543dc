"""When memory is given back, by a clock that leaps to whatever is due next."""

import asyncio
import gc
import selectors
import weakref
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing

import pytest
import torch

from app.engine.engine import Engine, Turn
from app.engine.memory import Cleanup, DeviceMemory, Upkeep, resident_bytes
from app.vad.models.layers import Linear, forget_kernels, padded_rows

CPU = torch.device("cpu")


class LeapingLoop(asyncio.SelectorEventLoop):
    """Waiting takes no time."""

    def __init__(self) -> None:
        self._now = 0.0
        loop = self

        class Leap(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
            def select(self, timeout: float | None = None) -> "list[tuple[selectors.SelectorKey, int]]":
                loop._now += timeout or 0.0
                return super().select(0)

        super().__init__(Leap())

    def time(self) -> float:
        return self._now


class Result:
    """Of a call in a scoring thread."""


class Trims(DeviceMemory):
    """Notes when it is trimmed, and when for kernels too; `grown`: what it says of the process."""

    def __init__(self, loop: asyncio.AbstractEventLoop, mode: Cleanup) -> None:
        super().__init__(mode)
        self.grown = False
        self.at: list[float] = []
        self.kernels_at: list[float] = []
        self._loop = loop

    def has_grown(self) -> bool:
        return self.grown

    def trim(self, *, kernels: bool = False) -> None:
        (self.kernels_at if kernels else self.at).append(round(self._loop.time(), 1))


Scenario = Callable[[Callable[[], None], Trims], Awaitable[None]]


@pytest.fixture
def trims_in() -> Iterator[Callable[..., Trims]]:
    """Plays a scenario, which is given what to call when a call has ended, and waits for a minute after it."""
    with closing(LeapingLoop()) as loop:

        def play(scenario: Scenario, mode: Cleanup = "always", *, busy: bool = False) -> Trims:
            memory = Trims(loop, mode)
            upkeep = Upkeep(memory, lambda call: call() and None, is_busy=lambda: busy)

            async def whole() -> None:
                await scenario(upkeep.call_ended, memory)
                await asyncio.sleep(60)

            loop.run_until_complete(whole())
            return memory

        yield play


@pytest.mark.parametrize(("mode", "at"), [("always", [5.0]), ("on_oom", []), ("never", [])])
def test_cleanup_follows_its_mode(mode: Cleanup, at: list[float], trims_in: Callable[..., Trims]) -> None:
    async def burst(ended: Callable[[], None], _: Trims) -> None:
        for _number in range(50):
            ended()

    assert trims_in(burst, mode).at == at, "once for a burst of calls"


def test_much_is_given_back_soon(trims_in: Callable[..., Trims]) -> None:
    async def large_after_small(ended: Callable[[], None], memory: Trims) -> None:
        ended()
        await asyncio.sleep(2)
        memory.grown = True
        ended()
        await asyncio.sleep(2)
        memory.grown = False

    assert trims_in(large_after_small).at == [3.0], "and a small call's memory is the next one's"


def test_a_trim_is_due_while_calls_go_on_and_after_the_last(trims_in: Callable[..., Trims]) -> None:
    async def twelve_seconds(ended: Callable[[], None], _: Trims) -> None:
        for _number in range(24):
            ended()
            await asyncio.sleep(0.5)

    found = trims_in(twelve_seconds)
    assert found.at == [5.0, 10.0, 15.0]
    assert found.kernels_at == [21.5], "ten seconds after the last of them"


def test_kernels_stay_while_something_is_scored(trims_in: Callable[..., Trims]) -> None:
    async def one(ended: Callable[[], None], _: Trims) -> None:
        ended()

    found = trims_in(one, busy=True)
    assert (found.at, found.kernels_at) == ([5.0, 10.0], [])


def test_kernels_are_dropped_when_they_may_be_many(monkeypatch: pytest.MonkeyPatch) -> None:
    dropped: list[int] = []
    monkeypatch.setattr("app.engine.memory.forget_kernels", lambda: dropped.append(1))
    memory = DeviceMemory()
    memory.use(CPU)
    for mib, kernels, count in [(200, True, 0), (230, False, 0), (205, True, 0), (230, True, 1)]:
        monkeypatch.setattr("app.engine.memory.resident_bytes", lambda mib=mib: mib << 20)
        memory.trim(kernels=kernels)
        assert len(dropped) == count, (mib, kernels)
    memory.use(CPU)
    memory.trim(kernels=True)
    assert len(dropped) == 1, "another model has made the process larger"


def test_forgotten_kernels_are_compiled_anew() -> None:
    layer = Linear(torch.randn(64, 48), torch.randn(64), relu=True)
    rows = padded_rows(torch.randn(50, 48))
    before = layer(rows)
    forget_kernels()
    assert torch.equal(layer(rows), before)


async def test_a_result_goes_with_whoever_has_it() -> None:
    """At once, and not when Python next looks for cycles: posteriors of a burst would wait for that."""
    engine = Engine(workers=1)
    gc.disable()
    try:
        gone = [weakref.ref((await engine.run(Result, Turn())).result) for _ in range(5)]
        await asyncio.sleep(0.05)  # the scoring thread lets go, too
        assert [each() for each in gone] == [None] * 5
    finally:
        gc.enable()
        engine.close()


async def test_a_closed_engine_gives_nothing_back() -> None:
    engine = Engine(workers=1)
    engine.cleanup()
    engine.close()
    engine.cleanup()


def test_the_process_knows_its_size() -> None:
    assert resident_bytes() > 10 << 20
