"""The application: wiring, nothing else.

`create_app` builds it from settings; `app` is what `uvicorn app.main:app` serves.
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
from app.analyses import AnalysisStore
from app.api import analyses, detect, errors, live, ops, traces, ui
from app.api import metrics as metrics_api
from app.api.access import AccessMiddleware
from app.api.admission import AdmissionMiddleware, Gate
from app.api.metrics import Metrics
from app.api.observe import ObserveMiddleware
from app.api.request_id import RequestIdMiddleware
from app.api.service import Service, connect_live_metrics, connect_metrics
from app.api.uploads import UploadLimits, UploadStore
from app.config import Settings
from app.live.hub import Hub, LiveLimits
from app.runtime import build_detector, load_model
from app.vad.errors import VadError

log = structlog.get_logger(__name__)
_MIB = 1 << 20

_DESCRIPTION = """Where is speech in this audio? DAMO's FSMN-VAD behind one call:

    curl -F file=@audio.wav http://localhost:8000/vad
"""


def create_app(settings: Settings | None = None, on_failed_start: Callable[[Exception], None] | None = None) -> FastAPI:
    """The whole application. Nothing is loaded before its lifespan begins.

    `on_failed_start` is told when the model cannot be loaded; the service then answers, and says it is not ready.
    """
    settings = settings or Settings()
    metrics = Metrics()
    service = Service(
        version=__version__,
        gate=Gate(settings.requests_inside, settings.requests_queued, metrics.reject),
        analyses=AnalysisStore(settings.max_analyses, settings.analyses_mb * _MIB, settings.analysis_ttl_s),
        metrics=metrics,
        request_timeout_s=settings.request_timeout_s,
        started_at=time.monotonic(),
        settings=_harmless(settings),
    )
    app = FastAPI(
        title="FSMN-VAD",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=_lifespan(settings, service, on_failed_start),
    )
    app.state.service = service
    errors.install(app)
    for router in (detect.router, analyses.router, live.router, ops.router, metrics_api.router):
        app.include_router(router)
    if settings.ui:
        ui.install(app)
    _add_middleware(app, settings, service)
    return app


def _harmless(settings: Settings) -> dict[str, float]:
    """What anyone may know of the settings."""
    return {
        "max_upload_mb": settings.max_upload_mb,
        "max_audio_hours": settings.max_audio_hours,
        "max_requests": settings.requests_inside,
        "max_queue": settings.requests_queued,
    }


def _add_middleware(app: FastAPI, settings: Settings, service: Service) -> None:
    """Innermost first: who is let in is decided before whether there is room."""
    app.add_middleware(AdmissionMiddleware, gate=service.gate)
    app.add_middleware(
        AccessMiddleware,
        keys=settings.api_keys,
        rate_limit=settings.rate_limit,
        guard_metrics=settings.guard_metrics,
        on_reject=service.metrics.reject,
    )
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key", "X-Request-ID"],
            expose_headers=["X-Request-ID", "Retry-After"],
        )
    app.add_middleware(ObserveMiddleware, metrics=service.metrics)
    app.add_middleware(RequestIdMiddleware)
    if traces.asked_for():
        app.add_middleware(traces.TraceMiddleware)


def _lifespan(
    settings: Settings, service: Service, on_failed_start: Callable[[Exception], None] | None
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.create_task(_load_or_tell(settings, service, on_failed_start))
        try:
            yield
        finally:
            service.drain()
            loading.cancel()
            if service.hub is not None:
                await service.hub.close()
            if service.detector is not None:
                await asyncio.to_thread(service.detector.engine.close)
            if service.uploads is not None:
                await asyncio.to_thread(service.uploads.close)

    return lifespan


async def _load_or_tell(
    settings: Settings, service: Service, on_failed_start: Callable[[Exception], None] | None
) -> None:
    try:
        await _load(settings, service)
    except Exception as error:
        service.failure = str(error)
        expected = isinstance(error, (VadError, ValueError, OSError))
        log.error("the start failed", reason=str(error), exc_info=None if expected else error)
        if on_failed_start is not None:
            on_failed_start(error)


async def _load(settings: Settings, service: Service) -> None:
    """Load the model off the event loop, so that `/health/live` answers meanwhile."""
    loaded = await asyncio.to_thread(load_model, settings)
    detector = build_detector(settings, loaded)
    parent = settings.tmp_dir or Path(tempfile.gettempdir())
    service.uploads = UploadStore(parent, _upload_limits(settings), detector.engine.in_reader)
    await asyncio.to_thread(service.uploads.prepare)
    await detector.engine.warm_up()
    service.fallback = loaded.fallback
    connect_metrics(service.metrics, service, detector)
    service.hub = Hub(detector.engine, _live_limits(settings), settings.live_batch_ms / 1000)
    service.hub.start()
    connect_live_metrics(service.metrics, service.hub)
    service.detector = detector
    log.info("ready", model=detector.model.id, device=str(detector.engine.policy.device))


def _upload_limits(settings: Settings) -> UploadLimits:
    return UploadLimits(
        max_bytes=settings.max_upload_mb * _MIB,
        max_files=settings.max_files,
        idle_timeout_s=settings.body_idle_timeout_s,
        min_bytes_per_s=settings.body_min_rate_kbps * 1000,
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


def _exit_with_status_3(error: Exception) -> None:
    os._exit(3)  # nothing has been served, so nothing is lost; a supervisor reads the status


def __getattr__(name: str) -> FastAPI:
    # Built when asked for, so that importing this module reads no settings.
    if name == "app":
        return create_app(on_failed_start=_exit_with_status_3)
    raise AttributeError(name)
