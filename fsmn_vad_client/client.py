"""`Client` and `AsyncClient`: the service's HTTP endpoints, and where its live streams are opened.

A file is sent as the request's body, so that the service judges the options before it reads it; it is read in pieces
while it is sent. What both clients do alike (the request's parts, the judgement of an answer) stands in functions; the
two classes differ in who waits.
"""

import asyncio
import os
import re
import ssl
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar
from urllib.parse import quote, unquote

import httpx
from pydantic import BaseModel, ValidationError
from typing_extensions import Self

from fsmn_vad_client.answers import (
    ClientError,
    ConnectionFailed,
    Detection,
    Health,
    ListedModel,
    Options,
    Unavailable,
    UnexpectedAnswer,
    service_error,
)

if TYPE_CHECKING:
    from fsmn_vad_client.streams import AsyncStream, Stream

Source = str | os.PathLike[str] | bytes | BinaryIO
"""A file's path, its bytes, or a file that is open for reading in binary; the last is read from where it stands."""
D = TypeVar("D", bound=BaseModel)
_READ_BYTES = 256 << 10
_CONNECT_S = 10.0
_FILENAME = re.compile(r"filename\*=UTF-8''([^;\s]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Head:
    """What the service says beside an answer's bytes."""

    media_type: str
    filename: str | None
    """What the bytes may be saved as."""
    warnings: tuple[str, ...]
    """Codes; formats that have room for warnings tell them in the bytes as well."""
    headers: Mapping[str, str]
    """All of them; names are compared without regard to case."""


@dataclass(frozen=True, slots=True)
class Answer(Head):
    """An answer's bytes, as the service gave them."""

    content: bytes


@dataclass(frozen=True, slots=True)
class OpenAnswer(Head):
    """An answer whose bytes are still coming; iterate over it once."""

    pieces: Iterator[bytes]

    def __iter__(self) -> Iterator[bytes]:
        """Raises `ConnectionFailed` if the answer breaks off."""
        return self.pieces


@dataclass(frozen=True, slots=True)
class AsyncOpenAnswer(Head):
    """An answer whose bytes are still coming; iterate over it once."""

    pieces: AsyncIterator[bytes]

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Raises `ConnectionFailed` if the answer breaks off."""
        return self.pieces


class _Base:
    """What both clients are made from."""

    def __init__(self, url: str, key: str | None, timeout: float, retries: int) -> None:
        try:
            parsed = httpx.URL(url.rstrip("/"))
        except httpx.InvalidURL as error:
            raise ValueError(f"{url}: {error}") from None
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise ValueError(f"{url}: this is not a URL such as http://localhost:8000")
        self.url = str(parsed)
        self._key_header = {"X-API-Key": key} if key else {}
        self._timeout = httpx.Timeout(timeout, connect=min(timeout, _CONNECT_S))
        # Reading the certificates that a machine trusts takes longer than a short request, and plain HTTP needs none.
        # Redirects, which could lead to another scheme, are not followed.
        plain = parsed.scheme == "http"
        self._verify: ssl.SSLContext | bool = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if plain else True
        self._retries = retries

    def _pause_s(self, error: ClientError, attempt: int, upload: "_Upload | None") -> float:
        """Return the seconds to wait before the next attempt. Raises the error if there is none."""
        if not isinstance(error, Unavailable) or error.retry_after is None or attempt >= self._retries:
            raise error
        if upload is not None and not upload.repeatable:
            raise error
        return error.retry_after

    def _failed(self, error: httpx.HTTPError) -> ConnectionFailed:
        return ConnectionFailed(f"no answer from {self.url}: {error or type(error).__name__}")

    def _refused(self, response: httpx.Response, content: bytes) -> ClientError:
        return error_of(
            str(response.request.url.copy_with(query=None)), response.status_code, response.headers, content
        )

    def _detect_request(
        self, http: httpx.Client | httpx.AsyncClient, upload: "_Upload", body: Any, options: Mapping[str, Any]
    ) -> httpx.Request:
        return http.build_request("POST", "/vad", params=query_of(options), headers=upload.headers, content=body)


class Client(_Base):
    """A voice activity detection service, as blocking calls.

        with Client("http://localhost:8000") as client:
            for segment in client.detect("talk.mp3", model="silero").segments:
                print(segment.start_ms, segment.end_ms)

    One client may be used by several threads, and keeps connections open until it is closed. Options are those of the
    service (docs/options.md), by their names; None is as if it were not given. Every call raises `ConnectionFailed`,
    `ServiceError` (or its subclasses) and `UnexpectedAnswer`; those that read a file raise its OSError, too.
    """

    def __init__(self, url: str, key: str | None = None, *, timeout: float = 600, retries: int = 0) -> None:
        """`timeout`: longest silence of the service, s; a detection sends nothing until it is done. `retries`: how
        often to try again when the service is full and says when to come back."""
        super().__init__(url, key, timeout, retries)
        self._http = httpx.Client(
            base_url=self.url, headers=self._key_header, timeout=self._timeout, verify=self._verify
        )

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def detect(self, source: Source, /, *, filename: str | None = None, **options: Any) -> Detection:
        """Detect speech in one file. `filename`: what the answer calls it, if not as its path does."""
        answer = self.detect_bytes(source, "json", filename=filename, **options)
        return parsed(Detection, answer.content)

    def detect_bytes(
        self, source: Source, /, format: str = "json", *, filename: str | None = None, **options: Any
    ) -> Answer:
        """Detect speech in one file and return the service's bytes in any of its formats, whole."""
        with self.open_answer(source, format, filename=filename, **options) as answer:
            return Answer(answer.media_type, answer.filename, answer.warnings, answer.headers, b"".join(answer))

    @contextmanager
    def open_answer(
        self, source: Source, /, format: str = "json", *, filename: str | None = None, **options: Any
    ) -> Iterator[OpenAnswer]:
        """Detect speech in one file and yield the service's bytes while they come: for `wav` and `zip`, which may be
        long, and for `ndjson`, which is written while speech is found."""
        upload, attempt = _Upload(source, filename), 0
        while True:
            with upload.opened() as file:
                request = self._detect_request(self._http, upload, upload.pieces(file), {**options, "format": format})
                response = self._send(request)
            try:
                if response.status_code == 200:
                    yield OpenAnswer(*head_of(response), self._pieces_of(response))
                    return
                error = self._refused(response, self._read(response))
            finally:
                response.close()
            time.sleep(self._pause_s(error, attempt, upload))
            attempt += 1

    def models(self) -> tuple[ListedModel, ...]:
        """Return every model that the service has or knows; the default one first."""
        return parsed(_Models, self._get("/models")).models

    def options(self) -> Options:
        """Return every option of every mode, with the presets, formats and kinds of file that there are."""
        return parsed(Options, self._get("/options"))

    def health(self) -> Health:
        """Return the service's state, whether it is ready or not."""
        return parsed(Health, self._get("/health", also=503))

    def stream(self, **options: Any) -> "AbstractContextManager[Stream]":
        """Open a live stream of samples (docs/live.md).

            with client.stream(sample_rate=16000, mode="tight") as stream:
                for chunk in microphone:
                    stream.send(chunk)
                    while event := stream.poll():
                        print(event)
                stream.end()
                for event in stream:
                    print(event)

        Options are those of `WS /vad/stream`: `encoding`, `sample_rate`, `model`, `confirm_ms` and the like, and those
        of the mode. `session` and `after` come back to a session whose connection broke.
        """
        from fsmn_vad_client.streams import open_stream

        return open_stream(self.url, self._key_header, options)

    def _get(self, path: str, also: int = 200) -> bytes:
        attempt = 0
        while True:
            response = self._send(self._http.build_request("GET", path))
            try:
                content = self._read(response)
            finally:
                response.close()
            if response.status_code == 200 or (response.status_code == also and not is_problem(response)):
                return content
            time.sleep(self._pause_s(self._refused(response, content), attempt, None))
            attempt += 1

    def _send(self, request: httpx.Request) -> httpx.Response:
        try:
            return self._http.send(request, stream=True)
        except httpx.HTTPError as error:
            raise self._failed(error) from error

    def _read(self, response: httpx.Response) -> bytes:
        return b"".join(self._pieces_of(response))

    def _pieces_of(self, response: httpx.Response) -> Iterator[bytes]:
        try:
            yield from response.iter_bytes()
        except httpx.HTTPError as error:
            raise self._failed(error) from error


class AsyncClient(_Base):
    """A voice activity detection service, for asyncio: as `Client`, with calls to await.

    async with AsyncClient("http://localhost:8000") as client:
        detection = await client.detect("talk.mp3")
        async with client.stream(sample_rate=16000) as stream: ...
    """

    def __init__(self, url: str, key: str | None = None, *, timeout: float = 600, retries: int = 0) -> None:
        """As `Client`."""
        super().__init__(url, key, timeout, retries)
        self._http = httpx.AsyncClient(
            base_url=self.url, headers=self._key_header, timeout=self._timeout, verify=self._verify
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def detect(self, source: Source, /, *, filename: str | None = None, **options: Any) -> Detection:
        """Detect speech in one file. `filename`: what the answer calls it, if not as its path does."""
        answer = await self.detect_bytes(source, "json", filename=filename, **options)
        return parsed(Detection, answer.content)

    async def detect_bytes(
        self, source: Source, /, format: str = "json", *, filename: str | None = None, **options: Any
    ) -> Answer:
        """Detect speech in one file and return the service's bytes in any of its formats, whole."""
        async with self.open_answer(source, format, filename=filename, **options) as answer:
            content = b"".join([piece async for piece in answer])
            return Answer(answer.media_type, answer.filename, answer.warnings, answer.headers, content)

    @asynccontextmanager
    async def open_answer(
        self, source: Source, /, format: str = "json", *, filename: str | None = None, **options: Any
    ) -> AsyncIterator[AsyncOpenAnswer]:
        """As `Client.open_answer`; a file on disk is read in a thread."""
        upload, attempt = _Upload(source, filename), 0
        while True:
            with upload.opened() as file:
                body = upload.pieces_in_thread(file)
                response = await self._send(
                    self._detect_request(self._http, upload, body, {**options, "format": format})
                )
            try:
                if response.status_code == 200:
                    yield AsyncOpenAnswer(*head_of(response), self._pieces_of(response))
                    return
                error = self._refused(response, await self._read(response))
            finally:
                await response.aclose()
            await asyncio.sleep(self._pause_s(error, attempt, upload))
            attempt += 1

    async def models(self) -> tuple[ListedModel, ...]:
        """Return every model that the service has or knows; the default one first."""
        return parsed(_Models, await self._get("/models")).models

    async def options(self) -> Options:
        """Return every option of every mode, with the presets, formats and kinds of file that there are."""
        return parsed(Options, await self._get("/options"))

    async def health(self) -> Health:
        """Return the service's state, whether it is ready or not."""
        return parsed(Health, await self._get("/health", also=503))

    def stream(self, **options: Any) -> "AbstractAsyncContextManager[AsyncStream]":
        """Open a live stream, as `Client.stream` does: send in one task, `async for event in stream` in another."""
        from fsmn_vad_client.streams import open_async_stream

        return open_async_stream(self.url, self._key_header, options)

    async def _get(self, path: str, also: int = 200) -> bytes:
        attempt = 0
        while True:
            response = await self._send(self._http.build_request("GET", path))
            try:
                content = await self._read(response)
            finally:
                await response.aclose()
            if response.status_code == 200 or (response.status_code == also and not is_problem(response)):
                return content
            await asyncio.sleep(self._pause_s(self._refused(response, content), attempt, None))
            attempt += 1

    async def _send(self, request: httpx.Request) -> httpx.Response:
        try:
            return await self._http.send(request, stream=True)
        except httpx.HTTPError as error:
            raise self._failed(error) from error

    async def _read(self, response: httpx.Response) -> bytes:
        return b"".join([piece async for piece in self._pieces_of(response)])

    async def _pieces_of(self, response: httpx.Response) -> AsyncIterator[bytes]:
        try:
            async for piece in response.aiter_bytes():
                yield piece
        except httpx.HTTPError as error:
            raise self._failed(error) from error


class _Models(BaseModel):
    models: tuple[ListedModel, ...]


class _Upload:
    """A file to send, for as many attempts as it takes."""

    def __init__(self, source: Source, filename: str | None) -> None:
        self._source = source
        self._start: int | None = None  # where an open file stands, if it can go back there
        if isinstance(source, str | os.PathLike):
            filename = filename or Path(source).name
        elif not isinstance(source, bytes):
            filename = filename or Path(str(getattr(source, "name", ""))).name
            self._start = source.tell() if source.seekable() else None
        self.repeatable = self._start is not None or isinstance(source, str | os.PathLike | bytes)
        self.headers = {"Content-Type": "application/octet-stream"}
        if filename:
            try:
                # Names that are not UTF-8 on this machine's disk go as their bytes; the service knows code pages.
                name = quote(filename, safe="", errors="surrogateescape")
            except UnicodeEncodeError:
                name = quote(filename, safe="", errors="replace")
            self.headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{name}"

    def opened(self) -> "AbstractContextManager[BinaryIO | bytes]":
        """Open the file, or go back to where it stood, and set the length of the body, if it is known. Raises
        OSError."""
        self.headers.pop("Content-Length", None)
        if isinstance(self._source, bytes):
            self.headers["Content-Length"] = str(len(self._source))
            return nullcontext(self._source)
        if isinstance(self._source, str | os.PathLike):
            file: BinaryIO = Path(self._source).open("rb")  # noqa: SIM115 - the caller's context closes it
            # A pipe under a name has no length; its bytes are sent as chunks.
            size = file.seek(0, os.SEEK_END) if file.seekable() else None
            if size is not None:
                file.seek(0)
                self.headers["Content-Length"] = str(size)
            return file
        if self._start is not None:
            self.headers["Content-Length"] = str(self._source.seek(0, os.SEEK_END) - self._start)
            self._source.seek(self._start)
        return nullcontext(self._source)

    def pieces(self, file: BinaryIO | bytes) -> Iterator[bytes]:
        if isinstance(file, bytes):
            yield file
            return
        while piece := file.read(_READ_BYTES):
            yield piece

    async def pieces_in_thread(self, file: BinaryIO | bytes) -> AsyncIterator[bytes]:
        pieces = self.pieces(file)
        if isinstance(file, bytes):
            yield file
            return
        while piece := await asyncio.to_thread(next, pieces, b""):
            yield piece


def query_of(options: Mapping[str, Any]) -> dict[str, str]:
    """Write options as the service reads them; None is as if it were not given."""
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in options.items()
        if value is not None
    }


def head_of(response: httpx.Response) -> tuple[str, str | None, tuple[str, ...], Mapping[str, str]]:
    """Return an answer's media type, file name, warnings and headers."""
    headers = response.headers
    named = _FILENAME.search(headers.get("content-disposition", ""))
    codes = tuple(code.strip() for code in headers.get("x-vad-warnings", "").split(",") if code.strip())
    return headers.get("content-type", ""), None if named is None else unquote(named[1]), codes, headers


def is_problem(response: httpx.Response) -> bool:
    return bool(response.headers.get("content-type", "").startswith("application/problem+json"))


def error_of(url: str, status: int, headers: Mapping[str, str], content: bytes) -> ClientError:
    """Make the exception for a refusal: of a problem document, or of another program's page."""
    try:
        problem = _Problem.model_validate_json(content)
    except ValidationError:
        where = f", and points to {headers['location']}" if "location" in headers else ""
        return UnexpectedAnswer(f"{url} answered {status}, not as the service does{where}", status)
    seconds = headers.get("retry-after", "")
    return service_error(
        problem.code,
        problem.detail,
        status=status,
        option=problem.option,
        request_id=problem.request_id,
        retry_after=float(seconds) if seconds.isdecimal() else None,
    )


class _Problem(BaseModel):
    code: str
    detail: str
    option: str | None = None
    request_id: str | None = None


def parsed(document: type[D], content: bytes) -> D:
    """Read a JSON answer. Raises `UnexpectedAnswer`."""
    try:
        return document.model_validate_json(content)
    except ValidationError as error:
        raise UnexpectedAnswer(f"the answer is not one of this service: {error.errors()[0]['msg']}", 200) from error
