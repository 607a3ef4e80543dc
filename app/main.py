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

from app import __version__
from app.analyses import AnalysisStore
from app.answer import PROBLEMS_HEADER, WARNING_DETAILS_HEADER, WARNINGS_HEADER
from app.api import analyses, catalogue, detect, errors, live, metrics, pages, render, service
from app.api.admission import Admission, AdmissionLimits
from app.api.arrival import UploadLimits
from app.api.metrics import Metrics
from app.api.middleware import AccessRules, LingerLimits, Middleware, with_traces
from app.api.openapi import declare_keys
from app.api.service import Service, connect_gauges
from app.api.uploads import UploadReceiver, UploadStore
from app.config import Settings
from app.engine.engine import Threads, scoring_threads
from app.engine.memory import prepare_heap
from app.formats.excerpts import CLOCK_MAP, TIME_MAP, TIME_MAP_COUNT
from app.live.sessions import LiveLimits, SessionManager
from app.registry import Registry, installed
from app.runtime import start_runtime
from app.vad.errors import VadError

log = structlog.get_logger(__name__)
_MIB = 1 << 20

_EXPOSED_HEADERS = [
    "X-Request-ID", "Retry-After", WARNINGS_HEADER, WARNING_DETAILS_HEADER, PROBLEMS_HEADER,
    TIME_MAP, TIME_MAP_COUNT, CLOCK_MAP,
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
    on_ready: Callable[[], None] | None = None,
    registry: Registry | None = None,
) -> FastAPI:
    """The whole application. Nothing is loaded before its lifespan begins.

    `on_failed_start`: called, in place of the log, when the model cannot be loaded; the service then answers, and says
    that it is not ready.
    `on_ready`: called once the models are loaded.
    `registry`: families, segmenters and formats; without it the project's own and those of installed plug-ins.
    """
    settings = settings or Settings()
    prepare_heap(scoring_threads(settings.workers))
    registry = (registry or installed()).with_presets(settings.presets)
    shared = _service(settings, registry)
    app = FastAPI(
        title="FSMN-VAD",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=_lifespan(settings, shared, on_failed_start, on_ready),
        docs_url=None,  # the framework's own pages are made of other hosts' files
        redoc_url=None,
        redirect_slashes=False,  # they would lead to whatever host the request names
    )
    app.state.service = shared
    errors.install(app)
    routers = [module.new_router(registry) for module in (detect, analyses, render)]
    for router in (*routers, live.router, catalogue.router, service.router, metrics.router):
        app.router.routes.extend(router.routes)  # included, a request would have its route looked for twice
    pages.install(app, ui=settings.ui)
    if settings.api_keys:
        declare_keys(app, guard_metrics=settings.guard_metrics)
    app.add_middleware(
        Middleware,
        admission=shared.admission,
        metrics=shared.metrics,
        rules=AccessRules(
            keys=settings.api_keys,
            rate_limit=settings.rate_limit,
            guard_metrics=settings.guard_metrics,
            hosts=settings.allowed_hosts,
            origins=settings.cors_origins,
            exposed_headers=_EXPOSED_HEADERS,
        ),
        linger=LingerLimits(settings.linger_s, settings.linger_mb * _MIB),
        on_end=shared.cleanup,
    )
    app.add_middleware(with_traces)  # the last one added is outermost
    return app


def _service(settings: Settings, registry: Registry) -> Service:
    observer = Metrics()
    # Uploads are written, answers rendered: short work, and as many at a time as requests that get anywhere.
    threads = Threads("io", max(4, 2 * settings.workers))
    try:
        directory = settings.tmp_dir or Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"VAD_TMP_DIR: uploads need a folder that can be written to. {error.strerror}"
        ) from None
    return Service(
        version=__version__,
        registry=registry,
        admission=Admission(
            AdmissionLimits(
                uploads=settings.uploads_at_a_time,
                requests=settings.requests_inside,
                trials=settings.requests_on_trial,
                queue=settings.requests_queued,
                queue_timeout_s=settings.queue_timeout_s,
                answer_s=settings.request_timeout_s,
            ),
            observer,
        ),
        analyses=AnalysisStore(settings.max_analyses, settings.analyses_mb * _MIB, settings.analysis_ttl_s),
        metrics=observer,
        request_timeout_s=settings.request_timeout_s,
        started_at=time.monotonic(),
        threads=threads,
        uploads=UploadReceiver(
            UploadStore(directory, settings.tmp_budget_mb * _MIB),
            UploadLimits(
                max_bytes=settings.max_upload_mb * _MIB,
                max_files=settings.max_files,
                idle_timeout_s=settings.body_idle_timeout_s,
                min_bytes_per_s=settings.body_min_rate_kbps * 1000,
                timeout_s=settings.body_timeout_s,
            ),
            threads,
        ),
        settings={  # what anyone may know of them
            "max_upload_mb": settings.max_upload_mb,
            "max_audio_hours": settings.max_audio_hours,
            "max_requests": settings.requests_inside,
            "max_queue": settings.requests_queued,
            "max_uploads": settings.uploads_at_a_time,
            "analysis_ttl_s": settings.analysis_ttl_s,
        },
    )


def _lifespan(
    settings: Settings, shared: Service, on_failed_start: OnFailedStart | None, on_ready: Callable[[], None] | None
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async def start() -> None:
            try:
                await _start(settings, shared)
                if on_ready is not None:
                    on_ready()
            except Exception as error:  # noqa: BLE001 - reported, and kept for `/health`
                shared.failure = str(error)
                (on_failed_start or log_failed_start)(error)

        loading, dropping = asyncio.create_task(start()), asyncio.create_task(shared.drop_analyses_for_ever())
        try:
            yield
        finally:
            shared.drain()
            loading.cancel()
            dropping.cancel()
            if shared.sessions is not None:
                await shared.sessions.close()
            if shared.runtime is not None:
                await asyncio.to_thread(shared.runtime.close)
            await asyncio.to_thread(shared.threads.close)
            await asyncio.to_thread(shared.uploads.store.close)

    return lifespan


async def _start(settings: Settings, shared: Service) -> None:
    """Load the models off the event loop, so that `/health/live` answers meanwhile."""
    try:
        await asyncio.to_thread(shared.uploads.store.prepare)
    except OSError as error:
        raise OSError(
            f"VAD_TMP_DIR: uploads cannot be kept below {shared.uploads.store.place}: {error.strerror}"
        ) from None
    connect_gauges(shared)
    runtime = await start_runtime(settings, shared.registry, shared.metrics)
    limits = LiveLimits(
        streams=settings.max_streams,
        buffer_s=settings.stream_buffer_s,
        idle_s=settings.stream_idle_s,
        session_ttl_s=settings.session_ttl_s,
        max_s=settings.max_audio_hours * 3600,
    )
    shared.sessions = SessionManager(runtime.engine, limits, settings.live_batch_ms / 1000, shared.metrics)
    shared.sessions.start()
    shared.runtime = runtime
    default = runtime.models.default
    names = [model.info.name for model in runtime.models]
    log.info("ready", model=default.info.id, models=names, device=default.device)


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
