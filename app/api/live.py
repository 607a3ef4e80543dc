"""`WS /vad/stream` and `WS /v1/realtime`: a socket around a live session, in whichever protocol.

One task reads from the socket and hands the session what has come; another writes what the session has to say. All
that a protocol means is in the session (`app.live.session`). A client that sends faster than its chunks are scored is
not read from for a while, and TCP slows it down.

A file's bytes go through a decoder (`ContainerFeed`): in as they come, and out as samples as they are decoded. Where in
the file a client was when it sent `flush` is not known, so commands apply to what has been decoded by then. Only `end`
waits until everything has been.

Usually there is nothing to wait for. Where the server passes messages on at once (`app.api.admission.DIRECT`) the
session is then given what comes, and all that it says in a turn is written in one go, while both tasks sleep.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from fastapi import APIRouter, WebSocket
from starlette.status import WS_1008_POLICY_VIOLATION
from starlette.websockets import WebSocketDisconnect

from app.api.admission import DIRECT, holder_of, request_id_of
from app.api.errors import UpgradeRequired, close_reason, problem_of, problem_response
from app.api.service import Service, query_options, service_of
from app.audio.decode import AudioInfo
from app.audio.piped import PipedDecoder
from app.audio.signal import HEARD_TOGETHER
from app.engine.shares import Holder, State, Ticket
from app.formats.documents import ModelDocument
from app.live.batcher import Slot, fail_stream
from app.live.protocols import FunasrServerProtocol, error_message
from app.live.queues import Json, encode
from app.live.realtime import RealtimeProtocol, refusal_event, request_options
from app.live.session import ClientProtocol, LiveSession
from app.live.sessions import NoSuchSession, SessionManager
from app.request import DetectionRequest
from app.vad.errors import InvalidAudio, InvalidOption, NotReady, Overloaded, UnsupportedAudio, VadError
from app.warnings import AnswerWarning

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
"""RFC 6455's codes for the reasons for which a session ends. Every other reason is a matter of policy (1008)."""
_DECODED_SAMPLE_BYTES = 4
"""A container's samples are decoded to 32-bit floats."""
_CLOSE_LIMIT_S = 1.0
"""Given to a peer that may not read any more."""
_TAKEN_OVER = "taken_over"
_REALTIME = "realtime"
"""What clients of OpenAI's protocol in browsers offer beside their key."""
_BINARY = "binary"
"""What FunASR's clients offer, and compilers that turn sockets into WebSockets."""
_HEAD_S = 15.0
"""From a container's first byte until it is known what it holds. MediaRecorder sends that in its first piece."""
_TOKEN_BYTES = 8
"""Of randomness in the ids of a realtime session. They are not secret, only unlike each other's."""


@router.websocket("/vad/stream")
async def stream(websocket: WebSocket) -> None:
    """Samples, or a file's bytes, and commands in; events out, in this service's own protocol or FunASR's."""
    query = query_options(websocket)
    query.pop("api_key", None)

    async def open_session(service: Service, socket: LiveSocket) -> Slot:
        request = DetectionRequest.parse(query)
        if request.session:
            request.stream_form()
            return socket.manager.resume(socket.holder, request.session, request.after, socket)
        return await socket.open(service, request)

    name = query.get("session", "")
    await _serve(websocket, open_session, error_message, _accepted(websocket, _BINARY), name=name)


@router.websocket("/")
async def funasr(websocket: WebSocket) -> None:
    """Where FunASR's own clients open their connection: as its server speaks."""
    query, protocol = query_options(websocket), FunasrServerProtocol()
    query.pop("api_key", None)

    async def open_session(service: Service, socket: LiveSocket) -> Slot:
        request = DetectionRequest.parse({"protocol": "funasr"}, query)
        if request.session or request.protocol != "funasr":
            name = "session" if request.session else "protocol"
            raise InvalidOption(name, "is an option of /vad/stream; this address is for FunASR's clients")
        return await socket.open(service, request, protocol)

    def refusal(error: VadError) -> Json:
        (message,) = protocol.error(error.code, str(error))
        return message

    await _serve(websocket, open_session, refusal, _accepted(websocket, _BINARY))


