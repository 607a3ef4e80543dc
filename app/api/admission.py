"""What a request is, what its path may do without, and whether there is room for it, decided before a byte of its body
is read.

Two gates, because the two things that a request needs are so different. Room for uploads is cheap, and there is much of
it: a slow body costs a descriptor and a little disk. Places for computing are few. So a request has room for its upload
until its body is whole, then waits in line for a place, for so long and no longer, and has the place until its answer
has been sent, or rather while more of it is made: not while it waits for a client that reads slowly. Slow uploads and
slow readers thus keep nobody from computing. All is dealt out by `app.engine.shares`.

Long files of many clients may hold every place. So a client that has none may be on trial beyond them, one request at a
time: most are clips, and done in a moment. What is not done by then is dropped, unless a place has become free, and
begins again when it has its own.

The middleware takes a `RequestLease` for each request that counts and ends it with the answer; routes hand over the
work that needs the place (`with_place`).
"""

import asyncio
import contextlib
import ipaddress
import re
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Final, TypeVar

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Scope, Send

from app.api.interruption import Interruption
from app.engine.shares import AsyncShares, Holder, Shares, State, Ticket
from app.observe import Observer
from app.vad.errors import DeadlineExceeded, NotReady, Overloaded

log = structlog.get_logger(__name__)

_FULL = "the service is full; please try again in a moment"
_READERS = 2
"""Answers that wait for slow clients, for each place: a decoder that waits takes 40 MB at most, an answer that is whole
in memory ten."""
_SLOW_S, _RETRY_S = 0.25, 1.0
"""A client that has let its answer wait for so long in all reads slowly; how often room for one more is looked for."""
_LARGE_BYTES = 64 << 10
"""Of an answer that is not handed to the system in one go: servers and their buffers are of this size."""
_TRIAL_S = 1.0
"""A clip is done in a tenth of this on an idle machine, and within it beside long files in every place."""
_MARGIN_S = 5
"""Over the time that a request may wait: the line itself ends the wait, with the better words."""
_UNWATCHED_S = 0.1
"""A request's work goes on for so long before anybody looks whether its client is still there: a clip is done by then,
and has paid for no watch."""
_CONTEXT = "vad.context"
ABORT = "vad.abort"
"""The ASGI extension of a server whose connections can be ended at once: a function that does it."""
DIRECT = "vad.direct"
"""The ASGI extension of a server that passes a WebSocket's messages on at once: its connection. Its attribute `take` an
application may set to a function that takes a message, `bytes` or `str`, or returns False: then it is received as
without the extension. Its method `give` writes text messages, or returns False: then they are to be sent as without."""
_T = TypeVar("_T")


# ---- paths


@dataclass(frozen=True, slots=True)
class PathPolicy:
    """What the requests to a path may do without."""

    open: bool = False
    """Needs no key, and has no rate limit."""
    admitted: Collection[str] | None = None
    """Methods that pass admission; None: all. Others bring no body and take no time: they are answered when the service
    is full, as are all WebSockets, of which live streams have a limit of their own."""
    quiet: bool = False
    """A probe, which comes all the time and by address: left out of the log (but for debugging) and of traces, and
    answered under any host name."""


CLOSED: Final = PathPolicy()
"""Of a path that is not listed: it needs a key where keys are set, counts against the rate limit, and passes admission.
So a route that is added, here or by another application, opens nothing until it is listed on purpose."""
_PUBLIC: Final = PathPolicy(open=True, admitted=())
_PROBE: Final = PathPolicy(open=True, admitted=(), quiet=True)
_UPLOADS: Final = PathPolicy(admitted=("POST", "PUT"))

PATHS: Final = {
    "/": _PUBLIC,
    "/ui": _PUBLIC,
    "/docs": _PUBLIC,
    "/redoc": _PUBLIC,
    "/openapi.json": _PUBLIC,
    "/client/microphone.js": _PUBLIC,
    "/models": _PUBLIC,
    "/options": _PUBLIC,
    "/health": _PROBE,
    "/health/live": _PROBE,
    "/health/ready": _PROBE,
    "/metrics": _PROBE,
    "/vad": _UPLOADS,
    "/v1/realtime": PathPolicy(admitted=()),
}
FOLDERS: Final = {
    "/ui/": _PUBLIC,
    "/docs/": _PUBLIC,
    # With a file's name behind it, as `curl -T` sends it, even if the file is called `stream`.
    "/vad/": _UPLOADS,
}
"""Of everything below. The open ones hold built files, and nothing else."""
METRICS: Final = "/metrics"
"""`VAD_GUARD_METRICS` closes it."""
QUIET_PATHS: Final = tuple(path for path, policy in PATHS.items() if policy.quiet)


