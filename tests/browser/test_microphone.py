"""Recording and live detection, with a file for a microphone."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile
from playwright.sync_api import Browser, Locator, Page, Playwright, WebSocketRoute, expect

from tests.browser.card import LONG_MS, last_card
from tests.browser.conftest import OpenPage, launched, pages_of
from tests.server import RunningServer, local_server, running_server
from tests.signals import bursts


@pytest.fixture(scope="module")
def hearing(
    playwright_driver: Playwright, chromium_path: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Browser]:
    """A browser that hears a second of sound every three, for as long as it listens."""
    sound = tmp_path_factory.mktemp("microphone") / "bursts.wav"
    soundfile.write(sound, bursts(60.0, [(at, at + 1.0) for at in range(1, 60, 3)]), 16_000, subtype="PCM_16")
    with launched(playwright_driver, chromium_path, sound) as browser:
        yield browser


@pytest.fixture
def open_page(hearing: Browser) -> Iterator[OpenPage]:
    """Pages of the browser that hears."""
    with pages_of(hearing) as opener:
        yield opener


def test_a_recording_becomes_a_file(server: RunningServer, open_page: OpenPage) -> None:
    page = open_page(server.url)
    page.get_by_role("button", name="Record").click()
    panel = page.locator(".listen")
    panel.get_by_role("button", name="Start").click()
    expect(panel.locator(".time")).to_contain_text("0:05.", timeout=LONG_MS)
    expect(panel.locator(".state")).to_have_text("Recording")
    panel.get_by_role("button", name="Stop").click()
    expect(panel.locator(".state")).to_have_text("Ended")
    card = last_card(page)
    expect(card.root).to_have_attribute("data-segments", "2", timeout=LONG_MS)
    expect(card.root.locator("h2")).to_contain_text("recording-")
    expect(card.root.locator(".meta")).to_contain_text("WAV PCM_16")
    starts, ends = zip(*card.table_ms(), strict=True)
    assert starts[1] - starts[0] == pytest.approx(3000, abs=200)
    assert ends[0] < starts[1]


def test_segments_appear_while_one_speaks(server: RunningServer, open_page: OpenPage) -> None:
    page = open_page(server.url)
    page.get_by_role("button", name="Live").click()
    panel = page.locator(".listen")
    panel.get_by_role("button", name="Start").click()
    # Found while the microphone is still open.
    expect(panel).to_have_attribute("data-segments", "2", timeout=LONG_MS)
    expect(panel.get_by_role("button", name="Stop")).to_be_visible()
    expect(panel.locator("tbody tr").first).to_contain_text(re.compile(r"[01]\.\d{3}$"))
    assert "NaN" not in panel.inner_text()
    panel.get_by_role("button", name="Stop").click()
    expect(panel.locator('.state[data-state="liveDone"]')).to_be_visible(timeout=LONG_MS)
    found = panel.locator("tbody tr").all_inner_texts()
    assert len(found) >= 2
    assert "NaN" not in "".join(found)
    # The same sound as a file is cut at the same places.
    panel.get_by_role("button", name="Open as a file").click()
    card = last_card(page)
    card.await_segments(len(found))
    assert card.rows.all_inner_texts() == found


def test_live_with_a_key(open_page: OpenPage, small_model: Path, tmp_path: Path) -> None:
    with running_server(small_model, tmp_path, {"VAD_API_KEYS": "open-sesame"}) as guarded:
        page = open_page(guarded.url)
        page.get_by_role("button", name="Live").click()
        panel = page.locator(".listen")
        panel.get_by_role("button", name="Start").click()
        field = panel.get_by_label("API key")
        field.fill("open-sesame", timeout=LONG_MS)
        field.press("Enter")
        expect(panel).to_have_attribute("data-segments", "1", timeout=LONG_MS)


def test_live_with_another_model(open_page: OpenPage, small_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("silero_vad", reason="the package silero-vad is not installed")
    settings = {"VAD_MODELS": f"small={small_model},silero"}
    with local_server(f"small={small_model}", tmp_path, settings) as server:
        page = open_page(server.url)
        sockets: list[str] = []
        page.on("websocket", lambda socket: sockets.append(socket.url))
        page.get_by_role("button", name="Live").click()
        panel = page.locator(".listen")
        panel.get_by_text("Settings", exact=True).click()
        expect(panel.locator('[data-option="max_end_silence_time"]')).to_have_value("800")
        panel.get_by_label("Model", exact=True).select_option("silero")
        # Before anything was heard: the defaults of that model, in its mode.
        for name, value in {"threshold": "0.5", "neg_threshold": "0.35", "min_speech_duration_ms": "250"}.items():
            expect(panel.locator(f'[data-option="{name}"]')).to_have_value(value)
        # Streams have a machine of their own in some modes.
        panel.locator('input[value="smoothed"] + span').click()
        expect(panel.locator('[data-option="pad_start_frame"]')).to_have_value("5")
        panel.locator('input[value="tight"] + span').click()
        # What is set on purpose is sent, though it is what is shown already.
        panel.locator('[data-option="threshold"]').fill("0.5")
        panel.locator('[data-option="threshold"]').press("Enter")
        panel.locator('[data-option="speech_pad_ms"]').fill("70")
        panel.get_by_role("button", name="Start").click()
        expect(panel.locator(".made-by")).to_have_text("model silero · mode tight", timeout=LONG_MS)
        assert "model=silero&threshold=0.5&speech_pad_ms=70&" in sockets[-1]
        expect(panel.locator(".time")).to_contain_text("0:02.", timeout=LONG_MS)
        panel.get_by_role("button", name="Stop").click()
        expect(panel.locator('.state[data-state="liveDone"]')).to_be_visible(timeout=LONG_MS)
        # What is refused is said beside the option.
        panel.locator('[data-option="neg_threshold"]').fill("0.9")
        panel.get_by_role("button", name="Start").click()
        expect(panel.locator('[data-row="neg_threshold"]').get_by_role("alert")).to_contain_text("at most threshold")
        expect(panel.get_by_role("button", name="Start")).to_be_enabled()


def _start_live(page: Page) -> Locator:
    page.get_by_role("button", name="Live").click()
    panel = page.locator(".listen")
    panel.get_by_role("button", name="Start").click()
    return panel


def test_speech_that_goes_on_has_no_end_yet(open_page: OpenPage, small_model: Path, tmp_path: Path) -> None:
    # Pauses of two seconds do not end a segment here, so the first one stays open.
    with running_server(small_model, tmp_path, {"VAD_DEFAULT_OPTIONS": '{"max_end_silence_time": 2500}'}) as server:
        panel = _start_live(open_page(server.url))
        expect(panel.locator("tbody tr")).to_have_text([re.compile(r"^1\d:\d\d\.\d{3}…\d+\.\d s……$")], timeout=LONG_MS)
        # The panel shows what is in force, though nobody has turned it.
        expect(panel.locator('input[data-option="max_end_silence_time"]')).to_have_value("2500")
        panel.get_by_role("button", name="Stop").click()
        expect(panel.locator("tbody tr")).not_to_contain_text("…", timeout=LONG_MS)


_REGION_TO_THE_RIGHT = """(canvas, nowMs) => {
    // Below the ruler's numbers the ground is bare where nothing has been heard.
    const from = Math.ceil(canvas.width * (nowMs + 400) / 20000);
    const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d', {willReadFrequently: true});
    copy.drawImage(canvas, 0, 0);
    const row = copy.getImageData(from, Math.round(canvas.height * 0.3), canvas.width - from, 1).data;
    let filled = 0;
    for (let at = 3; at < row.length; at += 4) if (row[at] > 0) filled += 1;
    return filled / (row.length / 4);
}"""


def test_speech_that_goes_on_is_told_as_far_as_it_has_been_heard(
    open_page: OpenPage, small_model: Path, tmp_path: Path
) -> None:
    with running_server(small_model, tmp_path, {"VAD_DEFAULT_OPTIONS": '{"max_end_silence_time": 2500}'}) as server:
        panel = _start_live(open_page(server.url))
        length = panel.locator("tbody tr[data-open] td").nth(3)
        expect(length).to_be_visible(timeout=LONG_MS)
        first = length.inner_text()
        expect(length).not_to_have_text(first)  # it goes on
        heard = panel.locator(".time").inner_text()
        seconds = float(heard.split()[0].split(":")[1])
        picture = panel.locator("canvas.live-picture")
        assert picture.evaluate(_REGION_TO_THE_RIGHT, seconds * 1000 + 500) < 0.02, "painted into the future"


def test_no_room_for_another_stream(open_page: OpenPage, small_model: Path, tmp_path: Path) -> None:
    with running_server(small_model, tmp_path, {"VAD_MAX_STREAMS": "1"}) as server:
        first = _start_live(open_page(server.url))
        expect(first.locator('.state[data-state="liveSilent"], .state[data-state="liveSpeaking"]')).to_be_visible()
        second = _start_live(open_page(server.url))
        expect(second.get_by_role("alert")).to_contain_text("no further live stream")
        expect(second.get_by_role("button", name="Start")).to_be_enabled()


def test_what_is_being_heard_is_not_lost_by_a_slip(server: RunningServer, open_page: OpenPage) -> None:
    page = open_page(server.url)
    panel = _start_live(page)
    expect(panel).to_have_attribute("data-segments", "1", timeout=LONG_MS)
    page.get_by_role("button", name="Record").click()
    expect(panel.get_by_role("button", name="Stop")).to_be_focused()
    expect(panel.get_by_role("heading")).to_have_text("Live detection")


class _Line:
    """The way from the service to the page's live streams, where messages of a type can be held up."""

    def __init__(self, page: Page, held_type: str) -> None:
        self.held: list[tuple[WebSocketRoute, str | bytes]] = []
        self._holds = f'"type":"{held_type}"'
        page.route_web_socket("**/vad/stream*", self._join)

    def _join(self, to_page: WebSocketRoute) -> None:
        def on_message(message: str | bytes) -> None:
            if self._holds and self._holds in str(message).replace('": "', '":"'):
                self.held.append((to_page, message))
            else:
                to_page.send(message)

        to_page.connect_to_server().on_message(on_message)

    def release(self, page: Page) -> None:
        """Once something has been held up, it is let through, and what comes later too."""
        for _ in range(LONG_MS // 20):
            if self.held:
                break
            page.wait_for_timeout(20)
        assert self.held
        self._holds = ""
        for to_page, message in self.held:
            to_page.send(message)


def test_what_was_said_before_the_service_was_ready_counts(server: RunningServer, open_page: OpenPage) -> None:
    page = open_page(server.url)
    line = _Line(page, "ready")
    panel = _start_live(page)
    expect(panel.locator(".time")).to_contain_text("0:03.", timeout=LONG_MS)
    panel.get_by_role("button", name="Stop").click()
    expect(panel.get_by_role("button", name="Start")).to_be_visible()
    line.release(page)
    expect(panel.locator('.state[data-state="liveDone"]')).to_be_visible(timeout=LONG_MS)
    expect(panel).to_have_attribute("data-segments", "1")


def test_the_last_words_of_a_stream_are_not_taken_for_the_next_one_s(
    server: RunningServer, open_page: OpenPage
) -> None:
    page = open_page(server.url)
    line = _Line(page, "done")
    panel = _start_live(page)
    expect(panel).to_have_attribute("data-segments", "1", timeout=LONG_MS)
    panel.get_by_role("button", name="Stop").click()
    panel.get_by_role("button", name="Start").click()
    expect(panel.locator('.state[data-state="liveSilent"]')).to_be_visible()
    line.release(page)
    # The next segment of this stream is its first.
    expect(panel.locator('.state[data-state="liveSpeaking"]')).to_be_visible(timeout=LONG_MS)
    expect(panel).to_have_attribute("data-segments", "1")


_NOTE_STREAM = """() => {
    const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = async (wish) => {
        await window.permission;
        return (window.stream = await ask(wish));
    };
}"""


def test_a_panel_that_is_closed_while_the_browser_asks(server: RunningServer, open_page: OpenPage) -> None:
    page = open_page(server.url)
    page.evaluate("() => { window.permission = new Promise(resolve => { window.permit = resolve; }); }")
    page.evaluate(_NOTE_STREAM)
    panel = _start_live(page)
    panel.get_by_role("button", name="Close").click()
    expect(panel).to_have_count(0)
    page.evaluate("() => window.permit()")
    page.wait_for_function("() => window.stream?.getAudioTracks()[0].readyState === 'ended'")


def test_a_microphone_that_is_unplugged(server: RunningServer, open_page: OpenPage) -> None:
    page = open_page(server.url)
    page.evaluate(_NOTE_STREAM)
    page.get_by_role("button", name="Record").click()
    panel = page.locator(".listen")
    panel.get_by_role("button", name="Start").click()
    expect(panel.locator(".time")).to_contain_text("0:03.", timeout=LONG_MS)
    page.evaluate("() => window.stream.getAudioTracks()[0].dispatchEvent(new Event('ended'))")
    expect(panel.get_by_role("alert")).to_contain_text("has gone")
    # What it heard until then is looked at.
    expect(last_card(page).root).to_have_attribute("data-segments", "1", timeout=LONG_MS)


def test_without_a_secure_page_the_reason_is_told(server: RunningServer, open_page: OpenPage) -> None:
    page = open_page(server.url)
    page.evaluate("() => Object.defineProperty(window, 'isSecureContext', {value: false})")
    page.get_by_role("button", name="Record").click()
    page.locator(".listen").get_by_role("button", name="Start").click()
    expect(page.locator(".listen").get_by_role("alert")).to_contain_text("only on HTTPS or localhost")


def test_a_microphone_that_is_not_allowed(server: RunningServer, open_page: OpenPage) -> None:
    page = open_page(server.url)
    page.evaluate(
        """() => {
            navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('no', 'NotAllowedError'));
        }"""
    )
    page.get_by_role("button", name="Live").click()
    page.locator(".listen").get_by_role("button", name="Start").click()
    expect(page.locator(".listen").get_by_role("alert")).to_contain_text("not allowed")
    expect(page.locator(".listen").get_by_role("button", name="Start")).to_be_enabled()
