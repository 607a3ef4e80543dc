"""`WS /vad/stream`: a socket around a live session.

One task reads and feeds, another writes; between them stands the session. A client that sends faster than its chunks
are scored is not read from for a while, which slows it by way of TCP.
"""

import asyncio
import contextlib
import json
from collections.abc import Mapping
from typing import Any, cast, get_args

import structlog
from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect

from app.api.access import client_of
from app.api.errors import UpgradeRequired, problem_of, problem_response
from app.api.request_id import request_id_of
from app.api.service import Service, service_of
from app.formats.documents import ModelDocument
from app.live.hub import Hub, NoSuchSession
from app.live.parameters import StreamParameters
from app.live.seat import Seat
from app.live.session import Command
from app.vad.errors import InvalidOption, NotReady, Overloaded, VadError

log = structlog.get_logger(__name__)
router = APIRouter(tags=["live"])

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
_POLICY_VIOLATION = 1008
_REASON_BYTES = 120
"""A close frame has room for 123."""
_CLOSE_LIMIT_S = 1.0
"""For a peer that takes nothing any more."""
_TAKEN_OVER = "taken_over"
_COMMANDS = get_args(Command)


@router.websocket("/vad/stream")
async def stream(websocket: WebSocket) -> None:
    """Chunks of PCM in, events out."""
    service = service_of(websocket)
    try:
        hub = _hub_with_room(service)
    except VadError as error:
        refusal = problem_response(problem_of(error, request_id_of(websocket.scope)))
        await websocket.send_denial_response(refusal)
        return
    await websocket.accept()
    connection = LiveConnection(websocket, hub, service)
    try:
        seat = await connection.open()
    except (InvalidOption, NoSuchSession, Overloaded, NotReady) as error:
        await _close_with(websocket, error)
        return
    await connection.run(seat)


@router.api_route("/vad/stream", methods=["GET", "HEAD"], include_in_schema=False)
async def stream_without_a_handshake() -> None:
    """What a browser's address line, `curl`, and proxies that drop the `Upgrade` header ask for."""
    raise UpgradeRequired(
        "this is a WebSocket: open it with ws:// or wss://, and let proxies on the way pass on the headers Upgrade and "
        "Connection; files go to POST /vad"
    )


def _hub_with_room(service: Service) -> Hub:
    hub = service.ready_hub()
    if hub.is_full:
        service.metrics.rejected("streams")
        raise Overloaded(f"there are {hub.limits.streams} live streams already; please try again in a moment")
    return hub


