"""Connections as uvicorn keeps them, with the bounds that it leaves to a proxy: on time, on crumbs, and on peers that
take nothing. Every answer that is made here is a problem document, as the application's are.

A connection is always waiting for something, and each wait has its timer: for the first byte of a head, for the rest of
the head, for the body (the application's), for the peer to take the answer, for the peer to go.
"""

import asyncio
import json
import secrets
from http import HTTPStatus
from typing import Any

import h11
import structlog
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import HeaderLineTooLong, RequestLineTooLong, TooManyHeaders

log = structlog.get_logger(__name__)

_HEAD_S = 10.0
"""For a head, from its first byte on: it is one packet, or a few."""
_LINGER_S = 3.0
"""For a peer to take the close frame or a refusal, and to close in turn."""
_LINGER_BYTES = 4 << 20
"""Thrown away meanwhile of what it still sends."""
_STALL_S = 60.0
"""For a peer to take some of an answer; nginx gives as long."""
_MANY_CHUNKS, _CRUMB_BYTES = 4_096, 32
"""So many pieces of a body that are smaller than this in the mean are refused: each costs h11 as much as a large one.
Speech that is sent as it is spoken, 20 ms at a time, has 40 bytes and more even as Opus."""


class _Connection(h11.Connection):
    """h11's, which takes a body of crumbs for an error."""

    def __init__(self, max_head_bytes: int) -> None:
        super().__init__(h11.SERVER, max_head_bytes)
        self._pieces = self._bytes = 0

    def next_event(self) -> Any:
        """h11's next event, unless a body comes in too many crumbs."""
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._pieces = self._bytes = 0
        elif isinstance(event, h11.Data):
            self._pieces += 1
            self._bytes += len(event.data)
            if self._pieces >= _MANY_CHUNKS and self._bytes < self._pieces * _CRUMB_BYTES:
                raise h11.RemoteProtocolError(
                    f"the body comes in pieces of less than {_CRUMB_BYTES} bytes", error_status_hint=400
                )
        return event


class HttpConnection(H11Protocol):
    """uvicorn's over h11, which bounds the size of a request's head."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn = _Connection(self.config.h11_max_incomplete_event_size or 0)
        self._head_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._upgraded = False
        self._given_up = False
        self._thrown_away = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected, and has to send something."""
        super().connection_made(transport)  # type: ignore[arg-type]
        # The same wait, and the same timer, as for the next request on a connection that is kept.
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers of a connection that has ended."""
        self._cancel(self._head_timer)
        self._cancel(self._stall_timer)
        super().connection_lost(exc)
        self._unset_keepalive_if_required()  # uvicorn forgets it where there was an error

    def data_received(self, data: bytes) -> None:
        """Bytes of the client's."""
        if self._given_up:
            self._thrown_away += len(data)
            if self._thrown_away > _LINGER_BYTES:
                self.transport.close()
            return
        super().data_received(data)
        self._watch_head()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand the connection over."""
        self._upgraded = True
        super().handle_websocket_upgrade(event)

    def send_400_response(self, msg: str) -> None:
        """What came is not HTTP, or not as it is taken here."""
        self._give_up(HTTPStatus.BAD_REQUEST, "bad_request", "the request is malformed, too large, or sent in crumbs")

    def pause_writing(self) -> None:
        """The client takes its answer more slowly than it is made."""
        super().pause_writing()
        self._stall_timer = self.loop.call_later(_STALL_S, self.transport.abort)

    def resume_writing(self) -> None:
        """It has taken some."""
        super().resume_writing()
        self._cancel(self._stall_timer)

    def _watch_head(self) -> None:
        """A head that has begun has to end: the timer is set once, and no further byte sets it anew."""
        begun = self.conn.their_state is h11.IDLE and not self._upgraded and not self.transport.is_closing()
        if not begun:
            self._cancel(self._head_timer)
            self._head_timer = None
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(_HEAD_S, self._head_is_late)

    def _head_is_late(self) -> None:
        self._give_up(HTTPStatus.REQUEST_TIMEOUT, "request_timeout", f"the request's head took over {_HEAD_S:g} s")

    def _give_up(self, status: HTTPStatus, code: str, detail: str) -> None:
        """Refuse, unless an answer has begun, and close when the client has had time to read it."""
        if self._given_up or self.transport.is_closing():
            return
        self._given_up = True
        self._cancel(self._head_timer)
        self._unset_keepalive_if_required()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.write(refusal(status, code, detail))
        if self.cycle is not None and not self.cycle.response_complete:
            # What still works for this request is told that its client has gone.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.flow.resume_reading()  # to throw away, and to see it go
        self.loop.call_later(_LINGER_S, self.transport.close)

    @staticmethod
    def _cancel(timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()


class LiveConnection(WebSocketsSansIOProtocol):
    """uvicorn's for WebSockets. It waits only so long for a peer that takes nothing any more once the connection is to
    end, answers handshakes that cannot be read, and takes nobody for dead whom it does not listen to."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._heard_at = 0.0
        self._given_up = False

    def data_received(self, data: bytes) -> None:
        """Bytes of the client's."""
        if self._given_up:
            return
        self._heard_at = self.loop.time()
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            self._refuse_handshake(self.conn.handshake_exc)

    def keepalive_timeout(self) -> None:
        """No pong has come in time. It may stand behind audio that has not been read, because a stream that has enough
        waiting is not read from: then, and while anything at all comes, the peer lives."""
        if self.read_paused or self._heard_at > self.ping_sent_at:
            self.pong_timer = self.pending_ping_payload = None
            self.schedule_ping()
            return
        super().keepalive_timeout()

    async def run_asgi(self) -> None:
        """Until the application has done with the connection."""
        await super().run_asgi()
        self.loop.call_later(_LINGER_S, self.transport.abort)

    def shutdown(self) -> None:
        """Close because the service stops, and do not wait for a peer that never answers."""
        super().shutdown()
        self.loop.call_later(_LINGER_S, self.transport.abort)

    def _refuse_handshake(self, error: Exception) -> None:
        self._given_up = True
        if isinstance(error, RequestLineTooLong):
            status, code = HTTPStatus.REQUEST_URI_TOO_LONG, "uri_too_long"
        elif isinstance(error, (HeaderLineTooLong, TooManyHeaders)):
            status, code = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large"
        else:
            status, code = HTTPStatus.BAD_REQUEST, "bad_request"
        self.conn.data_to_send()  # the library's own answer, which is plain text or none
        self.transport.write(refusal(status, code, "the handshake cannot be read: too large, or with a body"))
        self.loop.call_later(_LINGER_S, self.transport.close)


def refusal(status: HTTPStatus, code: str, detail: str) -> bytes:
    """A whole answer that closes its connection, where no application has been asked."""
    request_id = secrets.token_hex(8)
    # Never what the client sent: only which kind of thing was wrong with it.
    log.info("connection refused", status=status.value, code=code, request_id=request_id)
    body = json.dumps({
        "type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail, "code": code,
        "request_id": request_id,
    }).encode()  # fmt: skip
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/problem+json\r\n"
        f"Content-Length: {len(body)}\r\nX-Request-ID: {request_id}\r\nX-Content-Type-Options: nosniff\r\n"
        "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
