"""What clips cost without a service: decoded, scored and segmented in one thread.

The bytes of each WAV are in memory, as those of a short upload are. Each line of standard input, `SECONDS COUNT`, is
answered by the CPU ms of one clip of this length, the mean of so many: so that whoever asks can ask as a server is
asked, one clip at a time and in turns with something else. What it takes to be asked is not counted. The first line
says that it may be asked.
"""

import asyncio
import gc
import os
import sys
import time
from pathlib import Path

from measured import arguments

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
given = arguments()

from app.audio.options import AudioInput  # noqa: E402 - after the threads are set
from app.audio.source import open_audio  # noqa: E402
from app.config import Settings  # noqa: E402
from app.runtime import start_runtime  # noqa: E402
from benchmarks.clips import SECONDS, wav_of  # noqa: E402


def main() -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what is logged meanwhile
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
    for content in contents.values():
        detect(content)
    gc.freeze()  # as the service does
    print("ready", file=answers)
    for line in sys.stdin:
        seconds, count = line.split()
        started = time.thread_time()
        for _ in range(int(count)):
            detect(contents[float(seconds)])
        print((time.thread_time() - started) / int(count) * 1e3, file=answers)


main()
