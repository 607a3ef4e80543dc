"""What finds the speech in a stream for the command line: a session in this process, or one on a server, which goes on
over a new connection when one breaks."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlencode, urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from app.cli.local import planned
from app.cli.stream_sources import Feed, ResendBuffer
from app.cli.terminal import UsageError, note
from app.config import Settings
from app.engine.shares import NOBODY
from app.registry import Registry
from app.request import DetectionRequest
from app.vad.errors import VadError

if TYPE_CHECKING:
    from app.live.sessions import SessionManager
    from app.request import Plan

Message = Mapping[str, Any]
OnMessage = Callable[[Message], None]
"""Is given every message of the protocol but `ready` and `pong`; `done` is the last."""

_PATH = "/vad/stream"
_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
_UNACKNOWLEDGED_S = 60
"""Audio that is kept to be sent again after a break: twice as long as a session waits for its client by default."""
_PING_EVERY_S = 1
_PAUSES_S = (0.1, 0.5, 2.0)
"""Before each attempt to come back. The session waits for `VAD_SESSION_TTL_S`."""
_CLOSED_FOR_GOOD = (1000, 1007, 1008, 1009, 1012)
"""RFC 6455's close codes after which coming back makes no sense: done, bad data, refused, too big, restarting without
sessions."""


class StreamFailed(VadError):
    """The stream ended before it was done."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        """A code, as in the service's `error` messages and problem documents."""


class Link(Protocol):
    """The other end of one stream: a session in this process, or a service."""

    async def run(self, feed: Feed, on_message: OnMessage) -> None:
        """Send the feed and pass on the messages, until `done`. Raises `StreamFailed`, and what the feed raises."""
        ...


class LocalLink:
    """The service's own session without a socket; a `Connection` for a session manager that has no other."""

    def __init__(self, manager: "SessionManager", plan: "Plan") -> None:
        """Raises `InvalidOption` for a model that cannot follow a stream."""
        self._manager = manager
        self._output, self._room = asyncio.Event(), asyncio.Event()
        self._slot = manager.open(NOBODY, plan, self)

    def wake(self) -> None:
        """Let both tasks check the session again, for messages and for room."""
        self._output.set()
        self._room.set()

    def dismiss(self) -> None:
        """No-op: nobody else can take the session over."""

    async def run(self, feed: Feed, on_message: OnMessage) -> None:
        """As `Link.run`, with a session in this process."""
        sending = asyncio.create_task(self._send(feed))
        receiving = asyncio.create_task(self._receive(on_message))
        try:
            await asyncio.wait((sending, receiving), return_when=asyncio.FIRST_EXCEPTION)
            if sending.done():
                sending.result()
            await receiving
        finally:
            for task in (sending, receiving):
                task.cancel()
            await asyncio.wait((sending, receiving))

    async def _send(self, feed: Feed) -> None:
        session = self._slot.session
        async for chunk in feed:
            session.receive_audio(chunk, self._manager.clock())
            self._manager.received(self._slot)
            while session.is_full and session.ended is None:
                self._room.clear()
                await self._room.wait()
        session.receive_command("end")
        self._manager.received(self._slot)

    async def _receive(self, on_message: OnMessage) -> None:
        session = self._slot.session
        while True:
            await self._output.wait()
            self._output.clear()
            while (text := session.next_message()) is not None:
                session.message_sent()
                message = json.loads(text)
                if message["type"] == "error":
                    raise StreamFailed(message["code"], message["detail"])
                on_message(message)
            if session.ended is not None:
                return


@asynccontextmanager
async def local_link(settings: Settings, registry: Registry, request: DetectionRequest) -> AsyncIterator[LocalLink]:
    """A stream in this process. Raises what starting the model raises, and `InvalidOption`."""
    from app.live.sessions import LiveLimits, SessionManager

    asked = request.model
    presets = registry.with_presets(settings.presets).presets
    if asked is None and presets.of(settings.preset if request.preset is None else request.preset) is None:
        asked = settings.model
    async with planned(request, registry, settings, live=True) as (runtime, plan):
        members = registry.catalogue.resolve_all(asked) if asked else ()
        if any(spec.known is not None and spec.known.live_as for spec in members):
            note(f"{asked} cannot follow a live stream; {plan.chosen.model.info.name} is used instead")
        limits = LiveLimits(
            streams=1, buffer_s=settings.stream_buffer_s, idle_s=math.inf, session_ttl_s=0, max_s=math.inf
        )
        # There are no other streams whose chunks could be scored together with these, so none are waited for.
        manager = SessionManager(runtime.engine, limits, batch_delay_s=0)
        link = LocalLink(manager, plan)
        manager.start()
        try:
            yield link
        finally:
            await manager.close()


class _Broken(Exception):
    """The connection was lost without a reason."""


def stream_url(url: str) -> str:
    """The endpoint's address at a service's base URL, whichever of its four schemes it has. Raises `UsageError`."""
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES or not parts.netloc:
        raise UsageError(f"{url}: this is not a URL such as ws://127.0.0.1:8000")
    path = parts.path.rstrip("/")
    return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, path if path.endswith(_PATH) else path + _PATH, "", ""))


