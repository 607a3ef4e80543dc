"""Memory of the process and of its devices: what is given back, and when.

malloc keeps what is freed, in as many heaps as threads have begun, and gives only some of it back by itself. With one
heap for all, threads that score at the same time wait for it dozens of times a clip: two short clips side by side took
five times the processor time of one after the other. So each thread that scores has a heap of its own, all others share
these and the first (`prepare_heap`), and what is free in them is given back when calls of the service have ended:

    1 s after a call     when the process has grown by much: a burst of large files gives up what it took while it lasts
    5 s after a call     else. Pages that are given back and faulted in anew make a clip's arithmetic up to ten times as
                         dear, so a stream of clips finds the memory of those before
    10 s after the last  also objects in cycles, kernels that oneDNN has compiled for the numbers of rows that came,
                         and pages of libraries, most of which only a start needs

A GPU's memory is given back after each call.
"""

import asyncio
import contextlib
import ctypes
import gc
import mmap
import threading
from collections.abc import Callable
from functools import cache, partial
from typing import Any, Literal

import torch

from app.vad.models.layers import forget_kernels

Cleanup = Literal["always", "on_oom", "never"]
_MIB = 1 << 20
_M_ARENA_MAX = -8
"""mallopt's number for the count of heaps. More would be given to whichever threads begin, and keep what these free."""
_PIECES, _PARTS, _PART_BYTES, _STOPPER_BYTES = 3, 2, 31 * _MIB, 1 << 10
"""Of a heap that is not the first, what is kept below a small piece at its top: nearly all of the 64 MiB that glibc
gives it, in parts that are below `_MMAP_BYTES`."""
_M_TRIM_THRESHOLD, _TRIM_BYTES = -1, 256 * _MIB
_M_MMAP_THRESHOLD, _MMAP_BYTES = -3, 32 * _MIB
"""mallopt's numbers for when the allocator gives memory back by itself, and ours: above a block's temporaries, so that
the next block finds what they took. Otherwise a tile's are given back and faulted in anew, up to 100,000 pages an hour
of audio, by chance of the heap's layout. What is free at the end of a call `trim_heap` gives back. 32 MiB is the most
that glibc takes."""
_PR_SET_THP_DISABLE = 41
"""Of linux/prctl.h."""
_MUCH_BYTES, _MUCH_AFTER_S, _LITTLE_AFTER_S, _IDLE_AFTER_S = 64 * _MIB, 1.0, 5.0, 10.0
"""When memory is given back; see the module's head."""
_LOOK_EVERY_S = 1.0
"""Asking how much memory the process has takes some microseconds, and a trim some milliseconds."""
_KERNELS_BYTES = 10 * _MIB
"""Growth for which compiled kernels are dropped: a twentieth of the process."""
_PT_LOAD, _PF_W = 1, 2
"""Of elf.h."""


_prepared = threading.Event()
_wanted = threading.Event()
_keepers: list[threading.Thread] = []
"""Hold heaps until the threads that they are for begin."""


def prepare_heap(threads: int = 0) -> None:
    """Have a heap for each of so many threads that score and one for all others, each of which gives back what is free
    when it is asked to, and not before. To be called before the process has threads: heaps that these have begun stay.
    A second call does nothing."""
    if _prepared.is_set():
        return
    _prepared.set()
    with contextlib.suppress(AttributeError, OSError):  # not glibc
        mallopt = _libc().mallopt
        mallopt(_M_ARENA_MAX, 1 + threads)
        mallopt(_M_MMAP_THRESHOLD, _MMAP_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES)
        _begin_heaps(threads)
    with contextlib.suppress(AttributeError, OSError):  # not Linux
        # Huge pages undo a trim: where one page of 512 is in use, the kernel fills in the others, minutes later.
        _libc().prctl(_PR_SET_THP_DISABLE, *map(ctypes.c_ulong, (1, 0, 0, 0)))


def hand_out_heaps() -> None:
    """Have the next threads that begin given the heaps that are kept for them. A second call does nothing."""
    _wanted.set()
    while _keepers:
        _keepers.pop().join()


def _begin_heaps(count: int) -> None:
    """Begin heaps, each by a thread that ends when it is wanted: malloc gives the heaps of threads that have ended to
    the next ones."""
    malloc, free = _libc().malloc, _libc().free
    malloc.restype, malloc.argtypes, free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
    begun = threading.Barrier(count + 1)

    def keep() -> None:
        # malloc_trim gives back what is free within any heap, but of the first alone what is free at its top. So
        # something small is put at the top, and all that is ever free lies below.
        parts = []
        for _ in range(_PIECES):
            parts += [malloc(_PART_BYTES) for _ in range(_PARTS)]
            malloc(_STOPPER_BYTES)
        for part in parts:
            free(part)
        begun.wait()
        _wanted.wait()

    _keepers.extend(threading.Thread(target=keep, name="heap", daemon=True) for _ in range(count))
    for keeper in _keepers:
        keeper.start()
    begun.wait()


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def free_memory(device: torch.device) -> None:
    """Give memory that nothing uses back to the device and the system."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    trim_heap()


def trim_heap() -> None:
    """Give pages that the allocator holds for nobody back to the system."""
    try:
        _libc().malloc_trim(0)
    except (AttributeError, OSError):
        return  # not glibc: its allocator gives memory back by itself, or cannot be asked


class _Segment(ctypes.Structure):
    """Elf64_Phdr of elf.h: a piece of a library, as its file describes it."""

    _fields_ = (
        ("type", ctypes.c_uint32), ("flags", ctypes.c_uint32), ("offset", ctypes.c_uint64),
        ("address", ctypes.c_uint64), ("physical", ctypes.c_uint64), ("file_bytes", ctypes.c_uint64),
        ("bytes", ctypes.c_uint64), ("alignment", ctypes.c_uint64),
    )  # fmt: skip


class _Library(ctypes.Structure):
    """The head of dl_phdr_info of link.h."""

    _fields_ = (
        ("base", ctypes.c_size_t), ("name", ctypes.c_char_p), ("segments", ctypes.POINTER(_Segment)),
        ("count", ctypes.c_uint16),
    )  # fmt: skip


def forget_libraries() -> None:
    """Let go of the pages of libraries that nobody can have written to: code and constants. They stay in the system's
    cache, and come back as they are touched: a start touches 110 MiB, above all of torch's, and scoring 40."""
    ranges: list[tuple[int, int]] = []

    def add(library: Any, _size: int, _data: None) -> int:
        found = library.contents
        for segment in found.segments[: found.count] if b"/" in found.name else ():
            # What is relocated lies in segments that are writable, although some of it is protected afterwards.
            if segment.type == _PT_LOAD and not segment.flags & _PF_W:
                first = found.base + segment.address
                start, end = first // mmap.PAGESIZE, -(-(first + segment.bytes) // mmap.PAGESIZE)
                ranges.append((start * mmap.PAGESIZE, (end - start) * mmap.PAGESIZE))
        return 0

    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_Library), ctypes.c_size_t, ctypes.c_void_p)
    try:
        # The loader holds a lock meanwhile, for which a thread with Python's lock may wait: this one keeps that, too.
        ctypes.PyDLL(None).dl_iterate_phdr(kind(add), None)
        for start, length in ranges:
            _libc().madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), mmap.MADV_DONTNEED)
    except (AttributeError, OSError):
        return  # not Linux


