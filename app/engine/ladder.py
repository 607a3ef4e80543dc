"""What is done when a device's memory runs out: nothing is lost, and no stream moves before all of its batch is well.

    score the batch        as always
    free, and again        the device's cache is given back first
    halve, and again       down to single blocks
    on the CPU             by a scorer that is made when it is first needed

Scoring is pure: it reads the blocks' states and gives back new ones. So any rung may be taken after any failure, in
whatever place and type, and a stream goes on from the state that the rung gave it.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch

from app.engine.device import free_memory
from app.observe import Observer
from app.vad.blocks import Block, Scored
from app.vad.models.family import Scorer

Blocks = Sequence[Block[Any]]
Found = list[Scored[Any]]


class Ladder:
    """A scorer on a device, and what stands in for it. Safe to call from several threads."""

    def __init__(
        self,
        scorer: Scorer[Any],
        on_cpu: Callable[[], Scorer[Any]],
        device: str,
        observer: Observer | None = None,
    ) -> None:
        """`on_cpu`: makes the scorer of the last rung; called once, when first needed."""
        self.device = torch.device(device)
        self._scorer, self._on_cpu, self._observer = scorer, on_cpu, observer or Observer()
        self._cpu_scorer: Scorer[Any] | None = None
        self._making = threading.Lock()

    def score(self, blocks: Blocks) -> tuple[Found, bool]:
        """What each block gives, and whether the CPU had to stand in. Raises whatever scoring raises but for a lack of
        the device's memory."""
        found = self._try(blocks)
        if found is None:
            self._observer.rung_taken("free")
            free_memory(self.device)
            found = self._try(blocks)
        return (found, False) if found is not None else self._score_less(blocks)

    def _try(self, blocks: Blocks) -> Found | None:
        # What a failed call held is given back here, when its exception is gone: before the next rung is taken.
        try:
            return list(self._scorer.score(blocks))
        except torch.OutOfMemoryError:
            return None

    def _score_less(self, blocks: Blocks) -> tuple[Found, bool]:
        if len(blocks) == 1:
            self._observer.rung_taken("cpu")
            return list(self._cpu().score(blocks)), True
        self._observer.rung_taken("halve")
        half = len(blocks) // 2
        found: Found = []
        degraded = False
        for part in (blocks[:half], blocks[half:]):
            scored = self._try(part)
            if scored is None:
                scored, on_cpu = self._score_less(part)
                degraded |= on_cpu
            found += scored
        return found, degraded

    def _cpu(self) -> Scorer[Any]:
        with self._making:
            if self._cpu_scorer is None:
                self._cpu_scorer = self._on_cpu()
            return self._cpu_scorer
