"""axe-core finds nothing to object to, in either language, theme and state of the page."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.card import upload
from tests.browser.conftest import OpenPage
from tests.conftest import ROOT
from tests.server import RunningServer, local_server

AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
WIDTHS = (320, 390, 820, 1280)
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture(autouse=True)
def _axe_is_here() -> None:
    if not AXE.is_file():
        pytest.skip("axe-core is not installed (npm ci in web/)")


def violations(page: Page) -> list[dict[str, Any]]:
    """What axe-core objects to, briefly."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("rules => axe.run(document, {runOnly: rules})", RULES)
    assert found["passes"], "nothing was looked at"
    return [
        {"rule": one["id"], "where": [node["target"] for node in one["nodes"]], "help": one["help"]}
        for one in found["violations"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("locale", ["zh-CN", "en-US"])
def test_no_violation(server: RunningServer, open_page: OpenPage, speech_like: Path, locale: str, scheme: str) -> None:
    page = open_page(server.url, locale=locale, color_scheme=scheme, bypass_csp=True)
    assert violations(page) == []
    card = upload(page, speech_like)
    card.await_segments(2)
    card.rows.nth(0).click()
    card.root.locator("button.compare").click()
    expect(card.root.locator(".comparison")).to_be_visible()
    card.root.get_by_role("button", name=re.compile("Start correcting|开始校正")).click()
    card.timeline.focus()
    page.keyboard.press("+")
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert violations(page) == [], width
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width, "it scrolls sideways"


@pytest.fixture(scope="module")
def two_models(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A choice of two."""
    models = {"VAD_MODELS": f"one={small_model},other={small_model}"}
    with local_server(f"one={small_model}", tmp_path_factory.mktemp("two"), models) as server:
        yield server


@pytest.mark.parametrize(("locale", "scheme"), [("en-US", "dark"), ("zh-CN", "light")])
def test_no_violation_among_settings(
    two_models: RunningServer, open_page: OpenPage, speech_like: Path, locale: str, scheme: str
) -> None:
    page = open_page(two_models.url, bypass_csp=True, locale=locale, color_scheme=scheme)
    page.locator(".intake button").nth(2).click()
    page.locator(".listen summary").first.click()
    card = upload(page, speech_like)
    card.await_segments(2)
    card.root.locator(".settings > .options summary").click()
    assert violations(page) == []
    card.choose_mode("tight")
    card.set_option("neg_threshold", 0.9)
    expect(card.root.locator('[data-row="neg_threshold"]').get_by_role("alert")).to_be_visible()
    assert violations(page) == []


@pytest.mark.parametrize(("locale", "scheme"), [("en-US", "light"), ("zh-CN", "dark")])
def test_no_violation_where_things_go_wrong(
    server: RunningServer, open_page: OpenPage, tmp_path: Path, locale: str, scheme: str
) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_text("not audio")
    phone = {"width": 390, "height": 844}
    page = open_page(server.url, bypass_csp=True, viewport=phone, locale=locale, color_scheme=scheme)
    card = upload(page, bad)
    expect(card.root.get_by_role("alert").first).to_be_visible()
    page.locator(".intake button").nth(2).click()
    page.locator(".listen summary").first.click()
    assert violations(page) == []
