"""Everything between the server and the routes, as one pure ASGI application. What happens to a request, in order:

1. A span begins, where traces are asked for (`with_traces`, outermost).
2. The request gets an id, from `X-Request-ID` where that is sane, and a context (`app.api.admission`).
3. `Host` and `Origin` are checked: 421 for a name that is not ours, 403 for a stream opened by a foreign page.
4. CORS, where origins are allowed: preflights are answered, and those pages can read every refusal from here on.
5. The key and the rate are checked: 401, 429.
6. Admission: 503 where there is no room for the body, before a byte of it is read.
7. The routes answer. An exception that none of their handlers knows becomes a 500.

One wrapper around `send` adds the id and what browsers and caches have to know, and notes status and size. When the
answer has gone out, a line is logged and metrics are counted: never audio, never keys.

An answer may come before its request's body has. Many clients send their whole body before they read an answer,
and closing a connection with bytes unread makes the system reset it, which throws away the answer that was on its way:
such clients see a broken connection in the place of a 503. So the rest of the body is read and thrown away, within
bounds: of a small one before the answer, and the connection goes on; of a large one after it, and the connection ends.
Clients that read sooner have their answer at once: it says how long it is, and that the connection closes.

`app.api.admission` says which paths need no key, no admission and no line.
"""

import asyncio
import hashlib
import hmac
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from urllib.parse import parse_qs, urlsplit

import structlog
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from app import __version__
from app.api.admission import (
    METRICS,
    QUIET_PATHS,
    Admission,
    RequestContext,
    address_name,
    context_of,
    policy_of,
    route_path,
)
from app.api.errors import (
    CLIENT_GONE,
    ForeignOrigin,
    TooManyRequests,
    Unauthorized,
    UnknownHost,
    problem_of,
    problem_response,
    refuse,
)
from app.api.metrics import Metrics
from app.engine.shares import Holder
from app.extras import how_to_install
from app.vad.errors import VadError

log = structlog.get_logger("app.request")

_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_ANSWER_BEGINS = frozenset({"http.response.start", "websocket.http.response.start"})
_KEY_PROTOCOL = "openai-insecure-api-key."
_WRONG_KEYS = "wrong keys"
"""Of an address are counted apart from its requests: whoever guesses slows down its own guesses, and nobody who has a
key, from whichever address."""
_MOST_KEYS = 8
"""Of one request that are compared."""
_MOST_LINGERING = 256
"""Connections whose bodies are thrown away at a time: a quarter of the descriptors that a process usually may have. One
more is just closed."""
_SMALL_BODY_BYTES, _SMALL_BODY_S = 64 << 10, 0.5
"""Of a body that is read before its refusal is sent: a few packets, which are on their way when their head is here."""
_MAY_BE_CACHED = "/ui/"
"""The page's files, which say for themselves how long."""
_DEFAULT_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}
_TRACES_ASKED_BY = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


@dataclass(frozen=True, slots=True)
class AccessRules:
    """Who may come in."""

    keys: Sequence[str] = ()
    """None: everybody."""
    rate_limit: str = ""
    """Of one client, such as `60/minute`; empty: none."""
    guard_metrics: bool = False
    """Whether `/metrics` is closed as well."""
    hosts: Sequence[str] = ()
    """Our names, without ports; `*.example.com` for all below it, none for any."""
    origins: Sequence[str] = ()
    """Whose pages may read answers and open streams, beside our own: as CORS has them."""
    exposed_headers: Sequence[str] = ()
    """What these pages may read of an answer beside its body."""


@dataclass(frozen=True, slots=True)
class LingerLimits:
    """How much of a refused body is read and thrown away."""

    seconds: float
    bytes: int


