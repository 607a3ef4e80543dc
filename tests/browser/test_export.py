"""Every format downloads, and can be read."""

import io
import json
import zipfile
from pathlib import Path

import pytest
import soundfile
import srt
import webvtt
from playwright.sync_api import expect
from praatio import textgrid

from tests.browser.card import CardView, upload
from tests.browser.conftest import OpenPage
from tests.server import RunningServer


@pytest.fixture
def card(server: RunningServer, open_page: OpenPage, speech_like: Path) -> CardView:
    """Two segments, under settings that are not the defaults."""
    shown = upload(open_page(server.url), speech_like)
    shown.await_segments(2)
    shown.set_option("max_end_silence_time", 500)
    expect(shown.root.locator(".command code")).to_contain_text("max_end_silence_time=500")
    shown.await_segments(2)
    return shown


def test_text_formats(card: CardView) -> None:
    expected = card.table_ms()
    starts = [start for start, _ in expected]
    name, content = card.export("json")
    assert name == "bursts.json"
    document = json.loads(content)
    assert [(one["start_ms"], one["end_ms"]) for one in document["segments"]] == expected
    assert document["options"]["max_end_silence_time"] == 500
    assert [tuple(one) for one in json.loads(card.export("funasr")[1])[0]["value"]] == expected
    assert len(card.export("csv")[1].decode("utf-8-sig").splitlines()) == 3
    labels = [line.split("\t") for line in card.export("audacity")[1].decode().splitlines()]
    assert [round(float(one[0]) * 1000) for one in labels] == starts
    rttm = [line.split() for line in card.export("rttm")[1].decode().splitlines()]
    assert [round(float(one[3]) * 1000) for one in rttm] == starts
    subtitles = list(srt.parse(card.export("srt")[1].decode()))
    assert [round(one.start.total_seconds() * 1000) for one in subtitles] == starts
    assert len(list(webvtt.from_string(card.export("vtt")[1].decode()))) == 2


def test_markdown_is_in_the_page_s_language(card: CardView) -> None:
    name, content = card.export("md")
    assert name == "bursts.md"
    assert content.decode().isascii()
    card.page.get_by_role("button", name="中文").click()
    assert "片段序号" in card.export("md")[1].decode()


def test_textgrid(card: CardView, tmp_path: Path) -> None:
    name, content = card.export("textgrid")
    (tmp_path / name).write_bytes(content)
    grid = textgrid.openTextgrid(str(tmp_path / name), includeEmptyIntervals=False)
    assert [len(tier.entries) for tier in grid.tiers] == [2]


def test_what_needs_the_audio_is_made_from_it(card: CardView) -> None:
    expected = card.table_ms()
    lines = [json.loads(line) for line in card.export("ndjson")[1].splitlines()]
    assert [(one["start_ms"], one["end_ms"]) for one in lines if one["type"] == "segment"] == expected
    name, content = card.export("wav")
    assert name == "bursts.speech.wav"
    assert soundfile.info(io.BytesIO(content)).frames == sum(end - start for start, end in expected) * 16
    with zipfile.ZipFile(io.BytesIO(card.export("zip")[1])) as archive:
        assert len([entry for entry in archive.namelist() if entry.endswith(".wav")]) == 2
    expect(card.root.locator("progress")).to_be_hidden()


def test_the_command_line_is_copied(server: RunningServer, open_page: OpenPage, speech_like: Path) -> None:
    page = open_page(server.url, permissions=["clipboard-read", "clipboard-write"])
    card = upload(page, speech_like)
    card.await_segments(2)
    card.root.get_by_role("button", name="Copy", exact=True).click()
    expect(card.root.get_by_role("button", name="Copied")).to_be_visible()
    copied = page.evaluate("() => navigator.clipboard.readText()")
    assert copied == f"curl -F 'file=@\"bursts.wav\"' '{server.url}/vad'"
