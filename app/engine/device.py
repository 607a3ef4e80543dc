"""The device policy: where inference runs, in which type, what is done when its memory runs out, and cleanup after each
call.

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

import contextlib
import ctypes
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch

from app.observe import Observer
from app.vad.blocks import Block, Scored
from app.vad.models.family import DType, Scorer

Blocks = Sequence[Block[Any]]
Found = list[Scored[Any]]
Cleanup = Literal["always", "on_oom", "never"]
_MIB = 1 << 20
_M_ARENA_MAX, _ARENAS = -8, 2
"""mallopt's number for the count of heaps, and ours: the event loop's, and one for the threads that score. What one
thread frees another can then use, and `trim_heap` finds it."""
_M_TRIM_THRESHOLD, _TRIM_BYTES = -1, 256 * _MIB
_M_MMAP_THRESHOLD, _MMAP_BYTES = -3, 32 * _MIB
"""mallopt's numbers for when the allocator gives memory back by itself, and ours: above a block's temporaries, so that
the next block finds what they took. Otherwise a tile's are given back and faulted in anew, up to 100,000 pages an hour
of audio, by chance of the heap's layout. What is free at the end of a call `trim_heap` gives back. 32 MiB is the most
that glibc takes."""
_TRIALS = 4
"""Of each type: what else runs here seldom hits all of them."""
_CLEARLY = 0.95
"""What a less exact type has to be below, of the exact one's time: less is not worth its rounding."""
_TRIM_EVERY_S = 1.0
"""Going through the heap takes some milliseconds: a thousandth of the time."""


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


def prepare_process(device_name: str, threads_per_worker: int, gpu_memory_limit_mb: int | None) -> None:
    """Process-wide settings; call once, before the first tensor is made."""
    if device_name != "cpu":
        # Growing segments instead of fixed ones: far less memory is lost to fragmentation.
        os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    # Kernels that oneDNN has compiled, for as many shapes: a third of a MiB each.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "256")
    with contextlib.suppress(AttributeError, OSError):  # not glibc
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, _ARENAS)
        mallopt(_M_MMAP_THRESHOLD, _MMAP_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES)
    torch.set_num_threads(threads_per_worker)
    if gpu_memory_limit_mb is not None and device_name != "cpu" and torch.cuda.is_available():
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, gpu_memory_limit_mb * _MIB / total))


def _free_gpu_mb() -> int:
    if not torch.cuda.is_available():
        return -1
    return int(torch.cuda.mem_get_info()[0]) // _MIB


def free_memory(device: torch.device) -> None:
    """Give memory that nothing uses back to the device and the system."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    trim_heap()


def trim_heap() -> None:
    """Give pages that the allocator holds for nobody back to the system."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError):
        return  # not glibc: its allocator gives memory back by itself, or cannot be asked


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


class DeviceMemory:
    """Cleanup of every device in use, after calls of the service. Safe to call from several threads."""

    def __init__(self, mode: Cleanup = "always") -> None:
        self.mode = mode
        self._devices: set[torch.device] = set()
        self._trimmed_at = 0.0

    def use(self, device: torch.device) -> None:
        """Clean this device up, too, from now on: a model lies on it."""
        self._devices.add(device)

    def cleanup_due_in_s(self) -> float | None:
        """Seconds until `cleanup` is due; None: it never is."""
        if self.mode != "always":
            return None
        # Looking through the whole heap takes milliseconds, which a burst of short clips should not pay each time.
        if any(each.type == "cuda" for each in self._devices):
            return 0.0
        return max(0.0, self._trimmed_at + _TRIM_EVERY_S - time.monotonic())

    def cleanup(self) -> None:
        """Give memory back to the devices and the system; call it after each call of the service, when it is due."""
        self._trimmed_at = time.monotonic()
        for device in [each for each in self._devices if each.type == "cuda"]:
            free_memory(device)
        trim_heap()
