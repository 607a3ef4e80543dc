"""Sums of models: the mean of their members' speech probabilities on a common grid of 10 ms, each counted as often as
its weight says.

A frame of the grid takes each member's value where the frame's middle lies, and past a member's end its last value; the
mean is in float64. The grid has as many frames as there are whole steps of 10 ms. Levels are those of the first member
that has frames of 10 ms (25 ms of sound each), else of the first member.

A frame is given out when every member knows it and it is not the last one known: a segmenter decides differently on a
stream's last frame, so the stream must never end without one.
"""

import hashlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from typing_extensions import Self

from app.vad.errors import InvalidOption
from app.vad.grid import FRAME_MS, Grid
from app.vad.models.accuracy import BEST, tight_thresholds
from app.vad.models.family import ModelInfo, OptionDefaults
from app.vad.posteriors import NO_POSTERIORS, Posteriors, join_posteriors

SEPARATORS = "+, "
"""What may join names in `model=`; a `+` in a URL arrives as a space."""
DEFAULT_MODE = "tight"
BEST_NAME = "best"
"""What `model=` calls the best sum of all."""
_WEIGHTS = range(1, 10)
"""A member that should count more than nine times as much as another needs no other."""

_DURATIONS = {"min_speech_duration_ms": 100, "min_silence_duration_ms": 100, "speech_pad_ms": 20}
_THRESHOLDS = ("threshold", "neg_threshold")


@dataclass(frozen=True, slots=True)
class Term:
    """A member of a sum, and how often it counts."""

    name: str
    weight: int = 1

    def __str__(self) -> str:
        return self.name if self.weight == 1 else f"{self.weight}*{self.name}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `pyannote` or `2*pyannote`. Raises `InvalidOption`."""
        weight, star, name = text.rpartition("*")
        if not star:
            return cls(text)
        if not name or weight not in map(str, _WEIGHTS):
            raise InvalidOption(
                "model",
                f"{text[:64]!r} is no member of a sum: a weight is a whole number from 1 to 9, as in 2*pyannote",
            )
        return cls(name, int(weight))


def split_terms(asked: str) -> list[Term]:
    """The terms of a sum, or of the one that a name means; one name alone in what is none. Raises `InvalidOption`."""
    asked = re.sub(r"\s*\*\s*", "*", asked)
    terms = [Term.parse(each) for each in re.split(f"[{re.escape(SEPARATORS)}]", asked) if each]
    if [str(term) for term in terms] == [BEST_NAME]:
        return [Term.parse(each) for each in BEST]
    if BEST_NAME in [term.name for term in terms]:
        raise InvalidOption("model", f"{BEST_NAME} is a sum itself: {'+'.join(BEST)}; name its members")
    return terms or [Term(asked)]


