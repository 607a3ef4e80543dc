"""OpenTelemetry traces, for who asks for them by its own environment variables and has installed the `[otel]` extra.

`OTEL_EXPORTER_OTLP_ENDPOINT` (or `…_TRACES_ENDPOINT`) says where they go, `OTEL_SERVICE_NAME` under which name,
`OTEL_TRACES_SAMPLER` how many. One span for each request and live stream; health and metrics have none.
"""

import os

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from app import __version__
from app.api.paths import QUIET_PREFIXES
from app.extras import how_to_install

log = structlog.get_logger(__name__)

_ASKED_BY = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def asked_for() -> bool:
    """Whether anybody wants traces."""
    return any(os.environ.get(name) for name in _ASKED_BY)


class TraceMiddleware:
    """Outermost, so that its span covers everything."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = _traced(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: hands on to OpenTelemetry's middleware, or straight to the application."""
        await self._app(scope, receive, send)


def _traced(app: ASGIApp) -> ASGIApp:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        log.warning(f"traces are asked for, but not installed: {how_to_install('otel')}")
        return app
    own = {"service.name": os.environ.get("OTEL_SERVICE_NAME", "fsmn-vad"), "service.version": __version__}
    provider = TracerProvider(resource=Resource.create(own))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    traced_app: ASGIApp = OpenTelemetryMiddleware(
        app, excluded_urls=",".join(QUIET_PREFIXES), tracer_provider=provider, exclude_spans=["receive", "send"]
    )
    return traced_app
