"""All live sessions of a service: how many, whose, how long; and those that wait for their client to come back."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from app.engine.engine import Engine
from app.live.batcher import Batcher
from app.live.parameters import StreamParameters
from app.live.session import LiveSession, Owner
from app.vad.errors import Overloaded, VadError
from app.vad.segmenters.options import VadOptions

_SWEEP_S = 1.0
_DONE = 1000
_GOING_AWAY = 1001
_POLICY = 1008
_SERVICE_RESTART = 1012


class NoSuchSession(VadError):
    """There is no session of this name, or none of this client's, or what it missed is no longer kept."""


@dataclass(frozen=True, slots=True)
class LiveLimits:
    """What one service takes on."""

    streams: int
    buffer_s: float
    """Audio that may wait to be scored, for each stream."""
    idle_s: float
    session_ttl_s: float
    """How long a session waits for its client to come back; 0: not at all."""
    max_s: float
    """Longest session, in audio and on the clock."""


@dataclass(slots=True)
class _Seat:
    """A session's place: connected, or left at some time."""

    session: LiveSession
    left: float | None = None
    taken_over: Callable[[], None] = lambda: None
    """Ends the connection that has it."""


class Hub:
    """Built inside a running event loop; `start` begins its work and `close` ends it."""

    def __init__(self, engine: Engine, limits: LiveLimits, batch_delay_s: float) -> None:
        self.batcher = Batcher(engine, batch_delay_s)
        self.batcher.on_idle = self._settle
        self.on_drop: Callable[[str], None] = lambda reason: None
        self.limits = limits
        self._engine = engine
        # A session that is forgotten keeps its room until its last block has been scored.
        self._bank = engine.scorer.new_bank(2 * limits.streams)
        self._seats: dict[str, _Seat] = {}
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def connected(self) -> int:
        """Sessions with a client."""
        return sum(seat.left is None for seat in self._seats.values())

    @property
    def is_full(self) -> bool:
        """Whether another session would be refused."""
        return self.connected >= self.limits.streams

    def start(self) -> None:
        """Begin."""
        self._tasks = [asyncio.create_task(self.batcher.run()), asyncio.create_task(self._sweep_for_ever())]

    async def close(self) -> None:
        """Stop; sessions are lost."""
        for task in self._tasks:
            task.cancel()
        with contextlib.suppress(BaseException):
            await asyncio.wait(self._tasks)

    def drain(self) -> None:
        """Tell every client that the service goes away."""
        for seat in self._seats.values():
            seat.session.fail("not_ready", "the service is shutting down", _SERVICE_RESTART)

    def open(
        self, client: str, parameters: StreamParameters, options: VadOptions, leave: Callable[[], None]
    ) -> LiveSession:
        """A new session; `leave` ends its connection. Raises `Overloaded`."""
        if self.is_full:
            raise Overloaded(f"there are {self.limits.streams} live streams already")
        if len(self._seats) >= self.limits.streams:
            self._forget(min((seat for seat in self._seats.values() if seat.left is not None), key=_left_at))
        owner = Owner(secrets.token_urlsafe(18), client)
        state = None if self._bank is None else self._bank.open()
        scorer, buffer_s = self._engine.scorer, self.limits.buffer_s
        session = LiveSession(owner, parameters, options, scorer, state, buffer_s=buffer_s)
        self._seats[owner.token] = _Seat(session, taken_over=leave)
        return session

    def resume(self, client: str, parameters: StreamParameters, leave: Callable[[], None]) -> LiveSession:
        """A session that its client had left; it keeps the options it began with. Raises `NoSuchSession`."""
        seat = self._seats.get(parameters.session)
        if seat is None or seat.session.owner.client != client or not _has_more(seat.session):
            raise NoSuchSession("there is no such session, or no longer; begin a new one")
        if not seat.session.replay(parameters.after):
            raise NoSuchSession("messages that you have missed are no longer kept; begin a new session")
        seat.taken_over()
        seat.left, seat.taken_over = None, leave
        seat.session.seen = time.monotonic()
        return seat.session

    def leave(self, session: LiveSession, leave: Callable[[], None]) -> None:
        """The connection that `leave` ends is gone."""
        seat = self._seats.get(session.owner.token)
        if seat is None or seat.taken_over != leave:
            return  # another connection has taken it over
        seat.left, seat.taken_over = time.monotonic(), lambda: None
        session.on_output = session.on_room = lambda: None
        if session.closing is not None and session.closing.code != _DONE:
            self.on_drop(session.closing.reason)
        if not _has_more(session) or self.limits.session_ttl_s == 0:
            self._forget(seat)

    def _forget(self, seat: _Seat) -> None:
        session = seat.session
        self._seats.pop(session.owner.token, None)
        session.fail("gone", "the session has ended", _GOING_AWAY)
        self._settle(session)

    def _settle(self, session: LiveSession) -> None:
        """Give back the room of a session that is over or forgotten, once nothing of it is under way."""
        over = session.closing is not None or session.owner.token not in self._seats
        if over and not session.busy and session.state is not None:
            session.state.close()
            session.state = None

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            if self._seats:
                self._engine.cleanup()
            for seat in list(self._seats.values()):
                self._sweep(seat, time.monotonic())

    def _sweep(self, seat: _Seat, now: float) -> None:
        session = seat.session
        if seat.left is not None:
            if now - seat.left > self.limits.session_ttl_s or not _has_more(session):
                self._forget(seat)
        elif session.closing is not None:
            if now - session.seen > self.limits.idle_s:
                seat.taken_over()  # it was told to close, and does not
        elif now - session.seen > self.limits.idle_s and not session.has_work:
            session.fail("idle_timeout", f"nothing came for {self.limits.idle_s:g} s", _GOING_AWAY)
        elif max(now - session.owner.since, session.received_ms / 1000) > self.limits.max_s:
            session.fail("audio_too_long", f"a session lasts at most {self.limits.max_s / 3600:g} h", _POLICY)


def _has_more(session: LiveSession) -> bool:
    """Whether it is worth coming back to: it goes on, or it came to its end, of which the client may have missed
    something."""
    return session.closing is None or session.closing.code == _DONE


def _left_at(seat: _Seat) -> float:
    return seat.left or 0.0
