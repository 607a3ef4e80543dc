"""Decoders of untrusted files: what they have in common, and those that run in this process.

Every decoder enforces bounds, knows something of the file once it is open, and is read in blocks, at the file's own
rate. Which one reads a file is decided in `source`; those in a child process are in `child` and `ffmpeg`. Here numpy
reads bare samples, and libsndfile FLAC and WAV's other codings. Both own the open file that they are given, once they
are made, and read it under a lock: it must not be closed under a read in another thread.
"""

import io
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from app.audio.clock import ClockFacts
from app.audio.facts import FileFacts, Range
from app.audio.options import RawForm
from app.audio.signal import Levels, is_silence
from app.vad.errors import AudioTooLong, InvalidAudio
from app.warnings import AnswerWarning

Block = NDArray[np.float32]

MAX_MAGNITUDE = 1e6
"""Largest sample, in files and live; full scale is 1. Larger ones are damage, and NaN and infinity count as larger."""
_MAX_PLAUSIBLE_FRAMES = 1 << 50
"""Samples of thousands of years: a header that has more has none, as libsndfile reports it (2^63 - 1)."""


@dataclass(frozen=True, slots=True)
class AudioLimits:
    """Bounds that every decoder enforces; the decoder's child process gets the memory and processor ones."""

    max_seconds: float
    """Longest audio, counted in decoded samples."""
    min_rate: int = 4_000
    """Hz. Speech below it, half of a telephone's rate, cannot be understood."""
    max_rate: int = 384_000
    """Hz, the highest of studio equipment."""
    max_channels: int = 8
    """As many as 7.1 has."""
    max_magnitude: float = MAX_MAGNITUDE
    child_memory_mb: int = 1_024
    """MiB of address space."""
    child_cpu_s_per_hour: int = 60
    """Processor seconds for each hour of audio that is allowed."""
    child_silence_s: float = 30
    """s. A child that writes nothing for so long hangs: no codec thinks for more than a second."""
    child_cpu_floor_s: int = 30
    """Processor seconds that are allowed however short the audio must be."""

    @property
    def child_cpu_s(self) -> int:
        """Processor seconds a decoding child may use."""
        return max(self.child_cpu_floor_s, int(self.child_cpu_s_per_hour * self.max_seconds / 3600))


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What an opened file says of its sound."""

    sample_rate: int
    """Hz, of the file."""
    channels: int
    format: str
    """Container, such as WAV."""
    subtype: str
    """Coding of the samples, such as PCM_16; empty when the decoder does not tell."""


def check_info(info: AudioInfo, limits: AudioLimits) -> AudioInfo:
    """`info` itself. Raises `InvalidAudio` for a rate or a channel count out of range."""
    if not limits.min_rate <= info.sample_rate <= limits.max_rate:
        raise InvalidAudio(
            f"the sample rate is {info.sample_rate} Hz; {limits.min_rate} to {limits.max_rate} Hz can be used"
        )
    if not 1 <= info.channels <= limits.max_channels:
        raise InvalidAudio(f"the audio has {info.channels} channels; 1 to {limits.max_channels} can be used")
    return info


class Stop:
    """Ends the reading of a file from any thread, while it is being opened, too. One for each reading."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closers: list[Callable[[], None]] = []
        self._stopped = False

    def when_stopped(self, close: Callable[[], None]) -> None:
        """Have `close` called by `stop`, or at once if that was called already. It must do no harm where nothing is
        left to close."""
        with self._lock:
            if not self._stopped:
                self._closers.append(close)
                return
        close()

    def stop(self) -> None:
        """Close what has been opened, and what will be. May be called again."""
        with self._lock:
            self._stopped = True
            closers, self._closers = self._closers, []
        for close in closers:
            close()


class Decoder(ABC):
    """An open file. One thread reads; any thread may close."""

    name: str
    """As metrics have it: `soundfile`, `raw`, `silk` or `ffmpeg`."""
    track = 0
    """Which sound of the file is read, from 0."""
    track_count = 1
    """How many sounds the file has."""
    closed = False
    """Whether somebody has asked it to stop."""

    def __init__(
        self, info: AudioInfo, limits: AudioLimits, frames: int | None = None, facts: FileFacts | None = None
    ) -> None:
        """`frames`: as the header has it. Raises `InvalidAudio` for a rate or a channel count out of range."""
        facts = facts or FileFacts()
        self.info = check_info(info, limits)
        self.frames = frames
        """A hint, never a promise."""
        self.decoded_frames = 0
        self.cut = facts.cut
        """After the last block: how the file ends before its own structure says; None: it does not."""
        self._repaired = facts.repaired
        self._levels = Levels()
        self._limits = limits

    def read(self, frames: int) -> Block:
        """The next block, float32 [n, channels], n <= frames; n is 0 only at the end.

        A closed decoder is at its end. Raises `AudioTooLong`, and `InvalidAudio` for a file that holds no frame, for
        samples that are not finite, for a decoder that broke down.
        """
        block = self._read(frames)
        if self.closed:
            return block[:0]
        self.decoded_frames += len(block)
        if len(block) == 0 and self.decoded_frames == 0:
            raise InvalidAudio("the file holds no audio")
        if self.decoded_frames > self._limits.max_seconds * self.info.sample_rate:
            raise self._too_long()
        if is_silence(block):
            self._levels.add(block, 0.0)
        elif len(block):
            peak = max(float(block.max()), -float(block.min()))
            if not peak <= self._limits.max_magnitude:
                raise InvalidAudio("the audio holds samples that are not finite numbers of a sane size")
            self._levels.add(block, peak)
        return block

    def _too_long(self) -> AudioTooLong:
        return AudioTooLong(f"the audio is longer than {self._limits.max_seconds / 3600:g} h")

    @property
    def truncated(self) -> bool:
        """After the last block: whether the file ends before its own structure says."""
        return self.cut is not None

    @property
    def clock_facts(self) -> ClockFacts:
        """How the container's clock differs from the count of samples read so far."""
        return ClockFacts()

    def warnings(self) -> Iterator[AnswerWarning]:
        """After the last block: what is odd about the file."""
        if self.cut is not None:
            yield AnswerWarning("truncated", f"what is there was decoded: {self.cut}")
        if self._repaired is not None:
            yield AnswerWarning("header_repaired", self._repaired)
        yield from self._levels.warnings()

    @abstractmethod
    def _read(self, frames: int) -> Block: ...

    @abstractmethod
    def close(self) -> None:
        """Stop, and give everything back; a `read` under way in another thread ends soon."""


