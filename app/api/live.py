"""`WS /vad/stream`: a socket around a live session.

One task reads and feeds, another writes; between them stands the session. A client that sends faster than its chunks
are scored is not read from for a while, which slows it by way of TCP.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Mapping
from typing import Any

import structlog
from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect

from app.api.access import client_of
from app.api.errors import problem_of, problem_response
from app.api.request_id import request_id_of
from app.api.service import Service, service_of
from app.formats.report import ModelInfo
from app.live.hub import Hub, NoSuchSession
from app.live.parameters import StreamParameters
from app.live.session import Closing, LiveSession
from app.vad.errors import InvalidOption, NotReady, Overloaded, VadError

log = structlog.get_logger(__name__)
router = APIRouter(tags=["live"])

_POLICY_VIOLATION = 1008
_REASON_BYTES = 120
_CLOSE_LIMIT_S = 1.0
_TAKEN_OVER = Closing(_POLICY_VIOLATION, "taken_over")
_WISHES = ("flush", "reset", "end")


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
    connection = Connection(websocket, hub, service)
    try:
        session = connection.open()
    except (InvalidOption, NoSuchSession, Overloaded) as error:
        await _close_with(websocket, error)
        return
    await connection.run(session)


def _hub_with_room(service: Service) -> Hub:
    service.ready_detector()
    hub = service.hub
    if hub is None:
        raise NotReady("the service is starting")
    if hub.is_full:
        service.metrics.reject("streams")
        raise Overloaded(f"there are {hub.limits.streams} live streams already; please try again in a moment")
    return hub


class Connection:
    """One socket and its session."""

    def __init__(self, websocket: WebSocket, hub: Hub, service: Service) -> None:
        self._websocket, self._hub, self._service = websocket, hub, service
        self._task: asyncio.Task[Any] | None = asyncio.current_task()
        self._output, self._room = asyncio.Event(), asyncio.Event()
        self._dismissed = False

    def open(self) -> LiveSession:
        """A new session, or the one to go on with. Raises `InvalidOption`, `NoSuchSession`, `Overloaded`."""
        parameters, rest = StreamParameters.parse(self._websocket.query_params)
        client = client_of(self._websocket.scope)
        if parameters.session:
            return self._hub.resume(client, parameters, self._leave)
        options = self._service.ready_detector().options({k: v for k, v in rest.items() if k != "api_key"})
        return self._hub.open(client, parameters, options, self._leave)

    async def run(self, session: LiveSession) -> None:
        """Until either side has enough."""
        session.on_output, session.on_room = self._output.set, self._room.set
        if session.parameters.protocol == "vad":
            session.outbox.appendleft(_ready(session, self._service.ready_detector().model))
        self._output.set()
        # When the writer has closed the socket, some servers tell the reader nothing more.
        sides = [asyncio.create_task(side(session)) for side in (self._read, self._write)]
        try:
            await asyncio.wait(sides, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            if not self._dismissed:
                raise
        finally:
            for side in sides:
                side.cancel()
            self._hub.leave(session, self._leave)
            await asyncio.wait(sides)
            ended = session.closing.reason if session.closing else "left"
            log.info("stream", session=session.owner.token[:8], audio_ms=session.received_ms, ended=ended)
        if self._dismissed:
            await self._close(session.closing or _TAKEN_OVER)
        for side in sides:
            if not side.cancelled():
                side.result()

    async def _close(self, closing: Closing) -> None:
        """Close, unless the peer takes nothing any more."""
        with contextlib.suppress(asyncio.TimeoutError, WebSocketDisconnect, RuntimeError):
            await asyncio.wait_for(self._websocket.close(closing.code, closing.reason), _CLOSE_LIMIT_S)

    def _leave(self) -> None:
        self._dismissed = True
        if self._task is not None:
            self._task.cancel()

    async def _read(self, session: LiveSession) -> None:
        receive, clock = self._websocket.receive, time.monotonic
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            if session.closing is not None:
                continue  # until the peer has closed too
            session.seen = clock()
            data = message.get("bytes")
            if data is None:
                self._hear(session, message.get("text") or "")
                await asyncio.sleep(0)  # so that the answers to a burst are not all waiting before the first is written
            elif data:
                session.feed(data)
            if session.has_work:
                self._hub.batcher.notify(session)
            while session.is_full and session.closing is None:
                self._room.clear()
                await self._room.wait()

    def _hear(self, session: LiveSession, text: str) -> None:
        message = _parsed(text)
        kind = message.get("type")
        if kind in _WISHES:
            session.wish(kind)
        elif kind == "ping":
            session.say({"type": "pong", "received_ms": session.received_ms})
        elif session.parameters.protocol == "funasr" and "is_speaking" in message:
            self._hear_runtime(session, message)
        else:
            session.say({
                "type": "error", "code": "bad_message",
                "detail": f"not a message that is known here: {text[:80]!r}; there are flush, reset, end and ping",
            })  # fmt: skip

    def _hear_runtime(self, session: LiveSession, message: Mapping[str, Any]) -> None:
        """FunASR's runtime opens with `audio_fs` among others, and closes with `is_speaking: false`."""
        try:
            if "audio_fs" in message:
                session.use_sample_rate(message["audio_fs"])
        except InvalidOption as error:
            session.fail("invalid_option", str(error), _POLICY_VIOLATION)
        if message["is_speaking"] is False:
            session.wish("end")

    async def _write(self, session: LiveSession) -> None:
        send, outbox = self._websocket.send, session.outbox
        try:
            while True:
                await self._output.wait()
                self._output.clear()
                while outbox:
                    await send({"type": "websocket.send", "text": outbox[0]})
                    outbox.popleft()  # only now: what could not be sent is kept for a client that comes back
                if session.closing is not None:
                    await self._websocket.close(session.closing.code, session.closing.reason)
                    return
        except (WebSocketDisconnect, RuntimeError):
            return  # the reader hears of it too


def _ready(session: LiveSession, model: ModelInfo) -> str:
    parameters = session.parameters
    return json.dumps({
        "type": "ready",
        "session": session.owner.token,
        "offset_ms": session.received_ms,
        "offset_samples": session.received_samples,
        "seq": session.last_seq,
        "sample_rate": parameters.sample_rate,
        "encoding": parameters.encoding,
        "model": {"id": model.id, "revision": model.revision},
        "options": session.options.model_dump(mode="json"),
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
