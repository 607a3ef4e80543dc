"""Kaldi's fbank: samples in, log mel energies and frame levels out. Stateless; whole frames only.

Theory of operation (Povey et al., The Kaldi Speech Recognition Toolkit, 2011): frames of `frame_samples` every
`shift_samples`; per frame the mean is removed, pre-emphasis applied (the first sample against itself), a window laid
over (Hamming, or Povey's own), the power spectrum of the zero-padded frame summed up in triangular mel bands from 20 Hz
to Nyquist, and the logarithm taken. No dither.

Three rearrangements make it cheap without changing the values beyond rounding:

- Pre-emphasis of a frame with mean m is `(s[i] - a s[i-1]) - (1 - a) m`, so the difference is taken once over the whole
  signal instead of once in each of the overlapping frames.
- Sums over a frame (its mean, its energy) are sums of a few short strips that overlapping frames share.
- Samples stay in [-1, 1]; the factor 32768 of Kaldi's integer samples is part of the window.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from app.vad.models.layers import Linear, padded_rows

_PRE_EMPHASIS = 0.97
_LOW_HZ = 20.0
"""Kaldi's `low-freq`, under which the first filter hears nothing: mains hum and rumble."""
_INT16_SCALE = 32768.0
"""The networks were trained on samples in 16-bit steps, as Kaldi reads them."""
_ENERGY_FLOOR = torch.finfo(torch.float32).eps
"""Kaldi's floor under the logarithm."""
_LEVEL_FLOOR = 1e-6
"""FunASR's, so that digital silence is -60 dB and not minus infinity."""


class Fbank(nn.Module):
    """Read-only tables for one model's frontend, and the transforms over them."""

    def __init__(
        self,
        *,
        sample_rate: int,
        frame_samples: int,
        shift_samples: int,
        n_mels: int,
        window: Literal["hamming", "povey"],
        device: torch.device,
    ) -> None:
        super().__init__()
        self.n_mels = n_mels
        # The largest step that divides both the frame and the shift: sums over it are shared by overlapping frames.
        self._frame, self._shift, self._strip = frame_samples, shift_samples, math.gcd(frame_samples, shift_samples)
        self._fft_size = 1 << (frame_samples - 1).bit_length()
        weights = _window(window, frame_samples)
        self._window = weights.to(device)
        # Column 0 has no sample before it: s[0] - a s[0], minus the same share of the mean.
        self._first = float(weights[0]) * (1 - _PRE_EMPHASIS)
        self._emphasis, self._energy_floor, self._level_floor = _PRE_EMPHASIS, _ENERGY_FLOOR, _LEVEL_FLOOR
        self._mean_share = (weights * (_PRE_EMPHASIS - 1) / frame_samples).to(device)
        self._mel = Linear(_mel_bands(sample_rate, n_mels, self._fft_size).t().contiguous().to(device))

    def frame_count(self, samples: int) -> int:
        """Whole frames in so many samples."""
        return 0 if samples < self._frame else 1 + (samples - self._frame) // self._shift

    def forward(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Log mel energies [batch, frames, n_mels] and levels [batch, frames] of [batch, samples]."""
        if self.frame_count(samples.shape[-1]) == 0:
            return samples.new_zeros(samples.shape[0], 0, self.n_mels), samples.new_zeros(samples.shape[0], 0)
        return self.log_mel(samples), self.decibel(samples)

    def log_mel(self, samples: Tensor) -> Tensor:
        """Log mel energies, float32 [batch, frames, n_mels], of float32 [batch, samples] in [-1, 1]."""
        frames = self.frame_count(samples.shape[-1])
        padded = samples.new_empty(samples.shape[0], frames, self._fft_size)
        padded[..., self._frame :] = 0
        windowed = padded[..., : self._frame]
        differences = torch.empty_like(samples)
        differences[:, 0] = 0
        torch.sub(samples[:, 1:], samples[:, :-1], alpha=self._emphasis, out=differences[:, 1:])
        torch.mul(self._frames(differences), self._window, out=windowed)
        windowed[..., 0] = self._frames(samples)[..., 0] * self._first
        windowed.addcmul_(self._frame_sums(samples).unsqueeze(-1), self._mean_share)
        spectrum = torch.fft.rfft(padded)
        power = spectrum.real.square().addcmul_(spectrum.imag, spectrum.imag).flatten(0, 1)
        mels: Tensor = self._mel(padded_rows(power))[: len(power)].clamp_(min=self._energy_floor).log_()
        return mels.view(samples.shape[0], frames, self.n_mels)

    def decibel(self, samples: Tensor) -> Tensor:
        """Level of each frame in dB, float32 [batch, frames]: 10 log10(sum of squares + 1e-6)."""
        sums: Tensor = self._frame_sums(samples.square())
        return sums.add_(self._level_floor).log10_().mul_(10)

    def _frames(self, signal: Tensor) -> Tensor:
        return signal.unfold(-1, self._frame, self._shift)

    def _frame_sums(self, signal: Tensor) -> Tensor:
        strip = self._strip
        whole = signal.shape[-1] // strip * strip
        strips = signal[:, :whole].reshape(signal.shape[0], -1, strip).sum(-1)
        sums: Tensor = strips.unfold(-1, self._frame // strip, self._shift // strip).sum(-1)
        return sums


def _window(kind: Literal["hamming", "povey"], length: int) -> Tensor:
    """Kaldi's windows, for samples in [-1, 1]. Povey's, its default, is Hann's to the power 0.85."""
    cosine = torch.cos(torch.arange(length, dtype=torch.float64) * (2 * math.pi / (length - 1)))
    window = 0.54 - 0.46 * cosine if kind == "hamming" else (0.5 - 0.5 * cosine) ** 0.85
    return (window * _INT16_SCALE).float()


def _mel(hertz: Tensor) -> Tensor:
    return 1127.0 * torch.log1p(hertz / 700.0)


def _mel_bands(sample_rate: int, n_mels: int, fft_size: int) -> Tensor:
    """Triangles on the mel scale, [bins, n_mels]."""
    bins = torch.arange(fft_size // 2 + 1, dtype=torch.float64) * (sample_rate / fft_size)
    low, high = _mel(torch.tensor([_LOW_HZ, sample_rate / 2], dtype=torch.float64))
    edges = low + (high - low) / (n_mels + 1) * torch.arange(n_mels + 2, dtype=torch.float64)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    at = _mel(bins)[:, None]
    bands = torch.minimum((at - left) / (centre - left), (right - at) / (right - centre)).clamp_(min=0)
    bands[-1] = 0  # Kaldi leaves the Nyquist bin out.
    return bands.float()
