"""A worker's engine that takes its process down with certain files, as a fault in a decoder would."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.batch.worker import Build, Task
from app.config import Settings
from app.detection import Detector, Job
from app.formats.report import Report
from app.runtime import Runtime, start_runtime

FATAL = "fatal"


class CrashingDetector(Detector):
    """Dies of files whose name begins with `fatal`."""

    async def detect(self, job: Job, tell: Callable[[Any], None] = lambda step: None) -> Report:
        if job.name.startswith(FATAL):
            os.abort()
        return await super().detect(job, tell)


async def build_crashing(model: Path) -> Runtime:
    """On the small model."""
    settings = Settings(model=str(model), device="cpu", workers=1)
    runtime = await start_runtime(settings, only=settings.model)
    detector = runtime.detector
    return replace(runtime, detector=CrashingDetector(detector.engine, detector.audio, detector.observer))


async def build_nothing() -> Runtime:
    """What a worker without a model meets."""
    raise FileNotFoundError("there is no model here")


def new_task(clips: str, destination: str, build: Build) -> Task:
    """Rows as JSONL, nothing set."""
    return Task(
        source=clips,
        destination=destination,
        format="jsonl",
        options={},
        preset=None,
        per_file=(),
        audio={},
        excerpts={},
        channel="mix",
        scratch=None,
        build=build,
    )
