"""Connections as uvicorn keeps them, with the bounds that it leaves to a proxy: on time, on size, on crumbs, and on
peers that read nothing.

A connection always waits for something, and each wait has its timer: for the first byte of a head, for the rest of the
head, for the body (`app.api.uploads`), for the peer to read the answer, for the peer to close. Every answer made here
is a problem document, as the application's are.

`fsmn-vad serve` uses both classes. `uvicorn app.main:app --http app.server.connections:HttpConnection` gets the same
bounds, because they stand in the classes and `HttpConnection` names the one for WebSockets. Both use attributes of
uvicorn, h11 and websockets that these do not document: `pyproject.toml` caps them to versions that were tried, and
`tests/api/test_under_uvicorn.py` tells which attribute has moved.
"""

import asyncio
import json
import logging
import secrets
from collections.abc import Callable, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any

import h11
import structlog
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import HeaderLineTooLong, RequestLineTooLong, TooManyHeaders
from websockets.frames import apply_mask  # type: ignore[attr-defined]
from websockets.http11 import Request
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from app.api.admission import ABORT, DIRECT
from app.engine.shares import Ticket
from app.server.crowd import Crowd
from app.server.frames import MESSAGE_BYTES, SMALL_BYTES, TURN_S, FrameBudget, frame_at, text_frame

log = structlog.get_logger(__name__)
_WEBSOCKET_LOG = logging.getLogger("uvicorn.websocket")
# Not uvicorn's lines for each WebSocket: they show the query, where a key may stand, and the service has its own. Nor
# the one for every handshake that is refused with a status; nor a traceback for text that is no UTF-8, which any
# stranger can send.
_NOT_LOGGED = ("ASGI callable returned without completing", "Invalid UTF-8 sequence received from client")
_WEBSOCKET_LOG.setLevel(logging.WARNING)
_WEBSOCKET_LOG.addFilter(lambda record: not str(record.msg).startswith(_NOT_LOGGED))

_HEAD_BYTES = 64 << 10
"""A request's head: eight times what browsers send at most."""
_MOST_HEADERS = 256
"""Of one request; each costs as much to read as a hundred bytes of one that is long. Browsers send some twenty."""
_HEAD_S = 10.0
"""For a head, from its first byte on: it is one packet, or a few."""
_LINGER_S = 3.0
"""For a peer to read the close frame or a refusal, and to close in turn."""
_LINGER_BYTES = 4 << 20
"""Most that is read and thrown away meanwhile."""
_STALL_S = 60.0
"""For a peer to read some of an answer; nginx gives as long."""
_LEAST_READ_BYTES_PER_S, _SLOW_READ_S = 10_000, 15.0
"""In the mean over the time in which an answer has waited for its peer, from so many seconds on: as for uploads."""
_MANY_CHUNKS, _CRUMB_BYTES = 4_096, 32
"""A body of so many pieces that are smaller than this on average is refused: each piece costs h11 as much as a large
one. Speech that is sent as it is spoken, 20 ms at a time, has 40 bytes and more even as Opus."""
_SMALL_PIECE_BYTES, _TURN_BYTES = 1 << 10, 8 << 10
"""Of a body in pieces that are smaller than this so much is read in one turn of the event loop: some milliseconds."""
_TEXT, _BINARY, _NO_MASK = 0x81, 0x82, bytes(4)
"""First bytes of frames that are whole messages, and the mask that changes nothing (RFC 6455, 5.2)."""
_WHOLE = (_BINARY, _TEXT)
_MOST_QUEUED = 64
"""Messages that wait for the application before no further frame is read: a packet's worth of a chunk each 20 ms."""
_POLICY = 1008
"""The close code of a peer that does what is not allowed here (RFC 6455, 7.4.1)."""


