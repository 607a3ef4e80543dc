"""What a model hands to a segmenter: a probability and a level for each frame; and the protocol of segmenters."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from app.vad.segment import Event

FloatArray = NDArray[np.float32]
DoubleArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Posteriors:
    """Of consecutive frames on a model's grid; both arrays have shape [frames].

    `values` stay what the network gave: turned over and back in float32, a probability of silence would not be the
    same any more, and a segment's edge may hang on its last bit.
    """

    values: FloatArray
    """Posterior probability, 0-1, of what `of` says."""
    decibel: FloatArray
    """Energy of the frame's samples, 10 log10(sum of squares + 1e-6), in dB."""
    of: Literal["speech", "silence"] = "speech"
    short_ms: float = 0.0
    """How much of the last frame lies after the stream's end."""

    def __len__(self) -> int:
        return len(self.values)

    @property
    def speech(self) -> DoubleArray:
        """Probability of speech."""
        doubles = self.values.astype(np.float64)
        return doubles if self.of == "speech" else 1.0 - doubles

    @property
    def silence(self) -> DoubleArray:
        """Probability of silence."""
        doubles = self.values.astype(np.float64)
        return doubles if self.of == "silence" else 1.0 - doubles

    @property
    def nbytes(self) -> int:
        """Memory that they take."""
        return self.values.nbytes + self.decibel.nbytes

    def take(self, frames: "slice | NDArray[np.intp]") -> "Posteriors":
        """Some of the frames; none of them is short any more."""
        return Posteriors(self.values[frames], self.decibel[frames], self.of)


NO_POSTERIORS = Posteriors(np.zeros(0, dtype=np.float32), np.zeros(0, dtype=np.float32))


def join_posteriors(parts: Sequence[Posteriors]) -> Posteriors:
    """The posteriors of consecutive blocks of one stream as one."""
    parts = [part for part in parts if len(part)]
    if len(parts) <= 1:
        return parts[0] if parts else NO_POSTERIORS
    values = np.concatenate([part.values for part in parts])
    decibel = np.concatenate([part.decibel for part in parts])
    return Posteriors(values, decibel, parts[0].of, parts[-1].short_ms)


class Segmenter(Protocol):
    """Turns posteriors into events, one frame after the other. Pure: no audio, no clock, no torch."""

    def accept(self, posteriors: Posteriors, *, final: bool) -> list[Event]:
        """Events that the next frames decide. `final`: no frame follows, and an open segment is given out."""
        ...

    def reset(self) -> None:
        """Forget everything: the next frame is frame 0 of a new stream."""
        ...
