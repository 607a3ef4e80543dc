"""`WS /v1/realtime`: OpenAI's realtime protocol, as far as it is about turns, over the same hub as `/vad/stream`."""

import asyncio
import contextlib
import secrets
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, WebSocket
from starlette.status import WS_1008_POLICY_VIOLATION
from starlette.websockets import WebSocketDisconnect

from app.api.context import client_of
from app.api.errors import close_reason
from app.api.live_connection import LiveConnection, hub_with_room
from app.api.service import Service, service_of
from app.formats.documents import ModelDocument
from app.live.hub import Hub
from app.live.messages import encode
from app.live.parameters import StreamParameters
from app.live.realtime import RealtimeProtocol
from app.live.realtime_events import Action, Append, Clear, Commit, Say, Update
from app.live.realtime_session import USUAL_OPTIONS, RealtimeSettings
from app.live.seat import Seat
from app.models import Chosen, Models
from app.vad.errors import InvalidOption, NotReady, Overloaded, VadError
from app.vad.segmenters.registry import Segmentation

router = APIRouter(tags=["live"])

_SUBPROTOCOL = "realtime"
"""What browsers' clients offer beside their key; they take no connection that picks none."""
_MODE = "tight"
_TOKEN_BYTES = 8
"""Of a session's id, which is nobody's secret: it only has to be another one each time."""


@router.websocket("/v1/realtime")
async def realtime(websocket: WebSocket) -> None:
    """OpenAI's events in, theirs out."""
    service = service_of(websocket)
    hub = await hub_with_room(websocket, service)
    if hub is None:
        return
    offered = websocket.scope.get("subprotocols", ())
    await websocket.accept(_SUBPROTOCOL if _SUBPROTOCOL in offered else None)
    connection = LiveConnection(websocket, hub)
    try:
        seat, dialect = await _open(websocket, connection, hub, service)
    except (InvalidOption, Overloaded, NotReady) as error:
        await _close_with(websocket, error)
        return
    await connection.run(seat, dialect)


async def _open(
    websocket: WebSocket, connection: LiveConnection, hub: Hub, service: Service
) -> "tuple[Seat, RealtimeDialect]":
    """A session with what the address names. Raises `InvalidOption`, `Overloaded`, `NotReady`."""
    models = service.ready().models
    asked_model, preset = websocket.query_params.get("model"), websocket.query_params.get("preset")
    chosen = await _choose(models, asked_model, preset)

    def resolve(asked: Mapping[str, Any]) -> Segmentation:
        # A preset that was asked for has values of its own for what is usual here.
        usual = {} if preset else USUAL_OPTIONS
        return chosen.segmentation({"mode": _MODE, **usual, **asked}, live=True)

    segmentation = resolve({})
    protocol = RealtimeProtocol(
        secrets.token_hex(_TOKEN_BYTES),
        ModelDocument.of(chosen.model.info).dump(),
        asked_model,
        segmentation.document(),
        models.is_known,
    )
    parameters = StreamParameters(**RealtimeSettings().form)
    seat = hub.open(
        client_of(websocket.scope),
        parameters,
        chosen.model,
        segmentation,
        connection,
        chosen.warnings,
        asked={},
        resolve=resolve,
        say=protocol,
    )
    return seat, RealtimeDialect(hub, protocol)


async def _choose(models: Models, asked: str | None, preset: str | None) -> Chosen:
    """A client has to name a model, and most name one of OpenAI's: a foreign name is the service's default."""
    named = asked if asked is not None and models.is_known(asked) else None
    return await models.choose(named, preset, live=True)


class RealtimeDialect:
    """Every message is an event in JSON, audio too."""

    def __init__(self, hub: Hub, protocol: RealtimeProtocol) -> None:
        self._hub, self._protocol = hub, protocol

    def greeting(self, seat: Seat) -> str | None:
        """`session.created`, the first event of a session."""
        return encode(self._protocol.created())

    async def receive_bytes(self, seat: Seat, data: bytes) -> None:
        """There are no binary frames in this protocol: told as any other event that is none."""
        await self.receive_text(seat, "")

    async def receive_text(self, seat: Seat, text: str) -> None:
        """Take one event of the client's, and answer it."""
        for action in self._protocol.receive(text):
            self._carry_out(seat, action)
            if not isinstance(action, Append):
                seat.connection.wake()
                await asyncio.sleep(0)  # as in `VadDialect`

    async def close(self) -> None:
        """Nothing is held that would have to be given back."""

    def _carry_out(self, seat: Seat, action: Action) -> None:
        session = seat.session
        if isinstance(action, Append):
            session.receive_audio(action.audio, self._hub.clock())
        elif isinstance(action, Commit):
            session.receive_command("flush")
        elif isinstance(action, Clear):
            session.receive_clear()
        elif isinstance(action, Say):
            session.say(action.message)
        else:
            self._update(seat, action)

    def _update(self, seat: Seat, update: Update) -> None:
        try:
            seat.session.receive_options(update.options, note=update)
            # The protocol lets the format change before the first audio alone.
            seat.session.use_form(**update.settings.form)
        except InvalidOption as error:
            seat.session.say(self._protocol.refused_update(update, error))


async def _close_with(websocket: WebSocket, error: VadError) -> None:
    """Say what is wrong in an `error` event, and briefly in the close reason."""
    told = {"type": "invalid_request_error", "code": error.code, "message": str(error), "param": None, "event_id": None}
    if isinstance(error, InvalidOption):
        told["param"] = error.option
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        await websocket.send_json({"type": "error", "event_id": "event_0", "error": told})
        await websocket.close(WS_1008_POLICY_VIOLATION, close_reason(error))
