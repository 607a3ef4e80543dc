"""Recording and live detection, with a file for a microphone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile
from playwright.sync_api import Browser, Playwright, expect

from tests.browser.card import LONG_MS, last_card
from tests.browser.conftest import OpenPage, launched, pages_of
from tests.server import RunningServer
from tests.signals import bursts


@pytest.fixture(scope="module")
def hearing(
    playwright_driver: Playwright, chromium_path: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Browser]:
    """A browser that hears a second of sound every three, for as long as it listens."""
    sound = tmp_path_factory.mktemp("microphone") / "bursts.wav"
    soundfile.write(sound, bursts(60.0, [(at, at + 1.0) for at in range(1, 60, 3)]), 16_000, subtype="PCM_16")
    with launched(playwright_driver, chromium_path, sound) as browser:
        yield browser


@pytest.fixture
def open_page(hearing: Browser) -> Iterator[OpenPage]:
    """Pages of the browser that hears."""
    with pages_of(hearing) as opener:
        yield opener


def test_a_recording_becomes_a_file(server: RunningServer, open_page: OpenPage) -> None:
    page = open_page(server.url)
    page.get_by_role("button", name="Record").click()
    panel = page.locator(".listen")
    panel.get_by_role("button", name="Start").click()
    expect(panel.locator(".time")).to_contain_text("0:05.", timeout=LONG_MS)
    panel.get_by_role("button", name="Stop").click()
    card = last_card(page)
    expect(card.root).to_have_attribute("data-segments", "2", timeout=LONG_MS)
    expect(card.root.locator("h2")).to_contain_text("recording-")
    expect(card.root.locator(".meta")).to_contain_text("WAV PCM_16")
    starts, ends = zip(*card.table_ms(), strict=True)
    assert starts[1] - starts[0] == pytest.approx(3000, abs=200)
    assert ends[0] < starts[1]


def test_segments_appear_while_one_speaks(server: RunningServer, open_page: OpenPage) -> None:
    page = open_page(server.url)
    page.get_by_role("button", name="Live").click()
    panel = page.locator(".listen")
    panel.get_by_role("button", name="Start").click()
    # Found while the microphone is still open.
    expect(panel).to_have_attribute("data-segments", "2", timeout=LONG_MS)
    expect(panel.get_by_role("button", name="Stop")).to_be_visible()
    panel.get_by_role("button", name="Stop").click()
    expect(panel.locator('.state[data-state="liveDone"]')).to_be_visible(timeout=LONG_MS)
    found = panel.locator("tbody tr").all_inner_texts()
    assert len(found) >= 2
    assert "NaN" not in "".join(found)
    # The same sound as a file is cut at the same places.
    panel.get_by_role("button", name="Open as a file").click()
    card = last_card(page)
    card.await_segments(len(found))
    assert card.rows.all_inner_texts() == found


def test_live_with_a_key(server: RunningServer, open_page: OpenPage, small_model: Path, tmp_path: Path) -> None:
    from tests.server import running_server

    with running_server(small_model, tmp_path, {"VAD_API_KEYS": "open-sesame"}) as guarded:
        page = open_page(guarded.url)
        page.get_by_role("button", name="Live").click()
        panel = page.locator(".listen")
        panel.get_by_role("button", name="Start").click()
        field = panel.get_by_label("API key")
        field.fill("open-sesame", timeout=LONG_MS)
        field.press("Enter")
        expect(panel).to_have_attribute("data-segments", "1", timeout=LONG_MS)


def test_without_a_secure_page_the_reason_is_told(server: RunningServer, open_page: OpenPage) -> None:
    page = open_page(server.url)
    page.evaluate("() => Object.defineProperty(window, 'isSecureContext', {value: false})")
    page.get_by_role("button", name="Record").click()
    page.locator(".listen").get_by_role("button", name="Start").click()
    expect(page.locator(".listen").get_by_role("alert")).to_contain_text("only on HTTPS or localhost")


def test_a_microphone_that_is_not_allowed(server: RunningServer, open_page: OpenPage) -> None:
    page = open_page(server.url)
    page.evaluate(
        """() => {
            navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('no', 'NotAllowedError'));
        }"""
    )
    page.get_by_role("button", name="Live").click()
    page.locator(".listen").get_by_role("button", name="Start").click()
    expect(page.locator(".listen").get_by_role("alert")).to_contain_text("not allowed")
    expect(page.locator(".listen").get_by_role("button", name="Start")).to_be_enabled()
