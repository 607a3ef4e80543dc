"""What one does is seen to have been done, and what cannot be done is said at the right place."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from playwright.sync_api import Page, Route, expect

from tests.browser.card import LONG_MS, CardView, upload
from tests.browser.conftest import OpenPage
from tests.server import RunningServer
from tests.signals import bursts
from tests.waiting import eventually

_PAINTED_SHARE = """canvas => {
    // Of the waveform's strip; lines of the ruler go through all of it, and are few.
    const {width} = canvas;
    const [top, height] = [20, 88].map(length => Math.round(length * canvas.width / canvas.clientWidth));
    const pixels = canvas.getContext('2d').getImageData(0, top, width, height).data;
    let rows = 0;
    for (let y = 0; y < height; y += 1) {
        let painted = 0;
        for (let x = 0; x < width; x += 1) if (pixels[4 * (width * y + x) + 3] > 0) painted += 1;
        if (painted > width / 20) rows += 1;
    }
    return rows / height;
}"""


def painted_share(card: CardView) -> float:
    """How much of the waveform's height has something in it."""
    return float(card.root.locator("canvas.ground").evaluate(_PAINTED_SHARE))


@pytest.mark.parametrize("level", [0.0, 1e-4])
def test_silence_looks_like_silence(server: RunningServer, open_page: OpenPage, tmp_path: Path, level: float) -> None:
    path = tmp_path / "quiet.wav"
    noise = np.random.default_rng(1).uniform(-level, level, 32_000)
    soundfile.write(path, noise, 16_000, subtype="PCM_16")
    card = upload(open_page(server.url), path)
    card.await_segments(0)
    assert 0 < painted_share(card) < 0.05


def test_sound_fills_the_height(server: RunningServer, open_page: OpenPage, speech_like: Path) -> None:
    card = upload(open_page(server.url), speech_like)
    card.await_segments(2)
    card.expect_regions(2)
    assert painted_share(card) > 0.9


def test_a_further_file_comes_into_view(
    server: RunningServer, open_page: OpenPage, speech_like: Path, tmp_path: Path
) -> None:
    page = open_page(server.url, viewport={"width": 1180, "height": 700})
    upload(page, speech_like).await_segments(2)
    expect(page.get_by_role("button", name="Choose files")).to_be_in_viewport()
    page.evaluate("() => scrollTo({top: document.body.scrollHeight, behavior: 'instant'})")
    bad = tmp_path / "letter.wav"
    bad.write_text("Dear Sir or Madam")
    expect(upload(page, bad).root.get_by_role("alert").first).to_be_in_viewport()
    page.evaluate("() => scrollTo({top: 0, behavior: 'instant'})")
    card = upload(page, speech_like)
    card.await_segments(2)
    expect(card.timeline).to_be_in_viewport(ratio=0.99)
    expect(page.locator(".files tbody tr")).to_have_count(3)


def _drop(page: Page, *paths: Path) -> None:
    # As the browser does it: a folder cannot be made by a script.
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}

    def dropped() -> bool:
        for kind in ("dragEnter", "dragOver", "dragOver", "drop"):
            session.send("Input.dispatchDragEvent", {"type": kind, "x": 300, "y": 300, "data": data})
            page.wait_for_timeout(50)
        for _ in range(20):
            if page.evaluate("window.dropped"):
                return True
            page.wait_for_timeout(100)
        return False

    page.evaluate("document.addEventListener('drop', () => (window.dropped = true))")
    # Again, as a hand would: a busy browser loses moves over a page that it has not shown yet.
    eventually(dropped)


def test_a_folder_is_opened_and_all_its_files_are_taken(
    server: RunningServer, open_page: OpenPage, speech_like: Path, tmp_path: Path
) -> None:
    page = open_page(server.url)
    folder = tmp_path / "recordings" / "monday"
    folder.mkdir(parents=True)
    for name in ("b.wav", ".hidden"):
        shutil.copy(speech_like, folder / name)
    shutil.copy(speech_like, folder.parent / "a.wav")
    _drop(page, folder.parent, speech_like)
    names = page.locator(".files tbody th")
    expect(names).to_have_text(["a.wav", "b.wav", speech_like.name])
    expect(page.locator('.files tbody tr[data-state="done"]')).to_have_count(3, timeout=LONG_MS)