# --- In this process --------------------------------------------------------------------------------------------------


class CannotRead(Exception):
    """libsndfile does not read this file; another decoder might."""


class RawDecoder(Decoder):
    """Bare samples: a raw recording, or the sample ranges of a WAV. Reads each range's whole frames, in order."""

    name = "raw"

    def __init__(
        self,
        file: BinaryIO,
        form: RawForm,
        limits: AudioLimits,
        *,
        container: str = "RAW",
        ranges: Sequence[Range] | None = None,
        facts: FileFacts | None = None,
    ) -> None:
        """`ranges`: the whole file without them."""
        size = file.seek(0, 2)
        width = form.frame_bytes
        self._ranges = [(start, min(length, size - start) // width * width) for start, length in ranges or [(0, size)]]
        frames = sum(length for _, length in self._ranges) // width
        info = AudioInfo(form.sample_rate, form.channels, container, form.encoding.subtype)
        super().__init__(info, limits, frames, facts)
        self._file, self._form = file, form
        self._lock = threading.Lock()
        self._range = self._done = 0
        """The range that is read, and how many bytes of it have been."""

    def _read(self, frames: int) -> Block:
        width = self._form.frame_bytes
        with self._lock:
            data = b"" if self.closed else self._next_bytes(frames * width)
        with np.errstate(over="ignore"):  # a float64 may be too large for float32: infinite, and refused as that
            return self._form.encoding.decode(data[: len(data) // width * width]).reshape(-1, self._form.channels)

    def _next_bytes(self, size: int) -> bytes:
        while self._range < len(self._ranges):
            start, length = self._ranges[self._range]
            if self._done < length:
                self._file.seek(start + self._done)
                data = self._file.read(min(size, length - self._done))
                self._done += len(data)
                return data
            self._range, self._done = self._range + 1, 0
        return b""

    def close(self) -> None:
        self.closed = True
        with self._lock:
            self._file.close()


class SoundfileDecoder(Decoder):
    """A file that libsndfile reads, never by its calls for whole files or blocks: these trust lengths that a header may
    lie about."""

    name = "soundfile"

    def __init__(self, file: BinaryIO, container: str, limits: AudioLimits, facts: FileFacts | None = None) -> None:
        """Raises `CannotRead`."""
        if isinstance(file, io.BytesIO):
            file.seek(0)
            handle: BinaryIO | int = file
        else:
            # By its descriptor: calls back into Python would cost a tenth more. Python has read ahead of its beginning.
            handle = file.fileno()
            os.lseek(handle, 0, os.SEEK_SET)
        try:
            sound = soundfile.SoundFile(handle, closefd=False)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            raise CannotRead(str(getattr(error, "error_string", error))) from None
        try:
            if container == "FLAC" and not 0 < sound.frames < _MAX_PLAUSIBLE_FRAMES:
                raise CannotRead("its length is not in its header")
            info = AudioInfo(sound.samplerate, sound.channels, container, sound.subtype)
            super().__init__(info, limits, sound.frames, facts)
        except BaseException:
            sound.close()
            raise
        self._file, self._sound, self._total = file, sound, int(sound.frames)
        self._lock = threading.Lock()

    def _read(self, frames: int) -> Block:
        with self._lock:
            if self.closed:
                return np.zeros((0, self.info.channels), dtype=np.float32)
            block = self._read_what_is_whole(frames)
        # FLAC counts its samples in front and has no other length; a WAV's has been compared with the file already.
        missing = self._total - self.decoded_frames
        if len(block) == 0 and missing > 0 and self.info.format == "FLAC":
            self.cut = f"{missing} of {self._total} samples are missing, or damaged"
        return block

    def _read_what_is_whole(self, frames: int) -> Block:
        # libsndfile gives no more than the header has: a clip need not pay for the memory of a block.
        frames = min(frames, max(0, self._total - self.decoded_frames))
        # Filled with what no sample can be: after damage libsndfile tells neither how far it came nor where it is.
        out = np.full((frames, self.info.channels), np.nan, dtype=np.float32)
        try:
            block: Block = self._sound.read(frames, dtype="float32", always_2d=True, out=out)
        except (soundfile.LibsndfileError, RuntimeError):
            missing = np.isnan(out).any(axis=1)
            return out[: missing.argmax() if missing.any() else frames]
        return block

    def close(self) -> None:
        self.closed = True
        with self._lock:
            self._sound.close()
            self._file.close()
