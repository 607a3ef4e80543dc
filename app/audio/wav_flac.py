"""WAV and FLAC by libsndfile, in process, block by block.

Never by its whole-file or block-iterator calls: these trust lengths that a header may lie about.
"""

import os
import threading
from pathlib import Path

import numpy as np
import soundfile

from app.audio.decode import AudioInfo, Block, Decoder
from app.audio.limits import AudioLimits
from app.audio.structure import Structure

_MAX_PLAUSIBLE_FRAMES = 1 << 50
"""Samples of thousands of years: a header that has more has none, as libsndfile tells it (2^63 - 1)."""


class CannotRead(Exception):
    """libsndfile does not read this file; another decoder might."""


class SoundfileDecoder(Decoder):
    """A file that libsndfile reads, a block at a time."""

    name = "soundfile"

    def __init__(self, path: Path, container: str, limits: AudioLimits, structure: Structure | None = None) -> None:
        try:
            file = soundfile.SoundFile(os.fsencode(path))
        except (soundfile.LibsndfileError, RuntimeError) as error:
            raise CannotRead(str(getattr(error, "error_string", error))) from None
        try:
            if container == "FLAC" and not 0 < file.frames < _MAX_PLAUSIBLE_FRAMES:
                raise CannotRead("its length is not in its header")
            info = AudioInfo(file.samplerate, file.channels, container, file.subtype)
            super().__init__(info, limits, file.frames, structure)
        except BaseException:
            file.close()
            raise
        self._file = file
        # libsndfile must not be closed under a read in another thread.
        self._lock = threading.Lock()

    def _read(self, frames: int) -> Block:
        with self._lock:
            if self.closed:
                return np.zeros((0, self.info.channels), dtype=np.float32)
            block = self._read_what_is_whole(frames)
        if len(block) == 0:
            self._compare_with_header()
        return block

    def _read_what_is_whole(self, frames: int) -> Block:
        # libsndfile gives no more than the header has: a clip need not pay for the memory of a block.
        frames = min(frames, max(0, (self.frames or 0) - self.decoded_frames))
        # Filled with what no sample can be: after damage libsndfile tells neither how far it came nor where it is.
        out = np.full((frames, self.info.channels), np.nan, dtype=np.float32)
        try:
            block: Block = self._file.read(frames, dtype="float32", always_2d=True, out=out)
        except (soundfile.LibsndfileError, RuntimeError):
            missing = np.isnan(out).any(axis=1)
            return out[: missing.argmax() if missing.any() else frames]
        return block

    def _compare_with_header(self) -> None:
        # FLAC counts its samples in front and has no other length; a WAV's has been compared with the file already.
        missing = (self.frames or 0) - self.decoded_frames
        if self.info.format == "FLAC" and missing > 0:
            self.cut = f"{missing} of {self.frames} samples are missing, or damaged"

    def close(self) -> None:
        """Close the file; a read under way in another thread has its block first."""
        self.closed = True
        with self._lock:
            self._file.close()
