"""What the samples themselves show, gathered while they pass: loudness, clipping, bandwidth.

Levels are those of the source as it was decoded: the peak is known from the check that every block passes anyway, and
clipped samples are counted only in blocks that reach full scale. Bandwidth is judged at the model's rate, from the mean
power spectrum of short windows at fixed places.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from app.warnings import AnswerWarning

Samples = NDArray[np.float32]

_QUIET_PEAK = 0.01
"""-40 dBFS. Speech recorded as usual peaks 20 to 40 dB above that."""
_FULL_SCALE = 0.99
"""Just below the largest value of 8 bits, 127/128."""
_CLIPPED_SHARE = 1e-3
"""A thousandth of all samples: normalised speech touches full scale a hundred times less often."""

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
_AUDIBLE_POWER = 1e-8
"""Mean power in the low band, -80 dBFS, below which bandwidth is not judged."""
_TAPER = np.hanning(_WINDOW)
"""In float64, as the spectrum then is: floats of a live stream may be as large as they can be."""


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
        share = self._full / self._samples
        if share >= _CLIPPED_SHARE:
            yield AnswerWarning("clipped", f"{share:.1%} of the samples are at full scale")


class Bandwidth:
    """The mean spectrum of a stream at a model's rate, from windows at fixed places, however it is cut into blocks."""

    def __init__(self, sample_rate: int) -> None:
        self._judged = sample_rate >= _WIDEBAND_RATE
        self._rate = sample_rate
        self._power = np.zeros(_WINDOW // 2 + 1)
        self._windows = 0
        self._window = np.zeros(_WINDOW, dtype=np.float32)
        self._at, self._stride = 0, _STRIDE
        """The next sample, and where the next window begins, both counted from the beginning of the present one."""

    def add(self, samples: Samples) -> None:
        """Add the next samples, float32 [n]."""
        if not self._judged:
            return
        done, whole = 0, list[Samples]()
        while done < len(samples):
            if self._at < _WINDOW:
                piece = samples[done : done + _WINDOW - self._at]
                self._window[self._at : self._at + len(piece)] = piece
                self._at += len(piece)
                if self._at == _WINDOW:
                    whole.append(self._window.copy())
                    self._windows += 1
            else:
                piece = samples[done : done + self._stride - self._at]
                self._at += len(piece)
            done += len(piece)
            if self._at == self._stride:
                self._at, self._stride = 0, _STRIDE if self._windows < _OFTEN else _LATER_STRIDE
        if whole:
            # All in one transform takes half the time of one for each. They are added one by one, so that the sum does
            # not depend on how blocks are cut.
            spectra = np.fft.rfft(np.stack(whole) * _TAPER)
            for power in spectra.real**2 + spectra.imag**2:
                self._power += power

    def warnings(self) -> Iterator[AnswerWarning]:
        if not self._windows:
            return
        low, high = self._mean(*_LOW_BAND), self._mean(*_HIGH_BAND)
        if low > _AUDIBLE_POWER * _WINDOW and high < _EMPTY_RATIO * low:
            detail = (
                f"what is above {_HIGH_BAND[0]} Hz is {10 * np.log10(low / max(high, 1e-30)):.0f} dB below the rest"
            )
            yield AnswerWarning("band_limited", detail)

    def _mean(self, low_hz: int, high_hz: int) -> float:
        """Mean power of the bins between two frequencies."""
        bins = slice(low_hz * _WINDOW // self._rate, high_hz * _WINDOW // self._rate)
        return float(self._power[bins].mean()) / self._windows
