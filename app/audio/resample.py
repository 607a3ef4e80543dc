"""Changing the rate of a stream, piece by piece."""

import numpy as np
import soxr

from app.audio.decode import Block


class Resampler:
    """Float32 [n, channels] in at one rate, out at another; equal rates pass through untouched."""

    def __init__(self, source_rate: int, target_rate: int, channels: int) -> None:
        self._channels = channels
        self._stream = (
            None
            if source_rate == target_rate
            else soxr.ResampleStream(source_rate, target_rate, channels, dtype="float32", quality="HQ")
        )

    def process(self, block: Block) -> Block:
        """The samples at the target's rate that `block` makes known."""
        return block if self._stream is None else self._resample(block, last=False)

    def flush(self) -> Block:
        """What is still inside, at the end."""
        empty = np.zeros((0, self._channels), dtype=np.float32)
        return empty if self._stream is None else self._resample(empty, last=True)

    def _resample(self, block: Block, *, last: bool) -> Block:
        if self._stream is None:
            raise RuntimeError("equal rates have no resampler")
        out = self._stream.resample_chunk(block, last=last)
        return np.asarray(out, dtype=np.float32).reshape(-1, self._channels)
