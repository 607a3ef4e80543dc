"""What detects the speech in a stream for the command line: a session in this process, or one on a server, which goes
on over a new connection when one breaks."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlencode, urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from app.cli.local import live_name, local_model, wanted_preset
from app.cli.stream_sources import Feed, Tape
from app.cli.terminal import UsageError, note
from app.config import Settings
from app.live.parameters import StreamParameters
from app.registry import Registry
from app.vad.errors import VadError

if TYPE_CHECKING:
    from app.live.hub import Hub
    from app.live.seat import Seat

Message = Mapping[str, Any]
Tell = Callable[[Message], None]
"""Told every message of the protocol, `done` included; not those about the connection."""

_PATH = "/vad/stream"
_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
_NOT_ASKED_FOR = {"session", "after", "audio", "confirm_ms", "maybe_end_ms"}
"""Parameters that are not this command's: those of coming back, and those that a service of before does not know."""
_UNACKNOWLEDGED_S = 60
"""Sound that is kept to be sent again after a break; twice what a session waits for its client by default."""
_PING_EVERY_S = 1
_PAUSES_S = (0.1, 0.5, 2.0)
"""Before each attempt to come back; a session waits `VAD_SESSION_TTL_S` for it."""
_CLOSED_FOR_GOOD = (1000, 1007, 1008, 1009, 1012)
"""RFC 6455's close codes that a new attempt cannot mend: done, bad data, refused, too big, restarting without
sessions."""


class StreamFailed(VadError):
    """The stream ended before it was done."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        """A code, as in the service's `error` messages and problem documents."""


class Link(Protocol):
    """The other end of one stream: a session in this process, or a service."""

    async def run(self, feed: Feed, tell: Tell) -> None:
        """Send the sound, tell what comes back; returns after `done`. Raises `StreamFailed`, what the feed raises."""
        ...


class LocalLink:
    """The service's own session without a socket, in a hub that has no other."""

    def __init__(self, hub: "Hub", open_seat: "Callable[[LocalLink], Seat]") -> None:
        self._hub = hub
        self._output, self._room = asyncio.Event(), asyncio.Event()
        self._seat = open_seat(self)

    def wake(self) -> None:
        """There are messages to take, or room for more sound (`app.live.seat.Connection`)."""
        self._output.set()
        self._room.set()

    def dismiss(self) -> None:
        """Nobody else can take the session over."""

    async def run(self, feed: Feed, tell: Tell) -> None:
        """As `Link.run`, with a session in this process."""
        sending = asyncio.create_task(self._send(feed))
        hearing = asyncio.create_task(self._hear(tell))
        try:
            await asyncio.wait((sending, hearing), return_when=asyncio.FIRST_EXCEPTION)
            if sending.done():
                sending.result()
            await hearing
        finally:
            for task in (sending, hearing):
                task.cancel()
            await asyncio.wait((sending, hearing))

    async def _send(self, feed: Feed) -> None:
        session = self._seat.session
        async for chunk in feed:
            session.receive_audio(chunk, self._hub.clock())
            self._hub.received(self._seat)
            while session.is_full and session.ended is None:
                self._room.clear()
                await self._room.wait()
        session.receive_command("end")
        self._hub.received(self._seat)

    async def _hear(self, tell: Tell) -> None:
        session = self._seat.session
        while True:
            await self._output.wait()
            self._output.clear()
            while (text := session.next_message()) is not None:
                session.message_sent()
                message = json.loads(text)
                if message["type"] == "error":
                    raise StreamFailed(message["code"], message["detail"])
                tell(message)
            if session.ended is not None:
                return


@asynccontextmanager
async def local_link(
    settings: Settings, registry: Registry, parameters: StreamParameters, given: Mapping[str, Any]
) -> AsyncIterator[LocalLink]:
    """A stream in this process. Raises what starting the model raises, `InvalidOption`."""
    from app.live.hub import Hub, LiveLimits

    asked, name = parameters.model, None
    if asked is not None or wanted_preset(settings, parameters.preset) is None:
        name = live_name(registry, asked or settings.model)
        if name != (asked or settings.model):
            note(f"{asked or settings.model} cannot follow a live stream; {name} does so in its place")
    async with local_model(settings, registry, name, parameters.preset, live=True) as local:
        runtime, chosen = local.runtime, local.chosen
        model, warnings = chosen.model, chosen.warnings
        segmentation = chosen.segmentation(given, live=True)
        limits = LiveLimits(
            streams=1, buffer_s=settings.stream_buffer_s, idle_s=math.inf, session_ttl_s=0, max_s=math.inf
        )
        # Nobody else's chunks could be gathered with these, so none are waited for.
        hub = Hub(runtime.engine, limits, batch_delay_s=0)
        link = LocalLink(hub, lambda connection: hub.open("cli", parameters, model, segmentation, connection, warnings))
        hub.start()
        try:
            yield link
        finally:
            await hub.close()


class _Broken(Exception):
    """The connection is gone and nobody said why."""


