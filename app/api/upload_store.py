"""Where uploads are while they are used: small ones in memory, others in files with random names in a directory of this
process alone. Both are counted for all uploads together.

The directory is `PARENT/fsmn-vad-UID/RANDOM/`, mode 0700, and gone with the process. Each process holds a lock inside
its own directory, so the next start can tell what a killed process left (no lock) from what a neighbour uses, across
containers that share the parent too.
"""

import errno
import fcntl
import os
import secrets
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from app.audio.options import AudioInput
from app.vad.errors import NotReady, Overloaded

SMALL_BYTES = 256 << 10
"""Bodies up to here stay in memory: a thread's turn and a file cost more than what is done with so few bytes."""
_MEMORY_BYTES = 32 << 20
"""For all of them together; what comes when it is full goes to disk, as large ones do."""
_LOCK = "lock"


class UploadStore:
    """Room for uploads, in memory and below `directory`. Memory is counted by the event loop alone, disk by threads."""

    def __init__(self, directory: Path, budget_bytes: int) -> None:
        """`budget_bytes`: disk for all uploads together; 0: no limit."""
        self.place = directory
        """As the setting has it."""
        self.disk_bytes = 0
        """What uploads take right now."""
        self.memory_bytes = 0
        self._directory = PrivateDirectory(directory)
        self._budget_bytes = budget_bytes
        self._counting = threading.Lock()

    def prepare(self) -> None:
        """Make this process's private directory, and remove those that killed processes left. Raises OSError."""
        self._directory.open()

    def is_usable(self) -> bool:
        """Whether files can be written; a directory that was removed is made again. Blocking, for some microseconds."""
        try:
            self._directory.restore()
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Remove the directory of uploads with all files in it."""
        self._directory.close()

    def take_memory(self, size: int) -> bool:
        """Count a body that stays in memory, if there is room; `give_memory_back` is then to be called."""
        if size > SMALL_BYTES or self.memory_bytes + size > _MEMORY_BYTES:
            return False
        self.memory_bytes += size
        return True

    def give_memory_back(self, size: int) -> None:
        self.memory_bytes -= size

    def new_path(self) -> Path:
        """A random name in the private directory; there is no such file yet."""
        return self._directory.path / f"{secrets.token_hex(16)}.upload"

    def create(self, path: Path) -> BinaryIO:
        """A new file, to be written. The directory is made again if it was removed, as cleaners of /tmp do.
        Raises OSError, and `NotReady` where it cannot be."""
        try:
            return path.open("xb")
        except (FileNotFoundError, NotADirectoryError):
            if not self.is_usable():
                raise NotReady("no upload can be kept here at the moment") from None
            return path.open("xb")

    def take_disk(self, size: int) -> None:
        """Count disk before it is written. Raises `Overloaded` past the budget."""
        with self._counting:
            if size and self._budget_bytes and self.disk_bytes + size > self._budget_bytes:
                raise _no_space()
            self.disk_bytes += size

    def give_disk_back(self, size: int) -> None:
        with self._counting:
            self.disk_bytes -= size


class UploadedFile:
    """One file of a request, in memory (`data`) or on disk. Used by one thread at a time."""

    def __init__(self, store: UploadStore, filename: str | None, content_type: str | None, *, in_memory: bool) -> None:
        self.filename = filename
        """As the client named it: never to be trusted, never used in a path."""
        self.content_type = content_type
        """Of its part of a form; None for a body that is the file."""
        self.path = store.new_path()
        """Where it lies; of one in memory, where `spool` puts it."""
        self.data: bytes | None = None
        """The whole file, once `finish` has been called, where it is in memory."""
        self.size = 0
        self._store = store
        self._pieces: list[bytes] | None = [] if in_memory else None
        self._open: BinaryIO | None = None
        self._on_disk = False
        self._disk_bytes = 0
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
        """Nothing more comes."""
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
        """Remove it, whole or not."""
        with self._spooling:
            self._discarded = True
            with suppress(Overloaded):
                self._close()
            if self._on_disk:
                with suppress(OSError):  # the directory itself may have been removed
                    self.path.unlink()
            self._store.give_disk_back(self._disk_bytes)
            self._disk_bytes = 0

    def _write_to_disk(self, data: bytes) -> None:
        self._store.take_disk(len(data))
        self._disk_bytes += len(data)
        with _full_disk_is_overload():
            if self._open is None:
                self._open, self._on_disk = self._store.create(self.path), True
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


class PrivateDirectory:
    """To be opened once, before use."""

    def __init__(self, parent: Path) -> None:
        self._base = parent / f"fsmn-vad-{os.getuid()}"
        self.path = self._base / secrets.token_hex(8)
        self._lock: int | None = None
        self._restoring = threading.Lock()

    def open(self) -> None:
        """Make it, and sweep what killed processes left. Raises OSError when the place is not ours."""
        self._base.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = self._base.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
            raise PermissionError(f"{self._base} belongs to another user")
        self._base.chmod(0o700)
        for left in self._base.iterdir():
            _remove_unless_locked(left)
        self.path.mkdir(mode=0o700)
        self._lock = os.open(self.path / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def restore(self) -> None:
        """Make it again if it was removed while in use. Raises OSError."""
        with self._restoring:
            if not self.path.is_dir():
                self._release()
                self.open()

    def close(self) -> None:
        """Remove the directory with everything in it, and give up its lock."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


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
