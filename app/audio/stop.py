"""Stopping whoever reads a file, from any thread: while it is being opened, too."""

import threading
from collections.abc import Callable


class Stop:
    """One for each reading. What is begun after `stop` is stopped at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closers: list[Callable[[], None]] = []
        self._stopped = False

    def when_stopped(self, close: Callable[[], None]) -> None:
        """Have `close` called; it must do no harm when there is nothing to close any more."""
        with self._lock:
            if not self._stopped:
                self._closers.append(close)
                return
        close()

    def stop(self) -> None:
        """Close what has been begun; once or more."""
        with self._lock:
            self._stopped = True
            closers, self._closers = self._closers, []
        for close in closers:
            close()
