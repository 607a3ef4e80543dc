"""A worker's engine that takes its process down with certain files, as a fault in a decoder would."""

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from app.batch.collection import ShardLimits
from app.batch.run import BatchJob, BatchPlan, Build
from app.config import Settings
from app.detection import Detector, FileJob, Run
from app.request import DetectionRequest, Plan
from app.runtime import Runtime, start_runtime
from app.vad.models.family import ModelInfo
from app.vad.models.fsmn.checkpoint import read_checkpoint

FATAL = "fatal"


class CrashingDetector(Detector):
    """Dies of files whose name begins with `fatal`."""

    async def run(self, plan: Plan, job: FileJob, on_progress: Callable[[Any], None] = lambda step: None) -> Run:
        if job.name.startswith(FATAL):
            os.abort()
        return await super().run(plan, job, on_progress)


async def build_crashing(model: Path) -> Runtime:
    """On the small model."""
    settings = Settings(model=str(model), device="cpu", workers=1)
    runtime = await start_runtime(settings, on_demand=True)
    detector = runtime.detector
    return replace(runtime, detector=CrashingDetector(detector.engine, detector.audio, detector.observer))


async def build_nothing() -> Runtime:
    """What a worker without a model meets."""
    raise FileNotFoundError("there is no model here")


def new_plan(clips: str, destination: str, model: Path, build: Build | None = None) -> BatchPlan:
    """Rows as JSONL, nothing set; on the small model, with the engine that crashes."""
    job = BatchJob(
        request=DetectionRequest(),
        source=clips,
        destination=destination,
        format="jsonl",
        per_file=(),
        suffixes=frozenset({".wav"}),
        limits=ShardLimits(4, 1 << 30),
        overwrite=False,
        max_audio_hours=1.0,
        scratch=None,
        ray=None,
    )
    info = ModelInfo("small", "small", None, read_checkpoint(model).fingerprint)
    build = build or partial(build_crashing, model)
    return BatchPlan(job, info, "float32", options={}, warnings=(), build=build, workers=2, gpus=0)
