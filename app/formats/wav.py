"""A WAV file's form: its header, and samples as its data chunk has them."""

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Block = NDArray[np.float32]
"""[n, channels], in [-1, 1]."""
_MAX_RIFF_BYTES = 0xFFFFFFFF - 64
"""RIFF counts in 32 bits; the header takes its share."""
_PCM, _FLOAT = 1, 3
"""WAVE_FORMAT_PCM and WAVE_FORMAT_IEEE_FLOAT, the codings that a header names."""


@dataclass(frozen=True, slots=True)
class WavForm:
    """How samples are written."""

    sample_rate: int
    channels: int
    bits: int

    @classmethod
    def like(cls, sample_rate: int, channels: int, subtype: str) -> "WavForm":
        """The form that loses nothing of a source subtype; 16 bits where the source has no more."""
        bits = {"PCM_24": 24, "PCM_32": 32, "FLOAT": 32, "DOUBLE": 32}.get(subtype, 16)
        return cls(sample_rate, channels, bits)

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return self.channels * self.bits // 8

    def header(self, frames: int) -> bytes:
        """Header for so many frames: RIFF, or RF64 (EBU Tech 3306) past what RIFF's 32 bits count."""
        size = frames * self.frame_bytes
        code = _FLOAT if self.bits == 32 else _PCM
        rate, width = self.sample_rate, self.frame_bytes
        form = struct.pack("<4sIHHIIHH", b"fmt ", 16, code, self.channels, rate, rate * width, width, self.bits)
        if size <= _MAX_RIFF_BYTES:
            return (
                b"RIFF" + struct.pack("<I", 36 + size + size % 2) + b"WAVE" + form + b"data" + struct.pack("<I", size)
            )
        # The true lengths stand in `ds64`; 0xFFFFFFFF in both usual places says so.
        lengths = struct.pack("<4sIQQQI", b"ds64", 28, 72 + size + size % 2, size, frames, 0)
        return b"RF64\xff\xff\xff\xffWAVE" + lengths + form + b"data\xff\xff\xff\xff"

    def padding(self, frames: int) -> bytes:
        """What follows the samples: RIFF chunks have an even length."""
        return bytes(frames * self.frame_bytes % 2)

    def encode(self, block: Block) -> bytes:
        """Samples in [-1, 1], [n, channels], as the data chunk has them; 32 bits are floats."""
        if self.bits == 32:
            return block.astype("<f4").tobytes()
        full = 1 << (self.bits - 1)
        whole = np.clip(np.rint(block.astype(np.float64) * full), -full, full - 1).astype("<i4")
        if self.bits == 16:
            return whole.astype("<i2").tobytes()
        return whole.reshape(-1, 1).view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
