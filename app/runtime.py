"""From settings to a working detector: what the server, the command line and batch workers all start with."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import structlog

from app.audio.decode import AudioLimits
from app.audio.ffmpeg import find_ffmpeg
from app.audio.source import AudioPolicy
from app.config import Settings
from app.detection import Detector
from app.engine.device import DeviceMemory, choose_device, prepare_process, quickest
from app.engine.engine import Engine
from app.models import Choice, Models
from app.observe import Observer
from app.presets import Preset, preset_of
from app.registry import Registry, installed
from app.serving import Load, LoadedModel
from app.vad.blocks import Block
from app.vad.errors import InvalidOption, ModelNotFound
from app.vad.models.family import DType, ModelFamily, ModelInfo, ModelSpec, Scorer, Weights
from app.vad.models.hub import ModelHub, ModelPlace
from app.vad.models.registry import name_of

log = structlog.get_logger(__name__)


class ModelLoader:
    """Models as the settings want them found, read and placed. Its calls block; they take seconds at most unless they
    download."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self._settings, self._catalogue = settings, registry.catalogue

    def spec(self, text: str) -> ModelSpec:
        """The model that a setting names. Raises `InvalidOption`."""
        return self._catalogue.resolve(text)

    def specs(self, text: str) -> tuple[ModelSpec, ...]:
        """The model that a setting names, or those of the sum that it names. Raises `InvalidOption`."""
        return self._catalogue.resolve_all(text)

    def default_specs(self) -> tuple[ModelSpec, ...]:
        """VAD_MODEL's, with the revision and fingerprint that are set for it. Raises `InvalidOption`."""
        settings = self._settings
        specs = self.specs(settings.model)
        if len(specs) > 1:
            for name, value in (("REVISION", settings.model_revision), ("FINGERPRINT", settings.model_fingerprint)):
                if value:
                    raise InvalidOption("model", f"VAD_MODEL_{name} is about one model, and VAD_MODEL names several")
            return specs
        revision = settings.model_revision or specs[0].revision
        return (replace(specs[0], revision=revision, fingerprint=settings.model_fingerprint or None),)

    def find(self, spec: ModelSpec, *, download: bool = True) -> ModelPlace:
        """Where the model is. Raises `ModelNotFound`."""
        settings = self._settings
        hub = ModelHub(settings.modelscope_cache, settings.modelscope_endpoint, allow_download=download)
        return self._catalogue.family(spec.family).find(spec, hub)

    def is_at_hand(self, spec: ModelSpec) -> bool:
        """Whether it can be had without a download."""
        try:
            self.find(spec, download=False)
        except ModelNotFound:
            return False
        return True

    def load(self, spec: ModelSpec) -> LoadedModel:
        """Find (download, if need be), read, check and place. Raises `ModelNotFound`, `InvalidModel`,
        `NoSuchDevice`."""
        settings, family = self._settings, self._catalogue.family(spec.family)
        weights = family.read(self.find(spec), fingerprint=spec.fingerprint)
        device = choose_device(settings.device, settings.gpu_min_free_mb)
        # A directory that holds published weights is that model, and has its name.
        known = spec.known or self._catalogue.by_fingerprint(weights.fingerprint)
        name = known.name if known is not None and spec.name is None else name_of(spec)
        place = weights.place
        return LoadedModel(
            spec=spec,
            info=ModelInfo(name, place.model_id, place.revision, weights.fingerprint),
            scorer=self._placed(family, weights, str(device)),
            on_cpu=lambda: family.place(weights, device="cpu", dtype="float32"),
            device=str(device),
            family=family,
            option_defaults=weights.option_defaults,
            known=known,
            for_streams=weights.for_streams,
            batch=settings.gpu_batch if device.type == "cuda" else 1,
        )

    def _placed(self, family: ModelFamily, weights: Weights, device: str) -> Scorer[Any]:
        """In the type that is set; with `auto` in the one that proves to be quicker here."""
        wanted = self._settings.dtype
        if wanted != "auto":
            return family.place(weights, device=device, dtype=wanted)
        types: tuple[DType, ...] = ("float32", "bfloat16")
        scorers = {dtype: family.place(weights, device=device, dtype=dtype) for dtype in types}
        grid = scorers["float32"].grid
        samples = np.zeros(round(self._settings.block_seconds * grid.sample_rate), np.float32)
        block: Block[Any] = Block(samples, 0, True, None)
        dtype = quickest({dtype: partial(scorer.score, [block]) for dtype, scorer in scorers.items()})
        log.info("arithmetic chosen", model=weights.place.model_id, dtype=dtype)
        return scorers[dtype]


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
    load: Load | None = None,
    *,
    only: str | None = None,
) -> Runtime:
    """Prepare the process and load the models that are there from the start.

    `load`: makes models in another way than from their files. `only`: the one model that is wanted, by name; no other
    is loaded. Raises `ModelError`s, `InvalidOption`, `NoSuchDevice`, and FileNotFoundError when the ffmpeg that is set
    is not there.
    """
    registry, observer = registry or installed(), observer or Observer()
    audio = audio_policy(settings)
    prepare_process(settings.device, settings.threads_per_worker, settings.gpu_memory_limit_mb)
    loader = ModelLoader(settings, registry)
    engine = Engine(
        workers=settings.workers,
        # One for each run: a decoder that stands still holds its thread, and must not hold anybody else's.
        readers=settings.requests_inside,
        memory=DeviceMemory(settings.memory_cleanup),
    )
    models = Models(
        engine,
        load or loader.load,
        loader.is_at_hand,
        registry.catalogue,
        registry.segmenters,
        _choice(settings, loader, only),
        observer,
    )
    try:
        await models.start()
    except BaseException:
        engine.close()
        raise
    return Runtime(engine, models, Detector(engine, audio, observer), registry)


def _choice(settings: Settings, loader: ModelLoader, only: str | None) -> Choice:
    default = loader.default_specs()
    # Never in the place of weights that are pinned.
    may_fall_back = bool(settings.fallback_model) and not settings.model_fingerprint
    if only is not None and only != settings.model:
        default, may_fall_back = loader.specs(only), False
    return Choice(
        default=default,
        others=() if only is not None else tuple(loader.spec(text) for text in settings.models if text != "auto"),
        auto=settings.automatic and only is None,
        server_options=settings.default_options,
        fallback=loader.spec(settings.fallback_model) if may_fall_back else None,
        preset=_preset(settings),
        preset_model="model" not in settings.model_fields_set,
    )


def _preset(settings: Settings) -> Preset | None:
    try:
        return preset_of(settings.preset)
    except InvalidOption as error:
        raise InvalidOption("VAD_PRESET", error.reason) from None


def audio_policy(settings: Settings) -> AudioPolicy:
    """How audio files are read. Raises FileNotFoundError when the ffmpeg that is set is not there."""
    return AudioPolicy(
        limits=AudioLimits(max_seconds=settings.max_audio_hours * 3600),
        ffmpeg=find_ffmpeg(settings.ffmpeg),
        block_seconds=settings.block_seconds,
        max_probability_s=settings.max_probability_minutes * 60,
        decoded_bytes=settings.decoded_bytes,
        # So that one client, who has half of it, can fill the place in which analyses are kept.
        kept_bytes=2 * settings.analyses_mb << 20,
        patience_s=settings.request_timeout_s,
    )
