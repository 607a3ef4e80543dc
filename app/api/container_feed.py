"""A live stream that brings a file's bytes: between its socket and its session stands a decoder.

Bytes go in as they come, samples come out as they are known, and commands follow the samples: what is known of a file
does not tell where in it a client was when it said `flush`, so it applies to what has been decoded by then, and `end`
waits until all has been.
"""

import asyncio
import contextlib

from app.api.live_connection import LiveConnection
from app.api.service import Service
from app.audio.piped import PipedDecoder
from app.live.seat import Seat
from app.vad.errors import AudioError, InvalidOption, Overloaded, UnsupportedAudio

MOST_DECODERS = 32
"""Of one service's live streams: each is a process of some 30 MB, where a stream of samples takes 10 kB."""


class ContainerFeed:
    """Of one connection; `start` makes it."""

    def __init__(self, connection: LiveConnection, service: Service, decoder: PipedDecoder) -> None:
        self._connection, self._service, self._decoder = connection, service, decoder
        self._pumping: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, container: str, connection: LiveConnection, service: Service) -> "ContainerFeed":
        """With a child of its own. Raises `Overloaded`, and `InvalidOption` where there is no ffmpeg."""
        audio = service.ready().detector.audio
        if audio.ffmpeg is None:
            raise InvalidOption("encoding", "needs ffmpeg, which is not here: send samples")
        if service.stream_decoders >= MOST_DECODERS:
            raise Overloaded(
                f"{MOST_DECODERS} live streams are being decoded already: send samples, or come again later"
            )
        service.stream_decoders += 1
        try:
            decoder = await PipedDecoder.start(audio.ffmpeg, container, audio.limits, service.uploads.place)
        except BaseException:
            service.stream_decoders -= 1
            raise
        return cls(connection, service, decoder)

    async def write(self, seat: Seat, data: bytes) -> None:
        """The next bytes of the file."""
        if self._pumping is None:
            self._pumping = asyncio.create_task(self._pump(seat))
        await self._decoder.write(data)

    async def end(self, seat: Seat) -> None:
        """All has come: the stream ends when it has been decoded."""
        if self._pumping is None:
            seat.session.receive_command("end")
        self._decoder.end()

    async def close(self) -> None:
        """Give the child back."""
        if self._pumping is not None:
            self._pumping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._pumping
        await self._decoder.close()
        self._service.stream_decoders -= 1

    async def _pump(self, seat: Seat) -> None:
        session, hub = seat.session, self._service.ready_hub()
        try:
            info = await self._decoder.read_info()
            session.use_form(sample_rate=info.sample_rate, channels=info.channels)
            _check_channel(session.parameters.channel, info.channels)
            while data := await self._decoder.read():
                session.receive_audio(data, hub.clock())
                await self._connection.fed(seat)
            session.receive_command("end")
        except (AudioError, InvalidOption) as error:
            code = UnsupportedAudio.code if isinstance(error, InvalidOption) else error.code
            session.fail(code, str(error))
        await self._connection.fed(seat)


def _check_channel(channel: str, channels: int) -> None:
    if channel.isdigit() and int(channel) >= channels:
        raise InvalidOption("channel", f"the stream has {channels} channels, counted from 0")
