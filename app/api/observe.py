"""What happened, as pure ASGI: a log line and metrics for each request. Never audio, never keys."""

import time

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.metrics import Metrics
from app.api.paths import treatment_of

log = structlog.get_logger("app.request")
_CLIENT_GONE = 499
"""nginx's status for a client that left before its answer; only logs and metrics have it."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class ObserveMiddleware:
    """Outermost but for the request id."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: logs and counts each request when its answer has gone out."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = _CLIENT_GONE
        sent = 0

        async def watch(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "http.response.body":
                sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            self._tell(scope, status, sent, started)

    def _tell(self, scope: Scope, status: int, sent: int, started: float) -> None:
        # The route's pattern, not the path: a client must not be able to make labels.
        route = scope.get("route")
        path = getattr(route, "path", None) or ("static" if status < 400 else "other")
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        self._metrics.observe_request(method, path, status, started)
        level = log.debug if treatment_of(scope["path"]).quiet else log.info
        milliseconds = round((time.perf_counter() - started) * 1000)
        level("request", method=method, path=scope["path"][:200], status=status, duration_ms=milliseconds, bytes=sent)
