"""A model made of models: the mean of their speech probabilities on a common grid of 10 ms.

A frame of the grid takes each member's value where its middle lies, and past a member's end its last value; the mean is
in float64. The grid has as many frames as there are whole steps of 10 ms. Levels are those of the first member that has
frames of 10 ms (25 ms of sound each), else of the first member.

A frame is given out when every member knows it and it is not the last one known: what segments it decides differently
on a stream's last frame, so the end of the stream must never come without one.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from app.vad.grid import FRAME_MS, Grid
from app.vad.models.accuracy import measured
from app.vad.models.family import ModelInfo, OptionDefaults
from app.vad.posteriors import NO_POSTERIORS, Posteriors, join_posteriors

SEPARATORS = "+, "
"""What may join names in `model=`; a `+` in a URL arrives as a space."""
DEFAULT_MODE = "tight"

_DURATIONS = {"min_speech_duration_ms": 100, "min_silence_duration_ms": 100, "speech_pad_ms": 20}
_THRESHOLDS = ("threshold", "neg_threshold")


def split_names(asked: str) -> list[str]:
    """The names in a sum; one name alone in what is none."""
    return [name for name in re.split(f"[{re.escape(SEPARATORS)}]", asked) if name] or [asked]


def option_defaults(names: Sequence[str], tight: Sequence[Mapping[str, Any]]) -> OptionDefaults:
    """For each mode the defaults of a sum. `tight`: those of its members in that mode, whose mean stands in where the
    sum has not been measured."""
    accuracy = measured(*names)
    thresholds = _means(tight) if accuracy is None else accuracy.thresholds
    threshold = thresholds["threshold"]
    return {
        "tight": {**thresholds, **_DURATIONS},
        # The end-point machine's test is one on a probability of (1 + x) / 2.
        "endpoint": {"speech_noise_thres": round(2 * threshold - 1, 3)},
        "smoothed": {"speech_threshold": threshold},
    }


def _means(tight: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    return {name: round(float(np.mean([defaults[name] for defaults in tight])), 3) for name in _THRESHOLDS}


def info_of(members: Sequence[ModelInfo]) -> ModelInfo:
    """How answers name a sum."""
    digest = hashlib.sha256("\n".join(member.fingerprint for member in members).encode()).hexdigest()
    revisions = [member.revision or "-" for member in members]
    return ModelInfo(
        name="+".join(member.name for member in members),
        id="+".join(member.id for member in members),
        revision="+".join(revisions) if any(member.revision for member in members) else None,
        fingerprint=digest,
    )


def common_grid(members: Sequence[Grid]) -> Grid:
    """Steps of 10 ms at the highest of the members' rates."""
    rate = max(grid.sample_rate for grid in members)
    step = rate * FRAME_MS // 1000
    return Grid(rate, step, step, look_ahead_frames=max(_frames_behind(grid) for grid in members))


def _frames_behind(grid: Grid) -> int:
    """Steps of 10 ms after a step that are needed to know it: the member's look-ahead, the rest of the frame in which
    its middle lies, and one more because the last one known is held back."""
    frame_ms = -(-grid.frame_samples * 1000 // grid.sample_rate)
    needed_ms = grid.look_ahead_frames * grid.frame_ms + max(frame_ms - FRAME_MS, 0) + max(grid.frame_ms - FRAME_MS, 0)
    return -(-needed_ms // FRAME_MS) + 1


class Mixer:
    """The members' posteriors of one stream, as they come, to the mean's."""

    def __init__(self, grids: Sequence[Grid]) -> None:
        self._steps_ms = [grid.frame_ms for grid in grids]
        self._levels = next((index for index, ms in enumerate(self._steps_ms) if ms == FRAME_MS), 0)
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next frame is frame 0 of a new stream."""
        self._known = [NO_POSTERIORS] * len(self._steps_ms)
        self._first = [0] * len(self._steps_ms)
        """Number of the member's frame that `_known` begins with."""
        self._given = 0
        """Frames of the common grid given out."""

    def accept(self, pieces: Sequence[Posteriors], *, total: int | None) -> Posteriors:
        """The mean's posteriors that these make known. `pieces`: the next of each member; `total`: at the stream's end,
        how many frames the common grid has."""
        self._known = [join_posteriors([known, piece]) for known, piece in zip(self._known, pieces, strict=True)]
        stop = max(self._given, min(map(self._covered, range(len(self._steps_ms)))) - 1) if total is None else total
        frames = np.arange(self._given, max(stop, self._given))
        members = np.stack([self._values(member, frames) for member in range(len(self._steps_ms))], axis=1)
        levels = self._level_values(frames)
        self._given += len(frames)
        for member in range(len(self._steps_ms)):
            self._drop(member)
        return Posteriors(members.mean(axis=1), levels, members=members.astype(np.float32))

    def _covered(self, member: int) -> int:
        """Frames of the common grid whose middle lies in what the member knows."""
        known_ms = (self._first[member] + len(self._known[member])) * self._steps_ms[member]
        return (known_ms + FRAME_MS // 2 - 1) // FRAME_MS

    def _places(self, member: int, frames: np.ndarray) -> np.ndarray:
        places: np.ndarray = (frames * FRAME_MS + FRAME_MS // 2) // self._steps_ms[member] - self._first[member]
        last = len(self._known[member]) - 1
        return places.clip(max=last)

    def _values(self, member: int, frames: np.ndarray) -> np.ndarray:
        known = self._known[member]
        if not len(known):
            return np.zeros(len(frames))  # audio too short for a frame of this member: it has heard no speech
        values: np.ndarray = known.speech[self._places(member, frames)]
        return values

    def _level_values(self, frames: np.ndarray) -> np.ndarray:
        member = self._levels if len(self._known[self._levels]) else 0
        known = self._known[member]
        if not len(known):
            return np.full(len(frames), -60.0, dtype=np.float32)  # as digital silence has
        levels: np.ndarray = known.decibel[self._places(member, frames)]
        return levels

    def _drop(self, member: int) -> None:
        """All but what the next frame needs, and the last value, which holds past the member's end."""
        place = (self._given * FRAME_MS + FRAME_MS // 2) // self._steps_ms[member] - self._first[member]
        gone = min(max(0, place), max(0, len(self._known[member]) - 1))
        self._known[member] = self._known[member].take(slice(gone, None))
        self._first[member] += gone
