"""From what is decoded to what is listened to: which channels, and at what rate."""

import re
from collections.abc import Iterator
from typing import Literal, cast

import numpy as np
import soxr
from numpy.typing import NDArray

from app.vad.errors import InvalidOption
from app.warnings import AnswerWarning

Block = NDArray[np.float32]
Channel = int | Literal["mix", "split", "loudest"]
"""`mix`: the mean of all channels. A number: that channel, from 0. `split`: each by itself. `loudest`: in every half
second the one with the most energy."""
CHANNEL_PATTERN = r"^(mix|split|loudest|[0-7])$"
"""The numbers end where `AudioLimits.max_channels` does."""
_CANCELLED_SHARE = 0.1
"""Of the energy that the mean of channels with nothing in common has. Speech on both sides has more, never less."""
_WINDOWS_PER_S = 2
"""Half a second is a few syllables: shorter, it would change sides within words; longer, miss who answers."""
_LOUDER = 2.0
"""Ratio of energies, 3 dB, from which another channel takes over: two alike would change places all the time."""


def parse_channel(text: str) -> Channel:
    """From raw text. Raises `InvalidOption`."""
    if not re.fullmatch(CHANNEL_PATTERN, text):
        raise InvalidOption("channel", "must be mix, split, loudest, or the number of a channel, 0 to 7")
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
    """Float32 [n, channels] in at one rate, out at another, piece by piece; equal rates pass through untouched."""

    def __init__(self, source_rate: int, target_rate: int, channels: int) -> None:
        self._empty = np.zeros((0, channels), dtype=np.float32)
        self._stream = (
            None
            if source_rate == target_rate
            else soxr.ResampleStream(source_rate, target_rate, channels, dtype="float32", quality="HQ")
        )

    def process(self, block: Block, *, last: bool = False) -> Block:
        """The samples at the target's rate that are known with `block`."""
        if self._stream is None:
            return block
        out = self._stream.resample_chunk(block, last=last)
        return np.asarray(out, dtype=np.float32).reshape(-1, self._empty.shape[1])

    def flush(self) -> Block:
        """What is still inside, at the end."""
        return self.process(self._empty, last=True)
