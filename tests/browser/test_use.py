"""Keyboard, playback, languages, looks, phones; keys that are asked for, analyses that are gone."""

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from app.api.pages import STATIC
from app.audio.options import InputOptions
from app.formats.registry import FORMATS
from app.presets import PRESETS
from app.registry import Registry
from app.request import OVERLAP
from app.vad.chunks import ChunkOptions
from tests.browser.card import CardView, upload
from tests.browser.conftest import OpenPage
from tests.conftest import ROOT
from tests.server import RunningServer, running_server
from tests.waiting import eventually

PAGE_WEIGHT = 120 * 1024
"""Gzipped; the API's reference apart."""


@pytest.fixture
def card(server: RunningServer, open_page: OpenPage, speech_like: Path) -> CardView:
    """Two segments."""
    shown = upload(open_page(server.url), speech_like)
    shown.await_segments(2)
    shown.expect_regions(2)
    return shown


def span(card: CardView) -> float:
    start, end = card.view_ms()
    return end - start


def _expect_time(card: CardView, clock: str) -> None:
    expect(card.root.locator(".toolbar .time")).to_have_text(re.compile(rf"^{re.escape(clock)} /"))


def test_a_region_is_played_to_its_end_and_its_row_marked(card: CardView) -> None:
    card.click_at(7_000)
    expect(card.root.locator('tr[aria-current="true"] td').first).to_have_text("2")
    expect(card.root.get_by_role("button", name="Pause")).to_be_visible()
    end = card.rows.nth(1).locator("td").nth(2).inner_text()
    expect(card.root.get_by_role("button", name="Play", exact=True)).to_be_visible(timeout=10_000)
    _expect_time(card, end)


_COLOUR = """(canvas, [x, y]) => {
    const ratio = canvas.width / canvas.clientWidth;
    const copy = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
    copy.drawImage(canvas, -Math.round(x * ratio), -Math.round(y * ratio));
    return [...copy.getImageData(0, 0, 1, 1).data];
}"""


def test_a_row_is_bound_to_its_region(card: CardView) -> None:
    def colour(ms: float) -> list[int]:
        at = [card.x_of(ms), 24]
        return list(card.root.locator("canvas.over").evaluate(_COLOUR, at))

    first, second = colour(2_500), colour(6_500)
    assert first == second
    card.rows.nth(0).click()
    eventually(lambda: colour(2_500) != first)
    assert colour(6_500) == second


def test_keyboard_alone(card: CardView) -> None:
    keyboard = card.page.keyboard
    card.timeline.focus()
    for key in ("ArrowRight", "ArrowRight", "Shift+ArrowRight"):
        keyboard.press(key)
    _expect_time(card, "0:02.010")
    keyboard.press("Home")
    _expect_time(card, "0:00.000")
    keyboard.press("]")
    expect(card.root.locator('tr[aria-current="true"] td').first).to_have_text("1")
    assert card.view_ms() == (0, 10_000)
    keyboard.press("+")
    eventually(lambda: span(card) == pytest.approx(5_000))
    keyboard.press("0")
    eventually(lambda: card.view_ms() == (0, 10_000))
    keyboard.press("Space")
    expect(card.root.get_by_role("button", name="Pause")).to_be_visible()
    keyboard.press("Space")
    expect(card.root.get_by_role("button", name="Play", exact=True)).to_be_visible()


def test_a_table_is_one_stop_of_tab_arrows_move_in_it_and_enter_plays(card: CardView) -> None:
    keyboard = card.page.keyboard
    card.rows.nth(0).focus()
    keyboard.press("ArrowDown")
    expect(card.rows.nth(1)).to_be_focused()
    keyboard.press("Tab")
    expect(card.root.get_by_role("button", name="Start correcting")).to_be_focused()
    keyboard.press("Shift+Tab")
    expect(card.rows.nth(1)).to_be_focused()
    keyboard.press("ArrowUp")
    expect(card.rows.nth(0)).to_be_focused()
    keyboard.press("Enter")
    expect(card.rows.nth(0)).to_have_attribute("aria-current", "true")
    expect(card.root.get_by_role("button", name="Pause")).to_be_visible()


def test_both_languages(server: RunningServer, open_page: OpenPage, speech_like: Path) -> None:
    page = open_page(server.url, locale="zh-CN")
    card = upload(page, speech_like)
    card.await_segments(2)
    headings = card.root.locator("th")
    expect(headings).to_have_text(["序号", "开始时间", "结束时间", "时长", "概率"])
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    page.get_by_role("button", name="English").click()
    expect(headings).to_have_text(["No.", "Start", "End", "Duration", "Probability"])
    expect(page.locator("html")).to_have_attribute("lang", "en")
    assert re.findall(r"[\u4e00-\u9fff]+", page.locator("main").inner_text()) == []
    page.reload()
    expect(page.get_by_role("button", name="Choose files")).to_be_visible()


def test_looks_are_switched_and_remembered(server: RunningServer, open_page: OpenPage) -> None:
    page = open_page(server.url, color_scheme="dark")
    html = page.locator("html")
    expect(html).to_have_attribute("data-theme", "dark")
    page.get_by_role("button", name="Theme: system").click()
    expect(html).to_have_attribute("data-theme", "light")
    page.reload()
    expect(html).to_have_attribute("data-theme", "light")
    expect(page.get_by_role("button", name="Theme: light")).to_be_visible()


