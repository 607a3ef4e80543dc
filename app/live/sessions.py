"""All live sessions of a service: how many, whose, how long; and those that wait for their client to come back.

Each session has a slot, and there are `LiveLimits.streams` of them, dealt out by `app.engine.shares`. When a client
goes, its session keeps the slot for a while, so that coming back needs no other; but then it may be displaced.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from app.engine.engine import Engine
from app.engine.shares import Holder, Shares, State, Ticket
from app.live.batcher import Batcher, Connection, Slot
from app.live.protocols import PROTOCOLS
from app.live.session import DONE, ClientProtocol, LiveSession
from app.observe import Observer
from app.request import Plan
from app.vad.errors import Overloaded, VadError
from app.warnings import codes_of

_SWEEP_S = 1.0
"""Limits are in seconds, and checking every slot that often costs nothing."""
_NAME_BYTES = 18
"""Of randomness in a session's name: anybody who guesses it could take the session over."""


class NoSuchSession(VadError):
    """This client has no session of this name, or the messages that it missed are no longer kept."""

    code = "no_such_session"


class NoConnection:
    """The connection of a client that has gone."""

    def wake(self) -> None: ...
    def dismiss(self) -> None: ...


_NO_CONNECTION = NoConnection()


@dataclass(frozen=True, slots=True)
class LiveLimits:
    """What one service takes on."""

    streams: int
    buffer_s: float
    """Audio that may wait to be scored, for each stream."""
    idle_s: float
    session_ttl_s: float
    """How long a session waits for its client to come back. 0: not at all."""
    max_s: float
    """Longest session, in audio and on the clock."""


class SessionManager:
    """Used from one event loop, between `start` and `close`."""

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
        self._engine, self._observer = engine, observer or Observer()
        self._batcher = Batcher(engine.workers, batch_delay_s, limits.streams, clock, self._observer)
        self._slots: dict[str, Slot] = {}
        self._shares = Shares(limits.streams)
        self._tickets: dict[Ticket, Slot] = {}
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def connected(self) -> int:
        """Sessions with a client."""
        return sum(slot.left is None for slot in self._slots.values())

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._batcher.run()), asyncio.create_task(self._sweep_for_ever())]

    async def close(self) -> None:
        """Stop; sessions are lost."""
        for task in self._tasks:
            task.cancel()
        with contextlib.suppress(BaseException):
            await asyncio.wait(self._tasks)

    def drain(self) -> None:
        """Tell every client that the service goes away."""
        for slot in self._slots.values():
            self.fail(slot, "not_ready", "the service is shutting down")

    def check_room(self, holder: Holder, name: str = "") -> None:
        """Raise `Overloaded` when there is no slot for another stream. `name`: of the session that the client may come
        back to, which has its slot already."""
        slot = self._slots.get(name)
        if (slot is None or slot.holder.client != holder.client) and self._shares.would_refuse(holder):
            raise self._no_room()

    def open(self, holder: Holder, plan: Plan, connection: Connection, protocol: ClientProtocol | None = None) -> Slot:
        """Begin a session. `protocol`: instead of the one that the plan names. Raises `Overloaded`, and `InvalidOption`
        for a model that cannot follow a stream."""
        plan.chosen.model.check_live()
        protocol = protocol or PROTOCOLS[plan.request.protocol]
        session = LiveSession(plan, protocol, buffer_s=self.limits.buffer_s)
        ticket = self._shares.arrive(holder)
        if ticket.state is not State.IN_USE:
            raise self._no_room()
        for displaced in self._shares.decided():
            self._forget(self._tickets[displaced])
        now = self.clock()
        slot = Slot(secrets.token_urlsafe(_NAME_BYTES), holder, session, connection, since=now, seen=now, ticket=ticket)
        self._batcher.add(slot)
        self._slots[slot.name] = self._tickets[ticket] = slot
        return slot

    def resume(self, holder: Holder, name: str, after: int | None, connection: Connection) -> Slot:
        """Go on with a session that its client has left, or take it over from the client's own older connection.
        `after`: `seq` of the last message that the client has. Raises `NoSuchSession`."""
        slot = self._slots.get(name)
        if slot is None or slot.holder.client != holder.client or not _has_more(slot.session):
            raise NoSuchSession("this session does not exist or has expired; begin a new one")
        if not slot.session.replay(after):
            raise NoSuchSession("messages that you have missed are no longer kept; begin a new session")
        slot.connection.dismiss()
        slot.left, slot.connection = None, connection
        self._shares.use(slot.ticket)
        slot.seen = self.clock()
        return slot

    def leave(self, slot: Slot, connection: Connection) -> None:
        """Record that this connection is gone."""
        if slot.connection is not connection or slot.forgotten:
            return  # another connection has taken the session over, or it is forgotten
        slot.left, slot.connection = self.clock(), _NO_CONNECTION
        self._engine.cleanup()
        self._shares.keep(slot.ticket)
        ended = slot.session.ended
        if ended is not None and ended != DONE:
            self._observer.live_dropped(ended)
        told = [*slot.session.past_warnings.values(), *(slot.session.warnings if ended == DONE else ())]
        if told and not slot.warned:
            slot.warned = True
            self._observer.warned(codes_of(told))
        if not _has_more(slot.session) or self.limits.session_ttl_s == 0:
            self._forget(slot)

    def received(self, slot: Slot) -> None:
        """Record that the client has sent something, and have it scored."""
        slot.seen = self.clock()
        if slot.session.has_work:
            self._batcher.notify(slot)

    def fail(self, slot: Slot, code: str, detail: str) -> None:
        """End a stream, and tell its client why."""
        slot.session.fail(code, detail)
        slot.connection.wake()

    def sweep(self) -> None:
        """Hold every session to its limits, as of now."""
        now, limits = self.clock(), self.limits
        for slot in list(self._slots.values()):
            session = slot.session
            if slot.left is not None:
                if now - slot.left > limits.session_ttl_s or not _has_more(session):
                    self._forget(slot)
            elif session.ended is not None:
                if now - slot.seen > limits.idle_s:
                    slot.connection.dismiss()  # the client was asked to close, and does not
            elif session.is_at_rest and now - slot.seen > min(session.protocol.rest_s, limits.idle_s):
                session.end_at_rest()
                slot.connection.wake()
            elif now - slot.seen > limits.idle_s and not session.has_work:
                self.fail(slot, "idle_timeout", f"nothing came for {limits.idle_s:g} s")
            elif max(now - slot.since, session.received_ms / 1000) > limits.max_s:
                self.fail(slot, "audio_too_long", f"a session lasts at most {limits.max_s / 3600:g} h")

    def _forget(self, slot: Slot) -> None:
        self._slots.pop(slot.name, None)
        self._tickets.pop(slot.ticket, None)
        self._shares.leave(slot.ticket)
        slot.forgotten = True
        self.fail(slot, "gone", "the session has ended")
        self._batcher.release(slot)
        self._engine.cleanup()

    @staticmethod
    def _no_room() -> Overloaded:
        return Overloaded("there is no room for another live stream; please try again in a moment")

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            self.sweep()


def _has_more(session: LiveSession) -> bool:
    """Whether coming back makes sense: the session goes on, or it is done and the client may have missed something."""
    return session.resumable and session.ended in (None, DONE)
