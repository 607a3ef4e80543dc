"""What goes wrong while a storm blows: no room, killed decoders."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from tests.server import RunningServer
from tests.waiting import eventually


@contextmanager
def small_disk(folder: Path, size_mb: int) -> Iterator[bool]:
    """Mount a disk of this size on `folder`; whether this could be done."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def kill_a_decoder(server: RunningServer) -> bool:
    """SIGKILL for a child of the server, if it has one."""
    for child in children(server)[:1]:
        try:
            os.kill(child, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True
    return False


def children(server: RunningServer) -> list[int]:
    """Process ids of the server's children."""
    listing = Path(f"/proc/{server.process.pid}/task")
    found = chain.from_iterable(_read(path / "children").split() for path in listing.glob("*"))
    return [int(child) for child in found]


def descriptors(server: RunningServer) -> int:
    """Open descriptors of the server."""
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


def resident_bytes(server: RunningServer) -> int:
    """Resident memory of the server; 0 while it is down."""
    fields = _read(Path(f"/proc/{server.process.pid}/statm")).split()
    return int(fields[1]) * os.sysconf("SC_PAGESIZE") if len(fields) > 1 else 0


def in_use_bytes(server: RunningServer, told: Path) -> int:
    """Bytes that the server has in use, as it tells in the file `told`; what its allocators only hold is not in it."""
    told.unlink(missing_ok=True)
    os.kill(server.process.pid, signal.SIGUSR1)
    eventually(told.exists)
    return int(told.read_text())


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
