"""`WS /vad/stream`: PCM in, events out, in this service's own protocol or FunASR's."""

import asyncio
import contextlib
import json
from collections.abc import Mapping
from typing import Any, cast, get_args

from fastapi import APIRouter, WebSocket
from starlette.status import WS_1008_POLICY_VIOLATION
from starlette.websockets import WebSocketDisconnect

from app.api.container_feed import ContainerFeed
from app.api.context import client_of, request_id_of
from app.api.errors import UpgradeRequired, close_reason, problem_of
from app.api.live_connection import LiveConnection, hub_with_room
from app.api.service import Service, service_of
from app.formats.documents import ModelDocument
from app.live.hub import Hub, NoSuchSession
from app.live.parameters import StreamParameters
from app.live.seat import Seat
from app.live.session import Command
from app.vad.errors import InvalidOption, NotReady, Overloaded, VadError

router = APIRouter(tags=["live"])

_COMMANDS = get_args(Command)
_SHOWN = 80
"""Characters of a message that is not known here that are repeated."""


@router.websocket("/vad/stream")
async def stream(websocket: WebSocket) -> None:
    """Chunks of PCM in, events out."""
    service = service_of(websocket)
    hub = await hub_with_room(websocket, service)
    if hub is None:
        return
    await websocket.accept()
    connection = LiveConnection(websocket, hub)
    feed = None
    try:
        parameters, rest = StreamParameters.parse(websocket.query_params)
        if parameters.container is not None:
            feed = await ContainerFeed.start(parameters.container, connection, service)
        seat = await _open(websocket, parameters, rest, connection, hub, service)
    except (InvalidOption, NoSuchSession, Overloaded, NotReady) as error:
        if feed is not None:
            await feed.close()
        await _close_with(websocket, error)
        return
    await connection.run(seat, VadDialect(hub, feed))


@router.api_route("/v1/realtime", methods=["GET", "HEAD"], include_in_schema=False)
@router.api_route("/vad/stream", methods=["GET", "HEAD"], include_in_schema=False)
async def stream_without_a_handshake() -> None:
    """What a browser's address line, `curl`, and proxies that drop the `Upgrade` header ask for."""
    raise UpgradeRequired(
        "this is a WebSocket: open it with ws:// or wss://, and let proxies on the way pass on the headers Upgrade and "
        "Connection; files go to POST /vad"
    )


async def _open(
    websocket: WebSocket,
    parameters: StreamParameters,
    rest: Mapping[str, str],
    connection: LiveConnection,
    hub: Hub,
    service: Service,
) -> Seat:
    """A new session, or the one to go on with. Raises `InvalidOption`, `NoSuchSession`, `Overloaded`."""
    client = client_of(websocket.scope)
    if parameters.session:
        return hub.resume(client, parameters, connection)
    chosen = await service.ready().models.choose(parameters.model, parameters.preset, live=True)
    given = {name: value for name, value in rest.items() if name != "api_key"}

    def resolve(asked: Mapping[str, Any]) -> Any:
        return chosen.segmentation(asked, live=True)

    return hub.open(
        client,
        parameters,
        chosen.model,
        resolve(given),
        connection,
        chosen.warnings,
        asked=given,
        resolve=resolve,
    )


class VadDialect:
    """Binary frames are samples, or a file's bytes for a `feed`; text frames are commands."""

    def __init__(self, hub: Hub, feed: ContainerFeed | None = None) -> None:
        self._hub, self._feed = hub, feed

    def greeting(self, seat: Seat) -> str | None:
        """`ready`, which FunASR's protocol has not."""
        return _ready(seat) if seat.session.parameters.protocol == "vad" else None

    async def receive_bytes(self, seat: Seat, data: bytes) -> None:
        """A chunk of samples, or of a container's bytes."""
        if self._feed is not None:
            await self._feed.write(seat, data)
            return
        seat.session.receive_audio(data, self._hub.clock())

    async def receive_text(self, seat: Seat, text: str) -> None:
        """A command, a question, or nothing that is known here."""
        session, message = seat.session, _parsed(text)
        kind = message.get("type")
        if kind == "end" and self._feed is not None:
            await self._feed.end(seat)
        elif kind in _COMMANDS:
            session.receive_command(cast("Command", kind))
        elif kind == "options":
            _change_options(seat, message)
        elif kind == "ping":
            session.say({"type": "pong", "received_ms": session.received_ms})
        elif session.parameters.protocol == "funasr" and "is_speaking" in message:
            _hear_runtime(seat, message)
        else:
            session.say({
                "type": "error", "code": "bad_message",
                "detail": f"not a message that is known here: {text[:_SHOWN]!r}; there are options, flush, reset, end "
                "and ping, and audio goes in binary frames",
            })  # fmt: skip
        seat.connection.wake()
        await asyncio.sleep(0)  # so that the answers to a burst are not all waiting before the first is written

    async def close(self) -> None:
        """End the decoder of a container, where there is one."""
        if self._feed is not None:
            await self._feed.close()


def _change_options(seat: Seat, message: Mapping[str, Any]) -> None:
    given = {name: value for name, value in message.items() if name != "type"}
    try:
        seat.session.receive_options(given)
    except InvalidOption as error:
        seat.session.say({"type": "error", "code": error.code, "detail": str(error), "option": error.option})


def _hear_runtime(seat: Seat, message: Mapping[str, Any]) -> None:
    """FunASR's runtime opens with `audio_fs` among others, and closes with `is_speaking: false`."""
    try:
        if "audio_fs" in message:
            seat.session.use_form(sample_rate=message["audio_fs"])
    except InvalidOption as error:
        seat.session.fail(error.code, str(error))
    if message["is_speaking"] is False:
        seat.session.receive_command("end")


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
    """Say what is wrong in a message, and briefly in the close reason."""
    document = problem_of(error, request_id_of(websocket.scope))
    told = {key: document[key] for key in ("code", "detail", "option") if key in document}
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        await websocket.send_json({"type": "error", **told})
        await websocket.close(WS_1008_POLICY_VIOLATION, close_reason(error))
