"""The application: wiring, nothing else.

`create_app` builds it from settings; `app` is what `uvicorn app.main:app` serves (docs/running.md: what that lacks).
"""

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import structlog
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from app import __version__
from app.answer import PROBLEMS_HEADER, WARNINGS_HEADER
from app.api import (
    analyses,
    catalogue,
    client_module,
    detect,
    errors,
    live,
    ops,
    realtime,
    reference,
    render,
    sample,
    traces,
    ui,
)
from app.api import metrics as metrics_api
from app.api.access import AccessMiddleware
from app.api.admission import Admission, AdmissionLimits, AdmissionMiddleware
from app.api.hosts import HostMiddleware
from app.api.linger import LingerLimits, LingerMiddleware
from app.api.metrics import Metrics
from app.api.observe import ObserveMiddleware
from app.api.request_id import RequestIdMiddleware
from app.api.safe_headers import SafeHeadersMiddleware
from app.api.service import Service, connect_gauges
from app.api.uploads import UploadLimits, UploadStore
from app.config import Settings
from app.detection import AnalysisStore
from app.engine.engine import Threads
from app.formats.excerpts import CLOCK_MAP, TIME_MAP, TIME_MAP_COUNT
from app.live.hub import Hub, LiveLimits
from app.registry import Registry, installed
from app.runtime import start_runtime
from app.serving import Load
from app.vad.errors import VadError

log = structlog.get_logger(__name__)
_MIB = 1 << 20

_EXPOSED_HEADERS = [
    "X-Request-ID", "Retry-After", WARNINGS_HEADER, PROBLEMS_HEADER, TIME_MAP, TIME_MAP_COUNT, CLOCK_MAP,
]  # fmt: skip
"""What a page of another origin may read of an answer."""

_DESCRIPTION = """Where is speech in this audio? DAMO's FSMN-VAD behind one call:

    curl -F file=@audio.wav http://localhost:8000/vad
"""


OnFailedStart = Callable[[Exception], None]
FORESEEN = (VadError, ValueError, OSError)
"""Why a start fails when an operator can do something about it; anything else is a fault, and wants a traceback."""


def create_app(
    settings: Settings | None = None,
    on_failed_start: OnFailedStart | None = None,
    *,
    registry: Registry | None = None,
    load: Load | None = None,
) -> FastAPI:
    """The whole application. Nothing is loaded before its lifespan begins.

    `on_failed_start`: told, in place of the log, when the model cannot be loaded; the service then answers, and says it
    is not ready.
    `registry`: families, segmenters and formats; without it the project's own and those of installed plug-ins. `load`:
    makes models in another way than from their files, such as from ones that lie in memory.
    """
    settings = settings or Settings()
    registry = registry or installed()
    metrics = Metrics()
    # Uploads are written, answers rendered: short work, and as many at a time as requests that get anywhere.
    threads = Threads("io", max(4, 2 * settings.workers))
    parent = settings.tmp_dir or _temporary_directory()
    service = Service(
        version=__version__,
        registry=registry,
        admission=Admission(_admission_limits(settings), metrics),
        analyses=AnalysisStore(settings.max_analyses, settings.analyses_mb * _MIB, settings.analysis_ttl_s),
        metrics=metrics,
        request_timeout_s=settings.request_timeout_s,
        started_at=time.monotonic(),
        threads=threads,
        uploads=UploadStore(parent, _upload_limits(settings), threads),
        settings=_harmless(settings),
    )
    app = FastAPI(
        title="FSMN-VAD",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=_lifespan(settings, service, load, on_failed_start),
        docs_url=None,  # the framework's own pages are made of other hosts' files
        redoc_url=None,
        redirect_slashes=False,  # they would lead to whatever host the request names
    )
    app.state.service = service
    errors.install(app)
    made = (detect.new_router(registry), analyses.new_router(registry), render.new_router(registry))
    for router in (
        *made,
        sample.router,
        live.router,
        realtime.router,
        client_module.router,
        catalogue.router,
        ops.router,
        metrics_api.router,
    ):
        app.include_router(router)
    reference.install(app)
    if settings.ui:
        ui.install(app)
    _add_middleware(app, settings, service)
    return app


def _temporary_directory() -> Path:
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        raise FileNotFoundError(f"VAD_TMP_DIR: uploads need a place that can be written. {error.strerror}") from None


def _harmless(settings: Settings) -> dict[str, float]:
    """What anyone may know of the settings."""
    return {
        "max_upload_mb": settings.max_upload_mb,
        "max_audio_hours": settings.max_audio_hours,
        "max_requests": settings.requests_inside,
        "max_queue": settings.requests_queued,
        "max_uploads": settings.uploads_at_a_time,
        "analysis_ttl_s": settings.analysis_ttl_s,
    }


