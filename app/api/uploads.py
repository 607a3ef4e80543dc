"""A request's body, taken apart into files and form fields while it comes.

It is counted as it streams, whatever its headers say. It must keep up a least rate, may pause for so long and no
longer, and has to be whole in the time that its length takes at the least rate, or in an absolute one. File parts
(`file`, any number) and the raw bodies of `curl --data-binary` stay in memory where the whole body is small, and else
go to disk, written by threads (`app.api.upload_store`); other form fields are few, small, and kept in memory.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser
from starlette.requests import Request

from app.api.errors import BadRequest, BodyTimeout, UploadTooLarge
from app.api.upload_store import UploadedFile, UploadStore
from app.engine.engine import Threads
from app.vad.errors import InvalidOption, NoAudio, UnsupportedAudio

_QUICK_TO_REMOVE_BYTES = 4 << 20
"""Removing a file up to this size takes the event loop less time than a thread's turn; a larger one is a thread's."""
_WRITE_BYTES = 1 << 20
"""Gathered before a thread writes them: a turn of a thread costs as much as copying some 100 KiB."""
_MAX_FIELD_BYTES = 64 << 10
"""Of a form's text field: far more than any option has."""
_MAX_FIELDS = 64
"""More than there are options of any mode with all that concerns the answer."""
_MIB = 1 << 20
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
    """Longest pause."""
    min_bytes_per_s: float
    """Least rate, on average; 0: any."""
    timeout_s: float
    """For the whole of it; less where its announced length takes less at the least rate, with a pause added."""


@dataclass(slots=True)
class Upload:
    """A body, taken apart."""

    files: list[UploadedFile] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)


class UploadReceiver:
    """Receives bodies into a store. Work that blocks runs in `threads`."""

    def __init__(self, store: UploadStore, limits: UploadLimits, threads: Threads) -> None:
        self.store = store
        self._limits, self._threads = limits, threads

    @asynccontextmanager
    async def receive(self, request: Request) -> AsyncIterator[Upload]:
        """The request's body while it is used; its files are gone afterwards, however it ends.

        Raises `NoAudio`, `UnsupportedAudio` (content encoding), `UploadTooLarge`, `BodyTimeout`, `BadRequest`,
        `InvalidOption` for a file in another form field, and `Overloaded` where there is no space.
        """
        body = _Body(self.store, self._limits.max_files, request)
        try:
            await self._fill(body, request)
            yield body.upload
        finally:
            if body.disk_bytes > _QUICK_TO_REMOVE_BYTES:
                await self._in_thread(body.discard)
            else:
                body.discard()

    async def _fill(self, body: "_Body", request: Request) -> None:
        encoding = request.headers.get("content-encoding", "identity").strip().lower()
        if encoding != "identity":
            raise UnsupportedAudio(f"Content-Encoding {encoding[:20]!r} is not understood; send the file as it is")
        announced = int(request.headers.get("content-length") or 0)
        if announced > self._limits.max_bytes:
            raise self._too_large()
        chunks: list[bytes] = []
        waiting, on_disk = 0, False
        async for chunk in self._chunks(request, announced):
            chunks.append(chunk)
            waiting += len(chunk)
            if waiting >= _WRITE_BYTES:
                await self._in_thread(body.feed, b"".join(chunks))
                chunks, waiting, on_disk = [], 0, True
        if not on_disk and body.keep_in_memory(waiting):
            body.complete(b"".join(chunks))
        else:
            await self._in_thread(body.complete, b"".join(chunks))
        if not any(file.size for file in body.upload.files):
            raise NoAudio("no audio: send a file as form field 'file', or its bytes as the body")

    async def _in_thread(self, call: Callable[..., None], *arguments: bytes) -> None:
        """Run a call to its end: a cancelled caller waits for it, so that nothing is written after `discard`."""
        work = asyncio.ensure_future(self._threads.run(call, *arguments))
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            await asyncio.wait({work})
            raise

    async def _chunks(self, request: Request, announced: int) -> AsyncIterator[bytes]:
        """The body as it comes, within its limits of size and time. `announced`: its length; 0: unknown."""
        limits, started = self._limits, time.monotonic()
        limit_s = limits.timeout_s
        if announced and limits.min_bytes_per_s:
            limit_s = min(limit_s, announced / limits.min_bytes_per_s + limits.idle_timeout_s)
        stream, total, crumbs = request.stream().__aiter__(), 0, 0
        while True:
            left_s = started + limit_s - time.monotonic()
            try:
                chunk = await asyncio.wait_for(anext(stream), max(0.0, min(limits.idle_timeout_s, left_s)))
            except StopAsyncIteration:
                return
            except asyncio.TimeoutError:
                if left_s <= limits.idle_timeout_s:
                    raise BodyTimeout(f"the upload was not complete after {limit_s:g} s") from None
                raise BodyTimeout(f"no data came for {limits.idle_timeout_s:g} s") from None
            total += len(chunk)
            if total > limits.max_bytes:
                raise self._too_large()
            elapsed_s = time.monotonic() - started
            if elapsed_s > limits.idle_timeout_s and total < limits.min_bytes_per_s * elapsed_s:
                raise BodyTimeout(f"the upload is slower than {limits.min_bytes_per_s / 1000:g} kB/s")
            yield chunk
            crumbs += len(chunk) < _CRUMB_BYTES
            if crumbs > _FREE_CRUMBS:
                await asyncio.sleep(_CRUMB_PAUSE_S)

    def _too_large(self) -> UploadTooLarge:
        return UploadTooLarge(f"the upload is larger than {self._limits.max_bytes // _MIB} MiB")