def reduced(weights: Sequence[int]) -> tuple[int, ...]:
    """Weights in smallest terms: the mean of twice each is the mean of each."""
    return tuple(weight // math.gcd(*weights) for weight in weights)


def are_the_same(one: str, other: str) -> bool:
    """Whether two names mean one model, or one sum. Raises `InvalidOption`."""

    def members(asked: str) -> set[Term]:
        terms = split_terms(asked)
        weights = reduced([term.weight for term in terms])
        return {Term(term.name, weight) for term, weight in zip(terms, weights, strict=True)}

    return members(one) == members(other)


def option_defaults(terms: Sequence[Term], tight: Sequence[Mapping[str, Any]]) -> OptionDefaults:
    """For each mode the defaults of a sum. `tight`: its members' in that mode, whose mean is taken where none were
    fitted for the sum."""
    weights = [term.weight for term in terms]
    means = {
        name: round(float(np.average([defaults[name] for defaults in tight], weights=weights)), 3)
        for name in _THRESHOLDS
    }
    thresholds = tight_thresholds(*map(str, terms)) or means
    threshold = thresholds["threshold"]
    return {
        "tight": {**thresholds, **_DURATIONS},
        # The end-point machine's test is one on a probability of (1 + x) / 2.
        "endpoint": {"speech_noise_thres": round(2 * threshold - 1, 3)},
        "smoothed": {"speech_threshold": threshold},
        "binarize": {"onset": threshold},
    }


def info_of(members: Sequence[ModelInfo], weights: Sequence[int]) -> ModelInfo:
    """How answers name a sum."""

    def terms(of_member: Callable[[ModelInfo], str]) -> list[str]:
        return [str(Term(of_member(member), weight)) for member, weight in zip(members, weights, strict=True)]

    digest = hashlib.sha256("\n".join(terms(lambda member: member.fingerprint)).encode()).hexdigest()
    revisions = [member.revision or "-" for member in members]
    return ModelInfo(
        name="+".join(terms(lambda member: member.name)),
        id="+".join(terms(lambda member: member.id)),
        revision="+".join(revisions) if any(member.revision for member in members) else None,
        fingerprint=digest,
    )


def common_grid(members: Sequence[Grid]) -> Grid:
    """Steps of 10 ms at the highest of the members' rates."""
    rate = max(grid.sample_rate for grid in members)
    step = rate * FRAME_MS // 1000
    behind = 0
    for grid in members:
        # After a step: the member's look-ahead and the rest of the frame in which the step's middle lies.
        frame_ms = -(-grid.frame_samples * 1000 // grid.sample_rate)
        needed_ms = grid.look_ahead_frames * grid.frame_ms + max(frame_ms - FRAME_MS, 0)
        needed_ms += max(grid.frame_ms - FRAME_MS, 0)
        behind = max(behind, -(-needed_ms // FRAME_MS))
    # And one more step, because the last one known is held back.
    overlap = next((grid.overlap for grid in members if grid.overlap is not None), None)
    loud = members[_member_of_levels(members)]
    level_samples = loud.level_samples or loud.frame_samples
    return Grid(rate, step, step, look_ahead_frames=behind + 1, level_samples=level_samples, overlap=overlap)


def _member_of_levels(members: Sequence[Grid]) -> int:
    """Which member's levels are those of the sum: the first with frames of 10 ms, else the first."""
    return next((index for index, grid in enumerate(members) if grid.frame_ms == FRAME_MS), 0)


class Mixer:
    """Turns the members' posteriors of one stream, as they come, into the mean's."""

    def __init__(self, grids: Sequence[Grid], weights: Sequence[int]) -> None:
        self._weights = np.array(weights, dtype=np.float64)
        self._steps_ms = [grid.frame_ms for grid in grids]
        self._levels = _member_of_levels(grids)
        self._overlap = next((index for index, grid in enumerate(grids) if grid.overlap is not None), None)
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
        stop = total
        if stop is None:
            known_ms = [
                (first + len(known)) * step
                for first, known, step in zip(self._first, self._known, self._steps_ms, strict=True)
            ]
            # Frames whose middle lies in what every member knows, but for the last.
            stop = (min(known_ms) + FRAME_MS // 2 - 1) // FRAME_MS - 1
        frames = np.arange(self._given, max(stop, self._given))
        # Audio too short for a frame of a member: it has heard no speech, and digital silence is -60 dB.
        speech = [
            known.speech[self._at(member, frames)] if len(known) else np.zeros(len(frames))
            for member, known in enumerate(self._known)
        ]
        source = self._levels if len(self._known[self._levels]) else 0
        known = self._known[source]
        levels = known.decibel[self._at(source, frames)] if len(known) else np.full(len(frames), -60.0, np.float32)
        overlap = None
        if self._overlap is not None:
            known = self._known[self._overlap]
            overlap = np.zeros(len(frames), np.float32)
            if known.overlap is not None:
                overlap = known.overlap[self._at(self._overlap, frames)]
        self._given += len(frames)
        for member in range(len(self._known)):
            # Kept are what the next frame needs, and the last value, which holds past the member's end.
            needed = (self._given * FRAME_MS + FRAME_MS // 2) // self._steps_ms[member] - self._first[member]
            gone = min(max(0, needed), max(0, len(self._known[member]) - 1))
            self._known[member] = self._known[member].take(slice(gone, None))
            self._first[member] += gone
        members = np.stack(speech, axis=1)
        mean = (members * self._weights).sum(axis=1) / self._weights.sum()
        return Posteriors(mean, levels, members=members.astype(np.float32), overlap=overlap)

    def _at(self, member: int, frames: np.ndarray) -> np.ndarray:
        """The member's frames in which the middles of these frames lie; past its end its last one."""
        places: np.ndarray = (frames * FRAME_MS + FRAME_MS // 2) // self._steps_ms[member] - self._first[member]
        return places.clip(max=len(self._known[member]) - 1)
