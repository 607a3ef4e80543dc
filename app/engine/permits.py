"""The semaphore that guards the scoring threads: asyncio's, but for the order in which it lets waiters in.

First come, first served would put a five-second clip behind every block that three-hour recordings have queued.
Instead each block carries a tag, and the least tag goes first: a job's first block is tagged with the present
virtual time, each further one at least one unit later than the one before (start-time fair queueing, Goyal et al.,
1996). So jobs take turns block by block, and a new one goes next. Virtual time itself moves a little with every
block let in, so that not even an endless run of new clips can hold up a long file for ever.
"""

import asyncio
import heapq
import itertools
from dataclasses import dataclass

_STEP = 1 / 8
"""Virtual time that passes with each block: of nine blocks let in, at least one is a waiting long file's. Larger
makes long files quicker beside a run of clips, and clips slower."""


@dataclass(slots=True)
class Turn:
    """One job's place in the order."""

    tag: float | None = None


class FairSemaphore:
    """A fixed number of permits. Every `acquire` that returns needs one `release`; used from one event loop."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._now = 0.0
        self._order = itertools.count()
        self._queue: list[tuple[float, int, asyncio.Future[None]]] = []

    @property
    def now(self) -> float:
        """Virtual time: the tag of a block that would go in at once."""
        return self._now

    @property
    def free(self) -> int:
        """Permits that nobody holds."""
        return self._free

    @property
    def waiting(self) -> int:
        """How many wait for a permit."""
        return sum(not future.done() for _, _, future in self._queue)

    async def acquire(self, turn: Turn) -> None:
        """Wait for a permit. Cancelling gives back what had been granted meanwhile."""
        tag = self._now if turn.tag is None else max(turn.tag + 1, self._now)
        turn.tag = tag
        granted = asyncio.get_running_loop().create_future()
        heapq.heappush(self._queue, (tag, next(self._order), granted))
        self._let_in()
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self.release()
            raise

    def release(self) -> None:
        """Give a permit back; the next waiter has it at once."""
        self._free += 1
        self._let_in()

    def _let_in(self) -> None:
        while self._free and self._queue:
            tag, _, granted = heapq.heappop(self._queue)
            if not granted.done():
                self._free -= 1
                self._now = max(self._now, tag) + _STEP
                granted.set_result(None)