class RemoteLink:
    """One session on a server."""

    def __init__(self, url: str, key: str | None, request: DetectionRequest, note: Callable[[str], None]) -> None:
        """`url`: of `stream_url`. `note`: is given what a person should know about the connection."""
        form = request.stream_form()
        self._url, self._note = url, note
        self._rate, self._frame_bytes = form.sample_rate, form.raw.frame_bytes
        self._headers = {"X-API-Key": key} if key else {}
        self._query = {**request.model_dump(exclude_unset=True), **request.segmenter_options}
        self._session = ""
        self._seq = 0
        self._position = -1
        self._done = self._progress = False

    async def run(self, feed: Feed, on_message: OnMessage) -> None:
        """As `Link.run`. A connection that breaks is taken up again, unless the one before brought nothing."""
        sound = ResendBuffer(feed, self._frame_bytes, _UNACKNOWLEDGED_S * self._rate)
        try:
            await self._converse(sound, on_message)
        except (OSError, InvalidHandshake) as error:
            raise _refused(self._url, error) from None
        except _Broken:
            self._note("the connection broke")
        while not self._done:
            if not self._progress:
                raise StreamFailed("connection_lost", f"the connection to {self._url} keeps breaking")
            await self._again(sound, on_message)

    async def _again(self, sound: ResendBuffer, on_message: OnMessage) -> None:
        last: Exception = OSError()
        for pause_s in _PAUSES_S:
            await asyncio.sleep(pause_s)
            try:
                await self._converse(sound, on_message)
            except _Broken:
                self._note("the connection broke again")
            except (OSError, InvalidHandshake) as error:
                last = error
                continue
            return
        raise _refused(self._url, last)

    async def _converse(self, sound: ResendBuffer, on_message: OnMessage) -> None:
        """Over one connection, until `done` or until it breaks."""
        resuming = {"session": self._session, "after": self._seq} if self._session else {}
        address = f"{self._url}?{urlencode({**self._query, **resuming})}"
        async with connect(address, additional_headers=self._headers, compression=None, max_size=None) as socket:
            try:
                position = await self._ready(socket)
                self._progress = position > self._position
                self._position = position
                if resuming:
                    self._note(f"went on at {position / self._rate:.2f} s")
                sound.acknowledge(position)
                await self._both_ways(socket, sound, position, on_message)
            except ConnectionClosed as closed:
                frame = closed.rcvd
                if frame is not None and frame.code in _CLOSED_FOR_GOOD:
                    reason = f"the server closed the stream: {frame.code} {frame.reason}"
                    raise StreamFailed("closed", reason) from None
                raise _Broken from None

    async def _both_ways(
        self, socket: ClientConnection, sound: ResendBuffer, position: int, on_message: OnMessage
    ) -> None:
        receiving = asyncio.create_task(self._receive(socket, sound, on_message))
        sending = asyncio.create_task(self._send(socket, sound, position))
        try:
            await asyncio.wait((receiving, sending), return_when=asyncio.FIRST_EXCEPTION)
            # When both have failed, what was received says why.
            if sending.done() and not isinstance(sending.exception(), ConnectionClosed):
                sending.result()
            await receiving
        finally:
            for task in (receiving, sending):
                task.cancel()
            await asyncio.wait((receiving, sending))
            if not sending.cancelled():
                sending.exception()

    async def _ready(self, socket: ClientConnection) -> int:
        """The sample to go on with."""
        message = json.loads(await socket.recv())
        if message["type"] == "error":
            raise StreamFailed(message["code"], message["detail"])
        self._session = message["session"]
        position: int = message["offset_samples"]
        return position

    async def _send(self, socket: ClientConnection, sound: ResendBuffer, position: int) -> None:
        asked = position
        async with aclosing(sound.since(position)) as chunks:
            async for chunk, end in chunks:
                await socket.send(chunk)
                if end - asked >= _PING_EVERY_S * self._rate:
                    asked = end
                    await socket.send('{"type":"ping"}')
        await socket.send('{"type":"end"}')

    async def _receive(self, socket: ClientConnection, sound: ResendBuffer, on_message: OnMessage) -> None:
        while not self._done:
            message = json.loads(await socket.recv())
            self._progress = True
            if message["type"] == "pong":
                sound.acknowledge(message["received_ms"] * self._rate // 1000)
            elif message["type"] == "error":
                raise StreamFailed(message["code"], message["detail"])
            elif message["seq"] > self._seq:
                self._seq = message["seq"]
                on_message(message)
                self._done = message["type"] == "done"


def _refused(url: str, error: Exception) -> StreamFailed:
    """Describe a failed handshake."""
    if isinstance(error, InvalidStatus):
        try:
            problem = json.loads(error.response.body or b"")
            return StreamFailed(problem["code"], f"{problem['detail']} ({problem['status']} {problem['code']})")
        except (ValueError, KeyError, TypeError):
            return StreamFailed(
                "refused", f"{url} answered {error.response.status_code}: there is no WebSocket at this address"
            )
    if isinstance(error, InvalidURI):
        return StreamFailed("invalid_url", str(error))
    return StreamFailed("no_answer", f"no answer from {url}: {error or type(error).__name__}")
