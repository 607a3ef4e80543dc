"""What the routes share, built once by `app.main` and carried by `app.state`, and its health, for probes and people."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BeforeValidator, Field
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse

from app.analyses import AnalysisStore
from app.api.admission import Admission
from app.api.metrics import Metrics
from app.api.uploads import UploadReceiver
from app.engine.engine import Threads
from app.engine.shares import Shares
from app.formats.documents import Document, ModelDocument
from app.live.sessions import SessionManager
from app.registry import Registry
from app.runtime import Runtime
from app.vad.errors import NotReady

_SWEEP_S = 10.0
"""How long kept analyses may outlive their time where nobody calls."""


MOST_DECODERS = 32
"""Of live streams, at a time. Each is a process of some 30 MB, where a stream of samples takes 10 kB."""


@dataclass(slots=True)
class Service:
    """The running service's collaborators."""

    version: str
    registry: Registry
    admission: Admission
    analyses: AnalysisStore
    metrics: Metrics
    request_timeout_s: float
    started_at: float
    """time.monotonic() at the start."""
    threads: Threads
    """For blocking calls other than the engine's: uploads, rendering, kept analyses."""
    uploads: UploadReceiver
    runtime: Runtime | None = None
    """None until the models are loaded."""
    sessions: SessionManager | None = None
    """Live streams."""
    stream_decoders: Shares = field(default_factory=lambda: Shares(MOST_DECODERS))
    """Decoders that run for live streams which bring a file's bytes."""
    draining: bool = False
    failure: str | None = None
    """Why the model could not be loaded."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Those that `/health` shows: harmless ones."""

    @property
    def state(self) -> str:
        """draining, failed, loading, unwritable (no upload can be kept) or ready."""
        if self.draining:
            return "draining"
        if self.failure is not None:
            return "failed"
        if self.runtime is None:
            return "loading"
        return "ready" if self.uploads.store.is_usable() else "unwritable"

    def drain(self) -> None:
        """Refuse new requests; those inside are finished."""
        self.draining = self.admission.closed = True
        if self.sessions is not None:
            self.sessions.drain()

    def cleanup(self) -> None:
        """Give memory back after a call."""
        if self.runtime is not None:
            self.runtime.engine.cleanup()

    async def drop_analyses_for_ever(self) -> None:
        """Drop kept analyses in time, also where nobody calls any more."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            if self.analyses.drop_old():
                self.cleanup()

    def ready(self) -> Runtime:
        """What detects. Raises `NotReady` while the model is loading or the service shuts down."""
        if self.failure is not None:
            raise NotReady("the model could not be loaded; the log says why")
        if self.runtime is None:
            raise NotReady("the model is still being loaded")
        if self.draining:
            raise NotReady("the service is shutting down")
        return self.runtime

    def ready_sessions(self) -> SessionManager:
        """Live streams. Raises `NotReady`."""
        self.ready()
        if self.sessions is None:
            raise NotReady("the service is starting")
        return self.sessions


def service_of(request: HTTPConnection) -> Service:
    """The service that the application carries."""
    service = request.app.state.service
    if not isinstance(service, Service):
        raise TypeError("the application carries no service")
    return service


def query_options(request: HTTPConnection) -> dict[str, str]:
    """The query's parameters that have a value: forms of pages send every field, and one left blank is absent. The last
    of several with one name counts."""
    return {name: value for name, value in request.query_params.multi_items() if value.strip()}


def blank_is(default: object) -> BeforeValidator:
    """The same for a parameter that FastAPI reads."""
    return BeforeValidator(lambda value: default if isinstance(value, str) and not value.strip() else value)


def connect_gauges(service: Service) -> None:
    """Have gauges read the state of the service whenever metrics are asked for."""
    metrics = service.metrics
    metrics.inflight.set_function(lambda: service.admission.inside)
    metrics.queue_depth.set_function(lambda: service.admission.queued)
    metrics.uploads.set_function(lambda: service.admission.uploads)
    metrics.analyses.set_function(lambda: len(service.analyses))
    metrics.upload_bytes.set_function(lambda: service.uploads.store.disk_bytes)
    metrics.upload_memory.set_function(lambda: service.uploads.store.memory_bytes)
    metrics.streams.set_function(lambda: service.sessions.connected if service.sessions is not None else 0)


# ---- health

router = APIRouter(tags=["operation"])


class HealthDocument(Document):
    """State of the service."""

    status: str = Field(description="ready, loading, draining, failed, or unwritable (uploads cannot be stored).")
    version: str
    uptime_s: float
    model: ModelDocument | None = Field(description="The default one.")
    models: list[str] = Field(description="Names of all loaded models.")
    fallback: str | None = Field(description="Why another model than VAD_MODEL serves; otherwise null.")
    device: str | None
    workers: int | None
    uploads: int = Field(description="Requests whose body is being received.")
    inflight: int = Field(description="Requests that have a place for computing.")
    queue: int = Field(description="Requests waiting for a place.")
    limits: dict[str, Any]


class StateDocument(Document):
    """Answer of a probe."""

    status: str


@router.get(
    "/health",
    operation_id="get_health",
    summary="Get everything about the service's state",
    responses={200: {"model": HealthDocument}, 503: {"model": HealthDocument, "description": "Not ready."}},
)
async def health(request: Request) -> JSONResponse:
    """The whole state of the service. 200 when ready, otherwise 503."""
    service = service_of(request)
    runtime, state = service.runtime, service.state
    models = None if runtime is None else runtime.models
    default = None if models is None else models.default
    answer = HealthDocument.model_construct(
        status=state,
        version=service.version,
        uptime_s=round(time.monotonic() - service.started_at, 1),
        model=None if default is None else ModelDocument.of(default.info),
        models=[model.info.name for model in models or ()],
        fallback=None if models is None else models.fallback,
        device=None if default is None else default.device,
        workers=None if runtime is None else runtime.engine.workers,
        uploads=service.admission.uploads,
        inflight=service.admission.inside,
        queue=service.admission.queued,
        limits=dict(service.settings),
    )
    return JSONResponse(answer.dump(), 200 if state == "ready" else 503)


@router.get(
    "/health/live",
    operation_id="get_liveness",
    summary="Ask whether the process answers",
    responses={200: {"model": StateDocument}},
)
async def live() -> StateDocument:
    """Whether the process answers. It does so while models are still being loaded."""
    return StateDocument(status="alive")


@router.get(
    "/health/ready",
    operation_id="get_readiness",
    summary="Ask whether requests should be sent here",
    responses={200: {"model": StateDocument}, 503: {"model": StateDocument, "description": "Not ready."}},
)
async def ready(request: Request) -> JSONResponse:
    """Whether the service takes requests. It does not while it loads models or shuts down."""
    state = service_of(request).state
    return JSONResponse({"status": state}, 200 if state == "ready" else 503)
