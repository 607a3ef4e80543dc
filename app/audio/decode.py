"""Decoders of untrusted files: what they have in common, and those that run in this process.

Every decoder enforces bounds, knows something of the file once it is open, and is read in blocks, at the file's own
rate. Which one reads a file is decided in `source`; those in a child process are in `child` and `ffmpeg`. Here numpy
reads bare samples, and libsndfile FLAC and WAV's other codings. Both own the open file that they are given, once they
are made, and read it under a lock: it must not be closed under a read in another thread.
"""

import contextlib
import io
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from app.audio.clock import ClockFacts
from app.audio.containers import FLAC_BEGINS
from app.audio.damage import Trouble, describe
from app.audio.facts import FileFacts
from app.audio.follow import Count, search
from app.audio.options import RawForm
from app.audio.signal import HEARD_TOGETHER, MOST_CHANNELS, Levels, is_silence
from app.audio.wave import Range
from app.vad.errors import AudioTooLong, InvalidAudio, UnsupportedAudio
from app.warnings import AnswerWarning

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

Block = NDArray[np.float32]

MAX_MAGNITUDE = 1e6
"""Largest sample, in files and live; full scale is 1. Larger ones are damage, and NaN and infinity count as larger."""
_READ_AHEAD = 16 << 10
"""Bytes, twice what libFLAC reads ahead of what it has decoded."""
_SKIPPED_FRAMES = 1 << 16
"""Samples that are read at a time, of those that have been heard already."""
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
    max_channels: int = HEARD_TOGETHER
    """That are heard together."""
    max_magnitude: float = MAX_MAGNITUDE
    child_memory_mb: int = 1_024
    """MiB of address space."""
    child_cpu_s_per_hour: int = 60
    """Processor seconds for each hour of audio that is allowed."""
    child_silence_s: float = 30
    """s. A child that writes nothing for so long hangs: no codec thinks for more than a second."""
    child_cpu_floor_s: int = 30
    """Processor seconds that are allowed however short the audio must be."""

    def of_one_channel(self) -> "AudioLimits":
        """The same for a file of which one channel is heard."""
        return replace(self, max_channels=MOST_CHANNELS)

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
        one = f"; `channel=` and a number hears one of up to {MOST_CHANNELS}"
        more = one if limits.max_channels < info.channels <= MOST_CHANNELS else ""
        raise InvalidAudio(f"the audio has {info.channels} channels; 1 to {limits.max_channels} can be used{more}")
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
    track: int | None = 0
    """Which sound of the file is read, from 0; None: all of them."""
    track_count = 1
    """How many sounds the file has."""
    closed = False
    """Whether somebody has asked it to stop."""
    may_start_child = True
    """Whether it may have a child process read on behind damage; else it raises `NeedsChild`."""

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
        self._facts = facts
        self.next_at = facts.next_at
        """Where another file begins that is not decoded."""
        self.trouble = Trouble()
        """What the decoder reports."""
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
            raise InvalidAudio("the file contains no audio")
        if self.decoded_frames > self._limits.max_seconds * self.info.sample_rate:
            raise self._too_long()
        if is_silence(block):
            self._levels.add(block, 0.0)
        elif len(block):
            peak = max(float(block.max()), -float(block.min()))
            if not peak <= self._limits.max_magnitude:
                raise InvalidAudio("the audio contains samples that are infinite, not numbers, or far too large")
            self._levels.add(block, peak)
        return block

    def _too_long(self) -> AudioTooLong:
        return AudioTooLong(f"the audio is longer than {self._limits.max_seconds / 3600:g} h")

    @property
    def truncated(self) -> bool:
        """After the last block: whether the file ends before its own structure says."""
        return self.cut is not None

    def damage(self) -> str | None:
        """After the last block: how the file is damaged; None: it is not."""
        return describe(
            self._facts,
            self.trouble,
            self.heard_frames * 1000 / self.info.sample_rate,
            cut=self.truncated,
            clock_ms=self.clock_facts.gap_ms,
        )

    @property
    def heard_frames(self) -> int:
        """Samples that the file held, without silence that was put in their place."""
        return self.decoded_frames

    @property
    def clock_facts(self) -> ClockFacts:
        """How the container's clock differs from the count of samples read so far."""
        return ClockFacts()

    def warnings(self) -> Iterator[AnswerWarning]:
        """After the last block: what is odd about the file."""
        if self.cut is not None:
            yield AnswerWarning("truncated", f"the part that exists was decoded: {self.cut}")
        if self._facts.repaired is not None:
            yield AnswerWarning("header_repaired", self._facts.repaired)
        if (damage := self.damage()) is not None:
            yield AnswerWarning("damaged", damage)
        if self.next_at is not None:
            heard = "was heard only in part" if self._facts.reads_on else "was not heard"
            detail = f"another file begins at byte {self.next_at}, and {heard}: send it by itself"
            yield AnswerWarning("joined", detail)
        yield from self._levels.warnings()

    @abstractmethod
    def _read(self, frames: int) -> Block: ...

    @abstractmethod
    def close(self) -> None:
        """Stop, and give everything back; a `read` under way in another thread ends soon."""


