"""Admission, as pure ASGI: whether there is room is decided before a byte of the body is read.

At most `inside` requests run and `queued` wait. The next one is answered 503 with `Retry-After` and `Connection: close`
at once, so that its client does not send a large body first.
"""

import asyncio
import random

from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.errors import problem_of, problem_response
from app.api.paths import costs
from app.api.request_id import request_id_of
from app.observe import Observer
from app.vad.errors import NotReady, Overloaded, VadError


class Gate:
    """Counts who is inside and who waits. One per application."""

    def __init__(self, inside: int, queued: int, observer: Observer | None = None) -> None:
        self.inside_limit = inside
        self.queue_limit = queued
        self.inside = 0
        self.queued = 0
        self.closed = False
        self._observer = observer or Observer()
        self._permits = asyncio.Semaphore(inside)

    async def enter(self) -> None:
        """Wait for room inside. Raises `Overloaded` when too many wait already, `NotReady` when closed."""
        if self.closed:
            self._observer.rejected("not_ready")
            raise NotReady("the service is shutting down")
        if self._permits.locked() and self.queued >= self.queue_limit:
            self._observer.rejected("overloaded")
            raise Overloaded("the service is full; please try again in a moment")
        self.queued += 1
        try:
            await self._permits.acquire()
        finally:
            self.queued -= 1
        self.inside += 1

    def leave(self) -> None:
        """Give the room back."""
        self.inside -= 1
        self._permits.release()


class AdmissionMiddleware:
    """Lets requests that cost something through the gate, one by one. Probes, metrics and the documentation answer when
    the service is full."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self._app = app
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or not costs(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            await self._gate.enter()
        except VadError as error:
            await self._refuse(error, scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            self._gate.leave()

    async def _refuse(self, error: VadError, scope: Scope, receive: Receive, send: Send) -> None:
        # Spread over some seconds, so that the refused do not all come back at once.
        headers = {"Retry-After": str(random.randint(1, 5)), "Connection": "close"}  # noqa: S311
        await problem_response(problem_of(error, request_id_of(scope)), headers)(scope, receive, send)
