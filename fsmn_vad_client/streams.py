"""Live streams over a WebSocket: samples out, typed events in. docs/live.md tells the protocol.

Events are taken off the connection as they come and kept until they are asked for, so a program may send a whole file
before it looks at any. A stream ends with `Done`, or with an exception: `ServiceError` if the service ended it,
`ConnectionFailed` if the connection broke. Then `Stream.ready.session` and the last event's `seq` are what
`Client.stream(session=…, after=…)` comes back with.
"""

import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from urllib.parse import urlencode

from typing_extensions import Self
from websockets.asyncio.client import ClientConnection as AsyncConnection
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect

from fsmn_vad_client.answers import (
    EVENTS,
    ClientError,
    ConnectionFailed,
    Done,
    Event,
    Ready,
    UnexpectedAnswer,
    service_error,
)
from fsmn_vad_client.client import error_of, query_of

_PATH = "/vad/stream"
_GOES_ON_AFTER = ("bad_message", "invalid_option")
"""Codes of `error` messages that answer a message; all others end the stream."""
_CODED = re.compile(r"([a-z_]+)(?:: (.*))?", re.DOTALL)
"""The reason that the service gives with a close: a code, and often what it means here."""
_SETTINGS: dict[str, Any] = {"compression": None, "max_size": None, "max_queue": None}
"""PCM does not compress; `done` repeats all segments, however many; events wait in memory for the program."""


class Stream:
    """One live stream; made by `Client.stream`. One thread may send while another iterates over the events."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket, self._done = socket, False
        self.ready = _ready(self._receive())
        """The first message: session, model, options in force."""

    def send(self, samples: bytes) -> None:
        """Send samples, in any pieces up to 1 MiB. Waits while the service is behind."""
        self._send(samples)

    def flush(self) -> None:
        """End the utterance now and go on listening; `Flushed` answers."""
        self._send('{"type":"flush"}')

    def reset(self) -> None:
        """Forget everything: the next sample is at 0 ms; `Reset` answers."""
        self._send('{"type":"reset"}')

    def ping(self) -> None:
        """Ask how much has been received; `Pong` answers. Also keeps an idle stream open."""
        self._send('{"type":"ping"}')

    def change(self, **options: Any) -> None:
        """Change options of the mode from the next frame on, None for the default; `OptionsInForce` or `Rejected`
        answers."""
        self._send(json.dumps({**options, "type": "options"}))

    def end(self) -> None:
        """Say that there is no more sound; the last segments and `Done` follow."""
        self._send('{"type":"end"}')

    def poll(self, timeout: float = 0.0) -> Event | None:
        """Return the next event if one comes within `timeout` seconds, else None; None after `Done`."""
        if self._done:
            return None
        try:
            return self._event(self._receive(timeout))
        except TimeoutError:
            return None

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        if self._done:
            raise StopIteration
        return self._event(self._receive())

    def _event(self, text: str | bytes) -> Event:
        event = event_of(text)
        self._done = isinstance(event, Done)
        return event

    def _receive(self, timeout: float | None = None) -> str | bytes:
        try:
            return self._socket.recv(timeout)
        except ConnectionClosed as closed:
            raise _ended(closed) from closed

    def _send(self, message: str | bytes) -> None:
        try:
            self._socket.send(message)
        except ConnectionClosed as closed:
            raise _ended(closed) from closed


class AsyncStream:
    """One live stream; made by `AsyncClient.stream`. One task may send while another iterates over the events."""

    def __init__(self, socket: AsyncConnection, ready: Ready) -> None:
        self._socket, self._done = socket, False
        self.ready = ready
        """The first message: session, model, options in force."""

    async def send(self, samples: bytes) -> None:
        """Send samples, in any pieces up to 1 MiB. Waits while the service is behind."""
        await self._send(samples)

    async def flush(self) -> None:
        """End the utterance now and go on listening; `Flushed` answers."""
        await self._send('{"type":"flush"}')

    async def reset(self) -> None:
        """Forget everything: the next sample is at 0 ms; `Reset` answers."""
        await self._send('{"type":"reset"}')

    async def ping(self) -> None:
        """Ask how much has been received; `Pong` answers. Also keeps an idle stream open."""
        await self._send('{"type":"ping"}')

    async def change(self, **options: Any) -> None:
        """Change options of the mode from the next frame on, None for the default; `OptionsInForce` or `Rejected`
        answers."""
        await self._send(json.dumps({**options, "type": "options"}))

    async def end(self) -> None:
        """Say that there is no more sound; the last segments and `Done` follow."""
        await self._send('{"type":"end"}')

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        if self._done:
            raise StopAsyncIteration
        event = event_of(await _receive(self._socket))
        self._done = isinstance(event, Done)
        return event

    async def _send(self, message: str | bytes) -> None:
        try:
            await self._socket.send(message)
        except ConnectionClosed as closed:
            raise _ended(closed) from closed


@contextmanager
def open_stream(url: str, headers: Mapping[str, str], options: Mapping[str, Any]) -> Iterator[Stream]:
    """Open a stream at a service's base URL, and close its connection in the end."""
    try:
        socket = connect(stream_address(url, options), additional_headers=headers, **_SETTINGS)
    except (OSError, WebSocketException) as error:
        raise _refused(url, error) from error
    with socket:
        yield Stream(socket)


