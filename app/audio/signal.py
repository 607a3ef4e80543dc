"""Samples between a decoder and a model: which channels are listened to, at what rate, and what the samples show.

Loudness, clipping and bandwidth are gathered while the samples pass. Levels are those of the source as it was decoded:
the peak is known from the check that every block passes anyway, and clipped samples are counted only in blocks that
reach full scale. Bandwidth is judged at the model's rate, from the mean power spectrum of short windows at fixed
places.
"""

import math
import re
from collections.abc import Iterator
from typing import Literal, cast

import numpy as np
import soxr
from numpy.typing import NDArray

from app.vad.errors import InvalidOption
from app.warnings import AnswerWarning

Block = NDArray[np.float32]
Samples = NDArray[np.float32]
Channel = int | Literal["mix", "split", "loudest"]
"""`mix`: the mean of all channels. A number: that channel, from 0. `split`: each by itself. `loudest`: in every half
second the one with the most energy."""
HEARD_TOGETHER = 8
"""Channels, as many as 7.1 has."""
MOST_CHANNELS = 64
"""Of a file, of which one is heard: as many as recorders and sound cards for studios have."""
CHANNEL_PATTERN = r"^(mix|split|loudest|[0-9]|[1-5][0-9]|6[0-3])$"
"""The numbers end where `MOST_CHANNELS` does."""
_CANCELLED_SHARE = 0.1
"""Of the energy that the mean of channels with nothing in common has. Speech on both sides has more, never less."""
_WINDOWS_PER_S = 2
"""Half a second is a few syllables: shorter, it would change sides within words; longer, miss who answers."""
_LOUDER = 2.0
"""Ratio of energies, 3 dB, from which another channel takes over: two alike would change places all the time."""
_QUIET_PEAK = 0.01
"""-40 dBFS. Speech recorded as usual peaks 20 to 40 dB above that."""
_FULL_SCALE = 0.99
"""Just below the largest value of 8 bits, 127/128."""
_FAR_BEYOND = 16.0
"""24 dB over full scale. Floats that were mixed too loud have a few dB; integers of 16 bits, kept as floats, 90."""
_CLIPPED_SHARE = 1e-3
"""A thousandth of all samples: normalised speech touches full scale a hundred times less often."""

_SETTLES_S = 2
"""Of silence, after which a resampler holds nothing else: its filters are some tens of ms long at most, and it works in
pieces of some thousand samples."""
_WIDEBAND_RATE = 16_000
"""Hz. A model at a lower rate uses nothing above 4 kHz itself."""
_WINDOW = 1_024
"""Samples of a spectrum: 64 ms, a part of a syllable."""
_STRIDE, _LATER_STRIDE, _OFTEN = 8_000, 128_000, 64
"""Samples from one window to the next, for the first 64 and from then on: a clip is judged by half a minute's worth,
and an hour costs hundredths of a second."""
_LOW_BAND, _HIGH_BAND = (200, 3_600), (4_400, 7_400)
"""Hz. The telephone's band; what it lacks, clear of filters' slopes on either side."""
_EMPTY_RATIO = 1e-6
"""-60 dB. Recordings at 16 kHz that were tried had -50 at least, most of them -15 to -30; the same, resampled from
8 kHz, had -63 to -93 with 16 bits."""
_AT_ONCE = 4
"""Windows of a live stream that wait for a common transform: 2 s of its first half minute, in 16 KiB."""
_AUDIBLE_POWER = 1e-8
"""Mean power in the low band, -80 dBFS, below which bandwidth is not judged."""
_TAPER = np.hanning(_WINDOW)
"""In float64, as the spectrum then is: floats of a live stream may be as large as they can be."""


def silence(frames: int, channels: int) -> Block:
    """Digital silence, read-only, whose memory is one sample."""
    return np.broadcast_to(np.float32(0), (frames, channels))


def is_silence(block: Block) -> bool:
    """Whether a block is known to be `silence`, without a look at its samples."""
    return len(block) > 1 and block.strides == (0, 0)


def parse_channel(text: str) -> Channel:
    """From raw text. Raises `InvalidOption`."""
    if not re.fullmatch(CHANNEL_PATTERN, text):
        raise InvalidOption("channel", "must be mix, split, loudest, or the number of a channel, 0 to 63")
    return int(text) if text.isdecimal() else cast("Channel", text)


