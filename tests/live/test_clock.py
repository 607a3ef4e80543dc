"""What time does to live sessions, with a clock that the test turns: nobody waits."""

import asyncio
from typing import Any

import pytest

from app.engine.shares import Holder
from app.live.sessions import NoSuchSession
from app.vad.errors import InvalidOption, Overloaded
from app.vad.models.fsmn.network import FsmnScorer
from tests.engines import loaded
from tests.live.client import s16
from tests.live.managers import Connected, RunningManager, WatchedScorer, feed, messages_of, running_manager
from tests.segmentations import endpoint
from tests.signals import bursts

SECOND = s16(bursts(1.0, [(0.2, 0.8)]))


class Clock:
    """Seconds, as the test says."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def manager(scorer: FsmnScorer, clock: Clock, **limits: Any) -> Any:
    return running_manager(
        scorer, delay_s=0, clock=clock, **{"idle_s": 60, "session_ttl_s": 30, "max_s": 3_600, **limits}
    )


def resume(
    running: RunningManager, token: str, connection: Connected, client: str = "client", after: int | None = None
) -> Any:
    return running.manager.resume(Holder(client), token, after, connection)


async def test_a_stream_on_which_nothing_comes_ends(small_scorer: FsmnScorer, clock: Clock) -> None:
    async with manager(small_scorer, clock) as running:
        connection = Connected(may_be_dismissed=True)
        slot = running.open(endpoint(), connection)
        clock.now += 60
        running.manager.sweep()
        assert slot.session.ended is None
        clock.now += 1
        running.manager.sweep()
        assert slot.session.ended == "idle_timeout"
        assert messages_of(slot.session)[-1]["code"] == "idle_timeout"
        assert not connection.dismissed, "it is told first, and may close by itself"
        clock.now += 61
        running.manager.sweep()
        assert connection.dismissed, "it was told, and did not close"
        running.manager.leave(slot, connection)
        assert running.observer.dropped == ["idle_timeout"]
        assert running.manager.connected == 0


async def test_whatever_comes_keeps_a_stream_open(small_scorer: FsmnScorer, clock: Clock) -> None:
    async with manager(small_scorer, clock) as running:
        slot = running.open(endpoint(), Connected())
        for _ in range(10):
            clock.now += 59
            running.manager.received(slot)  # a ping, a chunk
            running.manager.sweep()
        assert slot.session.ended is None


@pytest.mark.parametrize("by", ["clock", "audio"])
async def test_a_session_lasts_so_long(small_scorer: FsmnScorer, clock: Clock, by: str) -> None:
    async with manager(small_scorer, clock, max_s=100) as running:
        slot = running.open(endpoint(), Connected())
        for _ in range(101):
            clock.now += 1 if by == "clock" else 0
            feed(running.manager, slot, SECOND if by == "audio" else bytes(320))
            running.manager.sweep()
        assert slot.session.ended == "audio_too_long"


async def test_a_session_waits_for_its_client_and_is_forgotten_in_time(small_scorer: FsmnScorer, clock: Clock) -> None:
    async with manager(small_scorer, clock) as running:
        first, second = Connected(), Connected()
        slot = running.open(endpoint(), first)
        running.manager.leave(slot, first)
        assert running.manager.connected == 0
        clock.now += 29
        running.manager.sweep()
        assert resume(running, slot.name, second) is slot
        assert running.manager.connected == 1
        running.manager.leave(slot, second)
        clock.now += 31
        running.manager.sweep()
        with pytest.raises(NoSuchSession):
            resume(running, slot.name, Connected())
        assert slot.session.ended == "gone"


async def test_a_session_is_its_clients_alone(small_scorer: FsmnScorer, clock: Clock) -> None:
    async with manager(small_scorer, clock) as running:
        old, new = Connected(may_be_dismissed=True), Connected()
        slot = running.open(endpoint(), old)
        with pytest.raises(NoSuchSession):
            resume(running, slot.name, new, client="another")
        assert not old.dismissed
        assert resume(running, slot.name, new) is slot
        assert old.dismissed, "one connection at a time"
        running.manager.leave(slot, old)
        assert running.manager.connected == 1, "who was dismissed leaves nothing"


async def test_those_who_left_make_room_the_longest_gone_first(small_scorer: FsmnScorer, clock: Clock) -> None:
    scorer = WatchedScorer(small_scorer)
    async with running_manager(scorer, clock=clock, streams=2, session_ttl_s=30) as running:
        slots = []
        for _ in range(2):
            connection = Connected()
            slots.append(running.open(endpoint(), connection))
            running.manager.leave(slots[-1], connection)
            clock.now += 1
        running.open(endpoint(), Connected())
        with pytest.raises(NoSuchSession):
            resume(running, slots[0].name, Connected())
        assert resume(running, slots[1].name, Connected()) is slots[1]
        with pytest.raises(Overloaded):
            running.open(endpoint(), Connected())
        assert scorer.pool.free == 2


async def test_lag_is_told_by_the_same_clock(small_scorer: FsmnScorer, clock: Clock) -> None:
    async with manager(small_scorer, clock) as running:
        lags: list[float] = []
        running.observer.live_chunks = lags.extend  # type: ignore[method-assign]
        slot = running.open(endpoint(), Connected())
        slot.session.receive_audio(SECOND, clock())
        clock.now += 5
        running.manager.received(slot)
        for _ in range(500):
            if lags:
                break
            await asyncio.sleep(0.005)
        assert lags == [5.0]


async def test_a_model_that_cannot_go_live_is_refused(small_scorer: FsmnScorer, clock: Clock) -> None:
    async with running_manager(loaded(small_scorer, "whole-files", live=False), clock=clock) as running:
        with pytest.raises(InvalidOption, match="whole-files cannot follow a live stream"):
            running.open(endpoint(), Connected())
        assert running.manager.connected == 0


async def test_a_draining_service_tells_everybody(small_scorer: FsmnScorer, clock: Clock) -> None:
    async with manager(small_scorer, clock) as running:
        connection = Connected()
        slot = running.open(endpoint(), connection)
        running.manager.drain()
        assert slot.session.ended == "not_ready"
        assert connection.woken == 1
