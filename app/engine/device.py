"""The device policy: where inference runs, in which type, and what is done when its memory runs out.

`auto` is the GPU only if there is one with enough free memory, else the CPU; and of the types the one that turns out to
be quickest there.

When the device's memory runs out nothing is lost, and no stream moves before all of its batch is scored:

    score the batch        as always
    free, and again        the device's cache is given back first
    halve, and again       down to single blocks
    on the CPU             by a scorer that is made when it is first needed

Scoring is pure: it reads the blocks' states and gives back new ones. So any rung of this ladder may be taken after any
failure, in whatever place and type, and a stream goes on from the state that the rung gave it.
"""

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from app.engine.engine import scoring_threads
from app.engine.memory import free_memory, prepare_heap
from app.observe import Observer
from app.vad.blocks import Block, Scored
from app.vad.models.family import DType, Scorer
from app.vad.models.layers import KERNELS_KEPT

Blocks = Sequence[Block[Any]]
Found = list[Scored[Any]]
_MIB = 1 << 20
_TRIALS = 4
"""Of each type: what else runs here seldom hits all of them."""
_CLEARLY = 0.95
"""What a less exact type has to be below, of the exact one's time: less is not worth its rounding."""


class NoSuchDevice(ValueError):
    """The GPU that was asked for does not exist here."""


def choose_device(wanted: str, min_free_mb: int) -> torch.device:
    """`wanted`: auto, cpu, cuda or cuda:N. Raises `NoSuchDevice` when a GPU is asked for and missing."""
    if wanted == "cpu":
        return torch.device("cpu")
    if wanted == "auto":
        return torch.device("cuda" if _free_gpu_mb() >= min_free_mb else "cpu")
    device = torch.device(wanted)
    if not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count():
        raise NoSuchDevice(f"{wanted}: there is no such GPU here")
    return device


def quickest(candidates: Mapping[DType, Callable[[], object]]) -> DType:
    """The type whose call takes the least time here, best of a few in turn; the first of them unless another is clearly
    quicker. Takes a second or two for a model's usual block."""
    best = dict.fromkeys(candidates, float("inf"))
    for _ in range(_TRIALS + 1):  # the first of each compiles kernels, and is never the best
        for dtype, call in candidates.items():
            started = time.perf_counter()
            call()
            best[dtype] = min(best[dtype], time.perf_counter() - started)
    first = next(iter(candidates))
    winner = min(best, key=best.__getitem__)
    return winner if best[winner] < _CLEARLY * best[first] else first


def prepare_process(
    device_name: str, threads_per_worker: int, gpu_memory_limit_mb: int | None, *, workers: int = 1
) -> None:
    """Process-wide settings; call once, before the first tensor is made. `workers`: the engine's."""
    if device_name != "cpu":
        # Growing segments instead of fixed ones: far less memory is lost to fragmentation.
        os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    # Kernels that oneDNN has compiled; those of one model for all numbers of rows are some 200, and take 60 MiB. What
    # torch's own layer over it keeps besides saves no time.
    os.environ.setdefault(KERNELS_KEPT, "256")
    os.environ.setdefault("LRU_CACHE_CAPACITY", "16")
    prepare_heap(scoring_threads(workers))
    torch.set_num_threads(threads_per_worker)
    if gpu_memory_limit_mb is not None and device_name != "cpu" and torch.cuda.is_available():
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, gpu_memory_limit_mb * _MIB / total))


def _free_gpu_mb() -> int:
    if not torch.cuda.is_available():
        return -1
    return int(torch.cuda.mem_get_info()[0]) // _MIB


class Ladder:
    """Scores on a device, whatever its memory does (see the module's head). Safe to call from several threads."""

    def __init__(
        self, scorer: Scorer[Any], on_cpu: Callable[[], Scorer[Any]], device: str, observer: Observer | None = None
    ) -> None:
        """`on_cpu`: makes the scorer of the last rung; called once, when first needed."""
        self.device = torch.device(device)
        self._scorer, self._on_cpu, self._observer = scorer, on_cpu, observer or Observer()
        self._cpu_scorer: Scorer[Any] | None = None
        self._making = threading.Lock()

    def score(self, blocks: Blocks) -> tuple[Found, bool]:
        """What each block gives, and whether the CPU had to stand in. Raises whatever scoring raises, except for a lack
        of the device's memory."""
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
            with self._making:
                self._cpu_scorer = self._cpu_scorer or self._on_cpu()
            return list(self._cpu_scorer.score(blocks)), True
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
