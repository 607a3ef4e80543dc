"""Many files; what is remembered; the first five seconds; the API's reference."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
import soundfile
from playwright.sync_api import Dialog, Page, expect

from tests.browser.card import LONG_MS, last_card, upload
from tests.browser.conftest import OpenPage
from tests.server import RunningServer
from tests.signals import bursts
from tests.waiting import eventually


@pytest.fixture
def twelve(tmp_path: Path, speech_like: Path) -> list[Path]:
    """Eleven good files and one that is none."""
    paths = [Path(shutil.copy(speech_like, tmp_path / f"file {number:02}.wav")) for number in range(11)]
    bad = tmp_path / "letter.wav"
    bad.write_text("Dear Sir or Madam")
    return [*paths, bad]


def test_twelve_files_take_little_room(server: RunningServer, open_page: OpenPage, twelve: list[Path]) -> None:
    page = open_page(server.url)
    upload(page, *twelve).await_segments(2)
    rows = page.locator(".files tbody tr")
    expect(rows).to_have_count(12)
    expect(page.locator('.files tbody tr[data-state="done"]')).to_have_count(11, timeout=LONG_MS)
    expect(rows.nth(11)).to_contain_text("Unsupported audio")
    expect(rows.nth(0).locator("td")).to_have_text(["0:10.000", "48.6%", "2", "", "Done", ""])
    page.get_by_role("button", name="Collapse").click()
    expect(page.locator("article.card")).to_have_count(0)
    assert page.evaluate("() => document.documentElement.scrollHeight") <= 1000
    rows.nth(3).get_by_role("button").first.click()
    expect(page.locator("article.card h2")).to_have_text("file 03.wav")


def test_all_are_downloaded_together(server: RunningServer, open_page: OpenPage, twelve: list[Path]) -> None:
    page = open_page(server.url)
    upload(page, *twelve)
    expect(page.locator('.files tbody tr[data-state="done"]')).to_have_count(11, timeout=LONG_MS)

    def downloaded(form: str) -> str:
        with page.expect_download() as waiting:
            page.locator(f'button[data-all="{form}"]').click()
        return Path(waiting.value.path()).read_text("utf-8-sig")

    documents = json.loads(downloaded("json"))
    assert [document["name"] for document in documents] == [f"file_{number:02}" for number in range(11)]
    table = downloaded("csv").splitlines()
    assert table[0].startswith("file,index,start_ms")
    assert len(table) == 1 + 22
    assert table[-1].startswith("file 10.wav,2,")
    assert len(downloaded("rttm").splitlines()) == 22


def test_settings_of_one_are_the_next_one_s_and_can_be_all_the_others(
    server: RunningServer, open_page: OpenPage, speech_like: Path, tmp_path: Path
) -> None:
    page = open_page(server.url)
    upload(page, speech_like).await_segments(2)
    other = Path(shutil.copy(speech_like, tmp_path / "other.wav"))
    card = upload(page, other)
    card.await_segments(2)
    card.set_option("max_end_silence_time", 3000)
    card.await_segments(1)
    third = upload(page, Path(shutil.copy(speech_like, tmp_path / "third.wav")))
    third.await_segments(1)
    expect(third.option("max_end_silence_time")).to_have_value("3000")
    rows = page.locator(".files tbody tr")
    expect(rows.nth(0).locator("td").nth(2)).to_have_text("2")
    third.root.get_by_role("button", name="Use these settings for all 3 files").click()
    expect(rows.nth(0).locator("td").nth(2)).to_have_text("1")


def test_settings_are_remembered_and_said_by_the_address(
    server: RunningServer, open_page: OpenPage, speech_like: Path
) -> None:
    page = open_page(server.url)
    page.on("dialog", lambda dialog: dialog.accept())
    card = upload(page, speech_like)
    card.await_segments(2)
    card.choose_mode("tight")
    card.set_option("min_silence_duration_ms", 2500)
    card.await_segments(1)
    eventually(lambda: page.evaluate("() => location.search") == "?mode=tight&min_silence_duration_ms=2500")
    page.goto(f"{server.url}/ui/")
    again = upload(page, speech_like)
    again.await_segments(1)
    expect(again.option("min_silence_duration_ms")).to_have_value("2500")
    # An address goes before what was used last.
    page.goto(f"{server.url}/ui/?max_end_silence_time=700&nonsense=1&mode=none")
    told = upload(page, speech_like)
    told.await_segments(2)
    expect(told.option("max_end_silence_time")).to_have_value("700")


def test_what_was_removed_can_be_had_back(server: RunningServer, open_page: OpenPage, speech_like: Path) -> None:
    page = open_page(server.url)
    card = upload(page, speech_like)
    card.await_segments(2)
    card.set_option("max_end_silence_time", 3000)
    card.await_segments(1)
    card.root.get_by_role("button", name=f"Remove {speech_like.name}").click()
    expect(page.locator("article.card")).to_have_count(0)
    page.get_by_role("button", name="Restore").click()
    last_card(page).await_segments(1)
    expect(page.get_by_role("button", name="Restore")).to_have_count(0)


def test_the_browser_asks_before_everything_is_lost(
    server: RunningServer, open_page: OpenPage, speech_like: Path
) -> None:
    page = open_page(server.url)
    asked: list[str] = []

    def on_dialog(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.accept()

    page.on("dialog", on_dialog)
    page.reload()
    assert asked == []
    card = upload(page, speech_like)
    card.await_segments(2)
    card.timeline.click()
    page.reload()
    assert asked == ["beforeunload"]


def test_an_empty_file_is_said_to_be_empty(server: RunningServer, open_page: OpenPage, tmp_path: Path) -> None:
    path = tmp_path / "empty.wav"
    path.touch()
    page = open_page(server.url)
    alert = upload(page, path).root.get_by_role("alert").first
    expect(alert).to_contain_text("The file is empty")
    expect(alert.get_by_role("button")).to_have_count(0)
    page.get_by_role("button", name="中文").click()
    expect(alert).to_contain_text("文件是空的")


def test_errors_are_chinese_on_the_chinese_page(server: RunningServer, open_page: OpenPage, tmp_path: Path) -> None:
    path = tmp_path / "letter.wav"
    path.write_text("Dear Sir or Madam")
    page = open_page(server.url, locale="zh-CN")
    card = upload(page, path)
    alert = card.root.get_by_role("alert").first
    expect(alert).to_contain_text("不支持的音频")
    # What the service says stands folded below, as what it is.
    told = alert.locator("details span")
    expect(told).to_be_hidden()
    expect(told).to_have_attribute("lang", "en")
    good = tmp_path / "good.wav"
    soundfile.write(good, bursts(6.0, [(1.0, 3.0)]), 16_000, subtype="PCM_16")
    card = upload(page, good)
    card.await_segments(1)
    card.choose_mode("tight")
    card.set_option("neg_threshold", 0.9)
    expect(card.root.locator('[data-row="neg_threshold"]').get_by_role("alert")).to_contain_text("不得高于“起始概率”")


def test_the_first_five_seconds(server: RunningServer, open_page: OpenPage) -> None:
    page = open_page(server.url)
    intake = page.locator(".intake")
    with server.client() as client:
        limits = client.get("/health").json()["limits"]
        inputs = client.get("/options").json()["inputs"]
    expect(intake).to_contain_text("Finds where somebody speaks")
    expect(intake).to_contain_text("to this service only")
    expect(intake).to_contain_text(f"Up to {limits['max_upload_mb']} MiB and {limits['max_audio_hours']:g} hours")
    expect(intake).to_contain_text(f"{len(inputs)} kinds of files")
    accept = intake.locator("input[data-pick]").get_attribute("accept") or ""
    assert {suffix for kind in inputs for suffix in kind["suffixes"]} <= set(accept.split(","))
    page.get_by_role("button", name="Try a sample").click()
    card = last_card(page)
    expect(card.root.locator("h2")).to_have_text("sample.wav")
    expect(card.root.locator(".summary")).to_contain_text(re.compile(r"0:(12|30)\.000"), timeout=LONG_MS)


@pytest.mark.reference
def test_speech_is_found_in_the_sample(published_server: RunningServer, open_page: OpenPage) -> None:
    page = open_page(published_server.url)
    page.get_by_role("button", name="Try a sample").click()
    expect(last_card(page).root).to_have_attribute("data-segments", re.compile("[1-9]"), timeout=LONG_MS)


def test_keys_are_listed(server: RunningServer, open_page: OpenPage) -> None:
    page = open_page(server.url)
    expect(page.locator(".facts")).to_be_visible()  # or the page may not listen yet
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Zoom to the segment")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    for _ in range(20):  # no pause: the browser tells of the closing when the list is open again
        page.keyboard.press("Escape")
        page.keyboard.press("?")
    page.wait_for_timeout(200)
    expect(page.get_by_role("dialog")).to_be_visible()


def test_zoom_to_a_segment_loop_speed_and_spectrogram(
    server: RunningServer, open_page: OpenPage, speech_like: Path
) -> None:
    page = open_page(server.url)
    card = upload(page, speech_like)
    card.await_segments(2)
    minimap = card.root.get_by_role("scrollbar")
    expect(minimap).to_have_count(0)
    card.timeline.focus()
    page.keyboard.press("]")
    page.keyboard.press("z")
    (start, end), _ = card.table_ms()
    margin = (end - start) / 10
    eventually(lambda: card.view_ms() == pytest.approx((start - margin, end + margin)))
    expect(minimap).to_be_visible()
    minimap.focus()
    page.keyboard.press("End")
    eventually(lambda: card.view_ms()[1] == pytest.approx(10_000))
    before = card.timeline.screenshot()
    card.root.get_by_role("button", name="Spectrogram").click()
    eventually(lambda: card.timeline.screenshot() != before)
    card.root.get_by_label("Speed").select_option("2")
    card.root.get_by_role("button", name="Loop").click()
    card.rows.nth(0).click()
    # At twice its speed it begins anew within its length.
    page.wait_for_timeout(end - start)
    expect(card.root.get_by_role("button", name="Pause")).to_be_visible()


def test_the_picture_stays_while_settings_are_turned(
    server: RunningServer, open_page: OpenPage, speech_like: Path
) -> None:
    for size in ({"width": 1280, "height": 760}, {"width": 390, "height": 844}):
        page = open_page(server.url, viewport=size)
        card = upload(page, speech_like)
        card.await_segments(2)
        card.root.locator(".settings > .options summary").click()
        card.option("decibel_thres").scroll_into_view_if_needed()
        page.evaluate("() => scrollBy({top: 200, behavior: 'instant'})")
        expect(card.timeline).to_be_in_viewport(ratio=1)


def test_a_video_plays_with_its_picture(
    server: RunningServer, open_page: OpenPage, speech_like: Path, tmp_path: Path
) -> None:
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        pytest.skip("there is no ffmpeg here")
    path = tmp_path / "talk.webm"
    sources = ["-f", "lavfi", "-i", "testsrc=size=160x120:rate=5:duration=10", "-i", str(speech_like)]
    made = subprocess.run(
        [ffmpeg, "-v", "error", *sources, "-c:v", "libvpx", "-c:a", "libopus", str(path)], check=False
    )
    if made.returncode:
        pytest.skip("this ffmpeg writes no WebM")
    card = upload(open_page(server.url), path)
    expect(card.root).to_have_attribute("data-segments", "2", timeout=LONG_MS)
    video = card.root.locator("video")
    expect(video).to_be_visible()
    card.timeline.focus()
    card.page.keyboard.press("Space")
    eventually(lambda: video.evaluate("video => video.currentTime") > 0.3)
    assert video.evaluate("video => video.videoWidth") == 160


def _opened(page: Page, url: str, path: str) -> list[str]:
    outside: list[str] = []
    page.on("request", lambda made: None if made.url.startswith(f"{url}/") else outside.append(made.url))
    page.goto(f"{url}{path}")
    return outside


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_the_reference_asks_no_other_host(server: RunningServer, open_page: OpenPage, path: str) -> None:
    page = open_page(server.url)
    outside = _opened(page, server.url, path)
    expect(page.locator("#reference .opblock-summary-path").first).to_be_visible(timeout=LONG_MS)
    expect(page.locator("#reference")).to_contain_text("/analyses/{identifier}/segments")
    page.locator("#reference .opblock-summary", has_text="/models").first.click()
    expect(page.locator("#reference .opblock.is-open")).to_be_visible()
    assert [url for url in outside if not url.startswith("data:")] == []
    assert "script-src 'self'" in httpx.get(f"{server.url}/docs").headers["content-security-policy"]
