"""WAV and FLAC by libsndfile, in process, block by block.

Never by its whole-file or block-iterator calls: these trust lengths that a header may lie about.
"""

import os
import struct
import threading
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from app.audio.decode import AudioInfo, Block, Decoder
from app.audio.limits import AudioLimits

_UNKNOWN_LENGTHS = (0, 0xFFFFFFFF)
_MAX_PLAUSIBLE_FRAMES = 1 << 50
_MAX_CHUNKS = 1_000


class CannotRead(Exception):
    """libsndfile does not read this file; another decoder might."""


class SoundfileDecoder(Decoder):
    """See the module's head."""

    name = "soundfile"

    def __init__(self, path: Path, container: str, limits: AudioLimits) -> None:
        try:
            file = soundfile.SoundFile(os.fsencode(path))
        except (soundfile.LibsndfileError, RuntimeError) as error:
            raise CannotRead(str(getattr(error, "error_string", error))) from None
        try:
            if container == "FLAC" and not 0 < file.frames < _MAX_PLAUSIBLE_FRAMES:
                raise CannotRead("its length is not in its header")
            info = AudioInfo(file.samplerate, file.channels, container, file.subtype)
            super().__init__(info, limits, file.frames)
            self._short = container == "WAV" and _wav_is_cut_short(path)
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
            self.truncated = self._short or self.decoded_frames < (self.frames or 0)
        return block

    def _read_what_is_whole(self, frames: int) -> Block:
        # Filled with what no sample can be: after damage libsndfile tells neither how far it came nor where it is.
        out = np.full((frames, self.info.channels), np.nan, dtype=np.float32)
        try:
            block: Block = self._file.read(frames, dtype="float32", always_2d=True, out=out)
        except (soundfile.LibsndfileError, RuntimeError):
            missing = np.isnan(out).any(axis=1)
            return out[: missing.argmax() if missing.any() else frames]
        return block

    def close(self) -> None:
        """Close the file."""
        self.closed = True
        with self._lock:
            self._file.close()


def _wav_is_cut_short(path: Path) -> bool:
    """Whether the file ends before its data chunk does. Lengths that mean "unknown" are not short."""
    size = path.stat().st_size
    with path.open("rb") as file:
        big = file.read(12)[:4] == b"RIFX"
        return _data_chunk_passes(file, size, ">I" if big else "<I")


def _data_chunk_passes(file: BinaryIO, size: int, length_form: str) -> bool:
    for _ in range(_MAX_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            return False
        (length,) = struct.unpack(length_form, head[4:])
        if head[:4] == b"data":
            return length not in _UNKNOWN_LENGTHS and file.tell() + length > size
        file.seek(length + length % 2, os.SEEK_CUR)
    return False