class Middleware:
    """See the module's head. Raises ValueError for a rate limit that cannot be read."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        admission: Admission,
        metrics: Metrics,
        rules: AccessRules,
        linger: LingerLimits,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_end`: called after each request that passed admission, when nothing of it is left."""
        self._app, self._on_end = app, on_end
        self._admission, self._metrics, self._linger = admission, metrics, linger
        self._digests = [_digest(key) for key in rules.keys]
        self._guard_metrics = rules.guard_metrics
        self._hit: Callable[..., bool] | None = None
        self._rate = ""
        if rules.rate_limit:
            self._hit, self._rate = _rate_limiter(rules.rate_limit)
        self._hosts = [host.lower() for host in rules.hosts]
        self._origins = {origin.lower().rstrip("/") for origin in rules.origins}
        self._behind_hosts: ASGIApp = self._admit
        if rules.origins:
            self._behind_hosts = CORSMiddleware(
                self._admit,
                allow_origins=rules.origins,
                allow_methods=["GET", "POST", "PUT"],
                allow_headers=["Authorization", "Content-Disposition", "Content-Type", "X-API-Key", "X-Request-ID"],
                expose_headers=rules.exposed_headers,
            )
        self._lingering = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        started, is_http = time.perf_counter(), scope["type"] == "http"
        method: str = scope.get("method", "")
        if method == "HEAD":  # answered as GET is, of which the server leaves the body out
            scope = {**scope, "method": "GET"}
        headers = dict(reversed(scope["headers"]))  # of several with one name the first counts
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        peer = scope.get("client")
        address = address_name(str(peer[0])) if peer else "unknown"
        context = RequestContext(
            request_id=given if _SANE_ID.fullmatch(given) else os.urandom(8).hex(),
            policy=policy_of(route_path(scope), scope["type"]),
            holder=Holder(address, address),
        )
        context.attach(scope)
        exchange = _Exchange(scope, headers, receive, send)
        with bound_contextvars(request_id=context.request_id):
            try:
                await self._check_host_and_pass(scope, headers, exchange)
            except Exception as error:
                if exchange.begun or not is_http:
                    raise
                answer = problem_response(problem_of(error, context.request_id))
                await answer(scope, receive, exchange.send)
            finally:
                if is_http:
                    self._observe(method, scope, context, exchange, started)
        if exchange.last_message is not None:
            if self._lingering < _MOST_LINGERING:
                self._lingering += 1
                try:
                    await exchange.read_on(self._linger.seconds, self._linger.bytes)
                finally:
                    self._lingering -= 1
            await send(exchange.last_message)

    async def _check_host_and_pass(self, scope: Scope, headers: Mapping[bytes, bytes], exchange: "_Exchange") -> None:
        """Refuse requests that call us by a foreign name, and WebSockets of foreign pages.

        A page whose own name was made to point at this machine (DNS rebinding) is answered nothing. Browsers let any
        page open a WebSocket, and CORS does not hold there. Programs send no `Origin`, and may come.
        """
        try:
            host = headers.get(b"host", b"").decode("latin-1").lower()
            if self._hosts and not context_of(scope).policy.quiet and not self._is_ours(_hostname(host)):
                raise UnknownHost("this service does not answer to this host name (see VAD_ALLOWED_HOSTS)")
            if scope["type"] == "websocket" and b"origin" in headers:
                origin = headers[b"origin"].decode("latin-1").lower()
                if not ("*" in self._origins or origin in self._origins or _is_same_origin(origin, host)):
                    raise ForeignOrigin("pages of this origin may not open live streams here (see VAD_CORS_ORIGINS)")
        except VadError as error:
            await refuse(error, scope, exchange.receive, exchange.send)
            return
        await self._behind_hosts(scope, exchange.receive, exchange.send)

    def _is_ours(self, name: str) -> bool:
        return any(host in (name, "*") or (host.startswith("*.") and name.endswith(host[1:])) for host in self._hosts)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let in who has a key, does not ask too often, and finds room; hold the room until the answer has ended."""
        context = context_of(scope)
        try:
            if not context.policy.open or (self._guard_metrics and route_path(scope) == METRICS):
                self._check_access(scope, context)
            admitted = context.policy.admitted
            if scope["type"] == "http" and (admitted is None or scope["method"] in admitted):
                context.lease = self._admission.arrive(context.holder)
        except VadError as error:
            await refuse(error, scope, receive, send)
            return
        lease = context.lease
        if lease is None:
            await self._app(scope, receive, send)
            return

        async def send_by_lease(message: Message) -> None:
            await lease.send(scope, send, message)

        try:
            await self._app(scope, receive, send_by_lease)
        finally:
            lease.end()
            self._on_end()

    def _check_access(self, scope: Scope, context: RequestContext) -> None:
        if self._digests:
            given = [_digest(key) for key in _given_keys(scope)]
            # All are compared with all, so that the time taken does not show which one matched.
            right = [each for each in given if sum(hmac.compare_digest(each, digest) for digest in self._digests)]
            if not right:
                if given:
                    self._count_request(_WRONG_KEYS, context.holder.address)
                self._metrics.rejected("unauthorized")
                raise Unauthorized("send a valid key as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'")
            context.holder = context.holder._replace(client=right[0][:16])
        self._count_request(context.holder.client)

    def _count_request(self, *name: str) -> None:
        """Count a request of this name. Raises `TooManyRequests`."""
        if self._hit is not None and not self._hit(*name):
            self._metrics.rejected("rate_limited")
            raise TooManyRequests(f"more than {self._rate}")

    def _observe(
        self, method: str, scope: Scope, context: RequestContext, exchange: "_Exchange", started: float
    ) -> None:
        # The route's pattern, not the path: a client must not be able to make labels.
        route = getattr(scope.get("route"), "path", None) or ("static" if exchange.status < 400 else "other")
        method = method if method in _METHODS else "OTHER"
        self._metrics.observe_request(method, route, exchange.status, started)
        (log.debug if context.policy.quiet else log.info)(
            "request",
            method=method,
            path=scope["path"][:200],
            status=exchange.status,
            duration_ms=round((time.perf_counter() - started) * 1000),
            bytes=exchange.sent_bytes,
        )


class _Exchange:
    """One request and its answer as they pass through."""

    def __init__(self, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive, send: Send) -> None:
        self.begun = False
        """Whether an answer has."""
        self.status = CLIENT_GONE
        self.sent_bytes = 0
        self.last_message: Message | None = None
        """What would end the answer while its request's body is still coming."""
        length, chunked = headers.get(b"content-length", b"0").strip(), b"transfer-encoding" in headers
        self.body_ended = scope["type"] != "http" or not (chunked or length != b"0")
        # Who waits for `100 Continue` sends nothing before an answer.
        self._body_is_small = (
            not chunked and length.isdigit() and int(length) <= _SMALL_BODY_BYTES and b"expect" not in headers
        )
        # RFC 9112, 6.1: with both, a proxy on the way may have seen another request begin within this body.
        self._ambiguous = chunked and b"content-length" in headers
        self._added = [(b"x-request-id", context_of(scope).request_id.encode())]
        self._may_be_cached = route_path(scope).startswith(_MAY_BE_CACHED)
        self._receive, self._send = receive, send

    @property
    def receive(self) -> Receive:
        """What the application is to call for the rest of the body."""
        return self._receive if self.body_ended else self._receive_body

    async def _receive_body(self) -> Message:
        message = await self._receive()
        self.body_ended |= message["type"] != "http.request" or not message.get("more_body", False)
        return message

    async def read_on(self, seconds: float, most_bytes: int) -> None:
        """Read and throw away until the body ends, its client is gone, or a bound is reached."""
        left, until = most_bytes, time.monotonic() + seconds
        while not self.body_ended and left > 0 and (wait := until - time.monotonic()) > 0:
            try:
                message = await asyncio.wait_for(self.receive(), wait)
            except asyncio.TimeoutError:
                return
            left -= len(message.get("body", b""))

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.body":
            self.sent_bytes += len(message.get("body", b""))
            if not self.body_ended and not message.get("more_body", False):
                self.last_message = {"type": kind, "body": b"", "more_body": False}
                message = {**message, "more_body": True}
        elif kind in _ANSWER_BEGINS:
            self.begun, self.status = True, message["status"]
            if not self.body_ended and self._body_is_small:
                await self.read_on(_SMALL_BODY_S, _SMALL_BODY_BYTES)
            headers, added = message.get("headers", ()), self._added
            names = {name for name, _ in headers}
            if b"x-content-type-options" not in names:
                added.append((b"x-content-type-options", b"nosniff"))
            if b"cache-control" not in names and not self._may_be_cached:
                added.append((b"cache-control", b"no-store"))  # no cache may keep what a client's audio holds
            if self._ambiguous or not self.body_ended:
                headers = [header for header in headers if header[0] != b"connection"]
                added.append((b"connection", b"close"))
            message = {**message, "headers": [*headers, *added]}
        await self._send(message)


