"""What the routes share: built once by `app.main`, carried by `app.state`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import HTTPConnection

from app.analyses import AnalysisStore
from app.api.admission import Gate
from app.api.metrics import Metrics
from app.api.uploads import UploadStore
from app.detection import Detector
from app.live.hub import Hub
from app.vad.errors import NotReady


@dataclass(slots=True)
class Service:
    """The running service's collaborators."""

    version: str
    gate: Gate
    analyses: AnalysisStore
    metrics: Metrics
    request_timeout_s: float
    started_at: float
    """time.monotonic() at the start."""
    detector: Detector | None = None
    """None until the model is loaded."""
    uploads: UploadStore | None = None
    hub: Hub | None = None
    """Live streams."""
    draining: bool = False
    failure: str | None = None
    """Why the model could not be loaded."""
    fallback: str | None = None
    """Why another model serves than the one that was asked for."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Harmless settings, for health."""

    def drain(self) -> None:
        """Take no new requests; those inside are finished."""
        self.draining = self.gate.closed = True
        if self.hub is not None:
            self.hub.drain()

    def ready_detector(self) -> Detector:
        """The detector. Raises `NotReady` while the model is loading or the service shuts down."""
        if self.failure is not None:
            raise NotReady("the model could not be loaded; the log says why")
        if self.detector is None:
            raise NotReady("the model is still being loaded")
        if self.draining:
            raise NotReady("the service is shutting down")
        return self.detector

    def ready_uploads(self) -> UploadStore:
        """Where uploads go. Raises `NotReady` before the service has started."""
        if self.uploads is None:
            raise NotReady("the service is starting")
        return self.uploads


def service_of(request: HTTPConnection) -> Service:
    """The service that the application carries."""
    service = request.app.state.service
    if not isinstance(service, Service):
        raise TypeError("the application carries no service")
    return service


def connect_metrics(metrics: Metrics, service: Service, detector: Detector) -> None:
    """Let metrics see the state of a service that has become ready."""
    engine, model = detector.engine, detector.model
    metrics.inflight.set_function(lambda: service.gate.inside)
    metrics.queue_depth.set_function(lambda: service.gate.queued)
    metrics.analyses.set_function(lambda: len(service.analyses))
    metrics.upload_bytes.set_function(lambda: service.uploads.bytes_held if service.uploads else 0)
    metrics.model_info.labels(model.id, model.revision or "", model.fingerprint).set(1)
    engine.observers.queue.append(metrics.queue_wait.observe)
    engine.observers.inference.append(metrics.inference.labels(str(engine.policy.device)).observe)
    engine.policy.on_oom = lambda action: metrics.oom.labels(action).inc()
    detector.observers.append(_record_file(metrics))


def connect_live_metrics(metrics: Metrics, hub: Hub) -> None:
    """Let metrics see the live streams."""
    metrics.streams.set_function(lambda: hub.connected)
    hub.on_drop = lambda reason: metrics.drops.labels(reason).inc()
    hub.batcher.observers.batch = metrics.batch.observe
    hub.batcher.observers.chunks = metrics.chunks.inc
    hub.batcher.observers.lag = metrics.lag.observe


def _record_file(metrics: Metrics) -> Callable[[str, float, int], None]:
    def record(decoder: str, decode_s: float, duration_ms: int) -> None:
        metrics.decode.labels(decoder).observe(decode_s)
        metrics.audio.inc(duration_ms / 1000)

    return record
