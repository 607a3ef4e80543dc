"""From settings to a working detector: what the server and the command line both start with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import structlog

from app.audio.ffmpeg import find_ffmpeg
from app.audio.limits import AudioLimits
from app.config import Settings
from app.detection import AudioPolicy, Detector
from app.engine.device import Device, DevicePolicy, choose_device, choose_dtype, prepare_process
from app.engine.engine import Engine
from app.formats.report import ModelInfo
from app.vad.blocks import BlockScorer
from app.vad.errors import ModelNotFound
from app.vad.models.fsmn.checkpoint import read_checkpoint
from app.vad.models.fsmn.scorer import FsmnScorer
from app.vad.models.hub.find import find_model
from app.vad.models.silero.checkpoint import NAMES, read_silero
from app.vad.models.silero.scorer import SILERO_OPTIONS, SileroScorer

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model on its device, and how to make another on the CPU."""

    scorer: BlockScorer
    cpu_scorer: Callable[[], BlockScorer]
    device: Device
    info: ModelInfo
    options: Mapping[str, Any]
    """The model's own defaults."""
    fallback: str | None = None
    """Why it is not the model that was asked for; None when it is."""


def load_model(settings: Settings) -> LoadedModel:
    """Find (download, if need be), read, check and place the model. Blocking; seconds at most unless it downloads.

    The fallback model stands in only for one that can be neither found nor downloaded: never for a broken one, nor
    where `model_fingerprint` says which weights may serve. Raises `ModelNotFound`, `InvalidModel`, `NoSuchDevice`.
    """
    prepare_process(settings.device, settings.threads_per_worker, settings.gpu_memory_limit_mb)
    try:
        return _load(settings.model, settings)
    except ModelNotFound as error:
        if not settings.fallback_model or settings.model_fingerprint:
            raise
        return _load_fallback(settings, str(error))


def _load_fallback(settings: Settings, reason: str) -> LoadedModel:
    try:
        model = _load(settings.fallback_model, settings)
    except ModelNotFound as error:
        raise ModelNotFound(f"{reason}\nNor can VAD_FALLBACK_MODEL={settings.fallback_model} be had. {error}") from None
    serves = f"{model.info.id} {model.info.revision or ''}".strip()
    fallback = f"{settings.model} could be neither found nor downloaded at the start, so {serves} serves in its place"
    log.warning(f"ANOTHER MODEL: {fallback}; its segments differ", tried=_attempts(reason))
    return replace(model, fallback=fallback)


def _attempts(message: str) -> str:
    """The attempts that a `ModelNotFound` lists, in one line."""
    return "; ".join(line.removeprefix("  - ") for line in message.partition("\nTo ")[0].splitlines()[1:])


def _load(name: str, settings: Settings) -> LoadedModel:
    return _load_silero(name, settings) if name in NAMES else _load_fsmn(name, settings)


def _load_silero(name: str, settings: Settings) -> LoadedModel:
    weights = read_silero(name, settings.model_fingerprint or None)
    device = choose_device(settings.device, settings.gpu_min_free_mb)
    return LoadedModel(
        scorer=SileroScorer(weights, device),
        cpu_scorer=lambda: SileroScorer(weights, choose_device("cpu", 0)),
        device=device,
        info=ModelInfo(weights.model_id, weights.version, weights.fingerprint),
        options=SILERO_OPTIONS,
    )


def _load_fsmn(name: str, settings: Settings) -> LoadedModel:
    found = find_model(
        name,
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
    batch = settings.gpu_batch if model.device.type == "cuda" else 1
    engine = Engine(model.scorer, policy, workers=settings.workers, batch=batch)
    return Detector(engine, model.info, audio_policy(settings), (model.options, settings.default_options))


def audio_policy(settings: Settings) -> AudioPolicy:
    """How audio files are read. Raises FileNotFoundError when the ffmpeg that is set is not there."""
    return AudioPolicy(
        limits=AudioLimits(max_seconds=settings.max_audio_hours * 3600),
        ffmpeg=find_ffmpeg(settings.ffmpeg),
        block_seconds=settings.block_seconds,
        max_probability_s=settings.max_probability_minutes * 60,
    )