# --- In this process --------------------------------------------------------------------------------------------------


class CannotRead(Exception):
    """libsndfile does not read this file; another decoder might."""


class NeedsChild(Exception):
    """A child process has to decode the file."""


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


class _From(io.RawIOBase):
    """A file as if it began later."""

    def __init__(self, file: BinaryIO, begin: int) -> None:
        self._file, self._begin, self._at = file, begin, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer)
        self._file.seek(self._begin + self._at)
        data = self._file.read(len(view))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        size = self._file.seek(0, 2) - self._begin
        self._at = max(0, (0, self._at, size)[whence] + offset)
        return self._at

    def tell(self) -> int:
        return self._at


def _open_sound(file: BinaryIO, begin: int) -> soundfile.SoundFile:
    """Open what begins at this byte. Raises `CannotRead`."""
    handle: BinaryIO | int | io.RawIOBase
    if begin:
        handle = _From(file, begin)
    elif isinstance(file, io.BytesIO):
        file.seek(0)
        handle = file
    else:
        # By its descriptor: calls back into Python would cost a tenth more. Python has read ahead of its beginning.
        handle = file.fileno()
        os.lseek(handle, 0, os.SEEK_SET)
    try:
        return soundfile.SoundFile(handle, closefd=False)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise CannotRead(str(getattr(error, "error_string", error))) from None