class _Body:
    """Takes a body apart into an `Upload`. Its methods run one at a time, in threads where the body is on disk."""

    def __init__(self, store: UploadStore, max_files: int, request: Request) -> None:
        """Raises `BadRequest` for a multipart body that cannot be parsed."""
        self.upload = Upload()
        self._store, self._max_files = store, max_files
        self._memory_bytes: int | None = None
        """Counted for a body that stays in memory; None for one on disk."""
        self._finished = True
        kind, parameters = parse_header(request.headers.get("content-type", "").encode("latin-1"))
        if kind != "multipart/form-data":
            filename = file_name_of(request.headers.get("content-disposition", "").encode("latin-1"))
            self._part: _FilePart | _FieldPart | None = _FilePart(filename, None)
            self._parser: MultipartParser | None = None
            return
        boundary = parameters.get("boundary", "").encode()
        if not 0 < len(boundary) <= 200:
            raise BadRequest("the multipart body has no boundary")
        self._finished = False
        self._part = None
        self._parts = 0
        self._headers: dict[bytes, bytes] = {}
        self._header_name = self._header_value = b""
        self._parser = MultipartParser(
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

    def keep_in_memory(self, size: int) -> bool:
        """Whether a body of this size, of which nothing has been fed yet, may stay in memory; from now on it does."""
        if not self._store.take_memory(size):
            return False
        self._memory_bytes = size
        return True

    def feed(self, data: bytes) -> None:
        """Take some of the body. Raises what `UploadReceiver.receive` does."""
        if self._parser is None:
            self._on_part_data(data, 0, len(data))
            return
        try:
            self._parser.write(data)
        except MultipartParseError:
            raise BadRequest("the multipart body is malformed") from None

    def complete(self, rest: bytes) -> None:
        """Take the rest of the body."""
        self.feed(rest)
        if self._parser is None:
            self._on_part_end()
        if not self._finished:
            raise BadRequest("the multipart body ends before its last boundary")

    @property
    def disk_bytes(self) -> int:
        """What has to be removed from disk in the end."""
        return 0 if self._memory_bytes is not None else sum(file.size for file in self.upload.files)

    def discard(self) -> None:
        """Give back memory and disk, whether the body came whole or not."""
        for file in self.upload.files:
            file.discard()
        self._store.give_memory_back(self._memory_bytes or 0)

    def _on_part_begin(self) -> None:
        # Parts are counted, not names: a million nameless ones are as much work.
        self._parts += 1
        if self._parts > _MAX_FIELDS + self._max_files:
            raise BadRequest(f"more than {_MAX_FIELDS} form fields and {self._max_files} files")
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
        name = parse_header(disposition)[1].get("name", "")
        filename = file_name_of(disposition)
        if name == "file" or filename is not None:
            content_type = self._headers.get(b"content-type", b"").decode("latin-1")
            self._part = _FilePart(filename, content_type, name)
        elif len(self.upload.fields) >= _MAX_FIELDS:
            raise BadRequest(f"more than {_MAX_FIELDS} form fields")
        else:
            self._part = _FieldPart(name)

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        part = self._part
        if isinstance(part, _FieldPart):
            part.value.extend(data[start:end])
            if len(part.value) > _MAX_FIELD_BYTES:
                raise BadRequest(f"form field {part.name[:64]!r} is longer than {_MAX_FIELD_BYTES} bytes")
        elif part is not None and end > start:
            if part.file is None:
                part.file = self._new_file(part)
            part.file.write(data[start:end])

    def _on_part_end(self) -> None:
        part, self._part = self._part, None
        if isinstance(part, _FieldPart):
            self.upload.fields[part.name] = part.value.decode(errors="replace")
        elif part is not None:
            # Browsers send a part without name and bytes for a file input that nobody has filled in: it is no file.
            if part.file is None and part.filename:
                part.file = self._new_file(part)
            if part.file is not None:
                part.file.finish()

    def _on_end(self) -> None:
        self._finished = True

    def _new_file(self, part: "_FilePart") -> UploadedFile:
        if part.name != "file":
            raise InvalidOption(part.name[:64] or "file", "files are sent in the form field 'file'")
        if len(self.upload.files) >= self._max_files:
            raise UploadTooLarge(f"more than {self._max_files} files in one request")
        in_memory = self._memory_bytes is not None
        file = UploadedFile(self._store, part.filename or None, part.content_type, in_memory=in_memory)
        self.upload.files.append(file)
        return file


@dataclass(slots=True)
class _FilePart:
    """A part of a form that holds a file, or a body that is one."""

    filename: str | None
    content_type: str | None
    name: str = "file"
    """Of its form field."""
    file: UploadedFile | None = None
    """From its first byte on."""


@dataclass(slots=True)
class _FieldPart:
    """A part of a form that holds text."""

    name: str
    value: bytearray = field(default_factory=bytearray)


# ---- headers with parameters

_PARAMETER = re.compile(r";\s*([^\s=;\"]+)\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^;]*))")
_ESCAPED = re.compile(r"\\([\"\\])")
_EXTENDED = re.compile(r"([A-Za-z0-9_-]*)'[^']*'(.*)")
_CHARSETS = frozenset({
    "utf-8", "utf8", "us-ascii", "iso-8859-1", "windows-1251", "windows-1252", "gb2312", "gbk", "gb18030", "big5",
    "shift_jis", "euc-jp", "euc-kr",
})  # fmt: skip
"""That a client may name; of the others that Python knows, some are no charsets, and some fail in ways of their own."""
_FORM_ESCAPES = (("%22", '"'), ("%0D", "\r"), ("%0A", "\n"))
"""What browsers and many clients write for these three, and for nothing else (WHATWG HTML, multipart/form-data)."""


def parse_header(value: bytes) -> tuple[str, dict[str, str]]:
    """A header's value and its parameters, both names in lower case; the first of several with one name.

    Quoted values may hold anything, `;` and `name=` included. A backslash escapes a quote or a backslash, as curl
    writes them, and else stands for itself, as browsers write it. Text that is not UTF-8 is read as GB 18030, the whole
    of what clients on Chinese Windows write, before it is taken apart: there a backslash may be half a character.
    """
    text = _decoded(value)
    kind, parameters, at = text.partition(";")[0], dict[str, str](), text.find(";")
    while at >= 0:
        found = _PARAMETER.match(text, at)
        if found is not None:
            quoted, token = found[2], found[3]
            plain = _ESCAPED.sub(r"\1", quoted) if quoted is not None else token.strip().strip('"')
            parameters.setdefault(found[1].lower(), plain)
        at = text.find(";", at + 1 if found is None else found.end())
    return kind.strip().lower(), parameters


def file_name_of(disposition: bytes) -> str | None:
    """What a Content-Disposition calls a file: `filename*` (RFC 8187) before `filename`, as RFC 6266 has it; None where
    it says nothing."""
    parameters = parse_header(disposition)[1]
    extended = _EXTENDED.fullmatch(parameters.get("filename*", ""))
    if extended is not None:
        return _decoded(unquote_to_bytes(extended[2]), extended[1].lower())
    name = parameters.get("filename")
    if name is not None:
        for escape, meant in _FORM_ESCAPES:
            name = name.replace(escape, meant)
    return name


def _decoded(name: bytes, charset: str = "utf-8") -> str:
    for encoding in (charset if charset in _CHARSETS else "utf-8", "utf-8", "gb18030"):
        with suppress(UnicodeDecodeError):
            return name.decode(encoding)
    return name.decode(errors="replace")
