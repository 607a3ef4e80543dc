"""How a model's frames lie over samples: the numbers on which cutting, scoring and segmenting agree."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
FRAME_MS = 10
"""Distance of two frames of every fbank model here, and the step in which the end-point machine counts."""


@dataclass(frozen=True, slots=True)
class Windows:
    """The windows of fixed length that a network hears, and the frames of its own that it tells of in each.

    Own frame g covers the samples `g * shift_samples` up to `g * shift_samples + frame_samples`. What answers tell lies
    on a grid of 10 ms, whose frames repeat the values of the nearest own frames. `app.vad.windows` has the law.
    """

    sample_rate: int
    """Hz."""
    samples: int
    """Of a window."""
    frames: int
    """Own frames in a window."""
    frame_samples: int
    shift_samples: int
    hop_frames: int
    """From one window to the next, in own frames."""
    group: int
    """Windows that are scored together."""

    @property
    def hop_samples(self) -> int:
        """From one window to the next."""
        return self.hop_frames * self.shift_samples

    def tail_frame(self, samples: int) -> int:
        """The own frame with which the last window of so much audio begins."""
        return max(0, samples - self.samples) // self.shift_samples

    def count(self, samples: int) -> int:
        """Own frames of so much audio: those that its windows have, or that lie wholly in audio shorter than a window;
        one at least, unless there is no audio."""
        if samples >= self.samples:
            return self.tail_frame(samples) + self.frames
        return min(samples, 1) + (max(samples, self.frame_samples) - self.frame_samples) // self.shift_samples

    def nearest(self, frames: IntArray) -> IntArray:
        """The own frame whose centre is nearest to that of each of these 10 ms frames. It may lie before the first own
        frame, or behind the last: then that one is meant."""
        return (2 * self._step * frames - self._offset) // (2 * self.shift_samples)

    def first_nearest(self, own: int) -> int:
        """The first 10 ms frame to which this own frame, or a later one, is nearest."""
        return -((-2 * self.shift_samples * own - self._offset) // (2 * self._step)) if own else 0

    def time_s(self, own: int) -> float:
        """The middle of an own frame, s, as pyannote.core computes it."""
        start = own * (self.shift_samples / self.sample_rate)
        return 0.5 * (start + (start + self.frame_samples / self.sample_rate))

    @property
    def _step(self) -> int:
        return self.sample_rate * FRAME_MS // 1000

    @property
    def _offset(self) -> int:
        return 2 * (self.frame_samples // 2) - self._step - self.shift_samples + 1


@dataclass(frozen=True, slots=True)
class Grid:
    """Frame t covers the samples `t * shift_samples` up to `t * shift_samples + frame_samples`."""

    sample_rate: int
    """Hz."""
    frame_samples: int
    shift_samples: int
    look_ahead_frames: int = 0
    """How many frames after a frame have to be known for its posterior."""
    warm_up_frames: int | None = None
    """Posteriors to discard at the head of a block that starts from nothing in mid-stream; None where the model's
    memory has no end, so that a stream's blocks must be chained."""
    pads_last: bool = False
    """Whether samples after a stream's last whole frame count as a frame too, filled up with silence. Only where frames
    do not overlap."""
    labels: tuple[str, ...] = ()
    """What each column of the posteriors is the probability of, speech first; none where it is speech alone."""
    level_samples: int = 0
    """How many samples a frame's level is about, where it is not about those of the frame; else 0."""
    windows: Windows | None = None
    """Of a network that hears windows of fixed length. Frames of the grid are then 10 ms, side by side."""
    overlap: Windows | None = None
    """Of a network that tells how likely several people talk at once; None: none here does."""

    @property
    def frame_ms(self) -> int:
        """Distance of two frames, ms."""
        return self.shift_samples * 1000 // self.sample_rate

    def frames(self, samples: int, *, final: bool) -> int:
        """Frames that so many samples complete."""
        return -(-samples // self.shift_samples) if final and self.pads_last else self.whole_frames(samples)

    def whole_frames(self, samples: int) -> int:
        """Frames that lie wholly inside so many samples."""
        return 0 if samples < self.frame_samples else 1 + (samples - self.frame_samples) // self.shift_samples

    def span(self, frames: int) -> int:
        """Samples that so many consecutive frames cover."""
        return (frames - 1) * self.shift_samples + self.frame_samples if frames else 0
