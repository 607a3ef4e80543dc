"""A container's clock beside the count of samples.

A player shows a sample at the time that its container stamps on it. Where packets were lost the stamps leap while the
samples go on; where the sound begins after the picture, its first stamp is late. `clock=samples` counts samples, as
FunASR and a WAV made by ffmpeg do, and the leaps are told; `clock=container` has silence in their place, so that every
time is the player's.

A clock that falls back, as where recordings were joined, never takes samples away: nothing that can be heard is cut,
and from there on it is the new recording's clock that is followed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.audio.ffmpeg_log import LEAP_S, Leap
from app.warnings import AnswerWarning

Block = NDArray[np.float32]
Clock = Literal["samples", "container"]
CLOCKS: tuple[Clock, ...] = ("samples", "container")
_START_S = 0.1
"""A leap so early is a late start: fragmented films have the encoder's first, empty packet at 0."""
_BACK_S = 1.0
"""A clock that falls back by more is another recording's; that of a live one wavers by tens of ms."""
_SPLICE_S = 3600.0
"""In containers in which recordings follow one another, a leap by more is the next one's clock: a recorder that has
heard nothing for an hour has stopped."""
_MOST_TOLD = 100
"""Gaps that an answer lists; their sum counts all."""


@dataclass(frozen=True, slots=True)
class TimeGap:
    """Time that the container's clock has and the samples have not."""

    at_ms: int
    """Where, in the times of the answer."""
    duration_ms: int


@dataclass(frozen=True, slots=True)
class ClockFacts:
    """How a container's clock and the count of samples differ."""

    late_start_ms: int = 0
    """How long after the file's beginning the sound begins."""
    gaps: tuple[TimeGap, ...] = ()
    """The first of them."""
    gap_count: int = 0
    gap_ms: int = 0
    """Of all of them together."""
    stretches: tuple[tuple[int, int, int], ...] = ()
    """Where the two run alike, in order: start by the samples, start by the container's clock, length, ms; as many as
    gaps are listed. None where they never part."""

    def warnings(self, clock: Clock) -> Iterator[AnswerWarning]:
        """What is to be told."""
        kept = "silence stands there" if clock == "container" else "times count samples, so they are early by that much"
        if self.late_start_ms:
            yield AnswerWarning("late_start", f"the sound begins {self.late_start_ms} ms after the file; {kept}")
        if self.gap_count:
            where = f"the first after {self.gaps[0].at_ms} ms"
            told = f"{self.gap_count} pauses in the time stamps, {self.gap_ms} ms in all, {where}; {kept}"
            yield AnswerWarning("time_gap", told)


class ClockKeeper:
    """Follows the leaps of one file, and puts silence where they are when it is asked to."""

    def __init__(self, clock: Clock, sample_rate: int, *, spliced: bool = False) -> None:
        """`spliced`: whether recordings may follow one another in the file."""
        self._clock, self._rate, self._spliced = clock, sample_rate, spliced
        self._base_s = 0.0
        """By how much the present recording's clock is ahead of the first one's."""
        self._seen = 0
        """Leaps taken note of."""
        self._ahead = 0
        """Samples by which the container's clock has been ahead at most."""
        self._heard = 0
        """Samples decoded."""
        self._starts = [(0, 0)]
        """Of stretches in which both run alike: samples, and samples of the container's clock."""
        self._late = 0
        self._gaps: list[TimeGap] = []
        self._count = self._gap_samples = 0

    def pieces(self, block: Block, leaps: Sequence[Leap]) -> Iterator[Block | int]:
        """The next decoded block, cut where the clock leaps, with the numbers of silent samples in between. `leaps`:
        all that are known, those within this block among them."""
        start, end = self._heard, self._heard + len(block)
        self._heard = end
        taken = 0
        while self._seen < len(leaps) and leaps[self._seen].at < end:
            leap = leaps[self._seen]
            self._seen += 1
            silent = self._silent(leap)
            if silent < LEAP_S * self._rate:
                continue
            self._note(leap.at, silent)
            if self._clock == "container":
                cut = max(taken, leap.at - start)
                if cut > taken:
                    yield block[taken:cut]
                taken = cut
                yield silent
        if taken < len(block):
            yield block[taken:]

    def _silent(self, leap: Leap) -> int:
        """Samples by which the clock goes ahead of what it has been; 0 or less where it does not."""
        silent = round((leap.drift_s - self._base_s) * self._rate) - self._ahead
        another = silent < -_BACK_S * self._rate or (self._spliced and leap.at > 0 and silent > _SPLICE_S * self._rate)
        if another:
            self._base_s = leap.drift_s - self._ahead / self._rate
            return 0
        return silent

    def _note(self, at: int, silent: int) -> None:
        shown = at + (self._ahead if self._clock == "container" else 0)
        self._ahead += silent
        if at == 0:
            self._starts = [(0, self._ahead)]
        elif len(self._starts) <= _MOST_TOLD + 1:  # one more than is told: where the last one told ends
            self._starts.append((at, at + self._ahead))
        if at < _START_S * self._rate:
            self._late += silent
            return
        self._count += 1
        self._gap_samples += silent
        if len(self._gaps) < _MOST_TOLD:
            self._gaps.append(TimeGap(self._ms(shown), self._ms(silent)))

    def facts(self) -> ClockFacts:
        """Of what has been decoded so far."""
        stretches = self._stretches() if self._ahead else ()
        return ClockFacts(self._ms(self._late), tuple(self._gaps), self._count, self._ms(self._gap_samples), stretches)

    def _stretches(self) -> tuple[tuple[int, int, int], ...]:
        ends = [start for start, _ in self._starts[1:]] + [self._heard]
        return tuple(
            (self._ms(start), self._ms(shown), self._ms(end) - self._ms(start))
            for (start, shown), end in zip(self._starts[: _MOST_TOLD + 1], ends, strict=False)
        )

    def _ms(self, samples: int) -> int:
        return samples * 1000 // self._rate
