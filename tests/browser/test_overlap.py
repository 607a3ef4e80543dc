"""A model that tells when several people talk at once: asked for by a switch, shown as a lane."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from playwright.sync_api import expect

from tests.browser.card import CardView, upload
from tests.browser.conftest import OpenPage
from tests.server import RunningServer, local_server
from tests.small_pyannote import write_small_pyannote


@pytest.fixture(scope="module")
def windows(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A model that tells it beside one that does not."""
    folder = tmp_path_factory.mktemp("windows")
    settings = {"VAD_MODELS": f"windows={write_small_pyannote(folder / 'windows')}"}
    with local_server(f"small={small_model}", folder, settings) as server:
        yield server


@pytest.fixture
def card(windows: RunningServer, open_page: OpenPage, speech_like: Path) -> CardView:
    """An answer of that model."""
    shown = upload(open_page(windows.url), speech_like)
    shown.await_segments(2)
    expect(shown.option("overlap")).to_have_count(0)
    shown.models.select_option("windows")
    shown.expect_made_by("windows", "tight")
    return shown


def _lanes(card: CardView) -> str:
    return card.root.locator("canvas.over").get_attribute("data-lanes") or ""


def test_the_switch_is_in_sight_and_needs_no_second_upload(card: CardView) -> None:
    asked: list[tuple[str, dict[str, str]]] = []
    card.page.on("request", lambda made: asked.append((made.method, dict(parse_qsl(urlsplit(made.url).query)))))
    expect(card.option("overlap")).to_be_visible()
    expect(card.option("overlap_threshold")).to_have_count(0)
    card.option("overlap").check()
    expect(card.root.locator(".summary")).to_contain_text("Several at once")
    expect(card.option("overlap_threshold")).to_have_value("0.13")
    expect(card.root.locator(".command code")).to_contain_text("overlap=true")
    assert [query.get("overlap") for method, query in asked if method == "GET" and "format" in query] == ["true"]
    assert "POST" not in [method for method, _ in asked]
    card.set_option("overlap_threshold", 0.02)
    expect(card.root.locator("canvas.over")).to_have_attribute("data-lanes", "null/speech null/overlap")


def test_it_stays_asked_for_in_another_mode_and_is_not_asked_of_another_model(card: CardView) -> None:
    card.option("overlap").check()
    card.choose_mode("binarize")
    card.expect_made_by("windows", "binarize")
    expect(card.option("overlap")).to_be_checked()
    expect(card.root.locator(".command code")).to_contain_text("mode=binarize&overlap=true")
    card.models.select_option("small")
    card.expect_made_by("small", "binarize")
    expect(card.option("overlap")).to_have_count(0)
    expect(card.root.locator(".command code")).not_to_contain_text("overlap")
    card.models.select_option("windows")
    expect(card.option("overlap")).to_be_checked()
    card.root.get_by_role("button", name="Reset").click()
    card.expect_made_by("small", "endpoint")