def policy_of(path: str, kind: str = "http") -> PathPolicy:
    """The policy of a path, which begins behind the application's own prefix (`route_path`). `kind`: the scope's type.
    No WebSocket is open, whatever lies under its path for browsers."""
    if kind == "websocket":
        return CLOSED
    policy = PATHS.get(path)
    if policy is None:
        policy = next((policy for folder, policy in FOLDERS.items() if path.startswith(folder)), CLOSED)
    return policy


def route_path(scope: Scope) -> str:
    """The path without the prefix under which the application is mounted, as routes have it."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and path.startswith(root) and (len(path) == len(root) or path[len(root)] == "/"):
        return path[len(root) :]
    return path


# ---- requests


@dataclass(slots=True)
class RequestContext:
    """Of one request or WebSocket, from its arrival to the end of its answer."""

    request_id: str
    policy: PathPolicy
    holder: Holder
    """Who asks, whose shares what it takes are."""
    lease: "RequestLease | None" = None
    """What the request holds; None where it passes no admission."""

    def attach(self, scope: Scope) -> None:
        """Make it the context of the request that `scope` belongs to."""
        scope[_CONTEXT] = self


def context_of(scope: Scope) -> RequestContext:
    """Raises LookupError for a request that did not come through the middleware."""
    context: RequestContext = scope[_CONTEXT]
    return context


def request_id_of(scope: Scope) -> str:
    """The id of the request that `scope` belongs to; `-` where it has none."""
    context: RequestContext | None = scope.get(_CONTEXT)
    return "-" if context is None else context.request_id


def holder_of(scope: Scope) -> Holder:
    """Who asks, for fair shares. Limits and ownership go by its client: the key, else the address."""
    return context_of(scope).holder


_IPV6_NETWORK_BITS = 64
"""What one subscriber has at least (RFC 6177): whoever has one of its addresses has them all."""


_WITH_PORT = re.compile(r"\[([^\]]*)\](?::\d+)?|([^:]*):\d+")
"""As some proxies forward addresses."""


def address_name(address: str) -> str:
    """What counts as one address: of IPv6 a network of /64, and no port."""
    if ":" not in address:
        return address
    with_port = _WITH_PORT.fullmatch(address)
    if with_port is not None:
        address = with_port[1] or with_port[2]
    try:
        found = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((found, _IPV6_NETWORK_BITS), strict=False))


# ---- admission


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
    trials: int = 0
    """Of these, beyond them, for a moment."""
    answer_s: float = 600.0
    """The longest that an answer keeps a place because there is no room for one more slow reader."""


class Admission:
    """Both gates. One per application."""

    def __init__(self, limits: AdmissionLimits, observer: Observer | None = None) -> None:
        self.limits = limits
        self.closed = False
        self._observer = observer or Observer()
        self._uploads = Shares(limits.uploads)
        places = Shares(limits.requests, line=limits.queue, patience_s=limits.queue_timeout_s, trials=limits.trials)
        self._places = AsyncShares(places, _FULL)
        self.readers = Shares(_READERS * limits.requests)
        """Answers that wait for clients which read them slowly."""

    @property
    def uploads(self) -> int:
        """Requests whose body is being received."""
        return self._uploads.taken

    @property
    def inside(self) -> int:
        """Requests that have a place, or are on trial."""
        return self._places.shares.taken + self._places.shares.trying

    @property
    def queued(self) -> int:
        """Requests that wait for one."""
        return self._places.shares.waiting

    def arrive(self, holder: Holder) -> "RequestLease":
        """Let a request begin. Raises `Overloaded` when there is no room for its upload, or would be no place in the
        line after it, and `NotReady` when the service shuts down."""
        if self.closed:
            self._observer.rejected("not_ready")
            raise NotReady("the service is shutting down")
        # A line that is full is full of whole uploads, which no slow client can do: the body would come for nothing.
        if self._places.shares.would_refuse(holder):
            raise self._refusal()
        room = self._uploads.arrive(holder)
        if room.state is not State.IN_USE:
            raise self._refusal()
        return RequestLease(self, holder, room)

    def would_admit(self, holder: Holder) -> bool:
        """Whether the holder would have a place without waiting."""
        return self._places.shares.fits(holder)

    async def enter(self, holder: Holder) -> Ticket:
        """Wait for a place, or a trial. Raises `Overloaded`."""
        try:
            return await self._places.enter(holder, may_try=True)
        except Overloaded:
            raise self._refusal() from None

    def end_trial(self, trial: Ticket) -> Ticket:
        """The place that a request has from now on in place of its trial, or the ticket with which it waits for one
        (`served`)."""
        return self._places.end_trial(trial)

    async def served(self, place: Ticket) -> None:
        """Wait for a place that has been asked for. Raises `Overloaded`."""
        try:
            await self._places.served(place)
        except Overloaded:
            raise self._refusal() from None

    async def enter_again(self, holder: Holder) -> Ticket:
        """Wait for a place to go on with an answer that has begun: such a one is not refused."""
        while True:
            with contextlib.suppress(Overloaded):
                return await self._places.enter(holder)
            await asyncio.sleep(_RETRY_S)

    def release(self, room: Ticket, place: Ticket | None = None) -> None:
        """Give back the room of an upload, and a place, which the next in line has at once. More than once is as good
        as once."""
        self._uploads.leave(room)
        if place is not None:
            self._places.leave(place)

    def _refusal(self) -> Overloaded:
        self._observer.rejected("overloaded")
        return Overloaded(_FULL)


class TrialOver(Exception):
    """Work on trial has taken too long."""


class RequestLease:
    """What one request holds: room for its upload, then a place.

    A place is for computing, and a client that reads its answer more slowly than it is made would hold one for as long
    as it likes. So the place is lent to others while the answer waits for its client, and taken back before more of the
    answer is made. Of answers that wait so there may be twice as many as places: each holds its upload, what is made
    and not sent, and perhaps a decoder.
    """

    def __init__(self, admission: Admission, holder: Holder, room: Ticket) -> None:
        self._admission, self._holder, self._room = admission, holder, room
        self._place: Ticket | None = None
        self._reading: Ticket | None = None
        """While the place is lent."""
        self._patience_s = _SLOW_S
        """For what is left of the answer."""
        self._timer: asyncio.TimerHandle | None = None
        self._cut_at: float | None = None
        self._at_end: list[Callable[[], None]] = []

    def at_end(self, call: Callable[[], None]) -> None:
        """Have a call made when the answer has been sent, or will not be."""
        self._at_end.append(call)

    @property
    def on_trial(self) -> bool:
        """Whether what the request begins now may be dropped."""
        return self._place is not None and self._place.state is State.ON_TRIAL

    async def take_place(self, request: Request) -> None:
        """Exchange the room for a place, which may mean to wait. Raises `Overloaded` and `ClientDisconnect`."""
        self._admission.release(self._room)

        async def enter() -> None:
            # Stored here, so that a place that comes in the moment in which the wait ends is given back, too.
            self._place = await self._admission.enter(self._holder)

        if self._admission.would_admit(self._holder):  # as usual; two tasks and a watch of the socket would be much
            await enter()
        else:
            await self._wait(request, enter())

    async def try_out(self, work: Awaitable[_T]) -> _T:
        """The result of work on trial. Raises `TrialOver` if that takes long and there is no place for it then."""
        trial = self._place

        def end() -> None:
            if trial is not None and self._place is trial:
                self._place = self._admission.end_trial(trial)
                if not self._place.served:
                    interruption.interrupt(TrialOver())

        with Interruption() as interruption:
            alarm = asyncio.get_running_loop().call_later(_TRIAL_S, end)
            try:
                return await work
            finally:
                alarm.cancel()

    async def keep_place(self, request: Request) -> None:
        """Wait for the place that was asked for when the trial was over. Raises as `take_place`."""
        if self._place is not None:
            await self._wait(request, self._admission.served(self._place))

    async def _wait(self, request: Request, served: Awaitable[None]) -> None:
        await while_connected(request, served, self._admission.limits.queue_timeout_s + _MARGIN_S)

    async def send(self, scope: Scope, send: Send, message: Message) -> None:
        """Send a part of the answer. The place is lent while that waits for the client."""
        if len(message.get("body", b"")) > _LARGE_BYTES and not message.get("more_body", False):
            # A server takes a body whole, however long, and waits before the next: the answer ends when it is read.
            await self._send(scope, send, {**message, "more_body": True})
            message = {"type": message["type"], "body": b"", "more_body": False}
        await self._send(scope, send, message)
        if self._reading is not None and message.get("more_body", False):
            self._place = await self._admission.enter_again(self._holder)
            self._end_reading()

    async def _send(self, scope: Scope, send: Send, message: Message) -> None:
        if self._place is None:
            await send(message)
            return
        loop = asyncio.get_running_loop()
        started = loop.time()
        abort = scope.get("extensions", {}).get(ABORT)
        self._timer = loop.call_later(max(0.0, self._patience_s), self._lend, loop, abort)
        try:
            await send(message)
        finally:
            self._timer.cancel()
            self._patience_s -= loop.time() - started

    def _lend(self, loop: asyncio.AbstractEventLoop, abort: Callable[[], None] | None) -> None:
        """The client has let the answer wait: make room for others, or, if too many are as slow, give it so long."""
        if self._place is None:
            return
        reading = self._admission.readers.arrive(self._holder)
        if reading.state is State.IN_USE:
            self._reading = reading
            self._admission.release(self._room, self._place)
            self._place = None
            return
        self._cut_at = self._cut_at or loop.time() + self._admission.limits.answer_s
        if loop.time() >= self._cut_at and abort is not None:
            log.info("answer cut short: this client, like many others, reads too slowly")
            abort()
            return
        self._timer = loop.call_later(_RETRY_S, self._lend, loop, abort)

    def _end_reading(self) -> None:
        if self._reading is not None:
            self._admission.readers.leave(self._reading)
            self._reading = None

    def end(self) -> None:
        """Give everything back, however the request ended."""
        self._end_reading()
        for call in self._at_end:
            call()
        self._admission.release(self._room, self._place)


def lease_of(scope: Scope) -> RequestLease:
    """What the request holds. Raises RuntimeError for one that has not passed admission."""
    lease = context_of(scope).lease
    if lease is None:
        raise RuntimeError("what computes has to pass admission: see PATHS in app.api.admission")
    return lease


async def with_place(request: Request, work: Callable[[], Awaitable[_T]], timeout_s: float) -> _T:
    """The result of `work`, which is begun when the request may compute, and once more if it was on trial for too long.
    To be called when the body has been read.

    Raises `Overloaded` when the line is full or the wait too long, and as `while_connected`.
    """
    lease = lease_of(request.scope)
    await lease.take_place(request)
    if lease.on_trial:
        try:
            return await lease.try_out(while_connected(request, work(), timeout_s))
        except TrialOver:
            await lease.keep_place(request)
    return await while_connected(request, work(), timeout_s)


async def while_connected(request: Request, work: Awaitable[_T], timeout_s: float) -> _T:
    """The result of `work`, which is cancelled when the client goes away or time is up.

    To be called when the body has been read. Raises `ClientDisconnect`, `DeadlineExceeded`, or what `work` raises.
    """
    loop, timers = asyncio.get_running_loop(), list[asyncio.TimerHandle]()
    watching: list[asyncio.Task[None]] = []

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        interruption.interrupt(ClientDisconnect())

    def begin_to_watch() -> None:
        watching.append(loop.create_task(watch()))
        late = DeadlineExceeded(f"the request took longer than {timeout_s:g} s")
        timers.append(loop.call_later(max(0.0, timeout_s - _UNWATCHED_S), interruption.interrupt, late))

    with Interruption() as interruption:
        timers.append(loop.call_later(min(_UNWATCHED_S, timeout_s), begin_to_watch))
        try:
            return await work
        finally:
            for timer in timers:
                timer.cancel()
            for task in watching:
                task.cancel()
                with contextlib.suppress(BaseException):
                    await asyncio.wait({task})
