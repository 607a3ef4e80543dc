"""Prometheus metrics, in a registry of their own: one for each application."""

import time
from collections.abc import Iterable, Sequence
from functools import cache

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from starlette.responses import Response

from app.observe import Observer
from app.vad.models.family import ModelInfo

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
"""Whole requests: from a clip that takes milliseconds to hours of audio; half-decades in between."""
_SHORT_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 2.5, 5)
"""One block or one live chunk: finer where the promise of 300 ms lies."""
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
"""Powers of two: only the order of magnitude matters."""


class Metrics(Observer):
    """Everything that is counted: what an `Observer` of the service hears of, and what the middleware sees."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        self.requests = Counter(
            "http_requests_total", "Requests answered.", ["method", "path", "status"], registry=registry
        )
        self.duration = Histogram(
            "http_request_duration_seconds", "Request time.", ["method", "path"], buckets=_SECONDS, registry=registry
        )
        self.uploads = Gauge("vad_uploads", "Requests whose body is being received.", registry=registry)
        self.inflight = Gauge("vad_inflight", "Requests that have a place for computing.", registry=registry)
        self.queue_depth = Gauge("vad_queue_depth", "Requests waiting for a place.", registry=registry)
        self.queue_wait = Histogram(
            "vad_queue_wait_seconds", "A block's wait for a thread.", buckets=_SHORT_SECONDS, registry=registry
        )
        self.decode = Histogram(
            "vad_decode_seconds", "Decoding a file.", ["decoder"], buckets=_SECONDS, registry=registry
        )
        self.inference = Histogram(
            "vad_inference_seconds", "Scoring a block.", ["model"], buckets=_SHORT_SECONDS, registry=registry
        )
        self.audio = Counter("vad_audio_seconds_total", "Audio scored.", ["model"], registry=registry)
        self.warnings = Counter(
            "vad_warnings_total", "Warnings in answers and ended live streams.", ["code"], registry=registry
        )
        self.rejections = Counter("vad_rejections_total", "Requests refused.", ["reason"], registry=registry)
        self.oom = Counter("vad_oom_total", "Rungs taken when device memory ran out.", ["action"], registry=registry)
        self.model_info = Gauge(
            "vad_model_info",
            "The models that are loaded.",
            ["name", "id", "revision", "fingerprint", "device"],
            registry=registry,
        )
        self.analyses = Gauge("vad_kept_analyses", "Analyses kept.", registry=registry)
        self.upload_bytes = Gauge("vad_upload_bytes", "Disk that uploads take.", registry=registry)
        self.upload_memory = Gauge("vad_upload_memory_bytes", "Memory that small uploads take.", registry=registry)
        self.streams = Gauge("vad_streams", "Live streams open.", registry=registry)
        self.chunks = Counter("vad_stream_chunks_total", "Chunks received on live streams.", registry=registry)
        self.batch = Histogram("vad_stream_batch", "Streams scored together.", buckets=_BATCHES, registry=registry)
        self.lag = Histogram(
            "vad_stream_lag_seconds", "From a chunk's receipt to its events.", buckets=_SHORT_SECONDS, registry=registry
        )
        self.drops = Counter(
            "vad_stream_drops_total", "Live streams closed by the service.", ["reason"], registry=registry
        )
        # To look a labelled metric up costs more than to count with it. All of these labels are of bounded number.
        self._requests_by, self._duration_by = cache(self.requests.labels), cache(self.duration.labels)
        self._decode_by, self._inference_by = cache(self.decode.labels), cache(self.inference.labels)
        self._audio_by = cache(self.audio.labels)

    def block_scored(self, model: str, waited_s: float, inference_s: float) -> None:
        self.queue_wait.observe(waited_s)
        self._inference_by(model).observe(inference_s)

    def rung_taken(self, action: str) -> None:
        self.oom.labels(action).inc()

    def model_loaded(self, model: ModelInfo, device: str) -> None:
        self.model_info.labels(model.name, model.id, model.revision or "", model.fingerprint, device).set(1)

    def file_done(self, model: str, decoder: str, decode_s: float, audio_ms: int) -> None:
        self._decode_by(decoder).observe(decode_s)
        self._audio_by(model).inc(audio_ms / 1000)

    def warned(self, codes: Iterable[str]) -> None:
        for code in codes:
            self.warnings.labels(code).inc()

    def rejected(self, reason: str) -> None:
        self.rejections.labels(reason).inc()

    def live_batch(self, streams: int) -> None:
        self.batch.observe(streams)

    def live_chunks(self, lags_s: Sequence[float]) -> None:
        self.chunks.inc(len(lags_s))
        for lag_s in lags_s:
            self.lag.observe(lag_s)

    def live_dropped(self, reason: str) -> None:
        self.drops.labels(reason).inc()

    def observe_request(self, method: str, path: str, status: int, started: float) -> None:
        """Count an answered request; `started` by time.perf_counter()."""
        self._requests_by(method, path, status).inc()
        self._duration_by(method, path).observe(time.perf_counter() - started)

    def text(self) -> bytes:
        """All metrics in Prometheus's exposition format."""
        return generate_latest(self.registry)


router = APIRouter(tags=["operation"])


@router.get(
    "/metrics",
    operation_id="get_metrics",
    summary="Get all metrics, for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request) -> Response:
    """All metrics in Prometheus's text format, for its scraper."""
    found = request.app.state.service.metrics
    return Response(found.text(), media_type=CONTENT_TYPE_LATEST)
