"""axe-core finds nothing to object to, in either language, theme and state of the page."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from playwright.sync_api import Page, expect

from tests.browser.card import LONG_MS, CardView, upload
from tests.browser.conftest import OpenPage
from tests.conftest import ROOT
from tests.server import RunningServer, local_server
from tests.signals import bursts

AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
WIDTHS = (320, 820, 1280)
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture(autouse=True)
def _axe_is_here() -> None:
    if not AXE.is_file():
        pytest.skip("axe-core is not installed (npm ci in web/)")


def violations(page: Page) -> list[dict[str, Any]]:
    """What axe-core objects to, briefly; of what it is not sure of, a table's heads without cells too."""
    # What keeps in sight lies over what has been scrolled under it, and axe would measure the rest.
    page.evaluate("() => window.scrollTo(0, 0)")
    page.evaluate(AXE.read_text())
    found = page.evaluate("rules => axe.run(document, {runOnly: rules})", RULES)
    assert found["passes"], "nothing was looked at"
    doubted = [one for one in found["incomplete"] if one["id"] == "th-has-data-cells"]
    return [
        {"rule": one["id"], "where": [node["target"] for node in one["nodes"]], "help": one["help"]}
        for one in [*found["violations"], *doubted]
    ]


@pytest.fixture(scope="module")
def two_models(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A choice of two."""
    models = {"VAD_MODELS": f"one={small_model},other={small_model}"}
    with local_server(f"one={small_model}", tmp_path_factory.mktemp("two"), models) as server:
        yield server


@dataclass(frozen=True)
class Place:
    """What the states of the page are made from."""

    page: Page
    speech: Path
    folder: Path

    def answered(self) -> CardView:
        """A file with two segments."""
        card = upload(self.page, self.speech)
        card.await_segments(2)
        return card

    def file(self, name: str, content: str = "") -> Path:
        """A file that is no audio."""
        path = self.folder / name
        path.write_text(content)
        return path


def _empty(place: Place) -> None:
    place.page.locator(".facts summary").click()


def _answer(place: Place) -> None:
    card = place.answered()
    card.rows.nth(0).click()
    for fold in card.root.locator(".turn summary").all():
        fold.click()
    card.timeline.focus()
    place.page.keyboard.press("+")


def _comparison(place: Place) -> None:
    card = place.answered()
    card.root.locator("button.compare").first.click()
    card.choose_mode("tight")
    expect(card.root.locator(".comparison")).to_be_visible()


def _all_models(place: Place) -> None:
    card = place.answered()
    card.root.locator("button.compare").nth(1).click()
    expect(card.root.locator(".models tbody td:nth-of-type(3)")).to_have_text(["2", "2"], timeout=LONG_MS)
    card.root.locator(".corrections button.primary").click()
    expect(card.root.locator(".models thead th")).to_have_count(9)


def _correcting(place: Place) -> None:
    card = place.answered()
    card.root.locator(".corrections button.primary").click()
    time = card.root.locator(".marks tbody input").first
    time.fill("soon")
    time.press("Enter")
    expect(card.root.locator(".marks").get_by_role("alert")).to_be_visible()


def _several_files(place: Place) -> None:
    upload(place.page, place.speech, place.file("letter.wav", "Dear Sir"), place.file("empty.wav")).await_segments(2)
    expect(place.page.locator('.files tbody tr[data-state="failed"]')).to_have_count(2)


def _channels(place: Place) -> None:
    path = place.folder / "two.wav"
    soundfile.write(path, np.stack([bursts(10.0, [(2.0, 4.0)]), bursts(10.0, [(6.0, 8.0)])], axis=1), 16_000)
    card = upload(place.page, path)
    card.option("channel").select_option("split")
    expect(card.root.locator(".channels")).to_be_visible()


def _warnings(place: Place) -> None:
    path = place.folder / "cut.wav"
    path.write_bytes(place.speech.read_bytes()[:150_000])
    card = upload(place.page, path)
    expect(card.root.locator('.warnings [data-code="truncated"]')).to_be_visible(timeout=LONG_MS)


def _refusal(place: Place) -> None:
    card = place.answered()
    card.choose_mode("tight")
    card.set_option("neg_threshold", 0.9)
    expect(card.root.locator('[data-row="neg_threshold"]').get_by_role("alert")).to_be_visible()


def _error(place: Place) -> None:
    card = upload(place.page, place.file("letter.wav", "Dear Sir"))
    expect(card.root.get_by_role("alert").first).to_be_visible()
    expect(card.option("encoding")).to_be_visible()


def _live(place: Place) -> None:
    place.page.locator(".intake button").nth(2).click()
    place.page.locator(".listen summary").first.click()


def _listening(place: Place) -> None:
    place.page.locator(".intake button").nth(2).click()
    place.page.locator(".listen button.primary").click()
    expect(place.page.locator(".listen .time")).to_contain_text("0:0", timeout=LONG_MS)


def _keys(place: Place) -> None:
    place.answered()
    place.page.keyboard.press("?")


STATES = [
    _empty, _answer, _comparison, _all_models, _correcting, _several_files, _channels, _warnings, _refusal, _error,
    _live, _listening, _keys,
]  # fmt: skip


@pytest.mark.parametrize("locale", ["zh-CN", "en-US"])
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__.strip("_"))
def test_no_violation(
    two_models: RunningServer,
    open_page: OpenPage,
    speech_like: Path,
    tmp_path: Path,
    locale: str,
    state: Callable[[Place], None],
) -> None:
    # Each state is seen in both looks, each language in as many states of either.
    scheme = "dark" if STATES.index(state) % 2 == (locale == "zh-CN") else "light"
    page = open_page(two_models.url, locale=locale, color_scheme=scheme, bypass_csp=True)
    state(Place(page, speech_like, tmp_path))
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert violations(page) == [], width
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width, "it scrolls sideways"
