"""A request's body as it comes, within limits of size and time."""

import asyncio
import time
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request
from typing_extensions import Self

from app.api.errors import BodyTimeout, UploadTooLarge
from app.api.interruption import Interruption

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


class Arrival:
    """A body as it comes, within its limits of size and time. A context, while it is received.

    One timer watches over all of it, and is set anew when it goes off: most bodies are here before that, and a timer
    and a task for each chunk would cost more than what is done with it.
    """

    def __init__(self, request: Request, limits: UploadLimits, announced: int) -> None:
        """`announced`: the body's length; 0: unknown."""
        self._request, self._limits, self._limit_s = request, limits, limits.timeout_s
        if announced and limits.min_bytes_per_s:
            self._limit_s = min(self._limit_s, announced / limits.min_bytes_per_s + limits.idle_timeout_s)
        self._loop = asyncio.get_running_loop()
        self._began = self._asked = time.monotonic()
        self._waiting = Interruption()
        self._bytes = self._crumbs = 0
        self._ended = False

    def __enter__(self) -> Self:
        self._timer = self._loop.call_later(min(self._limits.idle_timeout_s, self._limit_s), self._check)
        return self

    def __exit__(self, *exception: object) -> None:
        self._timer.cancel()

    async def next_chunk(self) -> bytes | None:
        """Return the next piece, or None when the body has ended. Raises `ClientDisconnect`, and what its limits ask
        for."""
        if self._ended:
            return None
        if self._crumbs > _FREE_CRUMBS:
            await asyncio.sleep(_CRUMB_PAUSE_S)
        self._asked = time.monotonic()
        with self._waiting:
            message = await self._request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        self._ended = not message.get("more_body", False)
        chunk: bytes = message.get("body", b"")
        self._bytes += len(chunk)
        self._crumbs += len(chunk) < _CRUMB_BYTES
        self._check_amount()
        return chunk

    def _check_amount(self) -> None:
        limits, elapsed_s = self._limits, time.monotonic() - self._began
        if self._bytes > limits.max_bytes:
            raise too_large(limits)
        if elapsed_s > limits.idle_timeout_s and self._bytes < limits.min_bytes_per_s * elapsed_s:
            raise BodyTimeout(f"the upload is slower than {limits.min_bytes_per_s / 1000:g} kB/s")
        if elapsed_s > self._limit_s:
            raise self._too_late()

    def _check(self) -> None:
        """End a wait that has been too long. What is not waited for, as while a thread writes, is not late."""
        now, idle_s = time.monotonic(), self._limits.idle_timeout_s
        if now - self._began >= self._limit_s:
            self._waiting.interrupt(self._too_late())
        elif now - self._asked >= idle_s:
            self._waiting.interrupt(BodyTimeout(f"no data came for {idle_s:g} s"))
        left_s = min(self._asked + idle_s, self._began + self._limit_s) - now
        self._timer = self._loop.call_later(left_s if left_s > 0 else idle_s, self._check)

    def _too_late(self) -> BodyTimeout:
        return BodyTimeout(f"the upload was not complete after {self._limit_s:g} s")


def too_large(limits: UploadLimits) -> UploadTooLarge:
    """The error for a body that is, or says that it is."""
    return UploadTooLarge(f"the upload is larger than {limits.max_bytes >> 20} MiB")
