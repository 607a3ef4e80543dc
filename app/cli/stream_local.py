"""A live stream in this process: the service's own session, without a socket."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from rich.console import Console

from app.cli.stream_feed import Feed
from app.cli.stream_link import StreamFailed, Tell
from app.config import Settings
from app.live.hub import Hub, LiveLimits
from app.live.parameters import StreamParameters
from app.live.session import LiveSession
from app.runtime import build_detector, load_model

_STDERR = Console(stderr=True, highlight=False)


class LocalLink:
    """One session of a hub that has no other."""

    def __init__(self, hub: Hub, session: LiveSession) -> None:
        self._hub, self._session = hub, session
        self._output, self._room = asyncio.Event(), asyncio.Event()
        session.on_output, session.on_room = self._output.set, self._room.set

    async def run(self, feed: Feed, tell: Tell) -> None:
        """As `Link.run`."""
        sending = asyncio.create_task(self._send(feed))
        hearing = asyncio.create_task(self._hear(tell))
        try:
            await asyncio.wait((sending, hearing), return_when=asyncio.FIRST_EXCEPTION)
            if sending.done():
                sending.result()
            await hearing
        finally:
            for task in (sending, hearing):
                task.cancel()
            await asyncio.wait((sending, hearing))

    async def _send(self, feed: Feed) -> None:
        session = self._session
        async for chunk in feed:
            session.feed(chunk)
            self._hub.batcher.notify(session)
            while session.is_full and session.closing is None:
                self._room.clear()
                await self._room.wait()
        session.wish("end")
        self._hub.batcher.notify(session)

    async def _hear(self, tell: Tell) -> None:
        while True:
            await self._output.wait()
            self._output.clear()
            while self._session.outbox:
                message = json.loads(self._session.outbox.popleft())
                if message["type"] == "error":
                    raise StreamFailed(message["code"], message["detail"])
                tell(message)
            if self._session.closing is not None:
                return


@asynccontextmanager
async def local_link(
    settings: Settings, parameters: StreamParameters, given: Mapping[str, Any]
) -> AsyncIterator[LocalLink]:
    """A stream with the model of the settings. Raises `ModelError`, `InvalidOption`."""
    model = await asyncio.to_thread(load_model, settings)
    if model.fallback is not None:
        _STDERR.print(model.fallback, style="yellow", markup=False, soft_wrap=True)
    detector = build_detector(settings, model)
    limits = LiveLimits(
        streams=1, buffer_s=settings.stream_buffer_s, idle_s=math.inf, session_ttl_s=0, max_s=math.inf
    )  # fmt: skip
    # Nobody else's chunks could be gathered with these, so none are waited for.
    hub = Hub(detector.engine, limits, batch_delay_s=0)
    session = hub.open("cli", parameters, detector.options(given), lambda: None)
    hub.start()
    try:
        yield LocalLink(hub, session)
    finally:
        await hub.close()
        await asyncio.to_thread(detector.engine.close)
