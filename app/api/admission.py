"""Admission, as pure ASGI: whether there is room is decided before a byte of the body is read.

Two gates, because the two things that a request needs are so different. Room for uploads is cheap, and there is much of
it: a slow body costs a descriptor and a little disk. Places for computing are few. So a request has room for its upload
until its body is whole, then waits in line for a place, for so long and no longer, and has the place until its answer
has been sent. Slow uploads thus keep nobody from computing. Both gates deal fair shares (`app.engine.gate`) to clients,
each of which is its key, else its address.

`AdmissionMiddleware` owns what a request holds, from its arrival to the end of its answer; routes say when they need
the place (`take_place`).
"""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.access import client_of
from app.api.connection import while_connected
from app.api.errors import refuse
from app.api.paths import costs
from app.engine.gate import AsyncGate, Gate, State, Ticket
from app.observe import Observer
from app.vad.errors import NotReady, Overloaded, VadError

_FULL = "the service is full; please try again in a moment"
_VISIT_KEY = "vad.visit"
_MARGIN_S = 5
"""Over the time that a request may wait: the line itself ends the wait, with the better words."""


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

    def arrive(self, client: str) -> "Visit":
        """A request begins. Raises `Overloaded` when there is no room for its upload, or would be no place in the line
        after it, and `NotReady` when the service shuts down."""
        if self.closed:
            self._observer.rejected("not_ready")
            raise NotReady("the service is shutting down")
        # A line that is full is full of whole uploads, which no slow client can do: the body would come for nothing.
        if self._places.gate.would_refuse(client):
            raise self.refused()
        room = self._uploads.arrive(client, 0.0)
        if room.state is not State.ADMITTED:
            raise self.refused()
        return Visit(self, client, room)

    def refused(self) -> Overloaded:
        """Count a refusal; the error to tell it with."""
        self._observer.rejected("overloaded")
        return Overloaded(_FULL)

    def has_place(self, client: str) -> bool:
        """Whether the client would have one without waiting."""
        return self._places.gate.would_admit(client)

    async def enter(self, client: str) -> Ticket:
        """Wait for a place. Raises `Overloaded`."""
        try:
            return await self._places.enter(client)
        except Overloaded:
            raise self.refused() from None

    def give_back_room(self, room: Ticket) -> None:
        """Of an upload; more than once is as good as once."""
        self._uploads.leave(room)

    def give_back_place(self, place: Ticket) -> None:
        """The next in line has it at once."""
        self._places.leave(place)


class Visit:
    """What one request holds."""

    def __init__(self, admission: Admission, client: str, room: Ticket) -> None:
        self._admission, self._client, self._room = admission, client, room
        self._place: Ticket | None = None

    async def take_place(self) -> None:
        """The body is whole: wait for a place. Raises `Overloaded`."""
        self._admission.give_back_room(self._room)
        if self._place is None:
            self._place = await self._admission.enter(self._client)

    @property
    def need_not_wait(self) -> bool:
        """Whether `take_place` would return at once."""
        return self._place is not None or self._admission.has_place(self._client)

    @property
    def longest_wait_s(self) -> float:
        """How long `take_place` may take."""
        return self._admission.limits.queue_timeout_s

    def end(self) -> None:
        """Give back the room and the place that the visit took, however it ended."""
        self._admission.give_back_room(self._room)
        if self._place is not None:
            self._admission.give_back_place(self._place)


async def take_place(request: Request) -> None:
    """Wait until the request may compute, unless its client goes away. To be called when its body has been read.

    Raises `Overloaded` when the line is full or the wait too long, and `ClientDisconnect`.
    """
    visit: Visit = request.scope[_VISIT_KEY]
    if visit.need_not_wait:  # the usual case, for which two tasks and a watch of the socket would be much
        await visit.take_place()
        return
    await while_connected(request, visit.take_place(), visit.longest_wait_s + _MARGIN_S)


class AdmissionMiddleware:
    """Lets requests that cost something through the gates, one by one. Probes, metrics and the documentation answer
    when the service is full."""

    def __init__(self, app: ASGIApp, admission: Admission) -> None:
        self._app = app
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: decides before the body is read whether there is room for it."""
        if scope["type"] != "http" or not costs(scope["method"], scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            visit = self._admission.arrive(client_of(scope))
        except VadError as error:
            await refuse(error, scope, receive, send)
            return
        scope[_VISIT_KEY] = visit
        try:
            await self._app(scope, receive, send)
        finally:
            visit.end()
