"""Health for probes and people."""

import time

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse

from app.api.schemas import HealthAnswer, ModelAnswer, StateAnswer
from app.api.service import Service, service_of

router = APIRouter(tags=["operation"])


def _state(service: Service) -> str:
    if service.draining:
        return "draining"
    if service.failure is not None:
        return "failed"
    return "loading" if service.detector is None else "ready"


@router.get("/health", responses={200: {"model": HealthAnswer}, 503: {"model": HealthAnswer}})
async def health(request: Request) -> JSONResponse:
    """Everything about the service's state; 200 when ready, else 503."""
    service = service_of(request)
    detector, state = service.detector, _state(service)
    model = detector and detector.model
    answer = HealthAnswer(
        status=state,
        version=service.version,
        uptime_s=round(time.monotonic() - service.started_at, 1),
        model=model and ModelAnswer(id=model.id, revision=model.revision, fingerprint=model.fingerprint),
        fallback=service.fallback,
        device=detector and str(detector.engine.policy.device),
        workers=detector and detector.engine.workers,
        inflight=service.gate.inside,
        queue=service.gate.queued,
        limits=dict(service.settings),
    )
    return JSONResponse(answer.model_dump(), 200 if state == "ready" else 503)


@router.get("/health/live", responses={200: {"model": StateAnswer}})
async def live() -> StateAnswer:
    """The process answers; true while the model is still being loaded."""
    return StateAnswer(status="alive")


@router.get("/health/ready", responses={200: {"model": StateAnswer}, 503: {"model": StateAnswer}})
async def ready(request: Request) -> JSONResponse:
    """Whether requests should be sent here: not while loading, not while shutting down."""
    state = _state(service_of(request))
    return JSONResponse({"status": state}, 200 if state == "ready" else 503)
