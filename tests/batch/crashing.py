"""A worker's engine that takes its process down with certain files, as a fault in a decoder would."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.cli.batch import build_worker_detector
from app.config import Settings
from app.detection import Detector, Job
from app.formats.report import Report

FATAL = "fatal"


class CrashingDetector(Detector):
    """Dies of files whose name begins with `fatal`."""

    async def detect(self, job: Job, tell: Callable[[Any], None] = lambda step: None) -> Report:
        if job.name.startswith(FATAL):
            os.abort()
        return await super().detect(job, tell)


def build_crashing(model: Path) -> Detector:
    """On the small model."""
    detector = build_worker_detector(Settings(model=str(model), device="cpu", workers=1))
    detector.__class__ = CrashingDetector
    return detector


def build_nothing() -> Detector:
    """What a worker without a model meets."""
    raise FileNotFoundError("there is no model here")
