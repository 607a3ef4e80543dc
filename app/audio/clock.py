"""A container's clock beside the count of samples.

A player shows a sample at the time that its container stamps on it. Where packets were lost the stamps leap while the
samples go on; where the sound begins after the picture, its first stamp is late. `clock=samples` counts samples, as
FunASR and a WAV made by ffmpeg do, and the leaps are reported; `clock=container` has silence in their place, so that
every time is the player's.

A clock that falls back, as where recordings were joined, never takes samples away: nothing audible is cut, and from
there on the new recording's clock is followed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.warnings import AnswerWarning

Block = NDArray[np.float32]
Clock = Literal["samples", "container"]
LEAP_S = 0.1
"""What a clock may drift before it is a leap: muxers round to milliseconds, live recorders jitter by tens of them."""
_START_S = 0.1
"""A leap so early is a late start: fragmented films have the encoder's first, empty packet at 0."""
_BACK_S = 1.0
"""A clock that falls back by more is another recording's; that of a live one wavers by tens of ms."""
_SPLICE_S = 3600.0
"""In containers in which recordings follow one another, a leap by more is the next one's clock: a recorder that has
heard nothing for an hour has stopped."""
_MOST_LISTED = 100
"""Gaps that an answer lists; their sum counts all."""


class Leap(NamedTuple):
    """From a sample on, the container's clock runs otherwise against the count of samples."""

    at: int
    """The sample, counted from 0."""
    drift_s: float
    """How far the clock is ahead of the count from here on; the file begins at 0."""


@dataclass(frozen=True, slots=True)
class TimeGap:
    """Time that the container's clock has and the samples have not."""

    at_ms: int
    """Where the gap is, in the times of the answer."""
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
        kept = (
            "silence was put there" if clock == "container" else "times count samples, so they are early by that much"
        )
        if self.late_start_ms:
            yield AnswerWarning("late_start", f"the sound begins {self.late_start_ms} ms after the file; {kept}")
        if self.gap_count:
            where = f"the first after {self.gaps[0].at_ms} ms"
            detail = f"{self.gap_count} pauses in the time stamps, {self.gap_ms} ms in all, {where}; {kept}"
            yield AnswerWarning("time_gap", detail)


class ClockKeeper:
    """Follows the leaps of one file, and puts silence where they are when it is asked to."""

    def __init__(self, clock: Clock, sample_rate: int, *, spliced: bool = False) -> None:
        """`spliced`: whether recordings may follow one another in the file."""
        self._clock, self._rate, self._spliced = clock, sample_rate, spliced
        self._base_s = 0.0
        """By how much the present recording's clock is ahead of the first one's."""
        self._leaps_seen = 0
        self._ahead = 0
        """Samples by which the container's clock has been ahead at most."""
        self._decoded = 0
        """Samples decoded."""
        self._starts = [(0, 0)]
        """Of stretches in which both run alike: samples, and samples of the container's clock."""
        self._late = 0
        self._gaps: list[TimeGap] = []
        self._gap_count = self._gap_samples = 0

    def pieces(self, block: Block, leaps: Sequence[Leap]) -> Iterator[Block | int]:
        """The next decoded block, cut where the clock leaps, with the numbers of silent samples in between. `leaps`:
        all that are known, those within this block among them."""
        start, end = self._decoded, self._decoded + len(block)
        self._decoded = end
        done = 0
        while self._leaps_seen < len(leaps) and leaps[self._leaps_seen].at < end:
            leap = leaps[self._leaps_seen]
            self._leaps_seen += 1
            silent = self._silent(leap)
            if silent < LEAP_S * self._rate:
                continue
            self._note(leap.at, silent)
            if self._clock == "container":
                cut = max(done, leap.at - start)
                if cut > done:
                    yield block[done:cut]
                done = cut
                yield silent
        if done < len(block):
            yield block[done:]

    def _silent(self, leap: Leap) -> int:
        """Samples by which the clock goes ahead of what it has been; 0 or less where it does not."""
        silent = round((leap.drift_s - self._base_s) * self._rate) - self._ahead
        another = silent < -_BACK_S * self._rate or (self._spliced and leap.at > 0 and silent > _SPLICE_S * self._rate)
        if another:
            self._base_s = leap.drift_s - self._ahead / self._rate
            return 0
        return silent

    def _note(self, at: int, silent: int) -> None:
        """Record that `silent` samples are missing in front of the sample `at`."""
        shown = at + (self._ahead if self._clock == "container" else 0)
        self._ahead += silent
        if at == 0:
            self._starts = [(0, self._ahead)]
        elif len(self._starts) <= _MOST_LISTED + 1:  # one more than is listed: where the last one listed ends
            self._starts.append((at, at + self._ahead))
        if at < _START_S * self._rate:
            self._late += silent
            return
        self._gap_count += 1
        self._gap_samples += silent
        if len(self._gaps) < _MOST_LISTED:
            self._gaps.append(TimeGap(self._ms(shown), self._ms(silent)))

    def facts(self) -> ClockFacts:
        """Of what has been decoded so far."""
        ends = [start for start, _ in self._starts[1:]] + [self._decoded]
        stretches = tuple(
            (self._ms(start), self._ms(shown), self._ms(end) - self._ms(start))
            for (start, shown), end in zip(self._starts[: _MOST_LISTED + 1], ends, strict=False)
        )
        late_ms, gap_ms = self._ms(self._late), self._ms(self._gap_samples)
        return ClockFacts(late_ms, tuple(self._gaps), self._gap_count, gap_ms, stretches if self._ahead else ())

    def _ms(self, samples: int) -> int:
        return samples * 1000 // self._rate
