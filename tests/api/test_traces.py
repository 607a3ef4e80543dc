"""Traces, received by a collector of our own that speaks OTLP over HTTP."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.server import running_server
from tests.waiting import eventually

pytestmark = pytest.mark.slow
trace_service = pytest.importorskip(
    "opentelemetry.proto.collector.trace.v1.trace_service_pb2", reason="the [otel] extra is not installed"
)


class Collector(ThreadingHTTPServer):
    """Keeps every span that it is sent."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Any]] = []
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        request = trace_service.ExportTraceServiceRequest()
        request.ParseFromString(self.rfile.read(int(self.headers["Content-Length"])))
        for resource in request.resource_spans:
            name = next(a.value.string_value for a in resource.resource.attributes if a.key == "service.name")
            self.server.spans += [(name, span) for scope in resource.scope_spans for span in scope.spans]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Silent."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    server = Collector()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_request_is_one_span_and_a_probe_none(
    small_model: Path, tmp_path: Path, speech_like: Path, collector: Collector
) -> None:
    told = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}",
        "OTEL_SERVICE_NAME": "vad-under-test",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    with running_server(small_model, tmp_path, told) as server:
        assert server.get("/health").status_code == 200
        assert server.post("/vad", content=speech_like.read_bytes()).status_code == 200
        eventually(lambda: collector.spans)
    assert {name for name, _ in collector.spans} == {"vad-under-test"}
    assert [span.name for _, span in collector.spans] == ["POST /vad"]
    assert [span.end_time_unix_nano > span.start_time_unix_nano for _, span in collector.spans] == [True]


def test_without_the_variables_nothing_is_loaded(small_model: Path, tmp_path: Path, speech_like: Path) -> None:
    with running_server(small_model, tmp_path) as server:
        assert server.post("/vad", content=speech_like.read_bytes()).status_code == 200
        maps = Path(f"/proc/{server.process.pid}/maps").read_text()
    assert "google/_upb" not in maps, "protobuf's library would be there"
