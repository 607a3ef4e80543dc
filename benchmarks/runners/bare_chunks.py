"""What live chunks cost without a service: cut, scored and segmented in one thread, together with other streams' as a
turn of the service gathers them, and as far apart in time.

Each line of standard input, `BATCH SECONDS`, is answered by the CPU µs of one chunk of 100 ms: 64 streams send in real
time, about BATCH of them at the same moment. The first line says that it may be asked.
"""

import asyncio
import gc
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from measured import arguments

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
given = arguments()

import numpy as np  # noqa: E402 - after the threads are set

from app.config import Settings  # noqa: E402
from app.runtime import start_runtime  # noqa: E402
from benchmarks.clips import speech  # noqa: E402

if TYPE_CHECKING:
    from app.models import Model
    from app.vad.stream import Stream

_STREAMS = 64  # as many as the case live_models has
_CHUNK_S = 0.1


def main() -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what is logged meanwhile
    loop = asyncio.new_event_loop()
    runtime = loop.run_until_complete(start_runtime(Settings(workers=1), on_demand=True))
    model = loop.run_until_complete(runtime.models.get(given.model or None))
    size = round(model.grid.sample_rate * _CHUNK_S)
    samples = speech()[:: 16_000 // model.grid.sample_rate]  # what it sounds like does not matter
    chunks = [np.ascontiguousarray(samples[at : at + size]) for at in range(0, len(samples) - size, size)]
    gc.freeze()  # as the service does
    print("ready", file=answers)
    for line in sys.stdin:
        batch, seconds = map(float, line.split())
        print(_cost(model, chunks, max(1, round(_STREAMS / batch)), float(seconds)), file=answers)


def _cost(model: "Model", chunks: "list[np.ndarray]", groups: int, seconds: float) -> float:
    segmentation = model.segmentation({})
    streams = [model.new_stream(segmentation) for _ in range(_STREAMS)]
    rounds, warm_up, spent = round(seconds / _CHUNK_S), 5, 0.0
    began = time.perf_counter()
    for turn in range((rounds + warm_up) * groups):
        number, group = divmod(turn, groups)
        started = time.thread_time()
        _advance(model, streams[group::groups], [chunks[(number + 7 * at) % len(chunks)] for at in range(_STREAMS)])
        if number >= warm_up:
            spent += time.thread_time() - started
        time.sleep(max(0.0, began + (turn + 1) * _CHUNK_S / groups - time.perf_counter()))
    return spent / (rounds * _STREAMS) * 1e6


def _advance(model: "Model", streams: "list[Stream]", chunks: "list[np.ndarray]") -> None:
    """One chunk of each stream, all of them together."""
    cut = [stream.cut_blocks(chunk) for stream, chunk in zip(streams, chunks, strict=False)]
    scored = [[None] * len(model.backends) for _ in streams]
    for member, backend in enumerate(model.backends):
        there = [at for at, blocks in enumerate(cut) if blocks[member] is not None]
        if there:
            found = backend.scorer.score([cut[at][member] for at in there])
            for at, each in zip(there, found, strict=True):
                scored[at][member] = each
    for stream, each in zip(streams, scored, strict=True):
        stream.commit_scores(each, final=False)


main()
