"""A directory for one process's temporary files, gone with the process.

`PARENT/fsmn-vad-UID/RANDOM/`, mode 0700. Each process holds a lock inside its own directory, so the next start can tell
what a killed process left (no lock) from what a neighbour uses, across containers that share the parent too.
"""

import fcntl
import os
import secrets
import shutil
import stat
import threading
from pathlib import Path

_LOCK = "lock"


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
            raise PermissionError(f"{self._base} belongs to somebody else")
        self._base.chmod(0o700)
        for left in self._base.iterdir():
            _remove_unless_locked(left)
        self.path.mkdir(mode=0o700)
        self._lock = os.open(self.path / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def restore(self) -> None:
        """Make it again when somebody has removed it while it was in use; nothing otherwise. Raises OSError."""
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
