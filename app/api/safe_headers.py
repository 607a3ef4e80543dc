"""What every answer says to browsers and caches, as pure ASGI: take it for what it is called, and keep no copy of what
somebody's audio holds."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_MAY_BE_KEPT = "/ui/"
"""The page's files, which say for themselves how long."""


class SafeHeadersMiddleware:
    """Adds headers where the answer has none of that name."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: adds the headers that keep browsers from guessing and framing."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                headers = MutableHeaders(scope=message)
                headers.setdefault("X-Content-Type-Options", "nosniff")
                if not scope["path"].startswith(_MAY_BE_KEPT):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, send_with_headers)
