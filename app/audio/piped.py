"""A file's bytes decoded as they come: for live streams of what browsers' MediaRecorder makes.

The same confined child as for files, with the same lists of what it may read and the same limits, but it reads a pipe.
So it takes only containers whose bytes can be decoded in order, and it holds no more than pipes do: whoever writes
waits while nobody reads. Its samples are those of the same bytes as a file, in 32-bit floats, big-endian, interleaved.
"""

import asyncio
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np

from app.audio.child import ConfinedChild
from app.audio.clock import ClockKeeper
from app.audio.containers import DECODERS
from app.audio.damage import describe
from app.audio.decode import AudioInfo, AudioLimits, check_info
from app.audio.facts import FileFacts
from app.audio.ffmpeg import AU_HEAD_BYTES, LEAPS, FfmpegLog, read_au_head
from app.audio.options import RawForm
from app.audio.wave import Wave, is_placeholder, wave_format
from app.vad.errors import AudioError, InvalidAudio, UnsupportedAudio

_READ_BYTES = 64 << 10
"""As much as a pipe holds on Linux."""
_DEMUXERS = "matroska,webm,ogg"
"""WebM's demuxer is Matroska's, under either name."""


def piped_arguments(ffmpeg: Path, demuxer: str, limits: AudioLimits) -> list[str]:
    """The fixed command line. Nothing is looked at ahead of its turn (`probesize`, `analyzeduration`), and what is
    decoded is given out at once (`flush_packets`): else speech would be known seconds late."""
    return [
        str(ffmpeg), "-hide_banner", "-nostats", "-loglevel", "repeat+level+info", "-threads", "1",
        "-protocol_whitelist", "pipe", "-format_whitelist", _DEMUXERS, "-codec_whitelist", DECODERS,
        "-probesize", "32", "-analyzeduration", "0", "-max_error_rate", "1", "-copyts",
        "-f", demuxer, "-i", "pipe:0", "-map", "0:a:0", "-vn", "-sn", "-dn", "-map_metadata", "-1",
        "-af", f"asetpts='{LEAPS}'", "-t", f"{limits.max_seconds + 1:.3f}", "-threads", "1",
        "-flush_packets", "1", "-c:a", "pcm_f32be", "-f", "au", "pipe:1",
    ]  # fmt: skip


class PipedWave(NamedTuple):
    """A WAV whose samples can be taken as they come."""

    raw: RawForm
    start: int
    """Where they begin, in bytes."""
    declared: int | None
    """How many bytes of them there are; None where the header does not know."""


def piped_wave(head: bytes) -> PipedWave | None:
    """What the first bytes say of a RIFF or RIFX file; None where they do not reach its samples, or these are no bare
    ones."""
    order = {b"RIFF": "<", b"RIFX": ">"}.get(head[:4], "<")
    form, at = None, 12
    while at + 8 <= len(head):
        name, length = struct.unpack_from(f"{order}4sI", head, at)
        at += 8
        if name == b"data":
            raw = Wave(form, ()).bare
            return None if raw is None else PipedWave(raw, at, None if is_placeholder(length) else length)
        if name == b"fmt ":
            form = wave_format(head[at : at + min(length, 40)], order)
        at += length + length % 2
    return None


class PipedDecoder:
    """A running child. One task writes, another reads."""

    def __init__(
        self,
        child: ConfinedChild,
        container: str,
        limits: AudioLimits,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        reading: asyncio.ReadTransport,
        log: FfmpegLog,
    ) -> None:
        self._log = log
        self._child, self._container, self._limits = child, container, limits
        self._reader, self._writer, self._reading = reader, writer, reading
        self._ended = False

    @classmethod
    async def start(cls, ffmpeg: Path, container: str, limits: AudioLimits, folder: Path) -> "PipedDecoder":
        """`folder`: where the child's empty directory may be made. Raises OSError when it cannot be started."""
        log = FfmpegLog()
        child = await asyncio.to_thread(
            ConfinedChild,
            piped_arguments(ffmpeg, container, limits),
            limits,
            directory_beside=folder / "stream",
            listen=log.push,
            fed=True,
        )
        loop = asyncio.get_running_loop()
        stdin, stdout = child.pipes()
        reader = asyncio.StreamReader(limit=_READ_BYTES)
        try:
            reading, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), stdout)
            writing, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, stdin)
        except BaseException:
            await asyncio.to_thread(child.close)
            raise
        writer = asyncio.StreamWriter(writing, protocol, None, loop)
        return cls(child, container, limits, reader, writer, reading, log)

    async def write(self, data: bytes) -> None:
        """Write the next bytes of the file; returns when there is room for more. A child that is gone takes nothing,
        which the reader finds out."""
        if self._ended or self._writer.is_closing():
            return
        try:
            self._writer.write(data)
            await self._writer.drain()
        except (BrokenPipeError, ConnectionResetError):
            self.end()

    def end(self) -> None:
        """Close the child's input: no more bytes will come."""
        self._ended = True
        self._writer.close()

    async def read_info(self) -> AudioInfo:
        """Wait for enough of the file to know what it is. Raises the `AudioError`s."""
        try:
            info, text_bytes = read_au_head(await self._reader.readexactly(AU_HEAD_BYTES), self._container)
            await self._reader.readexactly(text_bytes)
        except asyncio.IncompleteReadError:
            raise self._failure() from None
        self._child.drop_directory()
        return check_info(info, self._limits)

    async def read(self) -> bytes:
        """The next samples, of any length; empty at the end. Raises an `AudioError` for an end before `end`."""
        data = await self._reader.read(_READ_BYTES)
        if not data and not self._ended:
            raise self._failure()
        return data

    async def damage(self, frames: int, sample_rate: int) -> str | None:
        """After the end: how the file is damaged; None: it is not. `frames`: samples that have been read."""
        await asyncio.to_thread(self._child.finish)
        keeper = ClockKeeper("samples", sample_rate, spliced=self._container == "ogg")
        for _ in keeper.pieces(np.broadcast_to(np.float32(0), (frames, 1)), self._log.leaps):
            pass
        heard_ms, clock_ms = frames * 1000 / sample_rate, keeper.facts().gap_ms
        return describe(FileFacts(), self._log.trouble, heard_ms, cut=False, clock_ms=clock_ms)

    async def close(self) -> None:
        """Kill the child, if it runs."""
        self._ended = True
        self._writer.transport.abort()
        self._reading.close()
        await asyncio.sleep(0)  # the loop lets go of its pipes before the child closes them
        await asyncio.to_thread(self._child.close)

    def _failure(self) -> AudioError:
        if self._ended:
            return InvalidAudio(f"the {self._container} stream ended before any of it could be decoded")
        return UnsupportedAudio(f"this is not a {self._container} stream with a known audio codec, or it is damaged")