def stream_url(url: str) -> str:
    """The endpoint's address at a service's base URL, whichever of its four schemes it has. Raises `UsageError`."""
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES or not parts.netloc:
        raise UsageError(f"{url}: this is not a URL such as ws://127.0.0.1:8000")
    path = parts.path.rstrip("/")
    return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, path if path.endswith(_PATH) else path + _PATH, "", ""))


class RemoteLink:
    """One session on a server."""

    def __init__(
        self,
        url: str,
        key: str | None,
        parameters: StreamParameters,
        given: Mapping[str, Any],
        note: Callable[[str], None],
    ) -> None:
        """`url`: of `stream_url`. `note`: told what a person should know about the connection."""
        self._url, self._parameters, self._note = url, parameters, note
        self._headers = {"X-API-Key": key} if key else {}
        self._query = {**parameters.model_dump(exclude=_NOT_ASKED_FOR, exclude_none=True), **given}
        self._session = ""
        self._seq = 0
        self._position = -1
        self._done = self._progress = False

    async def run(self, feed: Feed, tell: Tell) -> None:
        """As `Link.run`. A connection that breaks is taken up again, unless the one before brought nothing."""
        tape = Tape(feed, self._parameters.bytes_per_sample, _UNACKNOWLEDGED_S * self._parameters.sample_rate)
        await self._first(tape, tell)
        while not self._done:
            if not self._progress:
                raise StreamFailed("connection_lost", f"the connection to {self._url} keeps breaking")
            await self._again(tape, tell)

    async def _first(self, tape: Tape, tell: Tell) -> None:
        try:
            await self._converse(tape, tell)
        except (OSError, InvalidHandshake) as error:
            raise _refused(self._url, error) from None
        except _Broken:
            self._note("the connection broke")

    async def _again(self, tape: Tape, tell: Tell) -> None:
        last: Exception = OSError()
        for pause_s in _PAUSES_S:
            await asyncio.sleep(pause_s)
            try:
                await self._converse(tape, tell)
            except _Broken:
                self._note("the connection broke again")
            except (OSError, InvalidHandshake) as error:
                last = error
                continue
            return
        raise _refused(self._url, last)

    async def _converse(self, tape: Tape, tell: Tell) -> None:
        """Over one connection, until `done` or until it breaks."""
        resuming = {"session": self._session, "after": self._seq} if self._session else {}
        address = f"{self._url}?{urlencode({**self._query, **resuming})}"
        async with connect(address, additional_headers=self._headers, compression=None, max_size=None) as socket:
            try:
                position = await self._ready(socket)
                self._progress = position > self._position
                self._position = position
                if resuming:
                    self._note(f"went on at {position / self._parameters.sample_rate:.2f} s")
                tape.arrived(position)
                await self._both_ways(socket, tape, position, tell)
            except ConnectionClosed as closed:
                raise _ended(closed) from None

    async def _both_ways(self, socket: ClientConnection, tape: Tape, position: int, tell: Tell) -> None:
        hearing = asyncio.create_task(self._hear(socket, tape, tell))
        sending = asyncio.create_task(self._send(socket, tape, position))
        try:
            await asyncio.wait((hearing, sending), return_when=asyncio.FIRST_EXCEPTION)
            # When both have failed, what was heard tells why.
            if sending.done() and not isinstance(sending.exception(), ConnectionClosed):
                sending.result()
            await hearing
        finally:
            for task in (hearing, sending):
                task.cancel()
            await asyncio.wait((hearing, sending))
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

    async def _send(self, socket: ClientConnection, tape: Tape, position: int) -> None:
        rate = self._parameters.sample_rate
        asked = position
        async with aclosing(tape.since(position)) as chunks:
            async for chunk, end in chunks:
                await socket.send(chunk)
                if end - asked >= _PING_EVERY_S * rate:
                    asked = end
                    await socket.send('{"type":"ping"}')
        await socket.send('{"type":"end"}')

    async def _hear(self, socket: ClientConnection, tape: Tape, tell: Tell) -> None:
        while not self._done:
            message = json.loads(await socket.recv())
            self._progress = True
            if message["type"] == "pong":
                tape.arrived(message["received_ms"] * self._parameters.sample_rate // 1000)
            elif message["type"] == "error":
                raise StreamFailed(message["code"], message["detail"])
            elif message["seq"] > self._seq:
                self._seq = message["seq"]
                tell(message)
                self._done = message["type"] == "done"


def _ended(closed: ConnectionClosed) -> Exception:
    told = closed.rcvd
    if told is not None and told.code in _CLOSED_FOR_GOOD:
        return StreamFailed("closed", f"the server closed the stream: {told.code} {told.reason}")
    return _Broken()


def _refused(url: str, error: Exception) -> StreamFailed:
    """What a failed handshake tells a person."""
    if isinstance(error, InvalidStatus):
        try:
            problem = json.loads(error.response.body or b"")
            return StreamFailed(problem["code"], f"{problem['detail']} ({problem['status']} {problem['code']})")
        except (ValueError, KeyError, TypeError):
            return StreamFailed(
                "refused", f"{url} answered {error.response.status_code}, and speaks no WebSocket there"
            )
    if isinstance(error, InvalidURI):
        return StreamFailed("invalid_url", str(error))
    return StreamFailed("no_answer", f"no answer from {url}: {error or type(error).__name__}")
