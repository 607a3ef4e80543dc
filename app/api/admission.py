"""Admission: whether there is room for a request is decided before a byte of its body is read.

Two gates, because the two things that a request needs are so different. Room for uploads is cheap, and there is much of
it: a slow body costs a descriptor and a little disk. Places for computing are few. So a request has room for its upload
until its body is whole, then waits in line for a place, for so long and no longer, and has the place until its answer
has been sent. Slow uploads thus keep nobody from computing. Both gates deal fair shares (`app.engine.gate`) to clients,
each of which is its key, else its address.

The middleware takes a `RequestLease` for each request that counts and ends it with the answer; routes say when they
need the place (`take_place`).
"""

import asyncio
import contextlib
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from app.api.context import context_of
from app.engine.gate import AsyncGate, Gate, State, Ticket
from app.observe import Observer
from app.vad.errors import DeadlineExceeded, NotReady, Overloaded

_FULL = "the service is full; please try again in a moment"
_MARGIN_S = 5
"""Over the time that a request may wait: the line itself ends the wait, with the better words."""
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """How many requests, of all clients together."""

    uploads: int
    """Bodies being received."""
    requests: int
    """Being computed and answered."""
    queue: int
    """Received, and waiting for a place."""
    queue_timeout_s: float
    """The longest wait for a place."""


class Admission:
    """Both gates. One per application."""

    def __init__(self, limits: AdmissionLimits, observer: Observer | None = None) -> None:
        self.limits = limits
        self.closed = False
        self._observer = observer or Observer()
        self._uploads = Gate(limits.uploads)
        places = Gate(limits.requests, line=limits.queue, patience_s=limits.queue_timeout_s)
        self._places = AsyncGate(places, _FULL)

    @property
    def uploads(self) -> int:
        """Requests whose body is being received."""
        return self._uploads.shares.taken

    @property
    def inside(self) -> int:
        """Requests that have a place."""
        return self._places.gate.shares.taken

    @property
    def queued(self) -> int:
        """Requests that wait for one."""
        return self._places.gate.waiting

    def arrive(self, client: str) -> "RequestLease":
        """Let a request begin. Raises `Overloaded` when there is no room for its upload, or would be no place in the
        line after it, and `NotReady` when the service shuts down."""
        if self.closed:
            self._observer.rejected("not_ready")
            raise NotReady("the service is shutting down")
        # A line that is full is full of whole uploads, which no slow client can do: the body would come for nothing.
        if self._places.gate.would_refuse(client):
            raise self._refusal()
        room = self._uploads.arrive(client, 0.0)
        if room.state is not State.ADMITTED:
            raise self._refusal()
        return RequestLease(self, client, room)

    def would_admit(self, client: str) -> bool:
        """Whether the client would have a place without waiting."""
        return self._places.gate.would_admit(client)

    async def enter(self, client: str) -> Ticket:
        """Wait for a place. Raises `Overloaded`."""
        try:
            return await self._places.enter(client)
        except Overloaded:
            raise self._refusal() from None

    def release(self, room: Ticket, place: Ticket | None = None) -> None:
        """Give back the room of an upload, and a place, which the next in line has at once. More than once is as good
        as once."""
        self._uploads.leave(room)
        if place is not None:
            self._places.leave(place)

    def _refusal(self) -> Overloaded:
        self._observer.rejected("overloaded")
        return Overloaded(_FULL)


class RequestLease:
    """What one request holds: room for its upload, then a place."""

    def __init__(self, admission: Admission, client: str, room: Ticket) -> None:
        self._admission, self._client, self._room = admission, client, room
        self._place: Ticket | None = None

    async def take_place(self, request: Request) -> None:
        """Exchange the room for a place, which may mean to wait. Raises `Overloaded` and `ClientDisconnect`."""
        self._admission.release(self._room)
        if self._place is not None:
            return

        async def enter() -> None:
            # Stored here, so that a place that comes in the moment in which the wait ends is given back, too.
            self._place = await self._admission.enter(self._client)

        if self._admission.would_admit(self._client):  # as usual; two tasks and a watch of the socket would be much
            await enter()
        else:
            await while_connected(request, enter(), self._admission.limits.queue_timeout_s + _MARGIN_S)

    def end(self) -> None:
        """Give everything back, however the request ended."""
        self._admission.release(self._room, self._place)


async def take_place(request: Request) -> None:
    """Wait until the request may compute, unless its client goes away. To be called when its body has been read.

    Raises `Overloaded` when the line is full or the wait too long, and `ClientDisconnect`.
    """
    lease = context_of(request.scope).lease
    if lease is None:
        raise RuntimeError("what computes has to pass admission: see app.api.paths")
    await lease.take_place(request)


async def while_connected(request: Request, work: Coroutine[Any, Any, _T], timeout_s: float) -> _T:
    """The result of `work`, which is cancelled when the client goes away or time is up.

    To be called when the body has been read. Raises `ClientDisconnect`, `DeadlineExceeded`, or what `work` raises.
    """

    async def disconnected() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(disconnected())
    try:
        await asyncio.wait({task, gone}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        if gone.done():
            raise ClientDisconnect
        raise DeadlineExceeded(f"the request took longer than {timeout_s:g} s")
    finally:
        for future in (task, gone):
            future.cancel()
        with contextlib.suppress(BaseException):
            await asyncio.wait({task, gone})