def _add_middleware(app: FastAPI, settings: Settings, service: Service) -> None:
    """Innermost first: who is let in is decided before whether there is room."""
    app.add_middleware(AdmissionMiddleware, admission=service.admission)
    app.add_middleware(
        AccessMiddleware,
        keys=settings.api_keys,
        rate_limit=settings.rate_limit,
        guard_metrics=settings.guard_metrics,
        observer=service.metrics,
    )
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "PUT"],
            allow_headers=["Authorization", "Content-Disposition", "Content-Type", "X-API-Key", "X-Request-ID"],
            expose_headers=_EXPOSED_HEADERS,
        )
    app.add_middleware(HostMiddleware, hosts=settings.allowed_hosts, origins=settings.cors_origins)
    app.add_middleware(ObserveMiddleware, metrics=service.metrics)
    app.add_middleware(RequestIdMiddleware)
    app.add_middleware(SafeHeadersMiddleware)
    app.add_middleware(LingerMiddleware, limits=LingerLimits(settings.linger_s, settings.linger_mb * _MIB))
    if traces.asked_for():
        app.add_middleware(traces.TraceMiddleware)


def _lifespan(
    settings: Settings, service: Service, load: Load | None, on_failed_start: OnFailedStart | None
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.create_task(_start_or_tell(settings, service, load, on_failed_start))
        try:
            yield
        finally:
            service.drain()
            loading.cancel()
            if service.hub is not None:
                await service.hub.close()
            if service.runtime is not None:
                await asyncio.to_thread(service.runtime.close)
            await asyncio.to_thread(service.threads.close)
            await asyncio.to_thread(service.uploads.close)

    return lifespan


async def _start_or_tell(
    settings: Settings, service: Service, load: Load | None, on_failed_start: OnFailedStart | None
) -> None:
    try:
        await _start(settings, service, load)
    except Exception as error:  # noqa: BLE001 - told to whoever can act on it, and kept for `/health`
        service.failure = str(error)
        (on_failed_start or log_failed_start)(error)


async def _start(settings: Settings, service: Service, load: Load | None) -> None:
    """Load the models off the event loop, so that `/health/live` answers meanwhile."""
    try:
        await asyncio.to_thread(service.uploads.prepare)
    except OSError as error:
        raise OSError(f"VAD_TMP_DIR: uploads cannot be kept below {service.uploads.place}: {error.strerror}") from None
    connect_gauges(service)
    runtime = await start_runtime(settings, service.registry, service.metrics, load)
    service.hub = Hub(runtime.engine, _live_limits(settings), settings.live_batch_ms / 1000, service.metrics)
    service.hub.start()
    service.runtime = runtime
    default = runtime.models.default
    names = [model.info.name for model in runtime.models]
    log.info("ready", model=default.info.id, models=names, device=default.device)


def _admission_limits(settings: Settings) -> AdmissionLimits:
    return AdmissionLimits(
        uploads=settings.uploads_at_a_time,
        requests=settings.requests_inside,
        queue=settings.requests_queued,
        queue_timeout_s=settings.queue_timeout_s,
    )


def _upload_limits(settings: Settings) -> UploadLimits:
    return UploadLimits(
        max_bytes=settings.max_upload_mb * _MIB,
        max_files=settings.max_files,
        idle_timeout_s=settings.body_idle_timeout_s,
        min_bytes_per_s=settings.body_min_rate_kbps * 1000,
        timeout_s=settings.body_timeout_s,
        budget_bytes=settings.tmp_budget_mb * _MIB,
    )


def _live_limits(settings: Settings) -> LiveLimits:
    return LiveLimits(
        streams=settings.max_streams,
        buffer_s=settings.stream_buffer_s,
        idle_s=settings.stream_idle_s,
        session_ttl_s=settings.session_ttl_s,
        max_s=settings.max_audio_hours * 3600,
    )


def log_failed_start(error: Exception) -> None:
    """Log why the service did not start; with a traceback when the fault is ours."""
    log.error("the start failed", reason=str(error), exc_info=None if isinstance(error, FORESEEN) else error)


def _exit_with_status_3(error: Exception) -> None:
    log_failed_start(error)
    os._exit(3)  # nothing has been served, so nothing is lost; a supervisor reads the status


def __getattr__(name: str) -> FastAPI:
    # Built when asked for, so that importing this module reads no settings.
    if name == "app":
        return create_app(on_failed_start=_exit_with_status_3)
    raise AttributeError(name)
