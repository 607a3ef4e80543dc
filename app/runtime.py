"""From settings to a working detector: what the server, the command line and batch workers all start with."""

from dataclasses import dataclass, replace
from functools import partial

from app.audio.decode import AudioLimits
from app.audio.ffmpeg import find_ffmpeg
from app.audio.source import AudioPolicy
from app.config import AUTO, Settings
from app.detection import Detector
from app.engine.device import prepare_process
from app.engine.engine import Engine
from app.engine.memory import DeviceMemory
from app.models import ModelLoader, Models, ModelSettings
from app.observe import Observer
from app.registry import Registry, installed
from app.vad.errors import InvalidOption
from app.vad.models.family import ModelSpec
from app.vad.models.hub import ModelHub
from app.vad.models.registry import Catalogue


@dataclass(frozen=True, slots=True)
class Runtime:
    """What detects: made inside a running event loop, and closed when it is over."""

    engine: Engine
    models: Models
    detector: Detector
    registry: Registry

    def close(self) -> None:
        """End the engine's threads; blocks being scored are finished. Blocking."""
        self.engine.close()


async def start_runtime(
    settings: Settings,
    registry: Registry | None = None,
    observer: Observer | None = None,
    *,
    on_demand: bool = False,
) -> Runtime:
    """Prepare the process and load the models that are there from the start.

    `on_demand`: nothing is loaded before it is asked for, and any model may be (`ModelSettings`). Raises `ModelError`s,
    `InvalidOption`, `NoSuchDevice`, and FileNotFoundError when the ffmpeg that is set is not there.
    """
    registry, observer = (registry or installed()).with_presets(settings.presets), observer or Observer()
    audio = audio_policy(settings)
    prepare_process(
        settings.device, settings.threads_per_worker, settings.gpu_memory_limit_mb, workers=settings.workers
    )
    chosen = model_settings(settings, registry, on_demand=on_demand)
    engine = Engine(
        workers=settings.workers,
        # One for each run: a decoder that stands still holds its thread, and must not hold anybody else's.
        readers=settings.requests_inside + settings.requests_on_trial,
        memory=DeviceMemory(settings.memory_cleanup),
    )
    models = Models(engine, model_loader(settings, registry.catalogue), registry.segmenters, chosen, observer)
    try:
        await models.start()
        if settings.memory_cleanup == "always" and not on_demand:
            await engine.readers.run(partial(engine.memory.trim, idle=True))  # what loading has taken
    except BaseException:
        engine.close()
        raise
    return Runtime(engine, models, Detector(engine, audio, observer), registry)


def model_loader(settings: Settings, catalogue: Catalogue) -> ModelLoader:
    """How models are found and placed."""
    return ModelLoader(
        catalogue,
        ModelHub(settings.modelscope_cache, settings.modelscope_endpoint),
        device=settings.device,
        dtype=settings.dtype,
        block_seconds=settings.block_seconds,
        gpu_min_free_mb=settings.gpu_min_free_mb,
        gpu_batch=settings.gpu_batch,
    )


def model_settings(settings: Settings, registry: Registry, *, on_demand: bool = False) -> ModelSettings:
    """Which models there are. Raises `InvalidOption`."""
    catalogue = registry.catalogue
    # Never in the place of weights that are pinned.
    may_fall_back = bool(settings.fallback_model) and not settings.model_fingerprint
    try:
        preset = registry.presets.of(settings.preset)
    except InvalidOption as error:
        raise InvalidOption("VAD_PRESET", error.reason) from None
    return ModelSettings(
        default=default_specs(settings, catalogue),
        others=tuple(catalogue.resolve(text) for text in settings.models if text != AUTO),
        auto=settings.automatic,
        on_demand=on_demand,
        server_options=settings.default_options,
        fallback=catalogue.resolve(settings.fallback_model) if may_fall_back else None,
        presets=registry.presets,
        preset=preset,
        preset_model="model" not in settings.model_fields_set,
    )


def default_specs(settings: Settings, catalogue: Catalogue) -> tuple[ModelSpec, ...]:
    """VAD_MODEL's, with the revision and fingerprint that are set for it. Raises `InvalidOption`."""
    specs = catalogue.resolve_all(settings.model)
    if len(specs) > 1:
        for name, value in (("REVISION", settings.model_revision), ("FINGERPRINT", settings.model_fingerprint)):
            if value:
                raise InvalidOption("model", f"VAD_MODEL_{name} applies to one model, but VAD_MODEL names several")
        return specs
    revision = settings.model_revision or specs[0].revision
    return (replace(specs[0], revision=revision, fingerprint=settings.model_fingerprint or None),)


def audio_policy(settings: Settings) -> AudioPolicy:
    """How audio files are read. Raises FileNotFoundError when the ffmpeg that is set is not there."""
    return AudioPolicy(
        limits=AudioLimits(max_seconds=settings.max_audio_hours * 3600),
        ffmpeg=find_ffmpeg(settings.ffmpeg),
        block_seconds=settings.block_seconds,
        max_probability_s=settings.max_probability_minutes * 60,
        decoded_bytes=settings.decoded_bytes,
        patience_s=settings.request_timeout_s,
    )
