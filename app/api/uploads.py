"""A request's body, to bounded temporary files.

The body is counted as it streams, whatever its headers say. It must keep up a least rate, may pause for so long and no
longer, and has to be whole in the time that its length takes at the least rate, or in an absolute one. File parts
(`file`, any number) and the raw bodies of `curl --data-binary` go to files with random names in a private directory;
other form fields are few, small, and kept in memory.
"""

import asyncio
import errno
import re
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from app.api.body_clock import BodyClock
from app.api.errors import BadRequest, UploadTooLarge
from app.api.private_directory import PrivateDirectory
from app.engine.engine import Threads
from app.vad.errors import InvalidOption, NoAudio, NotReady, Overloaded, UnsupportedAudio

_QUICK_TO_REMOVE_BYTES = 4 << 20
"""Removing a file up to this size takes the event loop less time than a thread's turn; a larger one is a thread's."""
_WRITE_BYTES = 1 << 20
"""Gathered before a thread writes them: a turn of a thread costs as much as copying some 100 KiB."""
_MAX_FIELD_BYTES = 64 << 10
"""Of a form's text field: far more than any option has."""
_MAX_FIELDS = 64
"""More than there are options of any mode with all that concerns the answer."""
_MIB = 1 << 20
_EXTENDED_NAME = re.compile(rb"filename\*\s*=\s*\"?([A-Za-z0-9_-]*)'[^']*'([^;\"\s]+)", re.IGNORECASE)
_FORM_ESCAPES = ((b"%22", b'"'), (b"%0D", b"\r"), (b"%0A", b"\n"))
"""What browsers and many clients write for these three, and for nothing else (WHATWG HTML, multipart/form-data)."""
_CRUMB_BYTES = 4 << 10
"""A piece below this is small: one network packet, about."""
_FREE_CRUMBS = 64
"""Small pieces that are taken as they come: the heads of a multipart body's parts are sent by themselves."""
_CRUMB_PAUSE_S = 0.005
"""After each further one: so many more gather meanwhile, and 200 turns a second cost the event loop nothing."""


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """What a body may be."""

    max_bytes: int
    max_files: int
    idle_timeout_s: float
    min_bytes_per_s: float
    timeout_s: float
    """For the whole of it."""
    budget_bytes: int
    """Disk for all uploads together; 0: no limit."""


@dataclass(slots=True)
class UploadedFile:
    """One file of a request, on disk."""

    path: Path
    filename: str | None
    """As the client named it: never to be trusted, never used in a path."""
    content_type: str | None = None
    """Of its part of a form; None for a body that is the file."""
    size: int = 0


@dataclass(slots=True)
class Upload:
    """A body, taken apart."""

    files: list[UploadedFile] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)


