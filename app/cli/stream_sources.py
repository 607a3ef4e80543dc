"""Where `fsmn-vad stream` gets its audio: a microphone, a file, or a pipe.

What comes through a pipe is told by its first bytes. Bare samples, and those of a WAV, go on as they come; every other
file is kept until its end, because decoders seek.

ChunkSource (a blocking generator of chunks) -> Feed (the same in an event loop) -> ResendBuffer (what may have to be
sent again, of a stream on a server)
"""

import asyncio
import contextlib
import importlib
import os
import stat
import sys
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from typing_extensions import Self

from app.audio.containers import container_for_certain
from app.audio.decode import AudioLimits
from app.audio.ffmpeg import find_ffmpeg
from app.audio.options import HEADERLESS, AudioInput, RawForm
from app.audio.piped import piped_wave
from app.audio.signal import Channel
from app.audio.source import AudioSource, open_audio
from app.cli.pipes import copy
from app.cli.terminal import UsageError
from app.config import Settings
from app.extras import how_to_install
from app.request import DetectionRequest, StreamForm
from app.vad.errors import InvalidOption, VadError

Chunks = Generator[bytes, None, None]

_FILE_RATE = 16_000
"""Hz. The rate of most models, so that a server need not resample."""
_HEAD_BYTES = 64
"""More than any container's name needs."""
_READ_BYTES = 1 << 16
"""What a pipe holds on Linux."""
_AHEAD = 600
"""Most chunks that are read ahead: a minute's, at the usual 100 ms."""
_CLOSE_LIMIT_S = 2.0
"""Longer than a device takes to fill a chunk."""


class NoMicrophone(VadError):
    """There is no device to record from, or it cannot do what is asked."""


@dataclass(frozen=True, slots=True)
class ChunkSource:
    """Audio to come. `chunks` hold whole samples of every channel; reading them blocks; closing them frees what they
    need."""

    chunks: Chunks
    sample_rate: int
    encoding: str
    expected_ms: int | None = None
    """How long it will be, where that is known."""
    channels: int = 1


def open_file(source: AudioInput, settings: Settings, chunk_ms: int, channel: Channel) -> ChunkSource:
    """A file that the service can read, as one channel at 16 kHz. Raises `UsageError`, the `AudioError`s."""
    if not source.path.is_file():
        reason = "this is a folder; name one file" if source.path.is_dir() else "there is no such file"
        raise UsageError(f"{source.path}: {reason}")
    audio = open_audio(
        source,
        sample_rate=_FILE_RATE,
        channel=channel,
        block_seconds=chunk_ms / 1000,
        limits=AudioLimits(max_seconds=settings.max_audio_hours * 3600),
        ffmpeg=find_ffmpeg(settings.ffmpeg),
    )
    seconds = audio.expected_seconds
    # Floats, because a resampled or mixed sample is seldom a whole number: the service gets what it would itself have
    # made of the file.
    return ChunkSource(_blocks(audio), _FILE_RATE, "pcm_f32le", None if seconds is None else round(seconds * 1000))


