"""Bare samples out of a file: a raw recording, or the sample ranges of a WAV whose header cannot be relied on."""

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from app.audio.decode import AudioInfo, Block, Decoder
from app.audio.limits import AudioLimits
from app.audio.pcm import RawForm
from app.audio.structure import Structure

Range = tuple[int, int]
"""Where samples lie: first byte, number of bytes."""


class RawDecoder(Decoder):
    """Reads each range's whole frames, one range after the other."""

    name = "raw"

    def __init__(
        self,
        path: Path,
        form: RawForm,
        limits: AudioLimits,
        *,
        container: str = "RAW",
        ranges: Sequence[Range] | None = None,
        structure: Structure | None = None,
    ) -> None:
        """`ranges`: the whole file without them."""
        size = path.stat().st_size
        self._form = form
        self._ranges = [
            (start, min(length, size - start) // form.frame_bytes * form.frame_bytes)
            for start, length in ranges or [(0, size)]
        ]
        info = AudioInfo(form.sample_rate, form.channels, container, form.encoding.subtype)
        frames = sum(length for _, length in self._ranges) // form.frame_bytes
        super().__init__(info, limits, frames, structure)
        self._file = path.open("rb")
        self._lock = threading.Lock()
        self._range = self._taken = 0

    def _read(self, frames: int) -> Block:
        with self._lock:
            data = b"" if self.closed else self._next_bytes(frames * self._form.frame_bytes)
        whole = len(data) // self._form.frame_bytes * self._form.frame_bytes
        with np.errstate(over="ignore"):  # a float64 may be too large for float32: infinite, and refused as that
            return self._form.encoding.decode(data[:whole]).reshape(-1, self._form.channels)

    def _next_bytes(self, size: int) -> bytes:
        while self._range < len(self._ranges):
            start, length = self._ranges[self._range]
            if self._taken < length:
                self._file.seek(start + self._taken)
                data = self._file.read(min(size, length - self._taken))
                self._taken += len(data)
                return data
            self._range, self._taken = self._range + 1, 0
        return b""

    def close(self) -> None:
        """Close the file; a read under way in another thread has its block first."""
        self.closed = True
        with self._lock:
            self._file.close()
