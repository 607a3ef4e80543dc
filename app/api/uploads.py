"""A request's body, taken apart into files and form fields while it comes.

It is counted as it streams, whatever its headers say. It must keep up a least rate, may pause for so long and no
longer, and has to be whole in the time that its length takes at the least rate, or in an absolute one. File parts
(`file`, any number) and the raw bodies of `curl --data-binary` stay in memory where the whole body is small, and else
go to disk, written by threads; other form fields are few, small, and kept in memory. Both kinds of files are counted
for all uploads together (`UploadStore`).

Forms are parsed by python-multipart with callbacks of our own. Starlette's parser over it would need overriding in
nearly all of them, and in how it writes: to files of its own elsewhere, one thread's turn for each piece, parsed by the
event loop (2.4 times the processor time for 100 MB). It also takes a form that breaks off for a whole one.

The directory on disk is `PARENT/fsmn-vad-UID/RANDOM/`, mode 0700, and gone with the process. Each process holds a lock
inside its own directory, so the next start can tell what a killed process left (no lock) from what a neighbour uses,
across containers that share the parent too.
"""

import asyncio
import errno
import fcntl
import itertools
import os
import re
import secrets
import shutil
import stat
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser
from starlette.requests import Request

from app.api.admission import holder_of
from app.api.arrival import Arrival, UploadLimits, too_large
from app.api.errors import BadRequest, UploadTooLarge
from app.api.headers import decoded, file_name_in, file_name_of, form_boundary, parse_header
from app.audio.options import AudioInput
from app.engine.engine import Threads
from app.engine.shares import Holder, Shares, State, Ticket
from app.vad.errors import InvalidOption, NoAudio, NotReady, Overloaded, UnsupportedAudio

SMALL_BYTES = 256 << 10
"""Bodies up to here stay in memory: a thread's turn and a file cost more than what is done with so few bytes."""
_MEMORY_BYTES = 32 << 20
"""For all of them together; what comes when it is full goes to disk, as large ones do."""
_LOCK = "lock"
_QUICK_TO_REMOVE_BYTES = 4 << 20
"""Removing a file up to this size takes the event loop less time than a thread's turn; a larger one is a thread's."""
_WRITE_BYTES = 1 << 20
"""Gathered before a thread writes them: a turn of a thread costs as much as copying some 100 KiB."""
_MAX_FIELD_BYTES = 64 << 10
"""Of a form's text field: far more than any option has."""
_MAX_FIELDS = 128
"""Pages send all fields of a form, the blank ones too: nearly twice as many as there are options of all modes."""
_MAX_PREAMBLE_BYTES = 64 << 10
"""Before a form's first boundary; mail programs say a sentence there, for readers that know no forms."""
_PLAIN_CODINGS = frozenset({b"", b"7bit", b"8bit", b"binary"})
"""That say nothing but what bytes there may be. Forms have no others (RFC 7578, 4.7), but mail has."""
_NO_BOUNDARY = "the multipart body does not begin with the boundary that its Content-Type names"
_FORM_CHARSET = "_charset_"
"""A field that browsers fill in with the charset of the others (RFC 7578, 4.6), and that is no option."""


# ---- where uploads are while they are used


