"""The decoder between the socket and the session of a live stream that sends a file's bytes.

Bytes go in as they come, and samples come out as they are decoded. Where in the file a client was when it sent `flush`
is not known, so commands apply to what has been decoded by then. Only `end` waits until everything has been.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from app.api.service import Service
from app.audio.piped import PipedDecoder
from app.live.batcher import Slot, fail_stream
from app.vad.errors import InvalidOption, Overloaded, UnsupportedAudio

MOST_DECODERS = 32
"""At a time, in one service. Each is a process of some 30 MB, where a stream of samples takes 10 kB."""


class ContainerFeed:
    """The decoder of one connection. It holds a place among `MOST_DECODERS` from `start` to `close`."""

    def __init__(
        self,
        service: Service,
        decoder: PipedDecoder,
        fed: Callable[[Slot], Awaitable[None]],
        clock: Callable[[], float],
    ) -> None:
        self._service, self._decoder, self._fed, self._clock = service, decoder, fed, clock
        self._pumping: asyncio.Task[None] | None = None
        self._ended = False

    @classmethod
    async def start(cls, container: str, service: Service, fed: Callable[[Slot], Awaitable[None]]) -> "ContainerFeed":
        """Start a child process. `fed`: called when the session has been given samples; it waits for room.

        Raises `Overloaded`, and `InvalidOption` where there is no ffmpeg.
        """
        audio = service.ready().detector.audio
        if audio.ffmpeg is None:
            raise InvalidOption("encoding", "needs ffmpeg, which is not here: send samples")
        if service.stream_decoders >= MOST_DECODERS:
            raise Overloaded(
                f"{MOST_DECODERS} live streams are being decoded already: send samples, or come again later"
            )
        clock = service.ready_sessions().clock
        service.stream_decoders += 1
        try:
            decoder = await PipedDecoder.start(audio.ffmpeg, container, audio.limits, service.uploads.store.place)
        except BaseException:
            service.stream_decoders -= 1
            raise
        return cls(service, decoder, fed, clock)

    async def write(self, slot: Slot, data: bytes) -> None:
        """Pass on the next bytes of the file, and wait until there is room for more."""
        if self._ended:
            return
        if self._pumping is None:
            self._pumping = asyncio.create_task(self._pump(slot))
        await self._decoder.write(data)

    def end(self, slot: Slot) -> None:
        """Record that the whole file has come: the stream ends when it has been decoded."""
        if not self._ended:
            self._ended = True
            self._decoder.end()
            if self._pumping is None:
                slot.session.receive_last_sample()

    async def close(self) -> None:
        """End the child and give its place back, whatever has become of either."""
        try:
            if self._pumping is not None:
                self._pumping.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await self._pumping
            await self._decoder.close()
        finally:
            self._service.stream_decoders -= 1

    async def _pump(self, slot: Slot) -> None:
        """Hand the session what is decoded, to the end."""
        session = slot.session
        try:
            info = await self._decoder.read_info()
            session.use_form(sample_rate=info.sample_rate, channels=info.channels)
            channel = session.plan.channel
            if isinstance(channel, int) and channel >= info.channels:
                raise InvalidOption("channel", f"the stream has {info.channels} channels, counted from 0")
            while data := await self._decoder.read():
                session.receive_audio(data, self._clock())
                await self._fed(slot)
            session.receive_last_sample()
        except InvalidOption as error:
            # Opening the stream found no fault in its options: it is the file that does not fit them.
            session.fail(UnsupportedAudio.code, str(error))
        except Exception as error:  # noqa: BLE001 - it ends this stream, and must not keep it from being closed
            fail_stream(slot, error)
        await self._fed(slot)
