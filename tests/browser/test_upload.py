"""Upload, see, turn: what the page shows is what the service says."""

from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
from playwright.sync_api import expect

from tests.browser.card import LONG_MS, upload
from tests.browser.conftest import OpenPage
from tests.server import RunningServer, running_server
from tests.signals import bursts
from tests.waiting import eventually


@pytest.fixture(scope="module")
def example(reference: Path) -> Path:
    """70 s of speech in 12 segments."""
    return reference / "audio" / "vad_example.wav"


def answer(server: RunningServer, path: Path, **options: object) -> list[tuple[int, int]]:
    """What `POST /vad` says."""
    with server.client() as client:
        response = client.post("/vad", params=options, files={"file": path.read_bytes()})
    segments = response.raise_for_status().json()["segments"]
    return [(segment["start_ms"], segment["end_ms"]) for segment in segments]


@pytest.mark.reference
def test_upload_shows_the_segments_at_their_places(
    published_server: RunningServer, open_page: OpenPage, example: Path
) -> None:
    card = upload(open_page(published_server.url), example)
    card.await_segments(12)
    expected = answer(published_server, example)
    assert card.table_ms() == expected
    card.expect_regions(12)
    area = card.timeline.bounding_box()
    assert area is not None
    duration_ms = soundfile.info(example).frames / 16
    for (left, right), (start_ms, end_ms) in zip(card.region_pixels(), expected, strict=True):
        assert left == pytest.approx(area["x"] + start_ms / duration_ms * area["width"], abs=1.5)
        assert right == pytest.approx(area["x"] + end_ms / duration_ms * area["width"], abs=1.5)
    expect(card.root.locator(".summary")).to_contain_text("1:05.870 (93.5%)")


@pytest.mark.reference
def test_a_slider_gives_what_the_service_says_for_it(
    published_server: RunningServer, open_page: OpenPage, example: Path
) -> None:
    page = open_page(published_server.url)
    card = upload(page, example)
    card.await_segments(12)
    posts: list[str] = []
    page.on("request", lambda made: posts.append(made.url) if made.method == "POST" else None)
    card.set_option("max_end_silence_time", 300)
    expected = answer(published_server, example, max_end_silence_time=300)
    assert len(expected) > 12
    card.await_segments(len(expected))
    assert card.table_ms() == expected
    # Gaps of less than a pixel are not seen.
    eventually(lambda: len(card.region_pixels()) > 12)
    assert posts == [], "the file was sent again"


@pytest.mark.reference
def test_tight_mode_and_its_command_line(published_server: RunningServer, open_page: OpenPage, example: Path) -> None:
    card = upload(open_page(published_server.url), example)
    card.await_segments(12)
    card.choose_mode("tight")
    card.await_segments(len(answer(published_server, example, mode="tight")))
    card.set_option("threshold", 0.2)
    # The end threshold may not lie above the start's: the service takes it along, and the page shows that.
    expect(card.option("neg_threshold")).to_have_value("0.2")
    card.set_option("speech_pad_ms", 100)
    options = {"mode": "tight", "threshold": 0.2, "speech_pad_ms": 100}
    expected = answer(published_server, example, **options)
    card.await_segments(len(expected))
    assert card.table_ms() == expected
    assert card.root.locator(".command code").inner_text() == (
        f"curl -F 'file=@\"vad_example.wav\"' '{published_server.url}/vad?mode=tight&threshold=0.2&speech_pad_ms=100'"
    )


def test_files_whose_names_are_odd(
    server: RunningServer, open_page: OpenPage, speech_like: Path, tmp_path: Path
) -> None:
    other = tmp_path / "一段 'quoted'.wav"
    soundfile.write(other, bursts(5.0, [(1.0, 3.0)]), 16_000)
    page = open_page(server.url)
    upload(page, speech_like).await_segments(2)
    card = upload(page, other)
    card.await_segments(1)
    expect(card.root.locator("h2")).to_have_text(other.name)
    expect(card.root.locator(".command code")).to_contain_text("""'file=@"一段 '\\''quoted'\\''.wav"'""")


def test_a_bad_file_shows_the_problem(server: RunningServer, open_page: OpenPage, tmp_path: Path) -> None:
    bad = tmp_path / "letter.wav"
    bad.write_text("Dear Sir or Madam")
    problem = httpx.post(f"{server.url}/vad", files={"file": bad.read_bytes()}).json()
    card = upload(open_page(server.url), bad)
    alert = card.root.get_by_role("alert").first
    expect(alert).to_contain_text(problem["title"], timeout=LONG_MS)
    # In the page's own words first; the service's, without marks of code, on demand.
    expect(alert).to_contain_text("This is no audio or video")
    expect(alert.locator("details")).to_contain_text(problem["detail"].replace("`", ""))
    # No other try would help.
    expect(alert.get_by_role("button")).to_have_count(0)
    expect(card.root.locator("progress")).to_have_count(0)


def test_a_file_that_is_refused_while_it_is_sent(small_model: Path, open_page: OpenPage, tmp_path: Path) -> None:
    path = tmp_path / "large.wav"
    soundfile.write(path, np.zeros(16_000 * 600), 16_000, subtype="PCM_16")
    with running_server(small_model, tmp_path, {"VAD_MAX_UPLOAD_MB": "1"}) as server:
        alert = upload(open_page(server.url), path).root.get_by_role("alert").first
        expect(alert).to_contain_text("Upload too large", timeout=LONG_MS)
        expect(alert).to_contain_text("1 MiB")


def test_silence_is_said_to_be_silent(server: RunningServer, open_page: OpenPage, tmp_path: Path) -> None:
    path = tmp_path / "silence.wav"
    soundfile.write(path, np.zeros(16_000), 16_000)
    card = upload(open_page(server.url), path)
    card.await_segments(0)
    expect(card.root.get_by_text("No speech found")).to_be_visible()


_NOTE_TIMES = """() => {
    const send = XMLHttpRequest.prototype.send;
    XMLHttpRequest.prototype.send = function (body) {
        this.upload.addEventListener('load', () => { window.uploadedAt = performance.now(); });
        return send.call(this, body);
    };
    new MutationObserver((_, observer) => {
        if (!document.querySelector('tbody tr')) return;
        window.rowsAt = performance.now();
        observer.disconnect();
    }).observe(document.body, {subtree: true, childList: true});
}"""


def test_an_hour_can_be_worked_with_within_5_s_of_its_upload(
    server: RunningServer, open_page: OpenPage, tmp_path: Path
) -> None:
    path = tmp_path / "hour.wav"
    soundfile.write(path, np.tile(bursts(10.0, [(2.0, 4.0), (6.0, 8.0)]), 360), 16_000, subtype="PCM_16")
    page = open_page(server.url)
    page.evaluate(_NOTE_TIMES)
    card = upload(page, path)
    card.await_segments(720)
    uploaded, rows = page.evaluate("() => [window.uploadedAt, window.rowsAt]")
    assert rows - uploaded < 5000
    # It answers: a slider, and a look at one millisecond in the middle.
    card.set_option("max_end_silence_time", 3000)
    card.await_segments(360)
    for _ in range(14):
        card.root.get_by_role("button", name="Zoom in").click()
    box = card.timeline.bounding_box()
    assert box is not None
    start, end = card.view_ms()
    assert end - start == pytest.approx(box["width"] / 2, rel=0.01), "a millisecond is two pixels wide"
    card.root.get_by_role("scrollbar").click(position={"x": box["width"] / 2, "y": 10})
    eventually(lambda: card.view_ms()[0] == pytest.approx(1_800_000, abs=4_000))
