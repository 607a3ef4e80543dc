"""What clips cost without a service: decoded, scored and segmented in one thread, CPU ms each, medians. One JSON line.

The bytes of each WAV are in memory, as those of a short upload are.
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from statistics import median

from measured import arguments

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
given = arguments()

from app.audio.options import AudioInput  # noqa: E402 - after the threads are set
from app.audio.source import open_audio  # noqa: E402
from app.config import Settings  # noqa: E402
from app.runtime import start_runtime  # noqa: E402
from benchmarks.clips import SECONDS, wav_of  # noqa: E402

_ROUNDS, _REPEATS = 15, 20
"""So many that a median of milliseconds stands still."""


def main() -> None:
    """Measure every length in turns."""
    loop = asyncio.new_event_loop()
    runtime = loop.run_until_complete(start_runtime(Settings(workers=1), on_demand=True))
    model = loop.run_until_complete(runtime.models.get(given.model or None))
    segmentation, audio = model.segmentation({}), runtime.detector.audio

    def detect(content: bytes) -> None:
        source = open_audio(
            AudioInput(Path("clip.wav"), data=content),
            sample_rate=model.grid.sample_rate,
            channel="mix",
            block_seconds=audio.block_seconds,
            limits=audio.limits,
            ffmpeg=None,
        )
        [rows] = list(source)
        source.close()
        stream = model.new_stream(segmentation)
        [block] = stream.cut_blocks(rows[0], final=True)
        stream.commit_scores(list(model.backends[0].scorer.score([block])), final=True)

    contents = {seconds: wav_of(seconds) for seconds in SECONDS}
    taken: dict[float, list[float]] = {seconds: [] for seconds in SECONDS}
    for number in range(_ROUNDS + 1):
        for seconds, content in contents.items():
            started = time.thread_time()
            for _ in range(_REPEATS):
                detect(content)
            if number:  # the first warms up
                taken[seconds].append((time.thread_time() - started) / _REPEATS * 1e3)
    print(json.dumps({"ms": {str(seconds): median(times) for seconds, times in taken.items()}}))


main()