class _Connection(h11.Connection):
    """h11's connection. Treats a body of crumbs as a protocol error, and gives an answer's head out together with the
    beginning of its body: one packet, and one call of the system, where there were two."""

    def __init__(self) -> None:
        super().__init__(h11.SERVER, _HEAD_BYTES)
        self._pieces = self._bytes = 0
        self._chunked = False
        self._head = b""
        """Of an answer whose body has not begun."""

    @property
    def in_small_pieces(self) -> bool:
        """Whether the body that comes is in many small pieces, as far as that is known."""
        return self._chunked and self._bytes <= self._pieces * _SMALL_PIECE_BYTES

    def next_event(self) -> Any:
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._pieces = self._bytes = 0
            self._chunked = any(name == b"transfer-encoding" for name, _ in event.headers)
            if len(event.headers) > _MOST_HEADERS:
                raise h11.RemoteProtocolError(f"more than {_MOST_HEADERS} headers", error_status_hint=431)
        elif isinstance(event, h11.Data):
            self._pieces += 1
            self._bytes += len(event.data)
            if self._pieces >= _MANY_CHUNKS and self._bytes < self._pieces * _CRUMB_BYTES:
                raise h11.RemoteProtocolError(
                    f"the body comes in pieces of less than {_CRUMB_BYTES} bytes", error_status_hint=400
                )
        return event

    def send(self, event: Any) -> Any:
        data = super().send(event)
        if isinstance(event, h11.Response) and any(name == b"content-length" for name, _ in event.headers):
            # Of an answer whose length is known the body follows at once. Of others it may take a while.
            self._head = data or b""
            return b""
        if self._head:
            data, self._head = self._head + (data or b""), b""
        return data


