"""Measuring in turns: every contender once, then every contender again, so that what else the machine does at a time
meets all of them alike.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Generic, TypeVar

from benchmarks.process import Missing, RunnerFailed
from benchmarks.table import progress

T = TypeVar("T")


@dataclass
class Turns(Generic[T]):
    """What all rounds gave."""

    taken: dict[str, list[T]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    """Who could not be measured, and why."""

    def median(self, name: str, figure: Callable[[T], float]) -> float | None:
        """The median of one figure of one contender; None if it could not be measured."""
        taken = self.taken.get(name)
        return median(map(figure, taken)) if taken else None

    def ratio(self, name: str, to: str, figure: Callable[[T], float]) -> float | None:
        """Median over the rounds of one contender's figure over another's in the same round."""
        pairs = zip(self.taken.get(name, []), self.taken.get(to, []), strict=False)
        ratios = [figure(one) / figure(other) for one, other in pairs if figure(other)]
        return median(ratios) if ratios else None


def take_turns(contenders: Mapping[str, Callable[[], T]], rounds: int, case: str) -> Turns[T]:
    """Call everybody in turn, `rounds` times; who is missing or fails is left out from then on, with the reason."""
    turns: Turns[T] = Turns()
    for index in range(rounds):
        for name, call in contenders.items():
            if name in turns.missing:
                continue
            progress(f"{case}: {name}, {index + 1} of {rounds}")
            try:
                turns.taken.setdefault(name, []).append(call())
            except (Missing, RunnerFailed, OSError) as error:
                turns.missing[name] = str(error)
                turns.taken.pop(name, None)
    return turns
