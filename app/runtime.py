"""From settings to a working detector: what the server and the command line both start with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from app.audio.ffmpeg import find_ffmpeg
from app.audio.limits import AudioLimits
from app.config import Settings
from app.detection import AudioPolicy, Detector
from app.formats.report import ModelInfo
from app.vad.blocks import BlockScorer
from app.vad.checkpoint import read_checkpoint
from app.vad.device import Device, DevicePolicy, choose_device, choose_dtype, prepare_process
from app.vad.engine import Engine
from app.vad.hub import find_model
from app.vad.scorer import FsmnScorer


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model on its device, and how to make another on the CPU."""

    scorer: BlockScorer
    cpu_scorer: Callable[[], BlockScorer]
    device: Device
    info: ModelInfo
    options: Mapping[str, Any]
    """The model's own defaults."""


def load_model(settings: Settings) -> LoadedModel:
    """Find (download, if need be), read, check and place the model. Blocking; seconds at most unless it downloads.

    Raises `ModelNotFound`, `InvalidModel`, `NoSuchDevice`.
    """
    prepare_process(settings.device, settings.threads_per_worker, settings.gpu_memory_limit_mb)
    found = find_model(
        settings.model,
        settings.model_revision,
        cache_dir=settings.modelscope_cache,
        endpoint=settings.modelscope_endpoint,
    )
    checkpoint = read_checkpoint(
        found.directory,
        model_id=found.model_id,
        revision=found.revision,
        expected_fingerprint=settings.model_fingerprint or None,
    )
    device = choose_device(settings.device, settings.gpu_min_free_mb)
    cpu = choose_device("cpu", 0)
    return LoadedModel(
        scorer=FsmnScorer(checkpoint, device, choose_dtype(settings.dtype, device)),
        cpu_scorer=lambda: FsmnScorer(checkpoint, cpu),
        device=device,
        info=ModelInfo(checkpoint.model_id, checkpoint.revision, checkpoint.fingerprint),
        options=checkpoint.config.options,
    )


def build_detector(settings: Settings, model: LoadedModel) -> Detector:
    """The detector around a loaded model; inside a running event loop."""
    policy = DevicePolicy(
        model.device,
        primary=model.scorer.score,
        fallback=lambda: model.cpu_scorer().score,
        cleanup_mode=settings.memory_cleanup,
    )
    engine = Engine(model.scorer, policy, workers=settings.workers)
    return Detector(engine, model.info, audio_policy(settings), (model.options, settings.default_options))


def audio_policy(settings: Settings) -> AudioPolicy:
    """How audio files are read. Raises FileNotFoundError when the ffmpeg that is set is not there."""
    return AudioPolicy(
        limits=AudioLimits(max_seconds=settings.max_audio_hours * 3600),
        ffmpeg=find_ffmpeg(settings.ffmpeg),
        block_seconds=settings.block_seconds,
        max_probability_s=settings.max_probability_minutes * 60,
    )
