"""Bytes of PCM in, samples at the model's rate out, for one live stream."""

import numpy as np

from app.audio.decode import MAX_MAGNITUDE
from app.audio.options import RawForm
from app.audio.signal import Channel, ChannelChooser, Resampler
from app.vad.errors import InvalidAudio
from app.vad.posteriors import FloatArray


class PcmReader:
    """Keeps what a chunk leaves over: bytes of a split sample, what the resampler holds, and what the choice of
    a channel waits for."""

    def __init__(self, form: RawForm, channel: Channel, target_rate: int) -> None:
        """`channel`: which of `form.channels` is read; not `split`."""
        self._form = form
        self._chooser = ChannelChooser(channel, form.channels, form.sample_rate)
        self._rates = (form.sample_rate, target_rate)
        self._resamples = form.sample_rate != target_rate
        self._resampler = Resampler(*self._rates, 1)
        self._is_plain = form.channels == 1 and not self._resamples and not form.encoding.floats
        """Whether what is decoded is what is listened to."""
        self._rest = b""
        self.frame_bytes = form.frame_bytes
        """Of one sample of every channel."""

    def align(self, data: bytes) -> bytes:
        """Return the whole samples that `data` completes, and keep the bytes of a split one for the next time."""
        if not self._rest and len(data) % self.frame_bytes == 0:
            return data
        data = self._rest + data
        whole = len(data) // self.frame_bytes * self.frame_bytes
        self._rest = data[whole:]
        return data[:whole]

    def drop_rest(self) -> None:
        """Forget the bytes of a split sample, whose other half will not come."""
        self._rest = b""

    def read(self, data: bytes) -> FloatArray:
        """Return the samples that `data`, whole ones, makes known, float32 [n]. Raises `InvalidAudio` for samples that
        are no numbers."""
        samples = self._form.encoding.decode(data)
        if self._is_plain:
            return samples
        if self._form.encoding.floats and len(samples):
            # As in files: NaN and infinity count as larger, and one sample of 1e20 would deafen the rest of the stream.
            is_sane = max(float(samples.max()), -float(samples.min())) <= MAX_MAGNITUDE
            if not is_sane:
                raise InvalidAudio("a chunk contains samples that are infinite, not numbers, or far too large")
        chosen = self._chooser.process(samples.reshape(-1, self._form.channels))
        return self._resampler.process(chosen)[:, 0] if self._resamples else np.ascontiguousarray(chosen[:, 0])

    def flush(self) -> FloatArray:
        """Return what the resampler still holds; the next chunk begins a new signal."""
        held = self._chooser.flush()
        samples = np.concatenate((self._resampler.process(held)[:, 0], self._resampler.flush()[:, 0]))
        if self._resamples:
            self._resampler = Resampler(*self._rates, 1)
        return samples
