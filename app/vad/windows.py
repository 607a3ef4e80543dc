"""Models that hear windows of fixed length: cutting windows out of a stream, and laying what they say over each other.

The law, for a network that tells of a window frame by frame (`app.vad.grid.Windows`):

- Audio of a window's length or more has a window at every hop, as long as it lies wholly in the audio; and a *tail*,
  the last window on the frames' grid that does, if it is later than the last of them. No silence is added.
- Shorter audio is one window: the network is given it mirrored until it is long enough.
- A frame's value is the mean over the windows that hold it, weighted by a Hamming window over each, so that the middle
  of a window, which has heard both sides, counts most. Sums are in float64, in order of the windows.

So a frame's value depends on samples and on the audio's length, and not on how the stream was cut. It is settled when
no window can come any more that holds it: as late as a window is long.

Windows are scored in groups of a fixed size, counted from the stream's start, which is quicker than one by one; the
last group may be smaller. Which windows go together belongs to the law, too, for it shows in a product's last bit. A
block holds whole groups and needs nothing of the block before it: blocks may be scored in any order.
"""

from typing import Any

import numpy as np

from app.vad.blocks import Block
from app.vad.grid import IntArray, Windows
from app.vad.posteriors import NO_POSTERIORS, FloatArray, Posteriors, join_posteriors


def window_starts(samples: int, windows: Windows) -> list[int]:
    """Where the windows of a block of samples begin: at every hop, and the last one so that it ends with the block."""
    last = max(0, samples - windows.samples)
    return [*range(0, last, windows.hop_samples), last]


class WindowCutter:
    """The sample memory of one stream, as `BlockCutter` is of other models."""

    def __init__(self, windows: Windows, least: int) -> None:
        """`least`: samples without which audio has no frame."""
        self._windows, self._least = windows, least
        self._pieces: list[FloatArray] = []
        self._first = 0
        """The stream's sample that they begin with."""
        self._total = 0
        """Samples of the stream."""
        self._cut = 0
        """Windows of the stream cut."""

    def cut(self, samples: FloatArray, *, final: bool = False) -> Block[Any] | None:
        """The groups of windows that `samples` complete, or at the stream's end all that is left; None where that is
        nothing. `samples`: float32 [n]."""
        windows = self._windows
        if len(samples):
            self._pieces.append(samples)
            self._total += len(samples)
        whole = 1 + (self._total - windows.samples) // windows.hop_samples if self._total >= windows.samples else 0
        count = whole - self._cut
        tail = windows.tail_frame(self._total) * windows.shift_samples
        start = self._cut * windows.hop_samples
        if final:
            nothing_new = self._cut > 0 and count == 0 and tail == start - windows.hop_samples
            if nothing_new or self._total < self._least:
                return None
            return self._block(start if count else tail, tail + windows.samples, final=True)
        count -= count % windows.group
        if count == 0:
            return None
        block = self._block(start, start + (count - 1) * windows.hop_samples + windows.samples, final=False)
        self._cut += count
        # What the next window and the tail may need: a copy, so that a small rest holds no large array.
        needed = min(self._cut * windows.hop_samples, tail)
        self._pieces = [self._pieces[0][needed - self._first :].copy()]
        self._first = needed
        return block

    def _block(self, start: int, stop: int, *, final: bool) -> Block[Any]:
        if len(self._pieces) > 1:
            self._pieces = [np.concatenate(self._pieces)]
        return Block(self._pieces[0][start - self._first : stop - self._first], 0, final, None)


class WindowMixer:
    """Lays the windows of one stream over each other, as their scores come in order: posteriors on frames of 10 ms."""

    def __init__(self, windows: Windows) -> None:
        self._windows = windows
        self._weights = np.hamming(windows.frames)
        self._mixed = 0
        """Windows mixed."""
        self._sums = np.zeros((0, 3))
        """Of own frames that are not settled: weighted speech, weighted overlap, and weights, [frames, 3]."""
        self._levels = np.zeros(0, np.float32)
        """Of the same frames."""
        self._first = 0
        """The own frame that both begin with: those before it are settled."""
        self._settled = NO_POSTERIORS
        """Of settled own frames that 10 ms frames still repeat."""
        self._settled_from = 0
        self._given = 0
        """10 ms frames given out."""

    def accept(self, scored: Posteriors, samples: int, *, final: bool) -> Posteriors:
        """The 10 ms frames that are settled now.

        `scored`: what the next windows say of their own frames, one window after the other. `samples`: of the stream,
        as far as it has been cut. `final`: those are all.
        """
        windows = self._windows
        tail = windows.tail_frame(samples)
        for first in range(0, len(scored), windows.frames):
            start = self._mixed * windows.hop_frames
            # Only a stream's last window can begin later than its tail would: then it is the tail.
            self._add(min(start, tail) if final else start, scored.take(slice(first, first + windows.frames)))
            self._mixed += 1
        if final:
            self._settle(windows.count(samples))
            return self._repeat(samples * 100 // windows.sample_rate)
        # What neither the next window nor a tail can reach. More may have been cut than has been scored.
        self._settle(min(self._mixed * windows.hop_frames, tail))
        return self._repeat(windows.first_nearest(self._first) if self._first else 0)

    def _add(self, start: int, window: Posteriors) -> None:
        stop = start + len(window)
        missing = stop - (self._first + len(self._sums))
        if missing > 0:
            self._sums = np.concatenate((self._sums, np.zeros((missing, 3))))
            # A frame's level is that of the first window that holds it.
            self._levels = np.concatenate((self._levels, window.decibel[-missing:]))
        sums = self._sums[start - self._first : stop - self._first]
        sums[:, 0] += self._weights * window.speech
        sums[:, 1] += self._weights * window.of_overlap().speech
        sums[:, 2] += self._weights

    def _settle(self, stop: int) -> None:
        """Own frames before `stop` do not change any more."""
        count = max(0, min(stop - self._first, len(self._sums)))
        means = (self._sums[:count, :2] / self._sums[:count, 2:]).astype(np.float32)
        levels = self._levels[:count]
        self._settled = join_posteriors([self._settled, Posteriors(means[:, 0], levels, overlap=means[:, 1])])
        # Copies, so that a small rest holds no large array.
        self._sums, self._levels = self._sums[count:].copy(), self._levels[count:].copy()
        self._first += count

    def _repeat(self, stop: int) -> Posteriors:
        """The 10 ms frames before `stop` that have not been given out."""
        if stop <= self._given:
            return NO_POSTERIORS
        given = self._settled.take(self._places(np.arange(self._given, stop)))
        self._given = stop
        unneeded = int(self._places(np.array([stop]))[0])
        self._settled = self._settled.take(slice(unneeded, None))
        self._settled_from += unneeded
        return given

    def _places(self, frames: IntArray) -> IntArray:
        """Where in `_settled` the own frames nearest to 10 ms frames are."""
        return self._windows.nearest(frames).clip(0, self._first - 1) - self._settled_from