def resident_bytes() -> int:
    """Memory that this process has for itself; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - a path object would cost as much again
            _, resident, shared = file.read().split()[:3]
    except OSError:
        return 0
    return (int(resident) - int(shared)) * mmap.PAGESIZE


class DeviceMemory:
    """Memory of the devices in use and of the process. Safe to call from several threads."""

    def __init__(self, mode: Cleanup = "always") -> None:
        self.mode = mode
        self._gpus: set[torch.device] = set()
        self._at_start: int | None = None
        """Bytes of the process after the first trim with all models that are used now; None before it."""
        self._resident = 0
        """Bytes of the process after the last trim."""

    def use(self, device: torch.device) -> None:
        """Clean this device up, too, from now on: another model lies on it."""
        self._at_start = None
        if device.type == "cuda":
            self._gpus.add(device)

    @property
    def has_gpus(self) -> bool:
        """Whether a model lies on a GPU."""
        return bool(self._gpus)

    def free_gpus(self) -> None:
        """Give back what the GPUs' allocators hold for nobody."""
        torch.cuda.empty_cache()

    def has_grown(self) -> bool:
        """Whether the process is much larger than after the last trim."""
        return resident_bytes() - self._resident >= _MUCH_BYTES

    def trim(self, *, idle: bool = False) -> None:
        """Give memory that nothing uses back to the system: some milliseconds. `idle`: also what takes longer to find,
        or will be wanted again, but perhaps not soon: objects in cycles, kernels that have been compiled since the
        start, when they may be many, and libraries' pages."""
        if idle:
            gc.collect()
        trim_heap()
        self._resident = resident_bytes()
        if self._at_start is None:
            self._at_start = self._resident
        elif idle and self._resident - self._at_start >= _KERNELS_BYTES:
            forget_kernels()
            trim_heap()
            self._resident = resident_bytes()
        if idle:
            forget_libraries()


class Upkeep:
    """Has memory given back in time (see the module's head). Used from one event loop; the work is done in a thread."""

    def __init__(
        self, memory: DeviceMemory, submit: Callable[[Callable[[], object]], None], is_busy: Callable[[], bool]
    ) -> None:
        """`submit`: makes a call in a thread. `is_busy`: whether something is being scored."""
        self._memory, self._submit, self._is_busy = memory, submit, is_busy
        self._timer: asyncio.TimerHandle | None = None
        self._freeing = self._closed = False
        self._looked_at = self._ended_at = float("-inf")
        """By the loop's clock: when the process was last looked at, and when the last call ended."""

    def call_ended(self) -> None:
        """To be called when nothing of a call is left."""
        if self._closed or self._memory.mode != "always":
            return
        if self._memory.has_gpus and not self._freeing:
            self._freeing = True
            self._submit(self._free_gpus)
        self._ended_at = asyncio.get_running_loop().time()
        if self._ended_at - self._looked_at >= _LOOK_EVERY_S:
            self._look()

    def close(self) -> None:
        """Do nothing more. Safe to call from any thread."""
        self._closed = True

    def _free_gpus(self) -> None:
        self._freeing = False  # a call that ends from now on wants it again
        self._memory.free_gpus()

    def _look(self) -> None:
        """Have the heap trimmed, the sooner the more the process has grown."""
        self._looked_at = asyncio.get_running_loop().time()
        self._trim_at(self._looked_at + (_MUCH_AFTER_S if self._memory.has_grown() else _LITTLE_AFTER_S))

    def _trim_at(self, due: float) -> None:
        if self._timer is not None and self._timer.when() <= due:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(due, self._trim)

    def _trim(self) -> None:
        self._timer = None
        if self._closed:
            return
        quiet_s = asyncio.get_running_loop().time() - self._ended_at
        idle = quiet_s >= _IDLE_AFTER_S and not self._is_busy()
        self._submit(partial(self._memory.trim, idle=idle))
        if quiet_s < _LOOK_EVERY_S:
            self._look()  # what the last call held may not have been free yet
        elif quiet_s < _IDLE_AFTER_S:
            self._trim_at(self._ended_at + _IDLE_AFTER_S)
