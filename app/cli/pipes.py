"""Standard input, pipes and FIFOs: what can be read once, from its beginning to its end, and is opened once."""

import os
import shutil
import stat
from pathlib import Path
from typing import BinaryIO

from app.cli.terminal import UsageError

STDIN = "-"
"""How standard input is named."""
_STDIN_FD = 0


def is_pipe(source: str) -> bool:
    """Whether a name leads to something that is neither a file nor a folder; `-` always does."""
    if source == STDIN:
        return True
    path = Path(source)
    return path.exists() and not path.is_file() and not path.is_dir()


def identity(source: str) -> tuple[int, int]:
    """What tells pipes apart: two names of one pipe have the same. Raises `UsageError`."""
    try:
        found = os.fstat(_STDIN_FD) if source == STDIN else Path(source).stat()
    except OSError as error:
        raise _unreadable(source, error) from None
    return found.st_dev, found.st_ino


def open_pipe(source: str) -> BinaryIO:
    """Open it, unbuffered; a FIFO when somebody writes to it. Raises `UsageError` for a terminal, and for a device that
    would never end."""
    try:
        # Not through sys.stdin, whose lock a thread that still reads would hold when the interpreter ends.
        opened = os.dup(_STDIN_FD) if source == STDIN else os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise _unreadable(source, error) from None
    pipe = os.fdopen(opened, "rb", buffering=0)
    found = os.fstat(opened)
    is_device = stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode)
    if is_device and not os.path.samestat(found, Path(os.devnull).stat()):
        kind = "terminal" if os.isatty(opened) else "device"
        pipe.close()
        raise UsageError(f"{source}: this is a {kind}; name a file or a pipe")
    return pipe


def spool(source: str, folder: Path) -> Path:
    """Copy it to a file of its name in a folder, which is made. Blocks until its end. Raises `UsageError`, and OSError
    where there is no room."""
    folder.mkdir()
    path = folder / ("stdin" if source == STDIN else Path(source).name)
    with open_pipe(source) as pipe:
        copy(pipe, path)
    return path


def copy(pipe: BinaryIO, path: Path, begun: bytes = b"") -> None:
    """Write `begun` and the rest of a pipe to a file: some containers keep their index at the end."""
    with path.open("wb") as file:
        file.write(begun)
        shutil.copyfileobj(pipe, file)


def _unreadable(source: str, error: OSError) -> UsageError:
    if source == STDIN:
        return UsageError(f"{STDIN}: there is no standard input")
    return UsageError(f"{source}: {error.strerror}")
