"""The command line with a scorer that fails now and then: `python -m tests.soak.faulty serve`.

On SIGUSR1 it writes how many bytes it has in use to the file that `IN_USE_FILE` names in its environment.
"""

import ctypes
import gc
import itertools
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.cli import main
from app.vad.blocks import Block, Scored
from app.vad.models.fsmn.network import FsmnScorer
from app.vad.models.layers import forget_kernels

FAIL_EVERY = 200
IN_USE_FILE = "SOAK_IN_USE_FILE"
_SMALL_OBJECT_BYTES = 64
"""Python's small objects have blocks of 16 to 512 bytes in memory of their own; most are of a few pointers."""

_score, _calls = FsmnScorer.score, itertools.count(1)


def _fail_now_and_then(self: FsmnScorer, blocks: Sequence[Block[Any]]) -> Sequence[Scored[Any]]:
    if next(_calls) % FAIL_EVERY == 0:
        raise RuntimeError("a fault that was put in")
    return _score(self, blocks)


class _MallInfo(ctypes.Structure):
    """glibc's `struct mallinfo2`, over all arenas (mallinfo(3))."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    ]  # fmt: skip


def _tell_what_is_in_use(*_: object) -> None:
    gc.collect()
    forget_kernels()  # how many there are depends on what lengths came last
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = _MallInfo
    heap = mallinfo()
    in_use = heap.uordblks + heap.hblkhd + sys.getallocatedblocks() * _SMALL_OBJECT_BYTES
    # Whole or not at all: the other side waits for the file.
    path = Path(os.environ[IN_USE_FILE])
    path.with_suffix(".part").write_text(str(in_use))
    path.with_suffix(".part").replace(path)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, _tell_what_is_in_use)
    FsmnScorer.score = _fail_now_and_then  # type: ignore[method-assign]
    main()
