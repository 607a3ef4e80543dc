"""In Firefox, what Chromium does by means of its own: upload, record, live, edit, export."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.api.pages import STATIC
from tests.browser.firefox import FirefoxPage, firefox_page, sound_server
from tests.server import RunningServer
from tests.waiting import eventually


@pytest.fixture(scope="module")
def firefox() -> Iterator[FirefoxPage]:
    """One Firefox for all tests."""
    if not (STATIC / "index.html").is_file():
        pytest.skip("the page is not built (make page)")
    with sound_server() as sound, firefox_page(sound) as page:
        page.has_sound = sound is not None
        yield page


@pytest.fixture
def page(firefox: FirefoxPage, server: RunningServer) -> Iterator[FirefoxPage]:
    """The page, afresh; whatever it complains of fails the test."""
    firefox.complaints.clear()
    # So that nobody is asked whether what is here may be lost.
    firefox.evaluate("void window.addEventListener('beforeunload', event => event.stopImmediatePropagation(), true)")
    firefox.go(f"{server.url}/ui/")
    firefox.evaluate("localStorage.clear()")
    yield firefox
    assert firefox.complaints == []


@pytest.fixture
def hearing(page: FirefoxPage) -> FirefoxPage:
    """With a sound card of some kind."""
    if not page.has_sound:
        pytest.skip("there is no PulseAudio here, and without a sound card Firefox's audio contexts never begin")
    return page


def _uploaded(page: FirefoxPage, path: Path) -> None:
    page.choose_files("input[data-pick]", [path])
    page.wait_for("document.querySelector('article.card')?.dataset.segments === '2'")


def test_upload_and_settings(page: FirefoxPage, speech_like: Path) -> None:
    _uploaded(page, speech_like)
    page.evaluate(
        """(() => {
            const field = document.querySelector('[data-option=max_end_silence_time]');
            field.value = 3000;
            for (const kind of ['input', 'change']) field.dispatchEvent(new Event(kind, {bubbles: true}));
        })()"""
    )
    page.wait_for("document.querySelector('article.card').dataset.segments === '1'")
    assert page.evaluate("document.querySelectorAll('.choosable tbody tr').length") == 1


def test_edit_and_export(page: FirefoxPage, speech_like: Path) -> None:
    _uploaded(page, speech_like)
    page.click("button", "Start correcting")
    fields = "[...document.querySelectorAll('.marks tbody input')].map(field => field.value)"
    page.wait_for(f"{fields}.length === 6")
    before = page.evaluate(fields)
    page.evaluate("document.querySelector('.timeline').scrollIntoView({block: 'center', behavior: 'instant'})")
    left, top, width = page.evaluate(
        "(box => [box.x, box.y, box.width])(document.querySelector('.timeline').getBoundingClientRect())"
    )
    minutes, seconds = before[1].split(":")
    end_ms = (int(minutes) * 60 + float(seconds)) * 1000
    page.drag((left + end_ms / 10_000 * width, top + 60), (left + width / 2, top + 60))
    page.wait_for(f"{fields}[1] !== {before[1]!r}")
    after = page.evaluate(fields)
    assert after[0] == before[0]
    assert after[1].startswith(("0:04.9", "0:05.0"))
    page.click("button[data-format=rttm]")
    # Firefox writes beside the file first.
    path = page.downloads / f"{speech_like.stem}.rttm"
    eventually(lambda: path.is_file() and path.read_text().count("SPEAKER") == 2)
    start_s, length_s = (float(part) for part in path.read_text().split()[3:5])
    assert start_s + length_s == pytest.approx(float(after[1].split(":")[1]), abs=0.002)


def test_record(hearing: FirefoxPage) -> None:
    page = hearing
    page.click(".intake button", "Record")
    page.click(".listen button", "Start")
    page.wait_for("/0:0[2-9]/.test(document.querySelector('.listen .time').innerText)")
    assert page.evaluate("document.querySelector('.listen .state').innerText") == "Recording"
    page.click(".listen button", "Stop")
    page.wait_for("document.querySelector('article.card')?.dataset.segments")
    assert page.evaluate("document.querySelector('article.card h2').innerText").startswith("recording-")


def test_live(hearing: FirefoxPage) -> None:
    page = hearing
    page.click(".intake button", "Live")
    page.click(".listen button", "Start")
    page.wait_for("/liveSilent|liveSpeaking/.test(document.querySelector('.listen .state').dataset.state)")
    page.wait_for("/0:0[3-9]/.test(document.querySelector('.listen .time').innerText)")
    assert "NaN" not in page.evaluate("document.querySelector('.listen').innerText")
    page.click(".listen button", "Stop")
    page.wait_for("document.querySelector('.listen .state').dataset.state === 'liveDone'")
    shown = page.evaluate("document.querySelectorAll('.listen tbody tr').length")
    assert str(shown) == page.evaluate("document.querySelector('.listen').dataset.segments")
