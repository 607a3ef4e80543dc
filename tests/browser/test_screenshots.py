"""Pictures of the page, kept in artifacts/screenshots/ for people to look at."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.card import upload
from tests.browser.conftest import OpenPage
from tests.conftest import ROOT
from tests.server import RunningServer, local_server
from tests.waiting import eventually

SHOTS = ROOT / "artifacts" / "screenshots"
LOOKS = {
    "light": {"locale": "en-US", "color_scheme": "light"},
    "dark": {"locale": "en-US", "color_scheme": "dark"},
    "chinese": {"locale": "zh-CN", "color_scheme": "light"},
    "phone": {"locale": "zh-CN", "color_scheme": "dark", "viewport": {"width": 390, "height": 844}, "has_touch": True},
}


def shoot(page: Page, name: str) -> bytes:
    """The whole page as a PNG, kept."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    # A picture shows the page at rest, and from its beginning: what keeps in sight stands in its own place then.
    page.mouse.move(0, 0)
    page.evaluate("() => window.scrollTo(0, 0)")
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return page.screenshot(path=SHOTS / f"{name}.png", full_page=True)


@pytest.fixture(scope="module")
def full_server(published_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """The published model, and what else is at hand."""
    model = f"fsmn={published_model}"
    with local_server(model, tmp_path_factory.mktemp("full"), {"VAD_MODELS": "auto"}) as server:
        yield server


@pytest.fixture
def example(reference: Path) -> Path:
    """70 s of speech in 12 segments."""
    return reference / "audio" / "vad_example.wav"


@pytest.mark.reference
@pytest.mark.parametrize("look", LOOKS)
def test_pictures(full_server: RunningServer, open_page: OpenPage, example: Path, look: str) -> None:
    page = open_page(full_server.url, **LOOKS[look])
    card = upload(page, example)
    card.await_segments(12)
    eventually(card.region_pixels)
    assert len(shoot(page, look)) > 50_000, "there is little to be seen"


@pytest.mark.reference
def test_picture_of_a_comparison_with_corrections(
    full_server: RunningServer, open_page: OpenPage, example: Path
) -> None:
    page = open_page(full_server.url)
    card = upload(page, example)
    card.await_segments(12)
    page.get_by_role("button", name="Compare settings").click()
    card.choose_mode("tight")
    expect(card.root.locator(".comparison")).not_to_have_attribute("data-agreement", "1.0000")
    page.get_by_role("button", name="Start correcting").click()
    assert len(shoot(page, "compare")) > 50_000, "there is little to be seen"


@pytest.mark.reference
def test_picture_of_many_files(
    full_server: RunningServer, open_page: OpenPage, example: Path, speech_like: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "letter.wav"
    bad.write_text("Dear Sir or Madam")
    page = open_page(full_server.url)
    upload(page, example, speech_like, bad).await_segments(12)
    expect(page.locator('.files tbody tr[data-state="done"]')).to_have_count(2)
    assert len(shoot(page, "files")) > 50_000, "there is little to be seen"


def test_picture_of_the_first_five_seconds(server: RunningServer, open_page: OpenPage) -> None:
    page = open_page(server.url)
    expect(page.locator(".facts")).to_contain_text("kinds of files")
    assert len(shoot(page, "empty")) > 10_000, "there is little to be seen"
