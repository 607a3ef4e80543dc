"""How a model's frames lie over samples: the numbers on which cutting, scoring and segmenting agree."""

from dataclasses import dataclass

FRAME_MS = 10
"""Distance of two frames of every fbank model here, and the step in which the end-point machine counts."""


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
