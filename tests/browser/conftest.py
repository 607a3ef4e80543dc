"""A real browser against a real server; without one of them, or without the built page, the tests say so and skip."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="the playwright package is not installed")

from playwright.sync_api import Browser, BrowserContext, Page, Playwright  # noqa: E402

from app.api.pages import STATIC  # noqa: E402

_SWITCHES = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--mute-audio",
)

OpenPage = Callable[..., Page]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here is marked `browser`, and `full`."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.full)


@pytest.fixture(scope="package")
def chromium_path() -> str:
    """The browser's program."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("there is no chromium here")
    if not (STATIC / "index.html").is_file():
        pytest.skip("the page is not built (make page)")
    return path


@pytest.fixture(scope="package")
def playwright_driver(chromium_path: str) -> Iterator[Playwright]:
    """Playwright; ends with this package, because its event loop would be in the way of other tests' own."""
    with sync_api.sync_playwright() as driver:
        yield driver


@contextmanager
def launched(driver: Playwright, program: str, microphone: Path | None = None) -> Iterator[Browser]:
    """A browser whose microphone hears the WAV file `microphone`, over and over."""
    heard = [f"--use-file-for-fake-audio-capture={microphone}"] if microphone else []
    browser = driver.chromium.launch(executable_path=program, args=[*_SWITCHES, *heard])
    try:
        yield browser
    finally:
        browser.close()


@pytest.fixture(scope="package")
def browser(playwright_driver: Playwright, chromium_path: str) -> Iterator[Browser]:
    """One browser for all tests."""
    with launched(playwright_driver, chromium_path) as running:
        yield running


@contextmanager
def pages_of(browser: Browser) -> Iterator[OpenPage]:
    """`open_page(url, **context_options)`: the page of a server, in a profile of its own.

    In the end, whatever the page has complained of on its console, or has asked of another host, fails the test.
    """
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_page(url: str, **options: object) -> Page:
        settings = {"locale": "en-US", "viewport": {"width": 1180, "height": 1000}, **options}
        context = browser.new_context(**settings)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        _watch(page, url, complaints)
        page.goto(f"{url}/ui/")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """See `pages_of`."""
    with pages_of(browser) as opener:
        yield opener


def _watch(page: Page, url: str, complaints: list[str]) -> None:
    """Gather errors of the page, refusals of its policy, and requests to other hosts than `url`'s."""
    own = (f"{url}/", f"blob:{url}/", "data:")

    def on_console(message: sync_api.ConsoleMessage) -> None:
        # An answer of 4xx is told on the console too; the page shows it to the person, which is what is tested.
        told_to_the_person = ("Failed to load resource", "HTTP Authentication failed", "Unexpected response code")
        if message.type in ("error", "warning") and not any(part in message.text for part in told_to_the_person):
            complaints.append(message.text)

    def on_request(request: sync_api.Request) -> None:
        if not request.url.startswith(own):
            complaints.append(f"asked another host: {request.url}")

    def on_socket(socket: sync_api.WebSocket) -> None:
        if not socket.url.startswith(f"ws{url.removeprefix('http')}/"):
            complaints.append(f"asked another host: {socket.url}")

    page.on("console", on_console)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", on_request)
    page.on("websocket", on_socket)
