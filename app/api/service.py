"""What the routes share: built once by `app.main`, carried by `app.state`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request

from app.api.admission import Gate
from app.api.uploads import UploadStore
from app.detection import Detector
from app.vad.errors import NotReady


@dataclass(slots=True)
class Service:
    """The running service's collaborators."""

    version: str
    gate: Gate
    request_timeout_s: float
    started_at: float
    """time.monotonic() at the start."""
    detector: Detector | None = None
    """None until the model is loaded."""
    uploads: UploadStore | None = None
    draining: bool = False
    failure: str | None = None
    """Why the model could not be loaded."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Harmless settings, for health."""

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


def service_of(request: Request) -> Service:
    """The service that the application carries."""
    service = request.app.state.service
    if not isinstance(service, Service):
        raise TypeError("the application carries no service")
    return service
