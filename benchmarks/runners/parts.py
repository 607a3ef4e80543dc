"""What an hour of audio costs, part by part, on one core: reading, the frontend, the network, the segmenter, and the
rest of the whole, which is threads, the event loop, facts about the audio, and the report.

Every part is called as the service calls it, on the same blocks, in turn with the others; medians of the rounds count.
The frontend is timed by itself; the network is the scorer less the frontend. One JSON line, seconds an hour of audio.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from measured import arguments

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
given = arguments()

import numpy as np  # noqa: E402 - after the threads are set
import torch  # noqa: E402

from app.audio.options import AudioInput  # noqa: E402
from app.audio.source import open_audio  # noqa: E402
from app.config import Settings  # noqa: E402
from app.detection import FileJob  # noqa: E402
from app.presets import NONE  # noqa: E402
from app.request import DetectionRequest  # noqa: E402
from app.runtime import start_runtime  # noqa: E402
from app.vad.models.fbank import Fbank  # noqa: E402
from app.vad.models.fsmn.network import TILE_FRAMES  # noqa: E402
from app.vad.models.layers import compiled  # noqa: E402
from app.vad.posteriors import Posteriors  # noqa: E402
from app.vad.stream import VadStream  # noqa: E402

_ROUNDS = 7
"""So many that the median of a part that takes milliseconds stands still."""


class Parts:
    """The steps of a detection, each to be run alone."""

    def __init__(self) -> None:
        settings = Settings(workers=1)
        self._loop = asyncio.new_event_loop()
        self._runtime = self._loop.run_until_complete(start_runtime(settings, on_demand=True))
        self._model = self._loop.run_until_complete(self._runtime.models.get(given.model or None))
        self._segmentation = self._model.segmentation({})
        grid = self._model.grid
        self._fbank = compiled(
            Fbank(
                sample_rate=grid.sample_rate,
                frame_samples=grid.frame_samples,
                shift_samples=grid.shift_samples,
                n_mels=80,
                window="hamming",
                device=torch.device("cpu"),
            )
        )
        self._blocks: list[np.ndarray] = []
        self._heard: list[Posteriors] = []
        self.read()
        self.score()

    @property
    def hours(self) -> float:
        """Of the audio that the parts are run on."""
        return sum(len(block) for block in self._blocks) / self._model.grid.sample_rate / 3600

    def read(self) -> None:
        """Decode, and look at what passes."""
        audio = self._runtime.detector.audio
        source = open_audio(
            AudioInput(given.audio),
            sample_rate=self._model.grid.sample_rate,
            channel="mix",
            block_seconds=audio.block_seconds,
            limits=audio.limits,
            ffmpeg=audio.ffmpeg,
        )
        self._blocks = [rows[0] for rows in source]
        source.close()

    def score(self) -> None:
        """Frontend and network, block after block, as one worker chains them."""
        stream = self._model.new_stream(self._segmentation)
        if not isinstance(stream, VadStream):
            raise TypeError("a sum of models is not taken apart here")
        self._heard = []
        for index, samples in enumerate(self._blocks):
            block = stream.cut(samples, final=index == len(self._blocks) - 1)
            if block is not None:
                scored = stream.score(block)
                stream.state = scored.state
                self._heard.append(scored.posteriors)

    def frontend(self) -> None:
        """The same samples through the frontend alone, in tiles as the scorer has them."""
        grid = self._model.grid
        with torch.inference_mode():
            for samples in self._blocks:
                frames = grid.whole_frames(len(samples))
                for first in range(0, frames, TILE_FRAMES):
                    start, count = first * grid.shift_samples, min(TILE_FRAMES, frames - first)
                    self._fbank(torch.from_numpy(samples[None, start : start + grid.span(count)]))

    def segment(self) -> None:
        """The posteriors to events."""
        segmenter = self._segmentation.new_segmenter(self._model.grid)
        for index, heard in enumerate(self._heard):
            segmenter.accept(heard, final=index == len(self._heard) - 1)

    def whole(self) -> None:
        """All of it, as a request has it."""
        job = FileJob(AudioInput(given.audio), "benchmark")
        plan = DetectionRequest.parse().plan(self._runtime.models.with_preset(self._model, NONE))
        self._loop.run_until_complete(self._runtime.detector.run(plan, job))


def seconds(call: Callable[[], None]) -> float:
    """Processor time of this process."""
    started = time.process_time()
    call()
    return time.process_time() - started


def main() -> None:
    """See the head of this file."""
    parts = Parts()
    calls = {"read": parts.read, "score": parts.score, "frontend": parts.frontend, "segment": parts.segment,
             "whole": parts.whole}  # fmt: skip
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(_ROUNDS):
        for name, call in calls.items():
            taken[name].append(seconds(call) / parts.hours)
    found = {name: median(times) for name, times in taken.items()}
    network = found["score"] - found["frontend"]
    rest = found["whole"] - found["read"] - found["score"] - found["segment"]
    shares = {"reading": found["read"], "frontend": found["frontend"], "network": network,
              "segmenter": found["segment"], "the rest": max(0.0, rest)}  # fmt: skip
    print(json.dumps({"parts": shares, "whole": found["whole"]}))


main()
