"""The models of this machine, for commands: by the rules of the service, and loaded as they are asked for.

Nothing here imports torch before a model is wanted: what is wrong with a command line is said at once.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from app.cli.terminal import UsageError, note
from app.config import AUTO, Settings
from app.logs import configure_logging
from app.registry import Registry
from app.request import DetectionRequest
from app.vad.errors import InvalidOption, ModelNotFound
from app.vad.models.hub import as_directory
from app.vad.models.registry import name_of

if TYPE_CHECKING:
    from app.request import Plan
    from app.runtime import Runtime


def check(request: DetectionRequest, registry: Registry, settings: Settings, *, live: bool = False) -> None:
    """Refuse as much as can be known to be wrong with a request before a model is loaded. Raises `InvalidOption`, and
    `ModelNotFound` for a name that means nothing."""
    if request.keep and not live:
        raise InvalidOption("keep", "only a running service can keep posteriors; name one with --url")
    registry = registry.with_presets(settings.presets)
    catalogue, listed = registry.catalogue, [settings.model, *(text for text in settings.models if text != AUTO)]
    specs = ((text, catalogue.resolve_all(text)) for text in listed)
    named = {name_of(each[0]): text for text, each in specs if len(each) == 1 and each[0].known is None}
    # A name that the settings give to a directory means that one.
    model = named.get(request.model or "", request.model)
    for spec in catalogue.resolve_all(model) if model else ():
        if spec.known or spec.name or spec.source in named or "/" in spec.source or as_directory(spec.source):
            continue
        names = [*(known.name for _, known in catalogue.known()), *named]
        raise ModelNotFound(
            f"there is no model {spec.source!r}; there are: {', '.join(names)}, or the folder or ModelScope id "
            "(owner/name) of a model"
        )
    request.changed(model=model).check(
        registry,
        default_models=[settings.model, *([settings.fallback_model] if settings.fallback_model else [])],
        server_options=settings.default_options,
        server_preset=settings.preset,
        live=live,
    )


def quiet_logs(settings: Settings) -> None:
    """Log errors alone, on stderr: stdout is for results, and a command says in its own words what else there is."""
    configure_logging(settings.log_format, "error")


@asynccontextmanager
async def planned(
    request: DetectionRequest, registry: Registry, settings: Settings, *, live: bool = False
) -> "AsyncIterator[tuple[Runtime, Plan]]":
    """Start what detects in this process, with the model that the service would answer this request with, or that the
    request names.

    Raises `UsageError` for a device that is not there, `ModelError`s, `InvalidOption`, FileNotFoundError for ffmpeg.
    """
    from app.engine.device import NoSuchDevice
    from app.runtime import start_runtime

    quiet_logs(settings)
    runtime = await start_runtime(settings, registry, on_demand=True)
    try:
        plan = await request.resolve(runtime.models, registry.formats, live=live)
        if runtime.models.fallback is not None:
            note(runtime.models.fallback)
        yield runtime, plan
    except NoSuchDevice as error:
        raise UsageError(str(error)) from None
    finally:
        await asyncio.to_thread(runtime.close)
