"""Mean speech probability of a segment whose ends are only known afterwards."""

from itertools import accumulate


class SpeechMean:
    """Running sums of the speech probability, kept just far enough back for a segment's start and end.

    Sums are made one frame after the other in float64, so they do not depend on how frames were grouped into calls.
    """

    def __init__(self, reach: int) -> None:
        """`reach`: how many frames before the newest one a start or an end may lie."""
        self._reach = reach
        self._base = 0
        self._sums = [0.0]
        self._open_at = 0
        self._open_sum = 0.0

    def extend(self, speech: list[float], oldest: int | None = None) -> None:
        """Append frames: their speech probabilities.

        `oldest`: a frame before the reach that a start or an end may still lie at.
        """
        newest = self._base + len(self._sums) - 1
        first = max(self._base, min(newest - self._reach, newest if oldest is None else oldest))
        del self._sums[: first - self._base]
        self._base = first
        self._sums.extend(accumulate(speech, initial=self._sums.pop()))

    def use_reach(self, reach: int) -> None:
        """Keep as much as this from now on; frames that are gone do not come back."""
        self._reach = reach

    def open(self, frame: int) -> None:
        """A segment starts at `frame`. Of one whose first frames are not kept any more, because the reach has grown
        since, the mean is that of the others."""
        self._open_at = max(frame, self._base)
        self._open_sum = self._sums[self._open_at - self._base]

    def close(self, frame: int) -> float:
        """Mean over the frames from `open`'s up to `frame` (not included), 0-1."""
        frame = max(frame, self._open_at)
        total = self._sums[frame - self._base] - self._open_sum
        return min(1.0, max(0.0, total / max(1, frame - self._open_at)))
