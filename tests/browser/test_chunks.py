"""Chunks and presets on the page."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.card import CardView, upload
from tests.browser.conftest import OpenPage
from tests.server import RunningServer
from tests.waiting import eventually

HEADINGS = "heads => heads.map(head => head.textContent)"


@pytest.fixture
def card(server: RunningServer, open_page: OpenPage, speech_like: Path) -> CardView:
    shown = upload(open_page(server.url), speech_like)
    shown.await_segments(2)
    return shown


def test_chunks_are_counted_in_a_column_and_gone_with_the_option(card: CardView) -> None:
    card.root.locator("details summary").first.click()
    before = card.timeline.screenshot()
    card.set_option("max_chunk_s", 3)
    expect(card.root).to_have_attribute("data-chunks", "2")
    assert card.root.locator("thead th").evaluate_all(HEADINGS)[-1] == "Chunk"
    expect(card.rows.nth(1).locator("td").last).to_have_text("2")
    expect(card.root.locator(".summary dd").first).to_have_text("2 (2 chunks)")
    expect(card.root.locator(".command code")).to_contain_text("max_chunk_s=3")
    eventually(lambda: card.timeline.screenshot() != before)  # brackets
    card.option("max_chunk_s").fill("")
    card.option("max_chunk_s").press("Enter")
    expect(card.root).to_have_attribute("data-chunks", "")
    assert "Chunk" not in card.root.locator("thead th").evaluate_all(HEADINGS)
    expect(card.root.locator(".command code")).not_to_contain_text("max_chunk_s")


def test_a_preset_fills_the_settings_in(card: CardView) -> None:
    chooser = card.root.locator("select[data-preset]")
    assert chooser.locator("option").count() == 7
    chooser.select_option("asr")
    expect(card.root).to_have_attribute("data-chunks", "1")
    expect(card.option("speech_pad_ms")).to_have_value("200")
    expect(card.root.locator(".command code")).to_contain_text("mode=tight")
    chooser.select_option("")
    expect(card.root).to_have_attribute("data-chunks", "")
    expect(card.root.locator(".command code")).not_to_contain_text("mode=")
