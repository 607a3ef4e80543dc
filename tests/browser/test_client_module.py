"""`/client/microphone.js` in a page of its own and of another origin, with a file for a microphone."""

import functools
import http.server
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import soundfile
from playwright.sync_api import Browser, Page, Playwright, WebSocketRoute

from tests.browser.conftest import launched
from tests.server import RunningServer, local_server
from tests.signals import bursts

LISTEN = """async ([address, options, seconds]) => {
  const { listen } = await import(address)
  const messages = []
  const listening = await listen({ ...options, onmessage: (message) => messages.push(message) })
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000))
  if (options.changed) listening.change(options.changed)
  await listening.stop()
  return messages
}"""


@pytest.fixture(scope="module")
def hearing(
    playwright_driver: Playwright, chromium_path: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Browser]:
    """A browser that hears half a second of sound in every one and a half, for as long as it listens."""
    sound = tmp_path_factory.mktemp("microphone") / "bursts.wav"
    soundfile.write(sound, bursts(60.0, [(at + 1.0, at + 1.5) for at in (1.5 * n for n in range(38))]), 48_000 // 3)
    with launched(playwright_driver, chromium_path, sound) as browser:
        yield browser


@pytest.fixture
def page(hearing: Browser) -> Iterator[Page]:
    context = hearing.new_context()
    yield context.new_page()
    context.close()


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The origin of somebody else's page."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "index.html").write_text("<!doctype html><title>Elsewhere</title>")
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the base names it
        """Nothing."""


def heard(page: Page, url: str, seconds: float, **options: Any) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = page.evaluate(LISTEN, [f"{url}/client/microphone.js", options, seconds])
    return messages


def kinds(messages: list[dict[str, Any]]) -> set[str]:
    return {message["type"] for message in messages}


def test_a_page_hears_speech(server: RunningServer, page: Page) -> None:
    page.goto(f"{server.url}/health")
    options = {"mode": "tight", "min_silence_duration_ms": 200}
    messages = heard(page, server.url, 6, options=options, changed={"threshold": 0.6})
    assert kinds(messages) >= {"ready", "speech_start", "speech_end", "options", "pong", "done"}
    (done,) = [message for message in messages if message["type"] == "done"]
    assert len(done["segments"]) >= 2
    assert done["duration_ms"] >= 4_000
    starts = [segment["start_ms"] for segment in done["segments"]]
    assert all(abs(later - earlier - 1_500) < 200 for earlier, later in pairwise(starts))


def test_a_page_of_another_origin_hears_it_where_it_is_let_in(
    page: Page, elsewhere: str, small_model: Path, tmp_path: Path
) -> None:
    settings = {"VAD_CORS_ORIGINS": elsewhere, "VAD_API_KEYS": "sesame"}
    with local_server(small_model, tmp_path, settings) as server:
        page.goto(elsewhere)
        assert "done" in kinds(heard(page, server.url, 3, key="sesame"))


def test_a_page_of_another_origin_is_refused(page: Page, elsewhere: str, server: RunningServer) -> None:
    page.goto(elsewhere)
    with pytest.raises(Exception, match="Failed to fetch dynamically imported module"):
        heard(page, server.url, 1)


def test_a_refusal_is_an_error(page: Page, server: RunningServer) -> None:
    page.goto(f"{server.url}/health")
    with pytest.raises(Exception, match="there is no such mode"):
        heard(page, server.url, 1, options={"mode": "nonsense"})


def test_a_connection_that_breaks_is_taken_up_again(page: Page, server: RunningServer) -> None:
    broken: list[WebSocketRoute] = []

    def break_the_first(route: WebSocketRoute) -> None:
        service = route.connect_to_server()
        sent = 0

        def on_message(message: "str | bytes") -> None:
            nonlocal sent
            sent += 1
            if sent == 100 and not broken:
                broken.append(route)
                service.close(code=4_000)
                route.close(code=4_000)
            elif sent < 100 or route not in broken:
                service.send(message)

        route.on_message(on_message)

    page.route_web_socket("**/vad/stream*", break_the_first)
    page.goto(f"{server.url}/health")
    messages = heard(page, server.url, 6)
    ready = [message for message in messages if message["type"] == "ready"]
    (done,) = [message for message in messages if message["type"] == "done"]
    assert len(broken) == 1
    assert len(ready) == 2
    assert len({message["session"] for message in ready}) == 1
    assert ready[1]["offset_ms"] > 1_000
    assert done["duration_ms"] >= 4_000
    numbers = [message["seq"] for message in messages if message["type"] not in ("ready", "pong")]
    assert numbers == list(range(1, len(numbers) + 1))