def test_a_phone_needs_no_sideways_scrolling(server: RunningServer, open_page: OpenPage, speech_like: Path) -> None:
    page = open_page(server.url, viewport={"width": 360, "height": 740}, device_scale_factor=3, has_touch=True)
    card = upload(page, speech_like)
    card.await_segments(2)
    assert page.evaluate("() => document.documentElement.scrollWidth") == 360
    for button in card.root.locator(".toolbar button:visible").all():
        box = button.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= 40


def test_a_file_whose_scores_are_gone_is_sent_again_without_a_word(
    small_model: Path, open_page: OpenPage, speech_like: Path, tmp_path: Path
) -> None:
    with running_server(small_model, tmp_path, {"VAD_MAX_ANALYSES": "1"}) as server:
        card = upload(open_page(server.url), speech_like)
        card.await_segments(2)
        with server.client() as client:
            client.post("/vad", params={"keep": True}, files={"file": speech_like.read_bytes()}).raise_for_status()
        card.set_option("max_end_silence_time", 3000)
        card.await_segments(1)
        expect(card.root.get_by_role("alert")).to_have_count(0)
        card.set_option("max_end_silence_time", 800)
        card.await_segments(2)


def test_a_service_that_keeps_nothing_is_asked_again(
    small_model: Path, open_page: OpenPage, speech_like: Path, tmp_path: Path
) -> None:
    with running_server(small_model, tmp_path, {"VAD_ANALYSES_MB": "0"}) as server:
        card = upload(open_page(server.url), speech_like)
        card.await_segments(2)
        expect(card.root.get_by_role("alert").last).to_contain_text("no room")
        card.set_option("max_end_silence_time", 3000)
        card.await_segments(1)
        assert card.export("csv")[0] == "bursts.csv"
        # When that fails, it is said, and goes on being said.
        card.page.route("**/vad?*", lambda route: route.abort())
        card.set_option("max_end_silence_time", 800)
        expect(card.root.get_by_role("alert").first).to_contain_text("cannot be reached")
        expect(card.root.locator(".progress")).to_be_hidden()
        expect(card.root.get_by_role("alert").first.get_by_role("button", name="Try again")).to_be_visible()


@pytest.fixture
def guarded(small_model: Path, tmp_path: Path) -> Iterator[RunningServer]:
    """A server that asks for a key."""
    with running_server(small_model, tmp_path, {"VAD_API_KEYS": "open-sesame"}) as running:
        yield running


def test_the_key_is_asked_for_when_it_is_needed(guarded: RunningServer, open_page: OpenPage, speech_like: Path) -> None:
    page = open_page(guarded.url)
    card = upload(page, speech_like)
    field = card.root.get_by_label("API key")
    field.fill("wrong")
    field.press("Enter")
    expect(field).to_have_value("")
    field.fill("open-sesame")
    field.press("Enter")
    card.await_segments(2)
    card.set_option("max_end_silence_time", 3000)
    card.await_segments(1)
    expect(card.root.locator(".command code")).to_contain_text("X-API-Key: $VAD_KEY")
    assert "sesame" not in page.evaluate("() => Object.values(localStorage).join()")


def test_the_footer_says_what_runs(server: RunningServer, open_page: OpenPage) -> None:
    footer = open_page(server.url).locator("footer")
    with server.client() as client:
        health = client.get("/health").json()
    expect(footer).to_contain_text(health["version"])
    expect(footer).to_contain_text(health["model"]["id"])


@pytest.mark.usefixtures("chromium_path")
def test_the_page_is_light() -> None:
    built = [path for path in STATIC.rglob("*") if path.is_file() and path.parent != STATIC / "docs"]
    files = [path for path in built if path.suffix not in (".gz", ".wav")]
    assert sum(len(gzip.compress(path.read_bytes())) for path in files) <= PAGE_WEIGHT
    assert {path.suffix for path in files} <= {".html", ".js", ".css", ".svg"}


def test_every_text_of_the_page_is_used() -> None:
    sources = {path.name: path.read_text() for path in (ROOT / "web" / "src").rglob("*.ts*")}
    keys = re.findall(r"^  (\w+): \[", sources.pop("texts.ts"), re.MULTILINE)
    assert len(keys) > 50
    code = "\n".join(sources.values())
    # Those of warnings are found by the warning's code.
    made = tuple(re.findall(r"`(\w+_)\$\{", code))
    assert [key for key in keys if not key.startswith(made) and not re.search(rf"\b{key}\b", code)] == []


def test_every_option_model_and_form_of_the_service_has_a_chinese_text() -> None:
    names = (ROOT / "web" / "src" / "text" / "names.ts").read_text()
    models = set(re.findall(r"^  '?([\w-]+)'?: \[", names.split("const MODELS")[1].split("};")[0], re.MULTILINE))
    assert {known.name for _, known in Registry.of([]).catalogue.known()} <= models
    told = json.loads((ROOT / "app" / "texts" / "options.json").read_text())
    segmenters = Registry.of([]).segmenters
    options = {option for _, kind in segmenters.variants() for option in kind.options.names()}
    assert options | {"channel", *ChunkOptions.names(), *InputOptions.model_fields, *OVERLAP} <= told["options"].keys()
    assert {preset.name for preset in PRESETS} == told["presets"].keys()
    assert set(segmenters.modes) == told["modes"].keys()
    forms = set(re.findall(r"^  (\w+): \['[^']*', '[^']*'\],$", names, re.MULTILINE))
    assert {form.name for form in FORMATS} <= forms
