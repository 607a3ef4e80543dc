"""Bytes of PCM in, samples at the model's rate out, for one live stream."""

import numpy as np

from app.audio.limits import MAX_MAGNITUDE
from app.audio.resample import Resampler
from app.vad.errors import InvalidAudio
from app.vad.posteriors import FloatArray

_S16 = np.dtype("<i2")
_F32 = np.dtype("<f4")
_S16_SCALE = np.float32(1 / 32768)


class PcmReader:
    """Keeps what a chunk leaves over: bytes of a split sample, and what the resampler holds."""

    def __init__(self, encoding: str, source_rate: int, target_rate: int) -> None:
        self._dtype = _S16 if encoding == "pcm_s16le" else _F32
        self._rates = (source_rate, target_rate)
        self.resamples = source_rate != target_rate
        self._rest = b""
        self._resampler = Resampler(*self._rates, 1)
        self.source_samples = 0
        """Whole samples read, at the source's rate."""

    def align(self, data: bytes) -> bytes:
        """The whole samples that `data` completes; the bytes of a split one are kept for the next time."""
        if not self._rest and len(data) % self._dtype.itemsize == 0:
            return data
        data = self._rest + data
        whole = len(data) // self._dtype.itemsize * self._dtype.itemsize
        self._rest = data[whole:]
        return data[:whole]

    def read(self, data: bytes) -> FloatArray:
        """Samples that `data`, whole ones, makes known, float32 [n]. Raises `InvalidAudio` for samples that are no
        numbers."""
        raw: np.ndarray = np.frombuffer(data, dtype=self._dtype)
        self.source_samples += len(raw)
        samples = raw * _S16_SCALE if self._dtype is _S16 else self._checked(raw)
        return self._resampler.process(samples[:, None])[:, 0] if self.resamples else samples

    def flush(self) -> FloatArray:
        """What the resampler still holds; the next chunk begins a new signal."""
        samples = self._resampler.flush()[:, 0]
        if self.resamples:
            self._resampler = Resampler(*self._rates, 1)
        return samples

    def drop_rest(self) -> None:
        """Forget the bytes of a split sample, whose other half will not come."""
        self._rest = b""

    def _checked(self, raw: np.ndarray) -> FloatArray:
        # As in files: NaN and infinity count as larger, and one sample of 1e20 would deafen the rest of the stream.
        if len(raw) and not max(float(raw.max()), -float(raw.min())) <= MAX_MAGNITUDE:
            raise InvalidAudio("a chunk holds samples that are not finite numbers of a sane size")
        return raw.astype(np.float32)