class UploadStore:
    """Uploads on disk, in a private directory under `directory`. Blocking file work runs in `threads`."""

    def __init__(self, directory: Path, limits: UploadLimits, threads: Threads) -> None:
        self.place = directory
        """As it is set."""
        self._directory = PrivateDirectory(directory)
        self._limits = limits
        self._threads = threads
        self._bytes_held = 0

    def prepare(self) -> None:
        """Make this process's private directory, and remove those that killed processes left. Raises OSError."""
        self._directory.open()

    def is_usable(self) -> bool:
        """Whether files can be written; a directory that somebody has removed is made again. Blocking, for some
        microseconds."""
        try:
            self._directory.restore()
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Remove the directory of uploads with all files in it."""
        self._directory.close()

    @property
    def bytes_held(self) -> int:
        """Disk that uploads take right now."""
        return self._bytes_held

    @asynccontextmanager
    async def receive(self, request: Request) -> AsyncIterator[Upload]:
        """The request's body while it is used; its files are gone afterwards, however it ends.

        Raises `NoAudio`, `UnsupportedAudio` (content encoding), `UploadTooLarge`, `BodyTimeout`, `BadRequest`.
        """
        sink = _Sink(self)
        try:
            await self._fill(sink, request)
            yield sink.upload
        finally:
            if sink.size > _QUICK_TO_REMOVE_BYTES:
                await asyncio.shield(self._threads.run(sink.discard))
            else:
                sink.discard()

    async def _fill(self, sink: "_Sink", request: Request) -> None:
        encoding = request.headers.get("content-encoding", "identity").strip().lower()
        if encoding != "identity":
            raise UnsupportedAudio(f"Content-Encoding {encoding[:20]!r} is not understood; send the file as it is")
        if int(request.headers.get("content-length") or 0) > self._limits.max_bytes:
            raise self.too_large()
        feed = _multipart_feed(sink, request) or sink.raw_feed(
            file_name_of(request.headers.get("content-disposition", "").encode("latin-1"))
        )
        chunks: list[bytes] = []
        size = 0
        async for chunk in self._chunks(request):
            chunks.append(chunk)
            size += len(chunk)
            if size >= _WRITE_BYTES:
                await self._threads.run(feed, b"".join(chunks))
                chunks, size = [], 0
        await self._threads.run(sink.complete, feed, b"".join(chunks))
        if not sink.upload.files or all(file.size == 0 for file in sink.upload.files):
            raise NoAudio("no audio: send a file as form field 'file', or its bytes as the body")

    async def _chunks(self, request: Request) -> AsyncIterator[bytes]:
        limits, announced = self._limits, int(request.headers.get("content-length") or 0)
        clock = BodyClock(limits.timeout_s, limits.idle_timeout_s, limits.min_bytes_per_s, announced)
        stream, total, crumbs = request.stream().__aiter__(), 0, 0
        while True:
            try:
                chunk = await asyncio.wait_for(anext(stream), clock.patience_s())
            except StopAsyncIteration:
                return
            except asyncio.TimeoutError:
                raise clock.timeout() from None
            total += len(chunk)
            if total > self._limits.max_bytes:
                raise self.too_large()
            clock.check(total)
            yield chunk
            crumbs += len(chunk) < _CRUMB_BYTES
            if crumbs > _FREE_CRUMBS:
                await asyncio.sleep(_CRUMB_PAUSE_S)

    def too_large(self) -> UploadTooLarge:
        """The error for a body over the limit."""
        return UploadTooLarge(f"the upload is larger than {self._limits.max_bytes // _MIB} MiB")

    def create(self) -> tuple[Path, BinaryIO]:
        """A new file under a random name, open to be written. The directory is made again when somebody has removed it,
        as cleaners of /tmp do. Raises OSError, and `NotReady` where it cannot be."""
        try:
            return self._create()
        except (FileNotFoundError, NotADirectoryError):
            if not self.is_usable():
                raise NotReady("no upload can be kept here at the moment") from None
            return self._create()

    def _create(self) -> tuple[Path, BinaryIO]:
        path = self._directory.path / f"{secrets.token_hex(16)}.upload"
        return path, path.open("xb")

    def account(self, size: int) -> None:
        """Count disk taken (or given back, when negative). Raises `Overloaded` past the budget."""
        if size > 0 and self._limits.budget_bytes and self._bytes_held + size > self._limits.budget_bytes:
            raise Overloaded("the space for uploads is full; please try again in a moment")
        self._bytes_held += size

    @property
    def max_files(self) -> int:
        """Files that one request may hold."""
        return self._limits.max_files


class _Sink:
    """Takes a body apart into an `Upload`. Its methods run in a thread, one at a time."""

    def __init__(self, store: UploadStore) -> None:
        self.upload = Upload()
        self._store = store
        self._open: BinaryIO | None = None
        self._paths: list[UploadedFile] = []
        self._field: tuple[str, bytearray] | None = None
        self._parts = 0
        self._headers: dict[bytes, bytes] = {}
        self._header_name = self._header_value = b""
        self._finished = True

    def raw_feed(self, filename: str | None) -> Callable[[bytes], None]:
        """For a body that is the file itself."""
        self._begin_file(filename)
        return self._write

    def multipart_feed(self, boundary: bytes) -> Callable[[bytes], None]:
        """For a multipart body."""
        self._finished = False
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
        )
        return lambda data: _feed_parser(parser, data)

    def complete(self, feed: Callable[[bytes], None], rest: bytes) -> None:
        """Take the rest of the body. Raises `BadRequest` when a multipart body ends early."""
        feed(rest)
        self._close()
        if not self._finished:
            raise BadRequest("the multipart body ends before its last boundary")

    @property
    def size(self) -> int:
        """Bytes that this upload has on disk."""
        return sum(file.size for file in self._paths)

    def discard(self) -> None:
        """Remove every file of this upload, complete or not."""
        with suppress(Overloaded):
            self._close()
        for file in self._paths:
            file.path.unlink(missing_ok=True)
            self._store.account(-file.size)
        self._paths.clear()

    def _begin_file(self, filename: str | None, content_type: str | None = None) -> None:
        if len(self._paths) >= self._store.max_files:
            raise UploadTooLarge(f"more than {self._store.max_files} files in one request")
        path, self._open = self._store.create()
        file = UploadedFile(path, filename, content_type)
        self._paths.append(file)
        self.upload.files.append(file)

    def _write(self, data: bytes) -> None:
        if self._open is not None and data:
            self._store.account(len(data))
            self._paths[-1].size += len(data)
            with _full_disk_is_overload():
                self._open.write(data)

    def _close(self) -> None:
        if self._open is not None:
            file, self._open = self._open, None
            with _full_disk_is_overload():
                file.close()

    def _on_part_begin(self) -> None:
        # Parts are counted, not names: a million nameless ones are as much work.
        self._parts += 1
        if self._parts > _MAX_FIELDS + self._store.max_files:
            raise BadRequest(f"more than {_MAX_FIELDS} form fields and {self._store.max_files} files")
        self._headers = {}
        self._header_name = self._header_value = b""

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._header_name.lower()] = self._header_value
        self._header_name = self._header_value = b""

    def _on_headers_finished(self) -> None:
        disposition = self._headers.get(b"content-disposition", b"")
        name = parse_options_header(disposition)[1].get(b"name", b"").decode(errors="replace")
        filename = file_name_of(disposition)
        if name == "file":
            content_type = self._headers.get(b"content-type", b"").decode("latin-1")
            self._begin_file(filename, content_type)
        elif filename is not None:
            raise InvalidOption(name[:64] or "file", "files are sent in the form field 'file'")
        elif len(self.upload.fields) >= _MAX_FIELDS:
            raise BadRequest(f"more than {_MAX_FIELDS} form fields")
        else:
            self._field = (name, bytearray())

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._field is None:
            self._write(data[start:end])
            return
        self._field[1].extend(data[start:end])
        if len(self._field[1]) > _MAX_FIELD_BYTES:
            raise BadRequest(f"form field {self._field[0][:64]!r} is longer than {_MAX_FIELD_BYTES} bytes")

    def _on_part_end(self) -> None:
        self._close()
        if self._field is not None:
            name, value = self._field
            self.upload.fields[name] = value.decode(errors="replace")
            self._field = None

    def _on_end(self) -> None:
        self._finished = True


def file_name_of(disposition: bytes) -> str | None:
    """What a Content-Disposition calls a file: `filename*` (RFC 8187) before `filename`, as RFC 6266 has it; None where
    it says nothing."""
    extended = _EXTENDED_NAME.search(disposition)
    if extended is not None:
        return _decoded(unquote_to_bytes(extended[2]), extended[1].decode())
    name = parse_options_header(disposition)[1].get(b"filename")
    if name is None:
        return None
    for escape, meant in _FORM_ESCAPES:
        name = name.replace(escape, meant)
    return _decoded(name)


def _decoded(name: bytes, charset: str = "utf-8") -> str:
    # Clients on Chinese Windows write their own code page, of which GB 18030 is the whole.
    for encoding in (charset or "utf-8", "utf-8", "gb18030"):
        with suppress(UnicodeDecodeError, LookupError):
            return name.decode(encoding)
    return name.decode(errors="replace")


@contextmanager
def _full_disk_is_overload() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise Overloaded("the space for uploads is full; please try again in a moment") from None


def _feed_parser(parser: MultipartParser, data: bytes) -> None:
    try:
        parser.write(data)
    except MultipartParseError:
        raise BadRequest("the multipart body is malformed") from None


def _multipart_feed(sink: _Sink, request: Request) -> Callable[[bytes], None] | None:
    kind, parameters = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data":
        return None
    boundary = parameters.get(b"boundary", b"")
    if not 0 < len(boundary) <= 200:
        raise BadRequest("the multipart body has no boundary")
    return sink.multipart_feed(boundary)
