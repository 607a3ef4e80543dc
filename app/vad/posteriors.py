"""What a model hands to a segmenter: a probability and a level for each frame; and the protocol of segmenters."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from app.vad.errors import InvalidOption
from app.vad.segment import Event

FloatArray = NDArray[np.float32]
DoubleArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Posteriors:
    """Of consecutive frames on a model's grid.

    `values` stay what the network gave: turned over and back in float32, a probability of silence would not be the
    same any more, and a segment's edge may hang on its last bit.
    """

    values: "FloatArray | DoubleArray"
    """Posterior probability, 0-1, of what `of` says, [frames]; of a model with labels [frames, labels]."""
    decibel: FloatArray
    """[frames]. Energy of the frame's samples, 10 log10(sum of squares + 1e-6), in dB."""
    of: Literal["speech", "silence"] = "speech"
    short_ms: float = 0.0
    """At a stream's end: how many ms of the last frame's step lie after it. Below 0: how many ms of the stream lie
    after that step, the rest of a frame that is longer than its step."""
    members: FloatArray | None = None
    """Of a model made of models: each one's speech probability, [frames, members]."""
    overlap: FloatArray | None = None
    """Of a model that tells it: the probability that several people talk at once, [frames]."""

    def __len__(self) -> int:
        return len(self.values)

    @property
    def speech(self) -> DoubleArray:
        """Probability of speech, [frames]."""
        if self.values.ndim == 2:
            return self.column(0).speech
        doubles = self.values.astype(np.float64)
        return doubles if self.of == "speech" else 1.0 - doubles

    @property
    def silence(self) -> DoubleArray:
        """Probability of silence, [frames]."""
        doubles = self.values.astype(np.float64)
        return doubles if self.of == "silence" else 1.0 - doubles

    @property
    def nbytes(self) -> int:
        """Memory that they take, bytes."""
        further = sum(0 if each is None else each.nbytes for each in (self.members, self.overlap))
        return self.values.nbytes + self.decibel.nbytes + further

    def column(self, label: int) -> "Posteriors":
        """One label's alone, as if it were speech."""
        values = self.values[:, label] if self.values.ndim == 2 else self.values
        return Posteriors(values, self.decibel, self.of, self.short_ms)

    def take(self, frames: "slice | NDArray[np.intp]") -> "Posteriors":
        """Some of the frames, without `short_ms`."""
        members = None if self.members is None else self.members[frames]
        overlap = None if self.overlap is None else self.overlap[frames]
        return Posteriors(self.values[frames], self.decibel[frames], self.of, members=members, overlap=overlap)

    def of_overlap(self) -> "Posteriors":
        """The probability that several people talk at once, as if it were speech. Raises ValueError without one."""
        if len(self) == 0:
            return replace(NO_POSTERIORS, short_ms=self.short_ms)
        if self.overlap is None:
            raise ValueError("this model does not tell overlap")
        return Posteriors(self.overlap, self.decibel, short_ms=self.short_ms)


class Column(Sequence[float]):
    """Probabilities of consecutive frames, rounded to four digits: two bytes each, where a list takes 32."""

    def __init__(self, values: NDArray[np.uint16]) -> None:
        """`values`: as `ten_thousandths` gives them."""
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    @overload
    def __getitem__(self, index: int) -> float: ...
    @overload
    def __getitem__(self, index: slice) -> "Column": ...
    def __getitem__(self, index: int | slice) -> "float | Column":
        found = self._values[index]
        return Column(found) if isinstance(index, slice) else float(found) / _ONE

    def __iter__(self) -> Iterator[float]:
        return iter((self._values / _ONE).tolist())


_ONE = 10_000.0
"""What a probability of 1 is stored as: answers have four digits, and this fits into two bytes."""


def ten_thousandths(probabilities: "FloatArray | DoubleArray") -> NDArray[np.uint16]:
    """Probabilities as whole ten thousandths; as `numpy.round` rounds to four digits."""
    return np.rint(probabilities.astype(np.float64) * _ONE).astype(np.uint16)


NO_POSTERIORS = Posteriors(np.zeros(0, dtype=np.float32), np.zeros(0, dtype=np.float32))


def join_posteriors(parts: Sequence[Posteriors]) -> Posteriors:
    """The posteriors of consecutive blocks of one stream as one."""
    short_ms = parts[-1].short_ms if parts else 0.0
    parts = [part for part in parts if len(part)]
    if not parts:
        return replace(NO_POSTERIORS, short_ms=short_ms)
    values = np.concatenate([part.values for part in parts])
    decibel = np.concatenate([part.decibel for part in parts])
    members, overlap = (
        np.concatenate(there) if len(there) == len(parts) else None
        for there in (
            [part.members for part in parts if part.members is not None],
            [part.overlap for part in parts if part.overlap is not None],
        )
    )
    return Posteriors(values, decibel, parts[0].of, short_ms, members, overlap)


class Segmenter(Protocol):
    """Turns posteriors into events, one frame after the other. Pure: no audio, no clock, no torch.

    Three more members are optional:

    - `final_ms`, a property: no segment that has not been given out whole begins before this. Without it, chunks
      wait for the next segment, or the end.
    - `end_from_ms`, a property: a segment that is open ends here at the least. Without it, or while it is 0, a segment
      that negative padding may empty is told of at its end.
    - `use_options(options)`, for live streams: decide the next frame, and all after it, by these options of its own
      class. What has been decided stays: an open segment stays open, and none begins before the end of the last one
      that was given out.
    """

    def accept(self, posteriors: Posteriors, *, final: bool) -> list[Event]:
        """Events that the next frames decide. `final`: no frame follows, and an open segment is given out."""
        ...

    def reset(self) -> None:
        """Forget everything: the next frame is frame 0 of a new stream."""
        ...


def final_ms(segmenter: Segmenter) -> int:
    """The segmenter's `final_ms`, or 0 if it has none."""
    return int(getattr(segmenter, "final_ms", 0))


def adjust(segmenter: Segmenter, options: Any) -> None:
    """Let a segmenter go on by these options. Raises `InvalidOption` for one that cannot."""
    use_options = getattr(segmenter, "use_options", None)
    if use_options is None:
        raise InvalidOption("mode", f"the options of mode={options.mode} cannot change once a stream is open")
    use_options(options)
