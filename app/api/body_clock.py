"""How long the body of a request may take: in all, between two pieces, and for what it has brought so far."""

import time

from app.api.errors import BodyTimeout


class BodyClock:
    """Runs from its making. Times are seconds."""

    def __init__(self, timeout_s: float, idle_timeout_s: float, min_bytes_per_s: float, announced_bytes: int) -> None:
        """`timeout_s`: for the whole body; less where its length, `announced_bytes` (0: not told), takes less at the
        least rate `min_bytes_per_s` (0: none), a pause of `idle_timeout_s` added."""
        self._idle_timeout_s, self._min_bytes_per_s = idle_timeout_s, min_bytes_per_s
        self._started = time.monotonic()
        self._limit_s = timeout_s
        if announced_bytes and min_bytes_per_s:
            self._limit_s = min(timeout_s, announced_bytes / min_bytes_per_s + idle_timeout_s)
        self._is_last = False
        """Whether the wait under way ends with the whole body's time, and not with that of a pause."""

    def patience_s(self) -> float:
        """How long to wait for the next piece."""
        left_s = self._limit_s - self._elapsed
        self._is_last = left_s <= self._idle_timeout_s
        return max(0.0, min(self._idle_timeout_s, left_s))

    def check(self, received: int) -> None:
        """Raise `BodyTimeout` when so few bytes are too few by now."""
        elapsed = self._elapsed
        if elapsed > self._idle_timeout_s and received < self._min_bytes_per_s * elapsed:
            raise BodyTimeout(f"the upload is slower than {self._min_bytes_per_s / 1000:g} kB/s")

    def timeout(self) -> BodyTimeout:
        """What the last `patience_s` came to its end for."""
        if self._is_last:
            return BodyTimeout(f"the upload was not complete after {self._limit_s:g} s")
        return BodyTimeout(f"no data came for {self._idle_timeout_s:g} s")

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._started
