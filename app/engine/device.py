"""The device policy: where inference runs, in which type, and cleanup after each call.

`auto` is the GPU only if there is one with enough free memory, else the CPU. What is done when memory runs out there is
the ladder's (`app.engine.ladder`).
"""

import contextlib
import ctypes
import os
import time
from typing import Literal

import torch

from app.vad.models.family import DType

Cleanup = Literal["always", "on_oom", "never"]
_MIB = 1 << 20
_M_ARENA_MAX, _ARENAS = -8, 2
"""mallopt's number for the count of heaps, and ours: the event loop's, and one for the threads that score."""
_TRIM_EVERY_S = 1.0
"""Going through the heap takes some milliseconds: a thousandth part of the time."""


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


def choose_dtype(wanted: Literal["float32", "bfloat16", "auto"], device: torch.device) -> DType:
    """`auto` is bfloat16 where the device multiplies it faster, else float32.

    On CPUs that is those with AMX: with AVX-512's dot products alone it was measured to be slower than float32.
    """
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    has_amx = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    return "bfloat16" if has_amx() else "float32"


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


class DeviceMemory:
    """Cleanup after calls of the service, for every device in use. Safe to call from several threads."""

    def __init__(self, mode: Cleanup = "always") -> None:
        self.mode = mode
        self._devices: set[torch.device] = set()
        self._trimmed_at = 0.0

    def use(self, device: torch.device) -> None:
        """Models lie on it from now on."""
        self._devices.add(device)

    def cleanup_due_in_s(self) -> float | None:
        """When `cleanup` would do something, s from now; None: never."""
        if self.mode != "always":
            return None
        # Looking through the whole heap takes milliseconds, which a burst of short clips should not pay each time.
        if any(each.type == "cuda" for each in self._devices):
            return 0.0
        return max(0.0, self._trimmed_at + _TRIM_EVERY_S - time.monotonic())

    def cleanup(self) -> None:
        """To be called after each call of the service, when it is due."""
        self._trimmed_at = time.monotonic()
        for device in [each for each in self._devices if each.type == "cuda"]:
            free_memory(device)
        trim_heap()