class ChannelChooser:
    """A file's blocks, float32 [n, channels], to rows of what is listened to, float32 [n, rows]."""

    def __init__(self, channel: Channel, channels: int, sample_rate: int) -> None:
        self._channel = channel
        self.rows = channels if channel == "split" else 1
        self._loudest = Loudest(channels, sample_rate) if channel == "loudest" and channels > 1 else None
        self._mixes = channel == "mix" and channels > 1
        self._channels = channels
        self._energy = self._mean_energy = 0.0

    def process(self, block: Block) -> Block:
        """The rows of the next block; `loudest` holds back what does not fill its window."""
        if self._loudest is not None:
            return self._loudest.process(block)
        if is_silence(block):
            return silence(len(block), self.rows)
        if self._mixes:
            mean = _mean(block)
            # Of float32 sums: a ratio of a tenth is all that is asked of them.
            self._energy += float(np.vdot(block, block))
            self._mean_energy += float(np.vdot(mean, mean))
            return mean
        if isinstance(self._channel, int) and self._channels > 1:
            return block[:, [self._channel]]
        return block

    def flush(self) -> Block:
        """What is still held, at the end."""
        return np.zeros((0, self.rows), dtype=np.float32) if self._loudest is None else self._loudest.flush()

    def warnings(self) -> Iterator[AnswerWarning]:
        """After the last block: whether the mean has lost what the channels hold."""
        # The mean of channels with nothing in common has the average channel's energy divided by their number.
        usual = self._energy / self._channels**2
        if self._mixes and self._mean_energy < _CANCELLED_SHARE * usual:
            share = self._mean_energy / self._energy
            yield AnswerWarning("channels_cancel", f"the mean holds {share:.2%} of the energy of the channels")


