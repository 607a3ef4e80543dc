"""Who may come in, as pure ASGI: API keys, and how often one client may ask.

Keys are compared in constant time. `Authorization: Bearer KEY` or `X-API-Key: KEY`; a WebSocket, for which browsers
send no headers, may carry it as `api_key` in the query, or, as OpenAI's clients do it, in the name of a subprotocol.
Where several are sent, as by clients behind a proxy that has one of its own, one right key is enough.
"""

import hashlib
import hmac
from collections.abc import Sequence
from urllib.parse import parse_qs

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.errors import TooManyRequests, Unauthorized, refuse
from app.api.paths import treatment_of
from app.observe import Observer
from app.vad.errors import VadError

_CLIENT_KEY = "vad.client"
_KEY_PROTOCOL = "openai-insecure-api-key."
_MOST_KEYS = 8
"""Of one request that are looked at."""


def client_of(scope: Scope) -> str:
    """Who asks: the digest of the key, else the address."""
    return str(scope.get(_CLIENT_KEY) or _address(scope))


class AccessMiddleware:
    """Guards everything that costs something, and `/metrics` when asked to; health, page and documentation are open."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: Sequence[str],
        rate_limit: str,
        guard_metrics: bool,
        observer: Observer,
    ) -> None:
        """`rate_limit`: such as `60/minute`; empty: none. Raises ValueError for one that cannot be read."""
        self._app = app
        self._digests = [_digest(key) for key in keys]
        self._guard_metrics = guard_metrics
        self._limit: RateLimitItem | None = parse(rate_limit) if rate_limit else None
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._observer = observer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: passes on who may come in, and answers everybody else."""
        if scope["type"] in ("http", "websocket") and self._needs_key(scope["path"]):
            try:
                self._check(scope)
            except VadError as error:
                await refuse(error, scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _needs_key(self, path: str) -> bool:
        return treatment_of(path).needs_key or (self._guard_metrics and path.startswith("/metrics"))

    def _check(self, scope: Scope) -> None:
        if self._digests:
            given = [_digest(key) for key in _given_keys(scope)]
            # All are compared with all, so that time does not tell which one matched.
            right = [each for each in given if sum(hmac.compare_digest(each, digest) for digest in self._digests)]
            if not right:
                self._observer.rejected("unauthorized")
                raise Unauthorized("send a valid key as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'")
            scope[_CLIENT_KEY] = right[0][:16]
        if self._limit is not None and not self._limiter.hit(self._limit, client_of(scope)):
            self._observer.rejected("rate_limited")
            raise TooManyRequests(f"more than {self._limit}")


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _given_keys(scope: Scope) -> list[str]:
    headers = Headers(scope=scope)
    schemes = [value.partition(" ") for value in headers.getlist("authorization")]
    keys = [token.strip() for scheme, _, token in schemes if scheme.lower() == "bearer"]
    keys += headers.getlist("x-api-key")
    if scope["type"] == "websocket":
        query: str = scope.get("query_string", b"").decode(errors="replace")
        keys += parse_qs(query).get("api_key", [])
        offered: Sequence[str] = scope.get("subprotocols", ())
        keys += [name.removeprefix(_KEY_PROTOCOL) for name in offered if name.startswith(_KEY_PROTOCOL)]
    return keys[:_MOST_KEYS]


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else "unknown"
