"""An early answer reaches its client, as pure ASGI.

Many clients send their whole body before they look for an answer. Closing a connection with bytes unread makes the
system reset it, and a reset throws away the answer that was on its way: such clients see a broken connection in the
place of a 503. So an answer that begins before the body has come to its end is sent whole but for ASGI's last message,
which would close the connection; then the rest of the body is read and thrown away, within bounds of bytes, time and
number; then the connection ends.

Clients that look sooner have their answer at once: it says how long it is, and that the connection closes.
"""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_MOST_AT_A_TIME = 256
"""Connections that linger: a quarter of the descriptors that a process usually may have. One more is just closed."""


@dataclass(frozen=True, slots=True)
class LingerLimits:
    """How much of a body that nobody wants is read."""

    seconds: float
    bytes: int
    connections: int = _MOST_AT_A_TIME


class LingerMiddleware:
    """Outermost: what it reads has been given up by everything within."""

    def __init__(self, app: ASGIApp, limits: LingerLimits) -> None:
        self._app, self._limits = app, limits
        self._lingering = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: after an early refusal reads the rest of the body, so that the client gets to hear it."""
        if scope["type"] != "http" or not _announces_body(scope["headers"]):
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send)
        await self._app(scope, exchange.receive, exchange.send)
        if exchange.last is None:
            return
        if self._lingering < self._limits.connections:
            self._lingering += 1
            try:
                await self._drain(exchange)
            finally:
                self._lingering -= 1
        await send(exchange.last)

    async def _drain(self, exchange: "_Exchange") -> None:
        """Read on until the body ends, its client is gone, or a bound is reached."""
        left, until = self._limits.bytes, time.monotonic() + self._limits.seconds
        while not exchange.body_ended and left > 0 and (wait := until - time.monotonic()) > 0:
            try:
                message = await asyncio.wait_for(exchange.receive(), wait)
            except asyncio.TimeoutError:
                return
            left -= len(message.get("body", b""))


class _Exchange:
    """One request and its answer: how far the body has come, and the message that would end the answer too soon."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.body_ended = False
        self.last: Message | None = None
        self._receive, self._send = receive, send
        # RFC 9112, 6.1: with both, somebody on the way may have seen another request begin within this body.
        self._ambiguous = _names(scope["headers"]) >= {b"content-length", b"transfer-encoding"}

    async def receive(self) -> Message:
        """ASGI's `receive`, which remembers whether the body has come to its end."""
        message = await self._receive()
        self.body_ended |= message["type"] != "http.request" or not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """As ASGI's, but that the last message of an early answer is kept."""
        if message["type"] == "http.response.start" and (self._ambiguous or not self.body_ended):
            MutableHeaders(scope=message)["Connection"] = "close"
        elif message["type"] == "http.response.body" and not message.get("more_body", False) and not self.body_ended:
            self.last = {"type": "http.response.body", "body": b"", "more_body": False}
            message = {**message, "more_body": True}
        await self._send(message)


def _announces_body(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip() != b"0") for name, value in headers
    )


def _names(headers: Iterable[tuple[bytes, bytes]]) -> set[bytes]:
    return {name for name, _ in headers}
