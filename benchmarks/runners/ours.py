"""This project's detector, in process, as `fsmn-vad detect` runs it. `--variant` is the VAD_DTYPE."""

import asyncio
import os
import sys
from pathlib import Path

from measured import Detect, arguments, measure

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
given = arguments()


def load() -> Detect:
    """The settings of a service on as many cores; a device other than the CPU by VAD_DEVICE."""
    from app.config import Settings
    from app.detection import Detector, Job
    from app.runtime import build_detector, load_model

    os.environ["VAD_DTYPE"] = given.variant or "float32"
    if given.model:
        os.environ["VAD_MODEL"] = given.model
    settings = Settings(workers=given.cores)
    loop = asyncio.new_event_loop()

    async def build() -> Detector:
        return build_detector(settings, load_model(settings))

    detector = loop.run_until_complete(build())

    def detect(path: Path) -> int:
        job = Job(path, path.name, "benchmark", detector.options({}))
        report = loop.run_until_complete(detector.detect(job))
        return sum(len(channel.segments) for channel in report.channels)

    return detect


measure(given, load)
