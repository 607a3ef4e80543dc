"""The models of this machine, for commands: options checked before anything is loaded, then one model in this process.

Nothing here imports torch before a model is wanted: what is wrong with a command line is told at once.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from app.cli.terminal import UsageError, note
from app.config import Settings
from app.logs import configure_logging
from app.registry import Registry
from app.vad.segmenters.registry import MODE

if TYPE_CHECKING:
    from app.runtime import Runtime


def check_options(registry: Registry, settings: Settings, model: str | None, given: Mapping[str, Any]) -> None:
    """As much of what is wrong with detection options as can be known before the model is. Raises `InvalidOption`."""
    modes = _default_modes(registry, settings, model)
    if len(modes) == 1:
        defaults = settings.default_options
        mode = str(defaults.get(MODE) or modes.pop())
        registry.segmenters.check_given(given, default_mode=mode, server_defaults=defaults)
    else:
        # Which mode is in force shows when it is known whether the fallback serves.
        check_values(registry, given)


def check_values(registry: Registry, given: Mapping[str, Any]) -> None:
    """Each option in the modes that have it, for a server of whose model nothing is known. Raises `InvalidOption`."""
    registry.segmenters.check_defaults(given)


def _default_modes(registry: Registry, settings: Settings, model: str | None) -> set[str]:
    """Of the model, and of the one that may serve in its place."""
    names = [model or settings.model]
    if model is None and settings.fallback_model:
        names.append(settings.fallback_model)
    catalogue = registry.catalogue
    return {catalogue.family(catalogue.resolve(name).family).default_mode for name in names}


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