def _rate_limiter(rate: str) -> tuple[Callable[..., bool], str]:
    """A call that counts a request of whoever is named and says whether it is within the rate; the rate in words."""
    from limits import parse
    from limits.storage import MemoryStorage
    from limits.strategies import MovingWindowRateLimiter

    limit = parse(rate)
    return partial(MovingWindowRateLimiter(MemoryStorage()).hit, limit), str(limit)


def with_traces(app: ASGIApp) -> ASGIApp:
    """`app` in a span for each request and live stream but probes, for who asks for OpenTelemetry's traces by its own
    environment variables and has installed the `[otel]` extra; else `app` itself.

    `OTEL_EXPORTER_OTLP_ENDPOINT` (or `…_TRACES_ENDPOINT`) says where they go, `OTEL_SERVICE_NAME` under which name,
    `OTEL_TRACES_SAMPLER` how many.
    """
    if not any(os.environ.get(name) for name in _TRACES_ASKED_BY):
        return app
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        log.warning(f"tracing is configured but not installed: {how_to_install('otel')}")
        return app
    own = {"service.name": os.environ.get("OTEL_SERVICE_NAME", "fsmn-vad"), "service.version": __version__}
    provider = TracerProvider(resource=Resource.create(own))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    traced: ASGIApp = OpenTelemetryMiddleware(
        app, excluded_urls=",".join(QUIET_PATHS), tracer_provider=provider, exclude_spans=["receive", "send"]
    )
    return traced


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _given_keys(scope: Scope) -> list[str]:
    """`Authorization: Bearer KEY` or `X-API-Key: KEY`. A WebSocket, for which browsers send no headers, may have it as
    `api_key` in the query, or, as OpenAI's clients do it, in the name of a subprotocol. Several may be sent, as by
    clients behind a proxy that has a key of its own."""
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


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_same_origin(origin: str, host: str) -> bool:
    """Whether the page came from the host that is asked now. Not by scheme: a proxy may have taken TLS off."""
    try:
        page = urlsplit(origin)
        port = page.port or _DEFAULT_PORTS.get(page.scheme)
        asked = urlsplit(f"{page.scheme}://{host}")
        return bool(page.hostname) and (page.hostname, port) == (
            asked.hostname,
            asked.port or _DEFAULT_PORTS.get(page.scheme),
        )
    except ValueError:  # a port that is no number
        return False