class Loudest:
    """In every half second, counted from sample 0, the channel with the most energy; the one before keeps its place
    until another is 3 dB above it. What comes out does not depend on how the file is cut into blocks."""

    def __init__(self, channels: int, sample_rate: int) -> None:
        self._window = max(1, sample_rate // _WINDOWS_PER_S)
        self._held = np.zeros((0, channels), dtype=np.float32)
        self._chosen: int | None = None

    def process(self, block: Block) -> Block:
        """The windows that the block completes, float32 [n, 1]."""
        block = np.concatenate((self._held, block)) if len(self._held) else block
        whole = len(block) // self._window * self._window
        self._held = block[whole:].copy()
        return self._choose(block[:whole])

    def flush(self) -> Block:
        """The last window, as far as it goes."""
        rest, self._held = self._held, self._held[:0]
        return self._choose(rest)

    def _choose(self, block: Block) -> Block:
        out = np.zeros((len(block), 1), dtype=np.float32)
        for start in range(0, len(block), self._window):
            window = block[start : start + self._window]
            energy = np.einsum("nc,nc->c", window, window, dtype=np.float64)
            best = int(energy.argmax())
            if self._chosen is None or energy[best] > _LOUDER * energy[self._chosen]:
                self._chosen = best
            out[start : start + len(window), 0] = window[:, self._chosen]
        return out


def _mean(block: Block) -> Block:
    """Column by column: numpy's own mean along so short an axis takes five times as long."""
    total: Block = block[:, :1].copy()
    for column in range(1, block.shape[1]):
        total += block[:, column : column + 1]
    np.divide(total, np.float32(block.shape[1]), out=total)
    return total


class Resampler:
    """Float32 [n, channels] in at one rate, out at another, piece by piece; equal rates pass through untouched.

    Of a long `silence` only the beginning is filtered, until nothing else is in the filter's memory, and what is left
    over of whole periods of both rates: silence in between is silence.
    """

    def __init__(self, source_rate: int, target_rate: int, channels: int) -> None:
        self._empty = np.zeros((0, channels), dtype=np.float32)
        common = math.gcd(source_rate, target_rate)
        self._period, self._target_period = source_rate // common, target_rate // common
        self._settled = _SETTLES_S * source_rate
        self._silent = 0
        """Samples of silence that have gone into the filter last."""
        self._stream = (
            None
            if source_rate == target_rate
            else soxr.ResampleStream(source_rate, target_rate, channels, dtype="float32", quality="HQ")
        )

    def process(self, block: Block, *, last: bool = False) -> Block:
        """The samples at the target's rate that are known with `block`."""
        if self._stream is None or not is_silence(block):
            self._silent = 0
            return self._filter(block, last=last)
        begin = min(len(block), max(0, self._settled - self._silent))
        periods, rest = divmod(len(block) - begin, self._period)
        self._silent += begin + rest
        parts = [self._filter(np.zeros_like(block, shape=(size, block.shape[1])), last=False) for size in (begin, rest)]
        if not periods:
            return np.concatenate(parts)
        between = silence(periods * self._target_period, block.shape[1])
        return between if not (begin or rest) else np.concatenate([parts[0], between, parts[1]])

    def _filter(self, block: Block, *, last: bool) -> Block:
        if self._stream is None:
            return block
        out = self._stream.resample_chunk(block, last=last)
        return np.asarray(out, dtype=np.float32).reshape(-1, self._empty.shape[1])

    def flush(self) -> Block:
        """What is still inside, at the end."""
        return self.process(self._empty, last=True)


class Levels:
    """Peak and clipping of a stream of blocks."""

    def __init__(self) -> None:
        self.peak = 0.0
        """Largest sample so far, full scale is 1."""
        self._samples = self._full = 0

    def add(self, block: Samples, peak: float) -> None:
        """Add a block of any shape whose largest magnitude is `peak`."""
        self.peak = max(self.peak, peak)
        self._samples += block.size
        if peak >= _FULL_SCALE:
            self._full += int(np.count_nonzero(np.abs(block) >= _FULL_SCALE))

    def warnings(self) -> Iterator[AnswerWarning]:
        if not self._samples:
            return
        if self.peak < _QUIET_PEAK:
            level = "digital silence" if self.peak == 0 else f"{20 * np.log10(self.peak):.0f} dBFS"
            yield AnswerWarning("very_quiet", f"the loudest sample is at {level}")
        if self.peak >= _FAR_BEYOND:
            detail = (
                f"the largest sample is {self.peak:.0f} times full scale; 16-bit integers that are kept as floats have"
            )
            detail += " to be divided by 32768 first"
            yield AnswerWarning("beyond_full_scale", detail)
            return
        share = self._full / self._samples
        if share >= _CLIPPED_SHARE:
            yield AnswerWarning("clipped", f"{share:.1%} of the samples are at full scale")


class Bandwidth:
    """The mean spectrum of a stream at a model's rate, from windows at fixed places, however it is cut into blocks."""

    def __init__(self, sample_rate: int) -> None:
        self._judged = sample_rate >= _WIDEBAND_RATE
        self._rate = sample_rate
        # Of the spectrum's lines, each band's: both lie below half of any rate that is judged.
        self._bands = [slice(*(hertz * _WINDOW // sample_rate for hertz in band)) for band in (_LOW_BAND, _HIGH_BAND)]
        self._energies = [0.0, 0.0]
        """Of all windows, in either band."""
        self._windows = 0
        self._window = np.zeros(_WINDOW, dtype=np.float32)
        self._whole: list[Samples] = []
        """Windows that are not in `_energies` yet."""
        self._at, self._stride = 0, _STRIDE
        """The next sample, and where the next window begins, both counted from the beginning of the present one."""

    def add(self, samples: Samples) -> None:
        """Add the next samples, float32 [n]."""
        if not self._judged:
            return
        if self._at >= _WINDOW and self._at + len(samples) < self._stride:  # most chunks of a live stream
            self._at += len(samples)
            return
        done = 0
        while done < len(samples):
            if self._at < _WINDOW:
                piece = samples[done : done + _WINDOW - self._at]
                self._window[self._at : self._at + len(piece)] = piece
                self._at += len(piece)
                if self._at == _WINDOW:
                    self._whole.append(self._window.copy())
                    self._windows += 1
            else:
                piece = samples[done : done + self._stride - self._at]
                self._at += len(piece)
            done += len(piece)
            if self._at == self._stride:
                self._at, self._stride = 0, _STRIDE if self._windows < _OFTEN else _LATER_STRIDE
        if len(self._whole) >= _AT_ONCE:
            self._transform()

    def _transform(self) -> None:
        # All in one transform takes half the time of one for each. They are added one by one, so that the sum does not
        # depend on how blocks are cut.
        whole, self._whole = self._whole, []
        if whole:
            for spectrum in np.fft.rfft(np.array(whole) * _TAPER):
                for band, lines in enumerate(self._bands):
                    self._energies[band] += float(np.vdot(spectrum[lines], spectrum[lines]).real)

    def warnings(self) -> Iterator[AnswerWarning]:
        if not self._windows:
            return
        self._transform()
        low, high = (
            energy / (lines.stop - lines.start) / self._windows
            for energy, lines in zip(self._energies, self._bands, strict=True)
        )
        if low > _AUDIBLE_POWER * _WINDOW and high < _EMPTY_RATIO * low:
            detail = (
                f"what is above {_HIGH_BAND[0]} Hz is {10 * np.log10(low / max(high, 1e-30)):.0f} dB below the rest"
            )
            yield AnswerWarning("band_limited", detail)