@router.websocket("/v1/realtime")
async def realtime(websocket: WebSocket) -> None:
    """OpenAI's events in, theirs out, as far as they are about turns."""

    async def open_session(service: Service, socket: LiveSocket) -> Slot:
        # Every other parameter is meant for OpenAI's service. So are most models' names: clients have to name one.
        query = {name: websocket.query_params.get(name) for name in ("model", "preset")}
        models, preset = service.ready().models, bool(query["preset"])
        request = DetectionRequest.parse(request_options(preset=preset), query).with_foreign_model(models)
        plan = await request.resolve(models, live=True)
        protocol = RealtimeProtocol(
            secrets.token_hex(_TOKEN_BYTES),
            ModelDocument.of(plan.chosen.model.info).dump(),
            query["model"],
            plan.segmentation.document(),
            models.is_known,
            preset=preset,
        )
        return socket.manager.open(socket.holder, plan, socket, protocol)

    await _serve(websocket, open_session, refusal_event, _accepted(websocket, _REALTIME))


def _accepted(websocket: WebSocket, subprotocol: str) -> str | None:
    """A subprotocol, if the client has offered it: clients in browsers close unless one that they offer is accepted."""
    return subprotocol if subprotocol in websocket.scope.get("subprotocols", ()) else None


@router.api_route("/v1/realtime", methods=["GET", "HEAD"], include_in_schema=False)
@router.api_route("/vad/stream", methods=["GET", "HEAD"], include_in_schema=False)
async def stream_without_a_handshake() -> None:
    """Answer a browser's address line, `curl`, and proxies that drop the `Upgrade` header."""
    raise UpgradeRequired(
        "this address is for WebSockets: open it with ws:// or wss://; a proxy must pass on the headers Upgrade and "
        "Connection; files go to POST /vad"
    )


async def _serve(
    websocket: WebSocket,
    open_session: "Callable[[Service, LiveSocket], Awaitable[Slot]]",
    refusal: Callable[[VadError], Json],
    subprotocol: str | None = None,
    *,
    name: str = "",
) -> None:
    """Accept a connection, open its session, and run it to its end.

    Without room the handshake is refused in HTTP. Everything else that is wrong is sent over the socket, as `refusal`
    puts it, and as the close reason, which is all that some clients show. `name`: of the session that the client comes
    back to.
    """
    service, holder = service_of(websocket), holder_of(websocket.scope)
    try:
        manager = service.ready_sessions()
        manager.check_room(holder, name)
    except VadError as error:
        if isinstance(error, Overloaded):
            service.metrics.rejected("streams")
        await websocket.send_denial_response(problem_response(problem_of(error, request_id_of(websocket.scope))))
        return
    await websocket.accept(subprotocol)
    socket = LiveSocket(websocket, manager, holder)
    try:
        slot = await open_session(service, socket)
        await socket.run(slot)
    except (InvalidOption, NoSuchSession, Overloaded, NotReady) as error:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            await websocket.send_text(encode(refusal(error)))
            await websocket.close(WS_1008_POLICY_VIOLATION, close_reason(error))
    finally:
        if socket.feed is not None:
            await socket.feed.close()


