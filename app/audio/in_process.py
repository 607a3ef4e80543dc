"""Decoders that run in this process: bare samples by numpy, and FLAC and WAV's other codings by libsndfile.

Both own the open file that they are given, once they are made, and read it under a lock: it must not be closed under a
read in another thread.
"""

import io
import os
import threading
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
import soundfile

from app.audio.decode import AudioInfo, AudioLimits, Block, Decoder
from app.audio.facts import FileFacts
from app.audio.pcm import RawForm
from app.audio.wave import Range

_MAX_PLAUSIBLE_FRAMES = 1 << 50
"""Samples of thousands of years: a header that has more has none, as libsndfile reports it (2^63 - 1)."""


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
        """Close the file; a read under way in another thread has its block first."""
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
        """Close the file; a read under way in another thread has its block first."""
        self.closed = True
        with self._lock:
            self._sound.close()
            self._file.close()