@asynccontextmanager
async def open_async_stream(
    url: str, headers: Mapping[str, str], options: Mapping[str, Any]
) -> AsyncIterator[AsyncStream]:
    """As `open_stream`."""
    try:
        socket = await connect_async(stream_address(url, options), additional_headers=headers, **_SETTINGS)
    except (OSError, WebSocketException) as error:
        raise _refused(url, error) from error
    async with socket:
        yield AsyncStream(socket, _ready(await _receive(socket)))


def stream_address(url: str, options: Mapping[str, Any]) -> str:
    """Return the address of the live endpoint, with the options as its query."""
    query = urlencode(query_of(options))
    return f"ws{url.removeprefix('http')}{_PATH}" + (f"?{query}" if query else "")


def event_of(text: str | bytes) -> Event:
    """Read a message. Raises `ServiceError` if it says that the stream is over, `UnexpectedAnswer`."""
    try:
        message = json.loads(text)
        event = EVENTS.get(message["type"], Event).model_validate(message)
    except (ValueError, KeyError, TypeError) as error:  # of pydantic's errors, too
        raise UnexpectedAnswer("the service sent a message of no kind that is known here") from error
    if message["type"] == "error" and message["code"] not in _GOES_ON_AFTER:
        raise service_error(message["code"], message["detail"], option=message.get("option"))
    return event


async def _receive(socket: AsyncConnection) -> str | bytes:
    try:
        return await socket.recv()
    except ConnectionClosed as closed:
        raise _ended(closed) from closed


def _ready(text: str | bytes) -> Ready:
    """Read the first message; before it every error ends the stream."""
    event = event_of(text)
    if isinstance(event, Ready):
        return event
    if event.type == "error":
        raise service_error(event.code, event.detail, option=event.option)  # type: ignore[attr-defined]
    raise UnexpectedAnswer(f"the service began with {event.type}, not ready")


def _ended(closed: ConnectionClosed) -> ClientError:
    """Tell why a connection is closed: by the service's reason, if it gave one."""
    if closed.rcvd is None:
        return ConnectionFailed("the connection broke")
    coded = _CODED.fullmatch(closed.rcvd.reason)
    if coded is None or closed.rcvd.code == 1000:
        return ConnectionFailed(f"the stream is closed: {closed.rcvd.code} {closed.rcvd.reason}".rstrip())
    return service_error(coded[1], coded[2] or coded[1])


def _refused(url: str, error: Exception) -> ClientError:
    """Tell why a stream was not opened."""
    if isinstance(error, InvalidStatus):
        response = error.response
        return error_of(f"{url}{_PATH}", response.status_code, response.headers, bytes(response.body or b""))
    return ConnectionFailed(f"no answer from {url}: {error or type(error).__name__}")
