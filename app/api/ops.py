"""Health for probes and people."""

import time
from typing import Any

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import JSONResponse

from app.api.service import service_of
from app.formats.documents import Document, ModelDocument

router = APIRouter(tags=["operation"])


class HealthDocument(Document):
    """State of the service."""

    status: str = Field(description="ready, loading, draining, failed, or unwritable: no upload can be kept.")
    version: str
    uptime_s: float
    model: ModelDocument | None = Field(description="The default one.")
    models: list[str] = Field(description="Names of all that are loaded.")
    fallback: str | None = Field(description="Why another model serves than the one that was asked for; else null.")
    device: str | None
    workers: int | None
    uploads: int = Field(description="Requests whose body is being received.")
    inflight: int = Field(description="Requests that have a place for computing.")
    queue: int = Field(description="Requests waiting for a place.")
    limits: dict[str, Any]


class StateDocument(Document):
    """Answer of a probe."""

    status: str


@router.get("/health", responses={200: {"model": HealthDocument}, 503: {"model": HealthDocument}})
async def health(request: Request) -> JSONResponse:
    """Everything about the service's state; 200 when ready, else 503."""
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


@router.get("/health/live", responses={200: {"model": StateDocument}})
async def live() -> StateDocument:
    """The process answers; true while the model is still being loaded."""
    return StateDocument(status="alive")


@router.get("/health/ready", responses={200: {"model": StateDocument}, 503: {"model": StateDocument}})
async def ready(request: Request) -> JSONResponse:
    """Whether requests should be sent here: not while loading, not while shutting down."""
    state = service_of(request).state
    return JSONResponse({"status": state}, 200 if state == "ready" else 503)