class LiveConnection:
    """One socket and its session."""

    def __init__(self, websocket: WebSocket, hub: Hub, service: Service) -> None:
        self._websocket, self._hub, self._service = websocket, hub, service
        self._task: asyncio.Task[Any] | None = asyncio.current_task()
        self._output, self._room = asyncio.Event(), asyncio.Event()
        self._dismissed = False

    def wake(self) -> None:
        """As `Connection`."""
        self._output.set()
        self._room.set()

    def dismiss(self) -> None:
        """As `Connection`."""
        self._dismissed = True
        if self._task is not None:
            self._task.cancel()

    async def open(self) -> Seat:
        """A new session, or the one to go on with. Raises `InvalidOption`, `NoSuchSession`, `Overloaded`."""
        parameters, rest = StreamParameters.parse(self._websocket.query_params)
        client = client_of(self._websocket.scope)
        if parameters.session:
            return self._hub.resume(client, parameters, self)
        chosen = await self._service.ready().models.choose(parameters.model, parameters.preset, live=True)
        given = {name: value for name, value in rest.items() if name != "api_key"}
        segmentation = chosen.segmentation(given, live=True)
        return self._hub.open(client, parameters, chosen.model, segmentation, self, chosen.warnings)

    async def run(self, seat: Seat) -> None:
        """Until either side has enough."""
        session = seat.session
        # When the writer has closed the socket, some servers tell the reader nothing more.
        sides = [asyncio.create_task(side(seat)) for side in (self._read, self._write)]
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
            ended = session.ended or "left"
            log.info("stream", session=seat.token[:8], model=seat.model.info.name, audio_ms=session.received_ms,
                     ended=ended)  # fmt: skip
        if self._dismissed:
            await self._close(session.ended or _TAKEN_OVER)
        for side in sides:
            if not side.cancelled():
                side.result()

    async def _close(self, reason: str) -> None:
        """Close, unless the peer takes nothing any more."""
        with contextlib.suppress(asyncio.TimeoutError, WebSocketDisconnect, RuntimeError):
            closing = self._websocket.close(_close_code(reason), reason)
            await asyncio.wait_for(closing, _CLOSE_LIMIT_S)

    async def _read(self, seat: Seat) -> None:
        receive, session, hub = self._websocket.receive, seat.session, self._hub
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            if session.ended is not None:
                continue  # until the peer has closed too
            data = message.get("bytes")
            if data is None:
                self._hear(seat, message.get("text") or "")
                await asyncio.sleep(0)  # so that the answers to a burst are not all waiting before the first is written
            elif data:
                session.receive_audio(data, hub.clock())
            hub.received(seat)
            if session.ended is not None:
                self._output.set()  # what it has to say of these bytes
            while session.is_full and session.ended is None:
                self._room.clear()
                await self._room.wait()

    def _hear(self, seat: Seat, text: str) -> None:
        session, message = seat.session, _parsed(text)
        kind = message.get("type")
        if kind in _COMMANDS:
            session.receive_command(cast("Command", kind))
        elif kind == "ping":
            session.say({"type": "pong", "received_ms": session.received_ms})
        elif session.parameters.protocol == "funasr" and "is_speaking" in message:
            self._hear_runtime(seat, message)
        else:
            session.say({
                "type": "error", "code": "bad_message",
                "detail": f"not a message that is known here: {text[:80]!r}; there are flush, reset, end and ping, and "
                "audio goes in binary frames",
            })  # fmt: skip
        self.wake()

    def _hear_runtime(self, seat: Seat, message: Mapping[str, Any]) -> None:
        """FunASR's runtime opens with `audio_fs` among others, and closes with `is_speaking: false`."""
        try:
            if "audio_fs" in message:
                seat.session.use_sample_rate(message["audio_fs"])
        except InvalidOption as error:
            seat.session.fail(error.code, str(error))
        if message["is_speaking"] is False:
            seat.session.receive_command("end")

    async def _write(self, seat: Seat) -> None:
        send, session = self._websocket.send, seat.session
        try:
            if session.parameters.protocol == "vad":
                await send({"type": "websocket.send", "text": _ready(seat)})
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
    return _CLOSE_CODES.get(reason, _POLICY_VIOLATION)


def _ready(seat: Seat) -> str:
    session, parameters = seat.session, seat.session.parameters
    return json.dumps({
        "type": "ready",
        "session": seat.token,
        "offset_ms": session.received_ms,
        "offset_samples": session.received_samples,
        "seq": session.last_seq,
        "sample_rate": parameters.sample_rate,
        "encoding": parameters.encoding,
        "channels": parameters.channels,
        "model": ModelDocument.of(seat.model.info).dump(),
        "options": session.segmentation.document(),
    })  # fmt: skip


def _parsed(text: str) -> Mapping[str, Any]:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}


async def _close_with(websocket: WebSocket, error: VadError) -> None:
    """Say what is wrong in a message, and briefly in the close reason, which is all that some clients show."""
    document = problem_of(error, request_id_of(websocket.scope))
    told = {key: document[key] for key in ("code", "detail", "option") if key in document}
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        await websocket.send_json({"type": "error", **told})
        reason = f"{document['code']}: {document['detail']}".encode()[:_REASON_BYTES]
        await websocket.close(_POLICY_VIOLATION, reason.decode(errors="ignore"))
