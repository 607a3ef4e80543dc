"""Work that lasts no longer than its client, and no longer than it may."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from app.vad.errors import DeadlineExceeded

_T = TypeVar("_T")


async def while_connected(request: Request, work: Coroutine[Any, Any, _T], timeout_s: float) -> _T:
    """The result of `work`, which is cancelled when the client goes away or time is up.

    To be called when the body has been read. Raises `ClientDisconnect`, `DeadlineExceeded`, or what `work` raises.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({task, gone}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        if gone.done():
            raise ClientDisconnect
        raise DeadlineExceeded(f"the request took longer than {timeout_s:g} s")
    finally:
        for future in (task, gone):
            future.cancel()
        with contextlib.suppress(BaseException):
            await asyncio.wait({task, gone})


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