class LiveSocket:
    """One socket and the session that it carries; the session's `Connection`."""

    def __init__(self, websocket: WebSocket, manager: SessionManager, holder: Holder) -> None:
        self.manager, self.holder = manager, holder
        self.feed: ContainerFeed | None = None
        """The decoder, where a container's bytes come."""
        self._websocket = websocket
        self._task: asyncio.Task[Any] | None = asyncio.current_task()
        self._slot: Slot | None = None
        self._output, self._room = asyncio.Event(), asyncio.Event()
        self._dismissed = False
        self._direct: Any = None
        """The server's connection, where it passes messages on at once."""
        self._writer_rests = False
        """Whether nothing of what the session says is being written."""

    def wake(self) -> None:
        """Write what the session says, and let the tasks go on that have something to do."""
        if self._slot is not None:
            self._say(self._slot.session)
        self._room.set()

    def dismiss(self) -> None:
        """Leave the session at once and close the socket."""
        self._dismissed = True
        if self._task is not None:
            self._task.cancel()

    async def open(self, service: Service, request: DetectionRequest, protocol: ClientProtocol | None = None) -> Slot:
        """Begin a session, with a decoder where a container's bytes come. Raises `InvalidOption` and `Overloaded`."""
        container = request.stream_form().container
        plan = await request.resolve(service.ready().models, live=True)
        if container is not None:
            self.feed = await ContainerFeed.start(container, service, self.holder, self.fed)
        return self.manager.open(self.holder, plan, self, protocol)

    async def run(self, slot: Slot) -> None:
        """Read and write until the session or the connection ends."""
        session, self._slot = slot.session, slot
        self._direct = direct = self._websocket.scope.get("extensions", {}).get(DIRECT)
        if direct is not None and self.feed is None:
            direct.take = self._take
        # When the writer has closed the socket, the reader gets no more events from some servers.
        sides = [asyncio.create_task(side(slot)) for side in (self._read, self._write)]
        try:
            await asyncio.wait(sides, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            if not self._dismissed:
                raise
        finally:
            if direct is not None:
                direct.take = None
            for side in sides:
                side.cancel()
            self.manager.leave(slot, self)
            await asyncio.wait(sides)
            log.info("stream", session=slot.name[:8], model=session.plan.chosen.model.info.name,
                     audio_ms=session.received_ms, ended=session.ended or "left")  # fmt: skip
        if self._dismissed:
            with contextlib.suppress(asyncio.TimeoutError, WebSocketDisconnect, RuntimeError):
                await asyncio.wait_for(self._close(session.ended or _TAKEN_OVER), _CLOSE_LIMIT_S)
        for side in sides:
            if not side.cancelled():
                side.result()

    async def fed(self, slot: Slot) -> None:
        """Have scored what the session was given, and wait until it has room for more."""
        session = slot.session
        self.manager.received(slot)
        if session.ended is not None:
            self._output.set()  # its last messages may be about what has just come
        while session.is_full and session.ended is None:
            self._room.clear()
            await self._room.wait()

    def _take(self, message: bytes | str) -> bool:
        """Give the session a binary message as it comes. False: the reader has to, because the session has ended or has
        to be emptied first, of audio or of answers. Texts are always the reader's: one may be answered at once while
        another's answer waits until the audio before it has been scored."""
        slot = self._slot
        if slot is None or isinstance(message, str):
            return False
        session = slot.session
        if session.ended is not None or session.is_full or session.next_message() is not None:
            return False
        self._receive(slot, message)
        self.manager.received(slot)
        return True

    def _receive(self, slot: Slot, message: bytes | str) -> None:
        session = slot.session
        if isinstance(message, str):
            session.protocol.receive_text(session, message, self.manager.clock())
        elif message:
            session.protocol.receive_bytes(session, message, self.manager.clock())
        self._say(session)

    def _say(self, session: LiveSession) -> None:
        """Write all that the session says in one go, or have the writing task do so: it waits for peers that read
        slowly, and closes in the end."""
        if session.next_message() is None and session.ended is None:
            return
        if session.ended is None and self._direct is not None and self._writer_rests:
            messages = session.all_messages()
            if self._direct.give(messages):
                session.message_sent(len(messages))
                return
        self._output.set()

    async def _read(self, slot: Slot) -> None:
        receive, session = self._websocket.receive, slot.session
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            if session.ended is not None:
                continue  # until the peer has closed, too
            data = message.get("bytes")
            if data is not None and self.feed is not None:
                await self.feed.write(slot, data)
            else:
                self._receive(slot, data if data is not None else message.get("text") or "")
                if self.feed is not None and session.input_ended:
                    self.feed.end(slot)
            if session.next_message() is not None:
                await asyncio.sleep(0)  # so that answers to a burst are not all waiting before the first is written
            await self.fed(slot)

    async def _write(self, slot: Slot) -> None:
        send, session = self._websocket.send, slot.session
        try:
            greeting = session.protocol.greeting(session, slot.name)
            if greeting is not None:
                await send({"type": "websocket.send", "text": encode(greeting)})
            self._output.set()
            while True:
                self._writer_rests = True
                await self._output.wait()
                self._writer_rests = False
                self._output.clear()
                while (text := session.next_message()) is not None:
                    await send({"type": "websocket.send", "text": text})
                    session.message_sent()
                if session.ended is not None:
                    await self._close(session.ended)
                    return
        except (WebSocketDisconnect, RuntimeError):
            return  # the reader gets the disconnect

    async def _close(self, reason: str) -> None:
        await self._websocket.close(_CLOSE_CODES.get(reason, WS_1008_POLICY_VIOLATION), reason)


class ContainerFeed:
    """The decoder of one connection. It holds one of the service's from `start` to `close`."""

    def __init__(
        self,
        service: Service,
        place: Ticket,
        decoder: PipedDecoder,
        fed: Callable[[Slot], Awaitable[None]],
        clock: Callable[[], float],
    ) -> None:
        self._service, self._place, self._decoder, self._fed, self._clock = service, place, decoder, fed, clock
        self._pumping: asyncio.Task[None] | None = None
        self._ended = False

    @classmethod
    async def start(
        cls, container: str, service: Service, holder: Holder, fed: Callable[[Slot], Awaitable[None]]
    ) -> "ContainerFeed":
        """Start a child process. `fed`: called when the session has been given samples; it waits for room.

        Raises `Overloaded`, and `InvalidOption` where there is no ffmpeg.
        """
        audio = service.ready().detector.audio
        if audio.ffmpeg is None:
            raise InvalidOption("encoding", "needs ffmpeg, which is not installed here; send samples")
        clock, place = service.ready_sessions().clock, service.stream_decoders.arrive(holder)
        if place.state is not State.IN_USE:
            raise Overloaded("too many live streams are being decoded already; send samples, or try again later")
        try:
            decoder = await PipedDecoder.start(
                audio.ffmpeg, container, audio.limits.of_one_channel(), service.uploads.store.place
            )
        except BaseException:
            service.stream_decoders.leave(place)
            raise
        return cls(service, place, decoder, fed, clock)

    async def write(self, slot: Slot, data: bytes) -> None:
        """Pass on the next bytes of the file, and wait until there is room for more."""
        if self._ended:
            return
        if self._pumping is None:
            self._pumping = asyncio.create_task(self._pump(slot))
        await self._decoder.write(data)

    def end(self, slot: Slot) -> None:
        """Record that the whole file has come: the stream ends when it has been decoded."""
        if not self._ended:
            self._ended = True
            self._decoder.end()
            if self._pumping is None:
                slot.session.receive_last_sample()

    async def close(self) -> None:
        """End the child and give its place back, whatever has become of either."""
        try:
            if self._pumping is not None:
                self._pumping.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await self._pumping
            await self._decoder.close()
        finally:
            self._service.stream_decoders.leave(self._place)

    async def _read_info(self) -> AudioInfo:
        try:
            return await asyncio.wait_for(self._decoder.read_info(), _HEAD_S)
        except asyncio.TimeoutError:
            raise InvalidAudio(
                f"the head of the stream, which describes its content, did not arrive within {_HEAD_S:g} s"
            ) from None

    async def _pump(self, slot: Slot) -> None:
        """Hand the session what is decoded, to the end."""
        session = slot.session
        try:
            info = await self._read_info()
            session.use_form(sample_rate=info.sample_rate, channels=info.channels)
            channel = session.plan.channel
            if isinstance(channel, int) and channel >= info.channels:
                raise InvalidOption("channel", f"the stream has {info.channels} channels, numbered from 0")
            if not isinstance(channel, int) and info.channels > HEARD_TOGETHER:
                raise InvalidOption("channel", f"the stream has {info.channels} channels: name one by its number")
            received = 0
            while data := await self._decoder.read():
                received += len(data)
                session.receive_audio(data, self._clock())
                await self._fed(slot)
            frames = received // (info.channels * _DECODED_SAMPLE_BYTES)
            if (damage := await self._decoder.damage(frames, info.sample_rate)) is not None:
                session.tell(AnswerWarning("damaged", damage))
            session.receive_last_sample()
        except InvalidOption as error:
            # Opening the stream found no fault in its options: it is the file that does not fit them.
            session.fail(UnsupportedAudio.code, str(error))
        except Exception as error:  # noqa: BLE001 - it ends this stream, and must not keep it from being closed
            fail_stream(slot, error)
        await self._fed(slot)
