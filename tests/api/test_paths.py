"""Every route but those on a list is closed: it needs a key, counts against the rate limit, and passes admission."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI, WebSocket
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from app.api.admission import policy_of
from app.engine.shares import Holder
from app.main import create_app
from app.vad.errors import Overloaded
from tests.api.raw import answer_of, connect, status_of
from tests.server import RunningServer, given_settings

KEY = {"X-API-Key": "a-key"}
OPEN = {
    "/", "/ui", "/ui/", "/docs", "/docs/", "/redoc", "/openapi.json", "/client/microphone.js", "/models", "/options",
    "/health", "/health/live", "/health/ready", "/metrics",
}  # fmt: skip
"""What anybody may see, at any time. Whoever adds to it gives something away."""


def new_app(tmp_path: Path, **settings: str) -> FastAPI:
    variables = {"VAD_MODEL": "unused", "VAD_TMP_DIR": str(tmp_path), **settings}
    return create_app(given_settings(variables))


@pytest.fixture
def locked(tmp_path: Path) -> FastAPI:
    return new_app(tmp_path, VAD_API_KEYS="a-key", VAD_RATE_LIMIT="2/minute", VAD_MAX_UPLOADS="1")


def ask(app: FastAPI, method: str, path: str, **headers: str) -> httpx.Response:
    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
            return await client.request(method, path, headers=headers)

    return asyncio.run(asked())


def all_routes(routes: Sequence[BaseRoute]) -> Iterator[BaseRoute]:
    """Those of routers that are included, too, which newer versions of FastAPI keep in one piece."""
    for route in routes:
        included = getattr(route, "original_router", None)
        if included is None:
            yield route
        else:
            yield from all_routes(included.routes)


def routes(app: FastAPI) -> Iterator[tuple[str, str]]:
    """A method and a path for each way into the application."""
    for route in all_routes(app.routes):
        if isinstance(route, Mount):
            yield "GET", f"{route.path}/index.html"
        elif isinstance(route, Route):
            for method in route.methods or ():
                yield method, route.path.replace("{", "").replace("}", "")
        else:
            assert isinstance(route, WebSocketRoute), f"{route}: what is it, and is it closed?"


def test_there_are_no_other_open_routes_than_those_listed(locked: FastAPI) -> None:
    found = {path for _, path in routes(locked) if policy_of(path).open}
    folders = {path for path in found if path.startswith(("/ui/", "/docs/"))}
    assert found - folders <= OPEN
    assert len(found) >= 10


def test_every_closed_route_asks_for_a_key(locked: FastAPI) -> None:
    closed = {(method, path) for method, path in routes(locked) if not policy_of(path).open}
    assert {"/vad", "/render", "/sample.wav", "/vad/filename", "/v1/audio/speech/timestamps"} <= {p for _, p in closed}
    for method, path in closed:
        assert ask(locked, method, path).status_code == 401, (method, path)


def test_every_websocket_asks_for_a_key(locked: FastAPI) -> None:
    paths = {route.path for route in all_routes(locked.routes) if isinstance(route, WebSocketRoute)}
    assert paths >= {"/vad/stream", "/v1/realtime"}
    client = TestClient(locked)
    for path in paths:
        with pytest.raises(WebSocketDisconnect), client.websocket_connect(path):
            pass


def add_later(app: FastAPI) -> None:
    """Routes of somebody who knows nothing of the list."""

    @app.get("/added/later")
    async def later() -> str:
        return "done"

    @app.websocket("/added/stream")
    async def stream(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close()


def test_a_route_that_is_added_later_is_closed(locked: FastAPI) -> None:
    add_later(locked)
    assert ask(locked, "GET", "/added/later").status_code == 401
    answers = [ask(locked, "GET", "/added/later", **KEY).status_code for _ in range(3)]
    assert answers == [200, 200, 429], "it counts against the rate limit"
    with pytest.raises(WebSocketDisconnect), TestClient(locked).websocket_connect("/added/stream"):
        pass


def test_a_route_that_is_added_later_passes_admission(tmp_path: Path) -> None:
    app = new_app(tmp_path, VAD_MAX_UPLOADS="1")
    add_later(app)
    assert ask(app, "GET", "/added/later").status_code == 200
    admission = app.state.service.admission
    held = [admission.arrive(Holder("127.0.0.1"))]
    with pytest.raises(Overloaded):
        admission.arrive(Holder("127.0.0.1"))
    assert ask(app, "GET", "/added/later").json()["code"] == "overloaded"
    assert ask(app, "GET", "/health/live").status_code == 200
    for lease in held:
        lease.end()
    assert ask(app, "GET", "/added/later").status_code == 200


@pytest.mark.parametrize(
    "path", ["/nowhere", "/models/", "/uix", "/health/x", "/metricsx", "/docs.html", "//", "/ui", "", "/UI/", "/./"]
)
def test_what_only_looks_like_an_open_path_is_none(path: str) -> None:
    assert policy_of(path).open == (path == "/ui")


def test_no_way_leads_out_of_the_open_folders(server: RunningServer) -> None:
    """Routes take a path as it comes: what begins with an open folder reaches nothing but its files."""
    for path in ("/ui/../vad", "/ui/%2e%2e/vad", "/ui//vad", "/docs/../analyses/x/segments"):
        with connect(server) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert status_of(answer_of(connection)) == 404


@pytest.mark.parametrize("mount", [True, False])
def test_a_prefix_opens_nothing_and_closes_nothing(locked: FastAPI, mount: bool) -> None:
    """Below another application, or behind a proxy that names its prefix, the routes are the same."""
    if mount:
        app = FastAPI()
        app.mount("/speech", locked)
    else:
        app = locked
        app.root_path = "/speech"
    for path, status in (("/speech/health/live", 200), ("/speech/models", 503), ("/speech/vad", 401)):
        assert ask(app, "POST" if "vad" in path else "GET", path).status_code == status


@pytest.mark.parametrize("where", ["route", "answer"])
def test_an_unforeseen_error_is_answered_logged_and_counted_as_such(
    tmp_path: Path, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = new_app(tmp_path)

    def fail() -> None:
        raise ZeroDivisionError("secret")

    def made(action: Callable[[], None]) -> None:
        @app.get("/fails")
        async def fails() -> object:
            if where == "route":
                action()
            return {"value": object()}  # cannot be written as JSON

    made(fail)
    answer = ask(app, "GET", "/fails", **{"X-Request-ID": "find-me"})
    assert (answer.status_code, answer.json()["code"], answer.json()["request_id"]) == (500, "internal", "find-me")
    assert answer.headers["x-request-id"] == "find-me"
    assert answer.headers["cache-control"] == "no-store"
    assert "secret" not in answer.text
    counted = app.state.service.metrics.text().decode()
    assert 'http_requests_total{method="GET",path="/fails",status="500"} 1.0' in counted
