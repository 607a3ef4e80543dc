"""All live sessions of a service: how many, whose, how long; and those that wait for their client to come back."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.engine.backend import Backend
from app.engine.engine import Engine
from app.live.batcher import Batcher
from app.live.messages import Protocols
from app.live.options import Resolve
from app.live.parameters import StreamParameters
from app.live.seat import NOBODY, Connection, PoolRow, Seat
from app.live.session import DONE, LiveSession
from app.observe import Observer
from app.serving import Model
from app.vad.errors import InvalidOption, Overloaded, VadError
from app.vad.models.family import Pool
from app.vad.segmenters.registry import Segmentation
from app.warnings import AnswerWarning, codes_of

_SWEEP_S = 1.0
"""Limits are in seconds; to look at every seat that often costs nothing."""


class NoSuchSession(VadError):
    """There is no session of this name, or none of this client's, or what it missed is no longer kept."""

    code = "no_such_session"


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


class Hub:
    """Used from one event loop; `start` begins its work and `close` ends it."""

    def __init__(
        self,
        engine: Engine,
        limits: LiveLimits,
        batch_delay_s: float,
        observer: Observer | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = limits
        self.clock = clock
        self._observer = observer or Observer()
        self._batcher = Batcher(engine.workers, batch_delay_s, clock, self._observer, on_idle=self._give_up_row)
        self._engine = engine
        self._pools: dict[Backend, Pool[Any] | None] = {}
        self._seats: dict[str, Seat] = {}
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
        """Begin to score what streams bring."""
        self._tasks = [asyncio.create_task(self._batcher.run()), asyncio.create_task(self._sweep_for_ever())]

    async def close(self) -> None:
        """Stop; sessions are lost."""
        for task in self._tasks:
            task.cancel()
        with contextlib.suppress(BaseException):
            await asyncio.wait(self._tasks)

    def drain(self) -> None:
        """Tell every client that the service goes away."""
        for seat in self._seats.values():
            self.end(seat, "not_ready", "the service is shutting down")

    def open(
        self,
        client: str,
        parameters: StreamParameters,
        model: Model,
        segmentation: Segmentation,
        connection: Connection,
        warnings: Sequence[AnswerWarning] = (),
        *,
        asked: Mapping[str, Any] | None = None,
        resolve: Resolve | None = None,
        say: Protocols | None = None,
    ) -> Seat:
        """A new session; `asked`, `resolve`, `say`: as `LiveSession` has them. Raises `Overloaded`, `InvalidOption` for
        a model that cannot go live."""
        if not model.live:
            raise InvalidOption("model", f"{model.info.name} cannot follow a live stream")
        if self.is_full:
            raise Overloaded(f"there are {self.limits.streams} live streams already")
        if len(self._seats) >= self.limits.streams:
            left = [seat for seat in self._seats.values() if seat.left is not None]
            self._forget(min(left, key=lambda seat: seat.left or 0.0))
        session = LiveSession(
            parameters,
            segmentation,
            model.new_stream(segmentation),
            model.grid,
            buffer_s=self.limits.buffer_s,
            warnings=warnings,
            asked=asked,
            resolve=resolve,
            say=say,
        )
        now = self.clock()
        rows = [PoolRow(pool, -1 if pool is None else pool.open()) for pool in map(self._pool_of, model.backends)]
        seat = Seat(secrets.token_urlsafe(18), client, session, model, now, now, rows, connection=connection)
        self._seats[seat.token] = seat
        return seat

    def resume(self, client: str, parameters: StreamParameters, connection: Connection) -> Seat:
        """A session that its client had left; it keeps the model and options it began with. Raises `NoSuchSession`."""
        seat = self._seats.get(parameters.session)
        if seat is None or seat.client != client or not _has_more(seat.session):
            raise NoSuchSession("there is no such session, or no longer; begin a new one")
        if not seat.session.replay(parameters.after):
            raise NoSuchSession("messages that you have missed are no longer kept; begin a new session")
        seat.connection.dismiss()
        seat.left, seat.connection = None, connection
        seat.seen = self.clock()
        return seat

    def leave(self, seat: Seat, connection: Connection) -> None:
        """This connection is gone."""
        if seat.connection is not connection or seat.token not in self._seats:
            return  # another connection has taken the session over, or it is forgotten
        seat.left, seat.connection = self.clock(), NOBODY
        ended = seat.session.ended
        if ended is not None and ended != DONE:
            self._observer.live_dropped(ended)
        if ended == DONE and not seat.warned:
            seat.warned = True
            self._observer.warned(codes_of(seat.session.warnings))
        if not _has_more(seat.session) or self.limits.session_ttl_s == 0:
            self._forget(seat)

    def received(self, seat: Seat) -> None:
        """The client has sent something; the session knows what."""
        seat.seen = self.clock()
        if seat.session.has_work:
            self._batcher.notify(seat)

    def end(self, seat: Seat, code: str, detail: str) -> None:
        """Tell the client what is wrong, and end its stream."""
        seat.session.fail(code, detail)
        seat.connection.wake()

    def sweep(self) -> None:
        """Hold every session to its limits, as of now."""
        for seat in list(self._seats.values()):
            self._sweep(seat, self.clock())

    def _pool_of(self, backend: Backend) -> Pool[Any] | None:
        if backend not in self._pools:
            # A session that is forgotten keeps its row until its last block has been scored.
            self._pools[backend] = backend.scorer.new_pool(2 * self.limits.streams)
        return self._pools[backend]

    def _forget(self, seat: Seat) -> None:
        self._seats.pop(seat.token, None)
        self.end(seat, "gone", "the session has ended")
        self._give_up_row(seat)

    def _give_up_row(self, seat: Seat) -> None:
        """Of a session that is over or forgotten, once nothing of it is under way."""
        over = seat.session.ended is not None or seat.token not in self._seats
        if over and not seat.scoring:
            for place in seat.rows:
                if place.pool is not None:
                    place.pool.close(place.row)
            seat.rows = []

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            if self._seats:
                self._engine.cleanup()
            self.sweep()

    def _sweep(self, seat: Seat, now: float) -> None:
        session, limits = seat.session, self.limits
        if seat.left is not None:
            if now - seat.left > limits.session_ttl_s or not _has_more(session):
                self._forget(seat)
        elif session.ended is not None:
            if now - seat.seen > limits.idle_s:
                seat.connection.dismiss()  # it was told to close, and does not
        elif now - seat.seen > limits.idle_s and not session.has_work:
            self.end(seat, "idle_timeout", f"nothing came for {limits.idle_s:g} s")
        elif max(now - seat.since, session.received_ms / 1000) > limits.max_s:
            self.end(seat, "audio_too_long", f"a session lasts at most {limits.max_s / 3600:g} h")


def _has_more(session: LiveSession) -> bool:
    """Whether it is worth coming back to: one can, and it goes on, or it came to its end, of which the client may have
    missed something."""
    return session.resumable and session.ended in (None, DONE)