@dataclass(frozen=True, slots=True)
class Piped:
    """A pipe whose first bytes have been read."""

    pipe: BinaryIO
    head: bytes

    def is_samples(self, encoding: str | None) -> bool:
        """Whether what comes can be streamed as it is. Raises `InvalidOption` where `encoding` calls samples what is a
        file, and says itself what it holds."""
        container = container_for_certain(self.head)
        if container is not None and encoding is not None:
            text = f"this is a {container} file, which says itself what it holds; leave this out"
            raise InvalidOption("encoding", text)
        return container is None and (encoding is None or encoding.lower() not in HEADERLESS)

    def samples(self, form: StreamForm, chunk_ms: int) -> ChunkSource:
        """What comes as samples of this form."""
        return self._as_they_come(form.raw, chunk_ms, self.head, None)

    def wave(self, chunk_ms: int) -> ChunkSource | None:
        """What comes as the samples of a WAV. None where it has to be read as a file: also where it is one, whose whole
        length then tells what the header may have wrong."""
        wave = piped_wave(self.head) if container_for_certain(self.head) == "WAV" else None
        if wave is None or stat.S_ISREG(os.fstat(self.pipe.fileno()).st_mode):
            return None
        raw = wave.raw
        form = {"encoding": raw.encoding.name, "sample_rate": raw.sample_rate, "channels": raw.channels}
        try:
            DetectionRequest.parse(form).stream_form()
        except InvalidOption:
            return None  # as of a rate that no stream has: a file is resampled here
        return self._as_they_come(raw, chunk_ms, self.head[wave.start :], wave.declared)

    def kept(self, folder: Path) -> Path:
        """A file of all that comes, for decoders that seek. Blocks until the pipe ends."""
        path = folder / "piped"
        copy(self.pipe, path, self.head)
        return path

    def _as_they_come(self, raw: RawForm, chunk_ms: int, begun: bytes, most_bytes: int | None) -> ChunkSource:
        size = raw.sample_rate * chunk_ms // 1000 * raw.frame_bytes
        chunks = _pieces(self.pipe, begun, size, raw.frame_bytes, most_bytes)
        expected_ms = None if most_bytes is None else most_bytes // raw.frame_bytes * 1000 // raw.sample_rate
        return ChunkSource(chunks, raw.sample_rate, raw.encoding.name, expected_ms, raw.channels)


def read_head(pipe: BinaryIO) -> Piped:
    """Read as much as comes at once, which is soon for sound that is being recorded; of a WAV all up to its samples.
    Blocks."""
    head = b""
    while len(head) < _HEAD_BYTES and (data := pipe.read(_READ_BYTES)):
        head += data
    while head.startswith((b"RIFF", b"RIFX")) and b"data" not in head and len(head) < _READ_BYTES:
        if not (data := pipe.read(_READ_BYTES)):
            break
        head += data
    return Piped(pipe, head)


def open_microphone(sample_rate: int, chunk_ms: int) -> ChunkSource:
    """The machine's default input. Raises `UsageError` when the extra is not installed, `NoMicrophone`."""
    sounddevice = _sounddevice()
    frames = sample_rate * chunk_ms // 1000
    try:
        device = sounddevice.RawInputStream(samplerate=sample_rate, blocksize=frames, channels=1, dtype="int16")
    except (sounddevice.PortAudioError, ValueError) as error:
        raise NoMicrophone(f"no microphone can be opened at {sample_rate} Hz: {error}") from None
    return ChunkSource(_recorded(device, frames), sample_rate, "pcm_s16le")


def at_real_time(source: ChunkSource, frame_bytes: int) -> Chunks:
    """Delay each chunk until its last sample would have been spoken. `frame_bytes`: of a sample of every channel."""
    started, samples = time.monotonic(), 0
    for chunk in source.chunks:
        samples += len(chunk) // frame_bytes
        wait_s = started + samples / source.sample_rate - time.monotonic()
        if wait_s > 0:
            time.sleep(wait_s)
        yield chunk


def _blocks(audio: AudioSource) -> Chunks:
    with audio:
        for rows in audio:
            yield rows[0].astype("<f4").tobytes()


def _pieces(pipe: BinaryIO, begun: bytes, size: int, frame_bytes: int, most_bytes: int | None) -> Chunks:
    """`begun` and what follows it in a pipe, `most_bytes` of it. The pipe is left open: a thread may wait for it."""
    held, left = b"", sys.maxsize if most_bytes is None else most_bytes
    data = begun or pipe.read(_READ_BYTES)
    while data and left > 0:
        held += data[:left]
        left -= len(data)
        whole = len(held) // size * size
        for start in range(0, whole, size):
            yield held[start : start + size]
        held = held[whole:]
        data = pipe.read(_READ_BYTES) if left > 0 else b""
    if whole := len(held) // frame_bytes * frame_bytes:
        yield held[:whole]


