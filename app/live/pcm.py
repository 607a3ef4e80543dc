"""Bytes of PCM in, samples at the model's rate out, for live streams."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from app.audio.decode import MAX_MAGNITUDE
from app.audio.options import Encoding, RawForm
from app.audio.signal import Channel, ChannelChooser, Resampler
from app.vad.errors import InvalidAudio
from app.vad.posteriors import FloatArray


class Decoded(NamedTuple):
    """A chunk of a client's, of every channel in turn."""

    samples: FloatArray
    """[n], at the client's rate."""
    peak: float
    """Their largest magnitude; NaN where one of them is."""


NOTHING = Decoded(np.zeros(0, dtype=np.float32), 0.0)


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
        self.encoding = form.encoding

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

    def read(self, decoded: Decoded) -> FloatArray:
        """Return the samples that a decoded chunk makes known, float32 [n]. Raises `InvalidAudio` for samples that are
        no numbers."""
        samples = decoded.samples
        if self._is_plain:
            return samples
        # As in files: NaN and infinity count as larger, and one sample of 1e20 would deafen the rest of the stream.
        if not decoded.peak <= MAX_MAGNITUDE:
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


def decode_together(chunks: Sequence[tuple[Encoding, bytes]]) -> list[Decoded]:
    """Decode the chunks of many streams, those of one encoding in one go. Each one's samples are a view of all."""
    places: dict[str, list[int]] = {}
    for at, (encoding, data) in enumerate(chunks):
        if data:
            places.setdefault(encoding.name, []).append(at)
    decoded = [NOTHING] * len(chunks)
    for alike in places.values():
        encoding = chunks[alike[0]][0]
        samples = encoding.decode(b"".join([chunks[at][1] for at in alike]))
        ends = list(itertools.accumulate([len(chunks[at][1]) // encoding.sample_bytes for at in alike]))
        starts = [0, *ends[:-1]]
        peaks = np.maximum(np.maximum.reduceat(samples, starts), -np.minimum.reduceat(samples, starts)).tolist()
        for at, start, end, peak in zip(alike, starts, ends, peaks, strict=True):
            decoded[at] = Decoded(samples[start:end], peak)
    return decoded
