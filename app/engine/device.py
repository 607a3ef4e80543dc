"""The device policy: where inference runs, what is done when memory runs out there, and cleanup after each call.

`auto` is the GPU only if there is one with enough free memory, else the CPU. Out of memory climbs a ladder and loses
nothing: free the cache and try again, score half as many blocks at a time, score on the CPU.
"""

import contextlib
import ctypes
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch

from app.vad.blocks import Block
from app.vad.posteriors import FrameScores

Device = torch.device
Cleanup = Literal["always", "on_oom", "never"]
Score = Callable[[list[Block]], list[FrameScores]]
_MIB = 1 << 20
_M_ARENA_MAX, _ARENAS = -8, 2
_TRIM_EVERY_S = 1.0


class NoSuchDevice(ValueError):
    """The device asked for does not exist here."""


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


def choose_dtype(wanted: Literal["float32", "bfloat16", "auto"], device: torch.device) -> torch.dtype:
    """`auto` is bfloat16 where the device multiplies it faster, else float32.

    On CPUs that is those with AMX: with AVX-512's dot products alone it was measured to be slower than float32.
    """
    if wanted == "float32":
        return torch.float32
    if wanted == "bfloat16":
        return torch.bfloat16
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    has_amx = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    return torch.bfloat16 if has_amx() else torch.float32


def prepare_process(device_name: str, threads_per_worker: int, gpu_memory_limit_mb: int | None) -> None:
    """Process-wide settings; call once, before the first tensor is made."""
    if device_name != "cpu":
        # Growing segments instead of fixed ones: far less memory is lost to fragmentation.
        os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    # Kernels that oneDNN has compiled, for as many shapes: a third of a MiB each.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "256")
    _share_arenas()
    torch.set_num_threads(threads_per_worker)
    if gpu_memory_limit_mb is not None and device_name != "cpu" and torch.cuda.is_available():
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, gpu_memory_limit_mb * _MIB / total))


def _share_arenas() -> None:
    """Few heaps for all threads of the process: what one thread frees another can use, and `trim_heap` finds it."""
    with contextlib.suppress(AttributeError, OSError):  # not glibc
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)


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


@dataclass
class DevicePolicy:
    """Scores blocks on a device, climbing the ladder when its memory runs out. Safe to call from several threads."""

    device: torch.device
    primary: Score
    """Scores on `device`."""
    fallback: Callable[[], Score]
    """Makes the scorer of the last rung, on the CPU; called once, when first needed."""
    cleanup_mode: Cleanup = "always"
    on_oom: Callable[[str], None] = lambda action: None
    """Told of every rung taken: `free`, `halve` or `cpu`."""
    _fallback: Score | None = field(default=None, init=False)
    _trimmed_at: float = field(default=0.0, init=False)

    def score(self, blocks: list[Block]) -> tuple[list[FrameScores], bool]:
        """Scores of each block, and whether the CPU had to stand in."""
        try:
            return self.primary(blocks), False
        except torch.OutOfMemoryError:
            self.on_oom("free")
            free_memory(self.device)
        try:
            return self.primary(blocks), False
        except torch.OutOfMemoryError:
            pass  # the next rung is below, where the failed call's tensors are no longer held by the exception
        return self._score_less(blocks)

    @property
    def cleanup_is_due(self) -> bool:
        """Whether `cleanup` would do anything now."""
        if self.cleanup_mode != "always":
            return False
        # Looking through the whole heap takes milliseconds, which a burst of short clips should not pay each time.
        return self.device.type == "cuda" or time.monotonic() - self._trimmed_at >= _TRIM_EVERY_S

    def cleanup(self) -> None:
        """To be called after each call of the service."""
        if not self.cleanup_is_due:
            return
        self._trimmed_at = time.monotonic()
        free_memory(self.device)

    def _score_less(self, blocks: list[Block]) -> tuple[list[FrameScores], bool]:
        if len(blocks) > 1:
            self.on_oom("halve")
            half = len(blocks) // 2
            left, left_degraded = self._score_or_less(blocks[:half])
            right, right_degraded = self._score_or_less(blocks[half:])
            return left + right, left_degraded or right_degraded
        self.on_oom("cpu")
        if self._fallback is None:
            self._fallback = self.fallback()
        return self._fallback(blocks), True

    def _score_or_less(self, blocks: list[Block]) -> tuple[list[FrameScores], bool]:
        try:
            return self.primary(blocks), False
        except torch.OutOfMemoryError:
            pass
        return self._score_less(blocks)
