"""Request ids, as pure ASGI: taken from `X-Request-ID` when sane, else made; always answered; bound to the log."""

import re
import secrets

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SANE = re.compile(r"[A-Za-z0-9._-]{1,64}")
_STATE_KEY = "vad.request_id"


def request_id_of(scope: Scope) -> str:
    """The id of the request that `scope` belongs to."""
    return str(scope.get(_STATE_KEY, "-"))


class RequestIdMiddleware:
    """Gives every HTTP request and WebSocket an id."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: takes a sane `X-Request-ID` or makes one, for the answer and for the log."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _SANE.fullmatch(given) else secrets.token_hex(8)
        scope[_STATE_KEY] = request_id

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            await self._app(scope, receive, send_with_id)