def _recorded(device: Any, frames: int) -> Chunks:
    with device:
        while True:
            data, overflowed = device.read(frames)
            if overflowed:
                raise NoMicrophone("audio was lost: processing is slower than the microphone")
            yield bytes(data)


def _sounddevice() -> Any:
    # On Linux the package comes without the library it speaks to, and says so with an OSError.
    with contextlib.suppress(ImportError):
        try:
            return importlib.import_module("sounddevice")
        except OSError as error:
            raise UsageError(f"--mic needs the PortAudio library (Debian: libportaudio2): {error}") from None
    raise UsageError(f"--mic needs the package sounddevice: {how_to_install('mic')}")


class Feed:
    """Reads a source's chunks in a thread. Iterating over it raises what the source raises."""

    def __init__(self, chunks: Chunks) -> None:
        """Must be made in a running event loop."""
        self._chunks = chunks
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self._room = threading.Semaphore(_AHEAD)
        self._stopped = False
        # A daemon, because a read from a pipe or a device may never return.
        self._thread = threading.Thread(target=self._read, name="source", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End behind what has been read. It may be called more than once."""
        self._stopped = True
        self._room.release()
        self._queue.put_nowait(None)

    async def close(self) -> None:
        """Free what the source holds, unless reading it blocks for longer than a moment."""
        self.stop()
        await asyncio.to_thread(self._thread.join, _CLOSE_LIMIT_S)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        # Not a generator: when a wait for a chunk is cancelled, the chunk is still there for the next call.
        item = await self._queue.get()
        if isinstance(item, Exception):
            raise item
        if item is None:
            raise StopAsyncIteration
        self._room.release()
        return item

    def _read(self) -> None:
        ending: Exception | None = None
        try:
            with contextlib.closing(self._chunks):
                for chunk in self._chunks:
                    self._room.acquire()
                    if self._stopped:
                        break
                    self._give(chunk)
        except Exception as error:  # noqa: BLE001 - raised where the chunks are taken
            ending = error
        self._give(ending)

    def _give(self, item: bytes | Exception | None) -> None:
        with contextlib.suppress(RuntimeError):  # the event loop has ended
            self._loop.call_soon_threadsafe(self._queue.put_nowait, item)


class ResendBuffer:
    """A feed of which everything is kept until the server acknowledges it. Positions are samples from the start."""

    def __init__(self, feed: Feed, frame_bytes: int, most_samples: int) -> None:
        """`frame_bytes`: of a sample of every channel. `most_samples`: kept at most; then it waits for the server."""
        self._feed = feed
        self._frame_bytes, self._most_samples = frame_bytes, most_samples
        self._kept: deque[bytes] = deque()
        self._start = self._end = 0
        self._ended = False
        self._room = asyncio.Event()

    def acknowledge(self, position: int) -> None:
        """Forget the samples before `position`: they need not be sent again."""
        while self._kept and self._start + self._samples(self._kept[0]) <= position:
            self._start += self._samples(self._kept.popleft())
        self._room.set()

    async def since(self, position: int) -> AsyncGenerator[tuple[bytes, int], None]:
        """Chunks from `position` on, each with the position after it. Raises ValueError for one no longer kept."""
        if not self._start <= position <= self._end:
            raise ValueError(f"sample {position} is no longer kept")
        at = self._start
        for kept in tuple(self._kept):
            at += self._samples(kept)
            if at > position:
                fresh = min(self._samples(kept), at - position)
                yield kept[-fresh * self._frame_bytes :], at
        while (chunk := await self._next()) is not None:
            yield chunk, self._end

    async def _next(self) -> bytes | None:
        while self._end - self._start >= self._most_samples:
            self._room.clear()
            await self._room.wait()
        chunk = None if self._ended else await anext(self._feed, None)
        if chunk is None:
            self._ended = True
            return None
        self._kept.append(chunk)
        self._end += self._samples(chunk)
        return chunk

    def _samples(self, chunk: bytes) -> int:
        return len(chunk) // self._frame_bytes
