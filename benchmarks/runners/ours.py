"""This project's detector, in process, as `fsmn-vad detect` runs it. `--variant` is the VAD_DTYPE, `--model` any name
or sum of names that `VAD_MODEL` takes."""

import asyncio
import os
import sys
from pathlib import Path

from measured import Detect, arguments, measure

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
given = arguments()


def load() -> Detect:
    """The settings of a service on as many cores; a device other than the CPU by VAD_DEVICE."""
    from app.audio.options import AudioInput
    from app.config import Settings
    from app.detection import FileJob
    from app.presets import NONE
    from app.request import DetectionRequest
    from app.runtime import start_runtime

    os.environ["VAD_DTYPE"] = given.variant or "float32"
    settings = Settings(workers=given.cores)
    loop = asyncio.new_event_loop()
    runtime = loop.run_until_complete(start_runtime(settings, on_demand=True))
    request = DetectionRequest.parse({"model": given.model, "preset": NONE})
    plan = loop.run_until_complete(request.resolve(runtime.models))

    def detect(path: Path) -> int:
        report = loop.run_until_complete(runtime.detector.run(plan, FileJob(AudioInput(path), path.name))).report()
        return sum(len(channel.segments) for channel in report.channels)

    return detect


measure(given, load)