class SoundfileDecoder(Decoder):
    """A file that libsndfile reads, never by its calls for whole files or blocks: these trust lengths that a header may
    lie about.

    It stops where a FLAC is damaged; `recover` opens another decoder of the same file, which goes on behind that. Where
    a FLAC of the same form follows the first one, it is read, too.
    """

    name = "soundfile"

    def __init__(
        self,
        file: BinaryIO,
        container: str,
        limits: AudioLimits,
        facts: FileFacts | None = None,
        recover: Callable[[], Decoder] | None = None,
        begin: int = 0,
    ) -> None:
        """`begin`: the file's first byte. Raises `CannotRead`."""
        sound = _open_sound(file, begin)
        try:
            if container == "FLAC" and not 0 < sound.frames < _MAX_PLAUSIBLE_FRAMES:
                raise CannotRead("its length is not in its header")
            if container == "FLAC":
                facts = replace(facts or FileFacts(), counted=Count(sound.frames, sound.samplerate))
            info = AudioInfo(sound.samplerate, sound.channels, container, sound.subtype)
            super().__init__(info, limits, sound.frames, facts)
        except BaseException:
            sound.close()
            raise
        self._file, self._sound, self._total = file, sound, int(sound.frames)
        self._begins_at = begin
        """Where in the file the sound that is read begins."""
        self._recover = recover
        self._other: Decoder | None = None
        """What reads on behind damage."""
        self._heard_behind = False
        self._broken = False
        """Whether libsndfile has met damage: what it would give from there on may lie anywhere."""
        self._lock = threading.Lock()

    def _read(self, frames: int) -> Block:
        with self._lock:
            if self.closed:
                return np.zeros((0, self.info.channels), dtype=np.float32)
            if self._other is not None:
                return self._read_other(self._other, frames)
            block = self._read_what_is_whole(frames)
            # FLAC counts its samples in front and has no other length; a WAV's has been compared with the file already.
            if len(block) or self.info.format != "FLAC":
                return block
            if self._total > self.decoded_frames:
                return self._read_on(frames)
            return self._read_what_is_whole(frames) if self._open_next() else block

    def _read_what_is_whole(self, frames: int) -> Block:
        # libsndfile gives no more than the header has: a clip need not pay for the memory of a block.
        frames = 0 if self._broken else min(frames, max(0, self._total - self.decoded_frames))
        # Filled with what no sample can be: after damage libsndfile tells neither how far it came nor where it is.
        out = np.full((frames, self.info.channels), np.nan, dtype=np.float32)
        try:
            block: Block = self._sound.read(frames, dtype="float32", always_2d=True, out=out)
        except (soundfile.LibsndfileError, RuntimeError):
            self._broken = True
            missing = np.isnan(out).any(axis=1)
            return out[: missing.argmax() if missing.any() else frames]
        return block

    def _read_on(self, frames: int) -> Block:
        """Have another decoder read what is behind the damage; nothing where the file ends here."""
        nothing = np.zeros((0, self.info.channels), dtype=np.float32)
        if self._recover is None or self._begins_at:
            self._note_cut()
            return nothing
        if not self.may_start_child:
            raise NeedsChild
        try:
            self._other = other = self._recover()
            left = self.decoded_frames
            while left and len(block := other.read(min(left, _SKIPPED_FRAMES))):
                left -= len(block)
        except (InvalidAudio, UnsupportedAudio):  # it makes even less of the file
            self._note_cut()
            return nothing
        return self._read_other(other, frames) if other.info.channels == self.info.channels else nothing

    def _read_other(self, other: Decoder, frames: int) -> Block:
        block = other.read(frames)
        self._heard_behind = self._heard_behind or len(block) > 0
        if len(block) == 0:
            self.trouble = other.trouble
            # Where nothing can be heard behind it, the file ends there.
            if self.decoded_frames < self._total and not self._heard_behind:
                self._note_cut()
        return block

    def _note_cut(self) -> None:
        missing = self._total - self.decoded_frames
        self.cut = f"{missing} of {self._total} samples are missing, or damaged"

    def _open_next(self) -> bool:
        """Go on with a FLAC file that follows, if it has the same form; else note where it begins.

        It is looked for from where libFLAC has read to, so that a file that is followed by nothing costs nothing.
        """
        file = self._file
        by_python = self._begins_at or isinstance(file, io.BytesIO)
        at = file.tell() if by_python else os.lseek(file.fileno(), 0, os.SEEK_CUR)
        start = max(self._begins_at + 4, at - _READ_AHEAD)
        size = file.seek(0, 2)
        places = [place for begin in FLAC_BEGINS if (place := search(file, start, size, begin)) is not None]
        if not places:
            return False
        with contextlib.suppress(CannotRead):
            sound = _open_sound(file, min(places))
            if (sound.samplerate, sound.channels) == (self.info.sample_rate, self.info.channels):
                self._sound.close()
                self._sound, self._begins_at = sound, min(places)
                self._total += int(sound.frames) if 0 < sound.frames < _MAX_PLAUSIBLE_FRAMES else 0
                counted = Count(self._total, self.info.sample_rate)
                self._facts = replace(self._facts, counted=counted)
                return True
            sound.close()
        self.next_at = min(places)
        return False

    def close(self) -> None:
        self.closed = True
        if self._other is not None:
            self._other.close()
        with self._lock:
            self._sound.close()
            self._file.close()
            self._recover = None  # it leads back here by what stops the reading, which would keep all of it