class HttpConnection(H11Protocol):
    """One HTTP connection. Over h11 and not httptools, which bounds no head."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn = self._h11 = _Connection()
        self.ws_protocol_class = WebSocketConnection
        self._head_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._paused_at = self._paused_bytes = 0.0
        self._waited_s = self._read_bytes = 0.0
        """By this peer, while answers waited for it."""
        self._upgraded = False
        self._given_up = False
        self._thrown_away = self._head_lines = 0
        self._head_tail = self._waiting = b""
        """The last bytes of a head that goes on; and what has come and has to wait for the next turn of the loop."""
        self._turn: asyncio.Handle | None = None
        self._crowd = _crowd_of(self.server_state)
        self._ticket: Ticket | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self._ticket = self._crowd.arrive(transport, self.transport.close)
        if self._ticket is None:
            # At once: whoever is told so at leisure takes up what there is too little of.
            self.transport.write(refusal(HTTPStatus.SERVICE_UNAVAILABLE, "overloaded", "too many connections"))
            self.transport.close()
            return
        self._resume_reading, self.flow.resume_reading = self.flow.resume_reading, self._resume  # type: ignore[method-assign]
        # The same wait, and the same timer, as for the next request on a connection that is kept.
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel(self._head_timer)
        self._cancel(self._stall_timer)
        super().connection_lost(exc)
        self._unset_keepalive_if_required()  # uvicorn forgets it where there was an error
        if self._ticket is not None:
            self._crowd.leave(self._ticket)

    def data_received(self, data: bytes) -> None:
        if self._given_up:
            self._thrown_away += len(data)
            if self._thrown_away > _LINGER_BYTES:
                self.transport.close()
            return
        if self._waiting:
            self._waiting += data
            self.transport.pause_reading()
            return
        self._read(data)

    def _read(self, data: bytes) -> None:
        """Read what has come, or, where it may be thousands of pieces, some of it, and the rest in further turns."""
        small, rest = self._h11.in_small_pieces, b""
        if self.conn.their_state is h11.IDLE:
            # Before h11 reads them, which is most of what they cost. A request behind another one in the same packet
            # is found when it is read.
            known = self._head_tail + data
            end = known.find(b"\r\n\r\n") + 1 or len(known) - 3
            self._head_tail = known[-3:]  # the blank line may come in two packets
            self._head_lines += known.count(b"\n", 0, end)
            if self._head_lines > _MOST_HEADERS:
                self._give_up(
                    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                    "headers_too_large",
                    f"more than {_MOST_HEADERS} headers",
                )
                return
            small = len(data) > _TURN_BYTES and b"chunked" in known[:end].lower()
        if small and len(data) > _TURN_BYTES:
            data, rest = data[:_TURN_BYTES], data[_TURN_BYTES:]
        super().data_received(data)
        self._tell_crowd()
        # A head that has begun has to end: the timer is set once, and no further byte sets it anew.
        begun = self.conn.their_state is h11.IDLE and not self._upgraded and not self.transport.is_closing()
        if not begun:
            self._cancel(self._head_timer)
            self._head_timer, self._head_lines, self._head_tail = None, 0, b""
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(
                _HEAD_S,
                self._give_up,
                HTTPStatus.REQUEST_TIMEOUT,
                "request_timeout",
                f"the request's head took over {_HEAD_S:g} s",
            )
        if rest and not (self._given_up or self._upgraded or self.transport.is_closing()):
            self._waiting = rest
            self.transport.pause_reading()
            self._schedule_turn()

    def _schedule_turn(self) -> None:
        """Go on soon, unless the application has enough to do: `_resume` then does."""
        if self._turn is None and not self.flow.read_paused:
            self._turn = self.loop.call_soon(self._take_turn)

    def _take_turn(self) -> None:
        self._turn = None
        data, self._waiting = self._waiting, b""
        if self._given_up or self.transport.is_closing():
            return
        self._read(data)
        if not (self._waiting or self.flow.read_paused or self.transport.is_closing()):
            self.transport.resume_reading()

    def _resume(self) -> None:
        """The application has room for more: of what waits, and else of what comes."""
        if self._waiting and self.flow.read_paused:
            self.flow.read_paused = False
            self._schedule_turn()
        else:
            self._resume_reading()

    def _tell_crowd(self) -> None:
        """Whether a request is under way."""
        if self._ticket is None or self._upgraded:
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self._crowd.work(self._ticket)
            scope: dict[str, Any] = self.scope  # type: ignore[assignment]
            scope.setdefault("extensions", {})[ABORT] = self.transport.abort
        elif not self.transport.is_closing():
            self._crowd.wait(self._ticket, self.transport.close)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._tell_crowd()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._upgraded = True
        super().handle_websocket_upgrade(event)
        connection = self.transport.get_protocol()
        if self._ticket is not None and isinstance(connection, WebSocketConnection):
            self._crowd.work(self._ticket)
            connection.ends_with = partial(self._crowd.leave, self._ticket)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, or not as it is accepted here. uvicorn calls this for every protocol error."""
        self._give_up(HTTPStatus.BAD_REQUEST, "bad_request", "the request is malformed, too large, or sent in crumbs")

    def pause_writing(self) -> None:
        """Time the client, which reads its answer more slowly than it is made."""
        super().pause_writing()
        self._stall_timer = self.loop.call_later(_STALL_S, self.transport.abort)
        self._paused_at, self._paused_bytes = self.loop.time(), self.transport.get_write_buffer_size()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._cancel(self._stall_timer)
        self._waited_s += self.loop.time() - self._paused_at
        self._read_bytes += self._paused_bytes - self.transport.get_write_buffer_size()
        if self._waited_s > _SLOW_READ_S and self._read_bytes < self._waited_s * _LEAST_READ_BYTES_PER_S:
            self.transport.abort()

    def _give_up(self, status: HTTPStatus, code: str, detail: str) -> None:
        """Refuse, unless an answer has begun, and close once the client has had time to read it."""
        if self._given_up or self.transport.is_closing():
            return
        self._given_up = True
        self._cancel(self._head_timer)
        self._unset_keepalive_if_required()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.write(refusal(status, code, detail))
        if self.cycle is not None and not self.cycle.response_complete:
            # Work still under way for this request learns that its client has gone.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._waiting = b""
        self.transport.resume_reading()  # to throw away, and to see it go
        self.loop.call_later(_LINGER_S, self.transport.close)

    @staticmethod
    def _cancel(timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()


class WebSocketConnection(WebSocketsSansIOProtocol):
    """One WebSocket. Ends soon when its peer reads nothing any more, answers handshakes that cannot be read with a
    problem document, and ignores ping timeouts while reading is paused.

    What comes is handed to the library frame by frame. But a message in one frame, as a chunk of audio is, is unpacked
    here, which takes half the time, and offered to the application at once (`app.api.admission.DIRECT`): neither a
    queue nor a task's turn of the event loop stands between a socket and its session. What the application does not
    take it receives as ASGI has it, in order. In turn it may have its messages written at once (`give`).

    Of much that comes at once only so much is read in one turn of the event loop, and nothing more comes from the
    socket until the rest has been. A peer that sends frames beyond its budget (`app.server.frames`) is told so and
    closed.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = _WEBSOCKET_LOG
        # Without extensions: speech hardly shrinks, and unpacking is work that strangers would give us.
        self.conn = ServerProtocol(max_size=MESSAGE_BYTES, logger=self.logger)
        self.ends_with: Callable[[], None] = lambda: None
        """Called when the connection is lost."""
        self.take: Callable[[bytes | str], bool] | None = None
        """The application's: takes a message, or returns False. Called when none waits before it."""
        self._unread = bytearray()
        """What has come and has not been read: frames that wait for their turn, or the beginning of one."""
        self._wanted = 0
        """Bytes of that beginning with which the frame, or its head, is whole."""
        self._frames_wait = False
        self._turn: asyncio.Handle | None = None
        self._budget = FrameBudget(self.loop.time())
        self._pong = b""
        """To the newest ping that came while the peer read nothing: older ones need no answer (RFC 6455, 5.5.3)."""
        self._last_received_at = 0.0
        self._given_up = False
        self._thrown_away = 0

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if not self.close_sent:
            self.scope["extensions"][DIRECT] = self  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.ends_with()

    def data_received(self, data: bytes) -> None:
        if self._given_up:
            self._thrown_away += len(data)
            if self._thrown_away > _LINGER_BYTES and not self.transport.is_closing():
                self.transport.pause_reading()  # to close would be to reset, which throws the close frame away, too
            return
        now = self._last_received_at = self.loop.time()
        if not self.handshake_initiated:  # uvicorn hands over the head whole, and nothing behind it
            super().data_received(data)
            if self.conn.handshake_exc is not None:
                self._refuse_handshake(self.conn.handshake_exc)
            return
        if self._frames_wait:  # uvicorn has resumed reading, as it does once when it closes
            self._unread += data
            self.transport.pause_reading()
            return
        if self._unread:
            self._unread += data
            if len(self._unread) < self._wanted:
                return
            data, self._unread = bytes(self._unread), bytearray()
        self._read_frames(data, now)

    def _read_frames(self, data: bytes, began: float) -> None:
        """Read frames for one turn; what is left is kept for the next."""
        start = 0
        while start < len(data):
            payload, end = frame_at(data, start)
            if end > len(data):
                self._wanted = end - start
                break
            if start and (self.queue.qsize() >= _MOST_QUEUED or self.loop.time() - began > TURN_S):
                self._frames_wait = True
                break
            first, size = data[start], end - payload
            # Most are whole messages that carry sound, and never counted.
            if payload and (first not in _WHOLE or size < SMALL_BYTES) and not self._budget.takes(first, size, began):
                self._refuse_frames()
                return
            if not payload or not self._unpacked(first, data[payload - 4 : payload], data[payload:end]):
                super().data_received(data[start:end])
            start = end
        if start < len(data):
            self._unread += data[start:]
        if self._frames_wait and not self.transport.is_closing():
            self.transport.pause_reading()
            self._schedule_turn()

    def _schedule_turn(self) -> None:
        """Go on soon, unless the application has enough to do: then it is `receive` that goes on."""
        if self._turn is None and self.queue.qsize() < _MOST_QUEUED:
            self._turn = self.loop.call_soon(self._take_turn)

    def _take_turn(self) -> None:
        self._turn = None
        if self.disconnected or self._given_up:
            return
        self._frames_wait = False
        data, self._unread = bytes(self._unread), bytearray()
        self._read_frames(data, self.loop.time())
        if not (self._frames_wait or self.read_paused or self.transport.is_closing()):
            self.transport.resume_reading()

    async def receive(self) -> Any:
        """The application's next message; when none is left, what has come is read before what is still to come."""
        message = await self.queue.get()
        if self.queue.empty():
            paused, self.read_paused = self.read_paused, False
            if self._frames_wait:
                self._schedule_turn()
            elif paused and not self.transport.is_closing():
                self.transport.resume_reading()
        return message

    def handle_ping(self) -> None:
        """Answer, or if the peer reads nothing, remember the answer: what it leaves unread may not grow."""
        pong = b"".join(self.conn.data_to_send())
        if self.writable.is_set():
            self.transport.write(pong)
        else:
            self._pong = pong

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._pong and not self.close_sent:
            self.transport.write(self._pong)
        self._pong = b""

    def _refuse_frames(self) -> None:
        """Close, with a moment in which what still comes is thrown away, so that the peer can read why."""
        self._given_up = True
        self._unread, self._frames_wait = bytearray(), False
        if self.close_sent or self.transport.is_closing():
            self.transport.abort()
            return
        reason = "too_many_frames"
        log.info("connection refused", code=reason)
        self.conn.fail(_POLICY, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.queue.put_nowait({"type": "websocket.disconnect", "code": _POLICY, "reason": reason})
        self.transport.resume_reading()
        # uvicorn closes when the application has returned, unless this timer will.
        self.close_timer = self.loop.call_later(_LINGER_S, self.transport.close)

    def give(self, messages: Sequence[str]) -> bool:
        """Write text messages, all of them in one go. False: not now, because the peer does not read, or not any more:
        then they are to be sent as ASGI has it."""
        conn = self.conn
        if not self.writable.is_set() or conn.state is not OPEN or self.close_sent or self.transport.is_closing():
            return False
        self.transport.write(b"".join([text_frame(message.encode()) for message in messages]))
        return True

    def _unpacked(self, kind: int, mask: bytes, data: bytes) -> bool:
        """Take a frame that is a whole message, by its first byte, mask and payload. False: it is the library's."""
        conn = self.conn
        # While the handshake is answered, within a message of several frames, and after a close frame the library knows
        # what a frame means.
        if kind not in _WHOLE or conn.state is not OPEN or conn.current_size is not None or self.close_sent:
            return False
        if mask != _NO_MASK:
            data = apply_mask(data, mask)
        try:
            message = data if kind == _BINARY else data.decode()
        except UnicodeDecodeError:
            return False
        if self.take is None or not self.queue.empty() or not self.take(message):
            self.curr_msg_data_type = "bytes" if kind == _BINARY else "text"
            self.frames = [data]
            self.send_receive_event_to_app()
        return True

    def keepalive_timeout(self) -> None:
        """Close because no pong came in time, unless the pong may stand behind audio that has not been read.

        A stream that has enough waiting is not read from; and a peer that sends anything at all is alive.
        """
        if self.read_paused or self._frames_wait or self._last_received_at > self.ping_sent_at:
            self.pong_timer = self.pending_ping_payload = None
            self.schedule_ping()
            return
        super().keepalive_timeout()

    async def run_asgi(self) -> None:
        """Run the application, then give the peer a moment to close in turn."""
        await super().run_asgi()
        self.loop.call_later(_LINGER_S, self.transport.abort)

    def shutdown(self) -> None:
        """Close because the service stops; do not wait for a peer that never answers."""
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


def _crowd_of(state: Any) -> Crowd:
    """The one of uvicorn's server, whose connections share its state."""
    crowd: Crowd | None = getattr(state, "vad_crowd", None)
    if crowd is None:
        crowd = state.vad_crowd = Crowd()
    return crowd


def refusal(status: HTTPStatus, code: str, detail: str) -> bytes:
    """A whole answer that closes its connection, where the application has not been asked."""
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
