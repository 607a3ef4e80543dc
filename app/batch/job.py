"""What a run is asked to do, and the plan that it becomes once the model is known. Both go to other processes and
machines, so everything in them can be pickled."""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.batch.collection import ShardLimits
from app.request import DetectionRequest
from app.vad.models.family import ModelInfo
from app.warnings import AnswerWarning

if TYPE_CHECKING:
    from app.runtime import Runtime

Build = Callable[[], Coroutine[Any, Any, "Runtime"]]
"""Makes a worker's runtime, inside its event loop."""


@dataclass(frozen=True, slots=True)
class BatchJob:
    """A collection, what is asked of each of its files, and where the answers go."""

    request: DetectionRequest
    source: str
    destination: str
    format: str
    """Of the rows: one of `ROW_FORMATS`."""
    per_file: tuple[str, ...]
    """Formats in which each file's answer is written beside the rows."""
    suffixes: frozenset[str]
    """Of the files that are taken, lower case."""
    limits: ShardLimits
    """The widest; a small collection gets tighter ones."""
    overwrite: bool
    max_audio_hours: float
    scratch: Path | None
    """Where copies of remote files are kept while they are used; None: the system's place."""
    ray: str | None
    """A cluster's address, or `local`; None: processes on this machine."""


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """A job with the model that does it, and the workers that have it."""

    job: BatchJob
    info: ModelInfo
    dtype: str
    options: Mapping[str, Any]
    """All that are in force."""
    warnings: tuple[AnswerWarning, ...]
    """About the choice of the model, for every row."""
    build: Build
    """Makes one worker's runtime, which has this model, or the worker is of no use."""
    workers: int | None
    """How many; None: as many as the Ray cluster has CPUs."""
    gpus: int
    """Of each worker on Ray."""
