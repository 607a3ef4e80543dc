"""When memory is given back, by a clock that leaps to whatever is due next."""

import asyncio
import gc
import selectors
import weakref
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import torch

from app.engine.engine import Engine, Turn
from app.engine.memory import Cleanup, DeviceMemory, Upkeep, forget_libraries, resident_bytes
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
    """Notes when it is trimmed, and when as an idle process is; `grown`: what it says of the process."""

    def __init__(self, loop: asyncio.AbstractEventLoop, mode: Cleanup) -> None:
        super().__init__(mode)
        self.grown = False
        self.at: list[float] = []
        self.idle_at: list[float] = []
        self._loop = loop

    def has_grown(self) -> bool:
        return self.grown

    def trim(self, *, idle: bool = False) -> None:
        (self.idle_at if idle else self.at).append(round(self._loop.time(), 1))


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
    assert found.idle_at == [21.5], "ten seconds after the last of them"


def test_kernels_stay_while_something_is_scored(trims_in: Callable[..., Trims]) -> None:
    async def one(ended: Callable[[], None], _: Trims) -> None:
        ended()

    found = trims_in(one, busy=True)
    assert (found.at, found.idle_at) == ([5.0, 10.0], [])


def test_kernels_are_dropped_when_they_may_be_many(monkeypatch: pytest.MonkeyPatch) -> None:
    dropped: list[int] = []
    monkeypatch.setattr("app.engine.memory.forget_kernels", lambda: dropped.append(1))
    memory = DeviceMemory()
    memory.use(CPU)
    for mib, idle, count in [(200, True, 0), (230, False, 0), (205, True, 0), (230, True, 1)]:
        monkeypatch.setattr("app.engine.memory.resident_bytes", lambda mib=mib: mib << 20)
        memory.trim(idle=idle)
        assert len(dropped) == count, (mib, idle)
    memory.use(CPU)
    memory.trim(idle=True)
    assert len(dropped) == 1, "another model has made the process larger"


def test_an_idle_process_looks_for_cycles() -> None:
    cycle: list[object] = []
    cycle += [cycle, (one := Result())]
    kept, memory = weakref.ref(one), DeviceMemory()
    del cycle, one
    memory.trim()
    assert kept() is not None
    memory.trim(idle=True)
    assert kept() is None


def test_forgotten_kernels_are_compiled_anew() -> None:
    layer = Linear(torch.randn(64, 48), torch.randn(64), relu=True)
    rows = padded_rows(torch.randn(50, 48))
    before = layer(rows)
    forget_kernels()
    assert torch.equal(layer(rows), before)


def test_libraries_pages_are_let_go_and_come_back() -> None:
    rows, weight = torch.randn(50, 48), torch.randn(64, 48)
    before, product = of_files_bytes(), rows @ weight.T
    forget_libraries()
    assert of_files_bytes() < before / 2
    assert torch.equal(rows @ weight.T, product)


def of_files_bytes() -> int:
    """Resident bytes that are pages of files; here nearly all of them are libraries'."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssFile"))


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
