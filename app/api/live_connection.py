"""A socket around a live session, whichever protocol is spoken over it.

One task reads and feeds, another writes; between them stands the session. A client that sends faster than its chunks
are scored is not read from for a while, which slows it by way of TCP. What the messages mean is a `Dialect`'s matter.
"""

import asyncio
import contextlib
from typing import Any, Protocol

import structlog
from fastapi import WebSocket
from starlette.status import WS_1008_POLICY_VIOLATION
from starlette.websockets import WebSocketDisconnect

from app.api.context import request_id_of
from app.api.errors import problem_of, problem_response
from app.api.service import Service
from app.live.hub import Hub
from app.live.seat import Seat
from app.vad.errors import Overloaded, VadError

log = structlog.get_logger(__name__)

_CLOSE_CODES = {
    "done": 1000,
    "idle_timeout": 1001,
    "gone": 1001,
    "unsupported_audio": 1003,
    "invalid_audio": 1007,
    "internal": 1011,
    "not_ready": 1012,
}
"""RFC 6455's for the reasons for which a session ends; every other one is a matter of policy."""
_CLOSE_LIMIT_S = 1.0
"""For a peer that takes nothing any more."""
_TAKEN_OVER = "taken_over"


class Dialect(Protocol):
    """What a protocol makes of a client's messages."""

    def greeting(self, seat: Seat) -> str | None:
        """The first message; None: the client speaks first."""
        ...

    async def receive_bytes(self, seat: Seat, data: bytes) -> None:
        """A binary frame, which is not empty."""
        ...

    async def receive_text(self, seat: Seat, text: str) -> None:
        """What the client said in a text frame."""
        ...

    async def close(self) -> None:
        """The connection is gone; give back what it held."""
        ...


async def hub_with_room(websocket: WebSocket, service: Service) -> Hub | None:
    """The hub, if it takes another stream now; None when the client has been told otherwise, in HTTP."""
    try:
        hub = service.ready_hub()
        if hub.is_full:
            service.metrics.rejected("streams")
            raise Overloaded(f"there are {hub.limits.streams} live streams already; please try again in a moment")
    except VadError as error:
        refusal = problem_response(problem_of(error, request_id_of(websocket.scope)))
        await websocket.send_denial_response(refusal)
        return None
    return hub


class LiveConnection:
    """One socket and its session."""

    def __init__(self, websocket: WebSocket, hub: Hub) -> None:
        self._websocket, self._hub = websocket, hub
        self._task: asyncio.Task[Any] | None = asyncio.current_task()
        self._output, self._room = asyncio.Event(), asyncio.Event()
        self._dismissed = False

    def wake(self) -> None:
        """The sending and the receiving side look at the session again."""
        self._output.set()
        self._room.set()

    def dismiss(self) -> None:
        """Leave the session at once and close the socket."""
        self._dismissed = True
        if self._task is not None:
            self._task.cancel()

    async def run(self, seat: Seat, dialect: Dialect) -> None:
        """Until either side has enough."""
        session = seat.session
        # When the writer has closed the socket, some servers tell the reader nothing more.
        sides = [asyncio.create_task(side(seat, dialect)) for side in (self._read, self._write)]
        try:
            await asyncio.wait(sides, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            if not self._dismissed:
                raise
        finally:
            for side in sides:
                side.cancel()
            self._hub.leave(seat, self)
            await asyncio.wait(sides)
            await dialect.close()
            ended = session.ended or "left"
            log.info("stream", session=seat.token[:8], model=seat.model.info.name, audio_ms=session.received_ms,
                     ended=ended)  # fmt: skip
        if self._dismissed:
            await self._close(session.ended or _TAKEN_OVER)
        for side in sides:
            if not side.cancelled():
                side.result()

    async def fed(self, seat: Seat) -> None:
        """Something has been handed to the session: have it scored, and wait while more waits there than may."""
        session = seat.session
        self._hub.received(seat)
        if session.ended is not None:
            self._output.set()  # what it has to say of what came
        while session.is_full and session.ended is None:
            self._room.clear()
            await self._room.wait()

    async def _close(self, reason: str) -> None:
        """Close, unless the peer takes nothing any more."""
        with contextlib.suppress(asyncio.TimeoutError, WebSocketDisconnect, RuntimeError):
            closing = self._websocket.close(_close_code(reason), reason)
            await asyncio.wait_for(closing, _CLOSE_LIMIT_S)

    async def _read(self, seat: Seat, dialect: Dialect) -> None:
        receive, session = self._websocket.receive, seat.session
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            if session.ended is not None:
                continue  # until the peer has closed too
            data = message.get("bytes")
            if data is None:
                await dialect.receive_text(seat, message.get("text") or "")
            elif data:
                await dialect.receive_bytes(seat, data)
            await self.fed(seat)

    async def _write(self, seat: Seat, dialect: Dialect) -> None:
        send, session = self._websocket.send, seat.session
        try:
            greeting = dialect.greeting(seat)
            if greeting is not None:
                await send({"type": "websocket.send", "text": greeting})
            self._output.set()
            while True:
                await self._output.wait()
                self._output.clear()
                while (text := session.next_message()) is not None:
                    await send({"type": "websocket.send", "text": text})
                    session.message_sent()
                if session.ended is not None:
                    await self._websocket.close(_close_code(session.ended), session.ended)
                    return
        except (WebSocketDisconnect, RuntimeError):
            return  # the reader hears of it too


def _close_code(reason: str) -> int:
    return _CLOSE_CODES.get(reason, WS_1008_POLICY_VIOLATION)
