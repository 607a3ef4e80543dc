"""The models of this machine, for commands: options checked before anything is loaded, then one model in this process.

Nothing here imports torch before a model is wanted: what is wrong with a command line is told at once.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from app.cli.terminal import UsageError, note
from app.config import AUTO, Settings
from app.logs import configure_logging
from app.presets import Preset, preset_of
from app.registry import Registry
from app.request import DetectionRequest
from app.vad.errors import InvalidOption
from app.vad.models import fusion
from app.vad.models.registry import name_of
from app.vad.segmenters.registry import MODE, USES, Use
from app.warnings import AnswerWarning

if TYPE_CHECKING:
    from app.models import Chosen
    from app.runtime import Runtime


def check(request: DetectionRequest, registry: Registry, settings: Settings) -> None:
    """Refuse as much as can be known to be wrong with a request about files before a model is loaded. Raises
    `InvalidOption`."""
    if request.keep:
        raise InvalidOption("keep", "a running service keeps posteriors; name one with --url")
    models = (settings.model, *([settings.fallback_model] if settings.fallback_model else []))
    request.changed(model=_meant(settings, request.model)).check(
        registry, default_models=models, server_options=settings.default_options, server_preset=settings.preset
    )


def _meant(settings: Settings, model: str | None) -> str | None:
    """What VAD_MODELS, or VAD_MODEL, means by a name: `name=DIRECTORY` for one of its own."""
    named = {text.partition("=")[0]: text for text in (*settings.models, settings.model) if "=" in text}
    return None if model is None else named.get(model, model)


def check_options(
    registry: Registry,
    settings: Settings,
    model: str | None,
    given: Mapping[str, Any],
    uses: Sequence[Use] = USES,
    preset: str | None = None,
) -> None:
    """As much of what is wrong with detection options as can be known before the model is. `uses`: what the posteriors
    may come from. Raises `InvalidOption`."""
    wanted = wanted_preset(settings, preset)
    modes = _default_modes(registry, settings, model)
    if len(modes) == 1 or wanted is not None:
        values = {} if wanted is None else wanted.values
        defaults = {**values, **settings.default_options} if preset is None else {**settings.default_options, **values}
        mode = str(defaults.get(MODE) or modes.pop())
        live = tuple(uses) == ("live",)
        registry.segmenters.check_given(given, default_mode=mode, server_defaults=defaults, uses=uses, live=live)
    else:
        # Which mode is in force shows when it is known whether the fallback serves.
        check_values(registry, given)


def wanted_preset(settings: Settings, preset: str | None) -> Preset | None:
    """The one of this name, or the settings'. Raises `InvalidOption`."""
    return preset_of(settings.preset if preset is None else preset)


def check_values(registry: Registry, given: Mapping[str, Any]) -> None:
    """Each option in the modes that have it, for a server of whose model nothing is known. Raises `InvalidOption`."""
    registry.segmenters.check_defaults(given)


def _default_modes(registry: Registry, settings: Settings, model: str | None) -> set[str]:
    """Of the model, and of the one that may serve in its place."""
    names = [model or settings.model]
    if model is None and settings.fallback_model:
        names.append(settings.fallback_model)
    return {_default_mode(registry, name) for name in names}


def _default_mode(registry: Registry, model: str) -> str:
    specs = registry.catalogue.resolve_all(model)
    return registry.catalogue.family(specs[0].family).default_mode if len(specs) == 1 else fusion.DEFAULT_MODE


def live_name(registry: Registry, model: str) -> str:
    """A model's name with what takes its place on a live stream, where it cannot follow one itself; a sum's with what
    takes its members' places. Raises `InvalidOption`."""
    specs = registry.catalogue.resolve_all(model)
    names = fusion.split_names(model) if len(specs) > 1 else [model]
    known = [spec.known for spec in specs]
    return "+".join(each.live_as if each and each.live_as else name for each, name in zip(known, names, strict=True))


def quiet_logs(settings: Settings) -> None:
    """Only errors, on stderr: stdout is for results, and what else there is to say a command says in its own words."""
    configure_logging(settings.log_format, "error")


@asynccontextmanager
async def local_runtime(settings: Settings, registry: Registry, model: str | None) -> "AsyncIterator[Runtime]":
    """One model in this process, VAD_MODEL or the one named. Raises `UsageError` for a device that is not there,
    `ModelError`s, `InvalidOption`, FileNotFoundError for ffmpeg."""
    from app.engine.device import NoSuchDevice
    from app.runtime import start_runtime

    quiet_logs(settings)
    try:
        runtime = await start_runtime(settings, registry, only=model or settings.model)
    except NoSuchDevice as error:
        raise UsageError(str(error)) from None
    if runtime.models.fallback is not None:
        note(runtime.models.fallback)
    try:
        yield runtime
    finally:
        await asyncio.to_thread(runtime.close)


@dataclass(frozen=True, slots=True)
class LocalModel:
    """What answers on this machine."""

    runtime: "Runtime"
    name: str
    """What it was asked for by: a known name, a ModelScope id, a directory."""
    chosen: "Chosen"


@asynccontextmanager
async def local_model(
    settings: Settings, registry: Registry, model: str | None, preset: str | None, *, live: bool = False
) -> AsyncIterator[LocalModel]:
    """As `local_runtime`, with what a request of these would be answered by: a preset's model where it is at hand."""
    name, warnings = _of_preset(settings, registry, _meant(settings, model), preset, live=live)
    if name is None and live:
        name = live_name(registry, settings.model)
    async with local_runtime(settings, registry, name) as runtime:
        chosen = runtime.models.with_preset(runtime.models.default, preset)
        chosen = replace(chosen, warnings=(*warnings, *runtime.models.warnings_for(name)))
        yield LocalModel(runtime, name or settings.model, chosen)


def _of_preset(
    settings: Settings, registry: Registry, model: str | None, preset: str | None, *, live: bool
) -> tuple[str | None, tuple[AnswerWarning, ...]]:
    wanted = wanted_preset(settings, preset)
    if wanted is None or model is not None or (preset is None and "model" in settings.model_fields_set):
        return model, ()
    from app.runtime import model_loader

    catalogue, name = registry.catalogue, wanted.live_model if live else wanted.model
    loader = model_loader(settings, catalogue)
    listed = [catalogue.resolve_all(text) for text in (settings.model, *settings.models) if text != AUTO]
    offered = {name_of(spec) for specs in listed for spec in specs}
    missing = [
        str(spec.source)
        for spec in catalogue.resolve_all(name)
        if not loader.is_at_hand(spec) or not (settings.automatic or name_of(spec) in offered)
    ]
    if not missing:
        return name, ()
    told = f"preset {wanted.name} is made for {name}, and there is no {' or '.join(missing)} here; "
    return None, (AnswerWarning("preset_model", f"{told}{settings.model} answers with the rest of it"),)
