"""The engine in this process."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from rich.console import Console

from app.api.parameters import RequestOptions
from app.cli.inputs import Input
from app.cli.work import FileDetector, Tell
from app.config import Settings
from app.detection import Job
from app.formats.report import Report, safe_name
from app.runtime import build_detector, load_model

_STDERR = Console(stderr=True, highlight=False)


@asynccontextmanager
async def local_detector(
    settings: Settings, given: Mapping[str, Any], answer: RequestOptions
) -> AsyncIterator[FileDetector]:
    """A detector with the model of the settings. Raises `ModelNotFound`, `InvalidModel`."""
    model = await asyncio.to_thread(load_model, settings)
    if model.fallback is not None:
        _STDERR.print(model.fallback, style="yellow", markup=False, soft_wrap=True)
    detector = build_detector(settings, model)
    options = detector.options(given)

    async def detect(item: Input, tell: Tell) -> Report:
        job = Job(item.path, safe_name(item.path.name), "cli", options, answer.channel_choice)
        return await detector.detect(job, lambda step: tell(step.done_ms, step.expected_ms))

    try:
        yield detect
    finally:
        await asyncio.to_thread(detector.engine.close)
