"""What time does to live sessions, with a clock that the test turns: nobody waits."""

import asyncio
from typing import Any

import pytest

from app.live.hub import NoSuchSession
from app.live.parameters import StreamParameters
from app.vad.errors import InvalidOption, Overloaded
from app.vad.models.fsmn.network import FsmnScorer
from tests.engines import loaded
from tests.live.client import s16
from tests.live.hubs import Connected, RunningHub, WatchedScorer, feed, messages_of, running_hub
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


def hub(scorer: FsmnScorer, clock: Clock, **limits: Any) -> Any:
    return running_hub(scorer, delay_s=0, clock=clock, **{"idle_s": 60, "session_ttl_s": 30, "max_s": 3_600, **limits})


def resume(
    running: RunningHub, token: str, connection: Connected, client: str = "client", after: int | None = None
) -> Any:
    return running.hub.resume(client, StreamParameters(session=token, after=after), connection)


async def test_a_stream_on_which_nothing_comes_ends(small_scorer: FsmnScorer, clock: Clock) -> None:
    async with hub(small_scorer, clock) as running:
        connection = Connected(may_be_dismissed=True)
        seat = running.open(endpoint(), connection)
        clock.now += 60
        running.hub.sweep()
        assert seat.session.ended is None
        clock.now += 1
        running.hub.sweep()
        assert seat.session.ended == "idle_timeout"
        assert messages_of(seat.session)[-1]["code"] == "idle_timeout"
        assert not connection.dismissed, "it is told first, and may close by itself"
        clock.now += 61
        running.hub.sweep()
        assert connection.dismissed, "it was told, and did not close"
        running.hub.leave(seat, connection)
        assert running.told.dropped == ["idle_timeout"]
        assert running.hub.connected == 0


async def test_whatever_comes_keeps_a_stream_open(small_scorer: FsmnScorer, clock: Clock) -> None:
    async with hub(small_scorer, clock) as running:
        seat = running.open(endpoint(), Connected())
        for _ in range(10):
            clock.now += 59
            running.hub.received(seat)  # a ping, a chunk
            running.hub.sweep()
        assert seat.session.ended is None


@pytest.mark.parametrize("by", ["clock", "audio"])
async def test_a_session_lasts_so_long(small_scorer: FsmnScorer, clock: Clock, by: str) -> None:
    async with hub(small_scorer, clock, max_s=100) as running:
        seat = running.open(endpoint(), Connected())
        for _ in range(101):
            clock.now += 1 if by == "clock" else 0
            feed(running.hub, seat, SECOND if by == "audio" else bytes(320))
            running.hub.sweep()
        assert seat.session.ended == "audio_too_long"


async def test_a_session_waits_for_its_client_and_is_forgotten_in_time(small_scorer: FsmnScorer, clock: Clock) -> None:
    async with hub(small_scorer, clock) as running:
        first, second = Connected(), Connected()
        seat = running.open(endpoint(), first)
        running.hub.leave(seat, first)
        assert running.hub.connected == 0
        clock.now += 29
        running.hub.sweep()
        assert resume(running, seat.token, second) is seat
        assert running.hub.connected == 1
        running.hub.leave(seat, second)
        clock.now += 31
        running.hub.sweep()
        with pytest.raises(NoSuchSession):
            resume(running, seat.token, Connected())
        assert seat.session.ended == "gone"


async def test_a_session_is_its_clients_alone(small_scorer: FsmnScorer, clock: Clock) -> None:
    async with hub(small_scorer, clock) as running:
        old, new = Connected(may_be_dismissed=True), Connected()
        seat = running.open(endpoint(), old)
        with pytest.raises(NoSuchSession):
            resume(running, seat.token, new, client="another")
        assert not old.dismissed
        assert resume(running, seat.token, new) is seat
        assert old.dismissed, "one connection at a time"
        running.hub.leave(seat, old)
        assert running.hub.connected == 1, "who was dismissed leaves nothing"


async def test_those_who_left_make_room_the_longest_gone_first(small_scorer: FsmnScorer, clock: Clock) -> None:
    scorer = WatchedScorer(small_scorer)
    async with running_hub(scorer, clock=clock, streams=2, session_ttl_s=30) as running:
        seats = []
        for _ in range(2):
            connection = Connected()
            seats.append(running.open(endpoint(), connection))
            running.hub.leave(seats[-1], connection)
            clock.now += 1
        running.open(endpoint(), Connected())
        with pytest.raises(NoSuchSession):
            resume(running, seats[0].token, Connected())
        assert resume(running, seats[1].token, Connected()) is seats[1]
        with pytest.raises(Overloaded):
            running.open(endpoint(), Connected())
        assert scorer.pool.free == 2


async def test_lag_is_told_by_the_same_clock(small_scorer: FsmnScorer, clock: Clock) -> None:
    async with hub(small_scorer, clock) as running:
        lags: list[float] = []
        running.told.live_chunk = lags.append  # type: ignore[method-assign]
        seat = running.open(endpoint(), Connected())
        seat.session.receive_audio(SECOND, clock())
        clock.now += 5
        running.hub.received(seat)
        for _ in range(500):
            if lags:
                break
            await asyncio.sleep(0.005)
        assert lags == [5.0]


async def test_a_model_that_cannot_go_live_is_refused(small_scorer: FsmnScorer, clock: Clock) -> None:
    async with running_hub(loaded(small_scorer, "whole-files", live=False), clock=clock) as running:
        with pytest.raises(InvalidOption, match="whole-files cannot follow a live stream"):
            running.open(endpoint(), Connected())
        assert running.hub.connected == 0


async def test_a_draining_service_tells_everybody(small_scorer: FsmnScorer, clock: Clock) -> None:
    async with hub(small_scorer, clock) as running:
        connection = Connected()
        seat = running.open(endpoint(), connection)
        running.hub.drain()
        assert seat.session.ended == "not_ready"
        assert connection.woken == 1
