"""The page of a service whose model could not be had."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from app.config import DEFAULT_MODEL
from tests.browser.card import upload
from tests.browser.conftest import OpenPage
from tests.browser.offered import expect_service_s_options
from tests.server import RunningServer, running_server

pytest.importorskip("silero_vad", reason="the package silero-vad is not installed")


@pytest.fixture(scope="module")
def fallen_back(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("fallback")
    settings = {
        "MODELSCOPE_CACHE": str(folder / "cache"),
        "MODELSCOPE_ENDPOINT": "http://127.0.0.1:9",
        "VAD_FALLBACK_MODEL": "silero",
    }
    with running_server(Path(DEFAULT_MODEL), folder, settings) as server:
        yield server


def test_the_page_says_which_model_serves(fallen_back: RunningServer, open_page: OpenPage) -> None:
    page = open_page(fallen_back.url)
    notice = page.locator("main .notice")
    notice.wait_for()
    assert "silero-vad" in notice.inner_text()
    assert "fsmn-vad model download" in notice.inner_text()
    assert "silero-vad" in page.locator("footer").inner_text()


def test_it_is_said_once(fallen_back: RunningServer, open_page: OpenPage, speech_like: Path) -> None:
    card = upload(open_page(fallen_back.url), speech_like)
    card.expect_made_by("silero", "tight")
    expect(card.page.get_by_text("model download")).to_have_count(1)
    expect(card.root.locator('[data-code="fallback_model"]')).to_have_count(0)


def test_its_own_defaults_are_shown(fallen_back: RunningServer, open_page: OpenPage, speech_like: Path) -> None:
    card = upload(open_page(fallen_back.url), speech_like)
    card.expect_made_by("silero", "tight")
    expect(card.root.locator('input[type=radio][value="tight"]')).to_be_checked()
    expect_service_s_options(fallen_back, card, "silero", "tight")
    card.choose_mode("endpoint")
    expect_service_s_options(fallen_back, card, "silero", "endpoint")
    expect(card.option("speech_noise_thres")).to_have_value("0")


def test_it_says_nothing_when_the_model_serves(server: RunningServer, open_page: OpenPage) -> None:
    page = open_page(server.url)
    page.locator("footer span").first.wait_for()
    assert page.locator("main .notice").count() == 0