class UploadStore:
    """Room for uploads, in memory and below `directory`. Memory is counted by the event loop alone, disk by threads."""

    def __init__(self, directory: Path, budget_bytes: int) -> None:
        """`budget_bytes`: disk for all uploads together; 0: nine tenths of what is free when no upload takes any."""
        self.place = directory
        """As the setting has it."""
        self.memory_bytes = 0
        self._base = directory / f"fsmn-vad-{os.getuid()}"
        self._directory = self._base / secrets.token_hex(8)
        self._numbers = itertools.count()
        self._lock: int | None = None
        self._budget_bytes = budget_bytes
        self._disk = Shares(budget_bytes)
        self._counting, self._restoring = threading.Lock(), threading.Lock()

    @property
    def disk_bytes(self) -> int:
        """What uploads take right now."""
        return self._disk.taken

    def prepare(self) -> None:
        """Make this process's private directory, and remove those that killed processes left. Raises OSError, also when
        the place is not ours."""
        self._base.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = self._base.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
            raise PermissionError(f"{self._base} belongs to another user")
        self._base.chmod(0o700)
        for left in self._base.iterdir():
            _remove_unless_locked(left)
        self._directory.mkdir(mode=0o700)
        self._lock = os.open(self._directory / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def is_usable(self) -> bool:
        """Whether files can be written; a directory that was removed is made again. Blocking, for some microseconds."""
        try:
            with self._restoring:
                if not self._directory.is_dir():
                    self._unlock()
                    self.prepare()
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Remove the private directory with everything in it, and give up its lock."""
        shutil.rmtree(self._directory, ignore_errors=True)
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def take_memory(self, size: int) -> bool:
        """Count a body that stays in memory, if there is room; `give_memory_back` is then to be called."""
        if size > SMALL_BYTES or self.memory_bytes + size > _MEMORY_BYTES:
            return False
        self.memory_bytes += size
        return True

    def give_memory_back(self, size: int) -> None:
        self.memory_bytes -= size

    def new_path(self) -> Path:
        """A name in the private directory that no other upload has."""
        return self._directory / f"{next(self._numbers)}.upload"

    def create(self, path: Path) -> BinaryIO:
        """A new file, to be written. The directory is made again if it was removed, as cleaners of /tmp do.
        Raises OSError, and `NotReady` where it cannot be."""
        try:
            return path.open("xb")
        except (FileNotFoundError, NotADirectoryError):
            self._check_usable()
            return path.open("xb")

    def _check_usable(self) -> None:
        if not self.is_usable():
            raise NotReady("uploads cannot be stored at the moment") from None

    def take_disk(self, holder: Holder, room: Ticket | None, size: int) -> Ticket | None:
        """Count disk before it is written, beside what `room` stands for, and return what stands for all of it; None
        where there is none left. Raises `NotReady` where there is no place for files."""
        with self._counting:
            if room is not None:
                return room if self._disk.grow(room, size) else None
            if not self._budget_bytes and not self._disk.taken:
                self._check_usable()
                self._disk = Shares(shutil.disk_usage(self._directory).free * 9 // 10)
            room = self._disk.arrive(holder, amount=size) if size <= self._disk.total else None
            return room if room is not None and room.state is State.IN_USE else None

    def give_disk_back(self, room: Ticket) -> None:
        with self._counting:
            self._disk.leave(room)


class DiskRoom:
    """What the files of one request take on disk."""

    def __init__(self, store: UploadStore, holder: Holder) -> None:
        self.store, self._holder = store, holder
        self._room: Ticket | None = None

    def take(self, size: int) -> None:
        """Count disk before it is written. Raises `Overloaded` and `NotReady`."""
        if size:
            taken = self.store.take_disk(self._holder, self._room, size)
            if taken is None:
                raise _no_space()
            self._room = taken

    def give_back(self) -> None:
        """Give it back, once the files have been removed."""
        if self._room is not None:
            self.store.give_disk_back(self._room)
            self._room = None


class UploadedFile:
    """One file of a request, in memory (`data`) or on disk. Used by one thread at a time."""

    def __init__(self, disk: DiskRoom, filename: str | None, content_type: str | None, *, in_memory: bool) -> None:
        self.filename = filename
        """As the client named it: never to be trusted, never used in a path."""
        self.content_type = content_type
        """Of its part of a form; None for a body that is the file."""
        self.path = disk.store.new_path()
        """Where it lies; of one in memory, where `spool` puts it."""
        self.data: bytes | None = None
        """The whole file, once `finish` has been called, where it is in memory."""
        self.size = 0
        self._disk = disk
        self._pieces: list[bytes] | None = [] if in_memory else None
        self._open: BinaryIO | None = None
        self._on_disk = False
        self._discarded = False
        self._spooling = threading.Lock()

    def write(self, data: bytes) -> None:
        """Append; blocking where it is on disk. Raises `Overloaded` where there is no space."""
        self.size += len(data)
        if self._pieces is not None:
            self._pieces.append(data)
        else:
            self._write_to_disk(data)

    def finish(self) -> None:
        self._close()
        if self._pieces is not None or not self.size:
            self.data, self._pieces = b"".join(self._pieces or ()), None

    def spool(self) -> None:
        """Write one that is in memory to `path`, for a program that needs a file; nothing if that has been done.
        Blocking. Raises OSError, `Overloaded` and `NotReady`."""
        with self._spooling:
            if self._discarded:
                raise FileNotFoundError(self.path)  # its request has ended: nothing would remove the file
            if self.data is not None and not self._on_disk:
                self._write_to_disk(self.data)
                self._close()

    def audio_input(self, described: Callable[[Path, str], AudioInput], media_type: str = "") -> AudioInput:
        """What `described` makes of the path and the media type, wherever the bytes are. `media_type`: the request's,
        where the file's part of a form has none."""
        source = described(self.path, self.content_type or media_type)
        return source if self.data is None else replace(source, data=self.data, spool=self.spool)

    def read(self) -> bytes:
        """All of it. Blocking where it is on disk."""
        return self.path.read_bytes() if self.data is None else self.data

    def discard(self) -> None:
        """Remove it from disk."""
        with self._spooling:
            self._discarded = True
            with suppress(Overloaded):
                self._close()
            if self._on_disk:
                with suppress(OSError):  # the directory itself may have been removed
                    self.path.unlink()

    def _write_to_disk(self, data: bytes) -> None:
        self._disk.take(len(data))
        with _full_disk_is_overload():
            if self._open is None:
                self._open, self._on_disk = self._disk.store.create(self.path), True
            self._open.write(data)

    def _close(self) -> None:
        if self._open is not None:
            file, self._open = self._open, None
            with _full_disk_is_overload():
                file.close()


def _no_space() -> Overloaded:
    return Overloaded("the space for uploads is full; please try again in a moment")


@contextmanager
def _full_disk_is_overload() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise _no_space() from None


def _remove_unless_locked(directory: Path) -> None:
    try:
        lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        # Without a lock file it is either broken or made this very moment by a starting neighbour: leave it.
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return
    else:
        shutil.rmtree(directory, ignore_errors=True)
    finally:
        os.close(lock)


# ---- bodies


@dataclass(slots=True)
class Upload:
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
        encodings = ",".join(request.headers.getlist("content-encoding")).lower()
        if any(each.strip() not in ("", "identity") for each in encodings.split(",")):
            raise UnsupportedAudio(f"Content-Encoding {encodings[:20]!r} is not supported; send the file as it is")
        announced = int(request.headers.get("content-length") or 0)
        if announced > self._limits.max_bytes:
            raise too_large(self._limits)
        chunks: list[bytes] = []
        waiting, on_disk = 0, False
        with Arrival(request, self._limits, announced) as arrival:
            while (chunk := await arrival.next_chunk()) is not None:
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


class _Body:
    """Takes a body apart into an `Upload`. Its methods run one at a time, in threads where the body is on disk."""

    def __init__(self, store: UploadStore, max_files: int, request: Request) -> None:
        """Raises `BadRequest` for a multipart body that cannot be parsed."""
        self.upload = Upload()
        self._store, self._max_files = store, max_files
        self._disk = DiskRoom(store, holder_of(request.scope))
        self._memory_bytes: int | None = None
        """Counted for a body that stays in memory; None for one on disk."""
        self._finished = True
        boundary = form_boundary(request)
        if boundary is None:
            filename = file_name_of(request.headers.get("content-disposition", "").encode("latin-1"))
            self._part: _FilePart | _FieldPart | None = _FilePart(filename, None)
            self._parser: MultipartParser | None = None
            return
        self._preamble: bytes | None = b""
        """What has come before the first boundary; None once that is there."""
        self._delimiter = b"--" + boundary
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
        if self._preamble is not None:
            data = self._without_preamble(self._preamble + data)
        try:
            self._parser.write(data)
        except MultipartParseError:
            raise BadRequest("the multipart body is malformed") from None

    def _without_preamble(self, data: bytes) -> bytes:
        """The body from its first boundary on; nothing, as long as that has not come.

        RFC 2046 has readers ignore what stands before it. The parser does not, nor does it know blanks behind it.
        """
        if data.startswith(self._delimiter + b"\r\n"):  # as nearly always; to compile a pattern takes longer than this
            self._preamble = None
            return data
        found = re.search(rb"(?:\A|\n)" + re.escape(self._delimiter) + rb"[ \t]*(?:(\r?\n)|--)", data)
        if (len(data) if found is None else found.start()) > _MAX_PREAMBLE_BYTES:
            raise BadRequest(_NO_BOUNDARY)
        if found is None:
            self._preamble = data
            return b""
        if found[1] == b"\n":
            raise BadRequest("the lines of the multipart body end in LF; they must end in CRLF")
        self._preamble = None
        return self._delimiter + data[found.end() - 2 :]

    def complete(self, rest: bytes) -> None:
        self.feed(rest)
        if self._parser is None:
            self._on_part_end()
        if not self._finished and self._preamble:
            raise BadRequest(_NO_BOUNDARY)
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
        self._disk.give_back()
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
        disposition = parse_header(self._headers.get(b"content-disposition", b""))[1]
        name, filename = disposition.get("name", ""), file_name_in(disposition)
        content_type = self._headers.get(b"content-type", b"")
        coding = self._headers.get(b"content-transfer-encoding", b"binary").strip().lower()
        if coding not in _PLAIN_CODINGS:
            told = coding[:20].decode("latin-1")
            raise UnsupportedAudio(f"Content-Transfer-Encoding {told!r} is not supported; send the bytes as they are")
        if name == "file" or filename is not None:
            self._part = _FilePart(filename, content_type.decode("latin-1"), name)
        elif len(self.upload.fields) >= _MAX_FIELDS:
            raise BadRequest(f"more than {_MAX_FIELDS} form fields")
        else:
            charset = parse_header(content_type)[1].get("charset", "").lower() if content_type else ""
            self._part = _FieldPart(name, charset)

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
            value = decoded(bytes(part.value), part.charset)
            # A field that nobody has filled in is none; of several with one name it takes no value back.
            if value.strip() and part.name != _FORM_CHARSET:
                self.upload.fields[part.name] = value
        elif part is not None:
            # Browsers send a part without name and bytes for a file input that nobody has filled in: it is no file.
            if part.file is None and (part.filename or "").strip():
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
        file = UploadedFile(self._disk, part.filename or None, part.content_type, in_memory=in_memory)
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
    name: str
    charset: str
    value: bytearray = field(default_factory=bytearray)