def test_an_empty_folder_is_said_to_be_empty(server: RunningServer, open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page(server.url)
    (tmp_path / "nothing").mkdir()
    _drop(page, tmp_path / "nothing")
    expect(page.locator(".intake").get_by_role("alert")).to_have_text("There is no file in the folder “nothing”.")
    expect(page.get_by_text("cannot be reached")).to_have_count(0)


def _cancelled(page: Page, path: Path) -> CardView:
    page.route("**/vad?*", lambda route: None)
    card = upload(page, path)
    card.root.get_by_role("button", name="Cancel", exact=True).click()
    expect(card.root.get_by_role("alert").first).to_contain_text("Cancelled")
    page.unroute("**/vad?*")
    return card


def test_cancelling_is_no_fault(server: RunningServer, open_page: OpenPage, speech_like: Path) -> None:
    card = _cancelled(open_page(server.url), speech_like)
    alert = card.root.get_by_role("alert").first
    red, green, blue = map(int, re.findall(r"\d+", alert.evaluate("box => getComputedStyle(box).backgroundColor")))
    assert red <= green <= blue, "that is red"
    alert.get_by_role("button", name="Try again").click()
    card.await_segments(2)
    expect(alert).to_be_hidden()


def test_a_file_that_has_gone_is_not_blamed_on_the_service(
    server: RunningServer, open_page: OpenPage, speech_like: Path, tmp_path: Path
) -> None:
    path = tmp_path / "passing.wav"
    shutil.copy(speech_like, path)
    card = _cancelled(open_page(server.url), path)
    path.unlink()
    card.root.get_by_role("button", name="Try again").click()
    alert = card.root.get_by_role("alert").first
    expect(alert).to_contain_text("The file cannot be read")
    expect(alert.get_by_role("button")).to_have_count(0)


def test_reset_takes_the_mode_back_too(server: RunningServer, open_page: OpenPage, speech_like: Path) -> None:
    card = upload(open_page(server.url), speech_like)
    card.await_segments(2)
    command = card.root.locator(".command code")
    card.choose_mode("tight")
    card.set_option("speech_pad_ms", 200)
    expect(command).to_contain_text("mode=tight&speech_pad_ms=200")
    # What is changed is marked, and counted beside the button.
    expect(card.root.locator(".changed")).to_contain_text("Changed: 2")
    expect(card.root.locator('[data-row="speech_pad_ms"] .mark')).to_have_text("changed")
    card.root.get_by_role("button", name="Reset").click()
    expect(card.root.locator('input[type=radio][value="endpoint"]')).to_be_checked()
    expect(command).not_to_contain_text("?")
    card.await_segments(2)


@pytest.mark.parametrize("width", [360, 390, 820, 1180])
def test_headings_are_not_cut(server: RunningServer, open_page: OpenPage, speech_like: Path, width: int) -> None:
    page = open_page(server.url, viewport={"width": width, "height": 900})
    card = upload(page, speech_like)
    card.await_segments(2)
    cut = card.root.locator("th, td").evaluate_all(
        "cells => cells.filter(cell => cell.scrollWidth > cell.clientWidth).map(cell => cell.textContent)"
    )
    assert cut == []


@pytest.fixture
def cut_short(speech_like: Path, tmp_path: Path) -> Path:
    """The first half of a WAV, with one segment."""
    path = tmp_path / "cut.wav"
    path.write_bytes(speech_like.read_bytes()[: 44 + 5 * 32_000])
    return path


def test_a_file_that_is_cut_short_is_told_on_its_card(
    server: RunningServer, open_page: OpenPage, cut_short: Path
) -> None:
    card = upload(open_page(server.url), cut_short)
    card.await_segments(1)
    told = card.root.locator(".warnings li")
    expect(told).to_have_count(1)
    expect(told).to_have_attribute("data-code", "truncated")
    expect(told).to_contain_text("cut short")


def test_on_paper_it_is_light_and_has_nothing_to_press(
    server: RunningServer, open_page: OpenPage, cut_short: Path
) -> None:
    page = open_page(server.url, color_scheme="dark")
    card = upload(page, cut_short)
    card.await_segments(1)
    page.emulate_media(media="print")
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    expect(card.rows).to_have_count(1)
    expect(card.root.locator(".warnings")).to_be_visible()
    shown = page.locator("button:visible, select:visible, input:visible, .hint:visible")
    assert [one.inner_text() for one in shown.all() if "moment" not in (one.get_attribute("class") or "")] == [
        card.root.locator(".warnings .hint").inner_text()
    ]
    page.emulate_media(media="screen")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


@pytest.mark.parametrize(
    ("origin", "words"),
    [("recording", "pyannote.audio (MIT licence)"), ("synthetic", "a voice that this service made")],
)
def test_the_sample_says_what_it_is(server: RunningServer, open_page: OpenPage, origin: str, words: str) -> None:
    def as_told(route: Route) -> None:
        response = route.fetch()
        route.fulfill(response=response, headers={**response.headers, "x-vad-sample": origin})

    with server.client() as client:
        assert client.get("/sample.wav").headers["x-vad-sample"] in ("recording", "synthetic")
    page = open_page(server.url)
    page.route("**/sample.wav", as_told)
    page.get_by_role("button", name="Try a sample").click()
    expect(page.locator("article.card header")).to_contain_text(words)


def test_the_whole_of_a_long_file_needs_no_finer_data(
    server: RunningServer, open_page: OpenPage, tmp_path: Path
) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, np.tile(bursts(10.0, [(2.0, 4.0), (6.0, 8.0)]), 60), 16_000, subtype="PCM_16")
    page = open_page(server.url)
    asked: list[str] = []
    page.on("request", lambda made: asked.append(made.url) if "/curve" in made.url else None)
    card = upload(page, path)
    card.await_segments(120)
    eventually(lambda: len(card.region_pixels()) > 100)
    assert len(asked) == 1
    for _ in range(5):
        card.root.get_by_role("button", name="Zoom in").click()
    eventually(lambda: len(asked) > 1)
