"""In Firefox, what Chromium does by means of its own: upload, record, live, edit, export."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.api.pages import STATIC
from tests.browser.firefox import FirefoxPage, firefox_page, sound_server
from tests.server import RunningServer, local_server
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


_DROP = """(async () => {
    const answer = await fetch('../sample.wav');
    const transfer = new DataTransfer();
    transfer.items.add(new File([await answer.blob()], 'dropped.wav', {type: 'audio/wav'}));
    for (const kind of ['dragenter', 'dragover', 'drop'])
        document.body.dispatchEvent(new DragEvent(kind, {bubbles: true, cancelable: true, dataTransfer: transfer}));
})()"""


def test_drop_compare_and_drag_a_threshold(page: FirefoxPage, server: RunningServer) -> None:
    page.evaluate(_DROP)
    page.wait_for("document.querySelector('article.card h2')?.innerText === 'dropped.wav'")
    page.wait_for("document.querySelector('article.card')?.dataset.segments")
    page.click("button.compare", "Compare settings")
    page.click("article.card .modes label", "Tight")
    page.wait_for("document.querySelector('canvas.ground').dataset.curves === 'a/ b/'")
    page.wait_for("document.querySelector('article.card .made-by').innerText.endsWith('tight')")
    page.evaluate("document.querySelector('.timeline').scrollIntoView({block: 'center', behavior: 'instant'})")
    field = "document.querySelector('[data-option=threshold]').value"
    before = float(page.evaluate(field))
    box = "document.querySelector('.timeline').getBoundingClientRect()"
    left, bottom = page.evaluate(f"(box => [box.left, box.bottom])({box})")
    # As paint.ts has it for two curves.
    height = 34 if page.evaluate("innerHeight < 720") else 54
    y = bottom - 1 - before * (height - 3)
    page.drag((left + 200, y), (left + 200, y + 8))
    page.wait_for(f"{field} !== '{before:g}'")
    assert float(page.evaluate(field)) == pytest.approx(before - 8 / (height - 3), abs=0.03)
    page.click("button.compare", "End the comparison")
    page.wait_for("document.querySelector('canvas.ground').dataset.curves === 'a/'")


def test_what_cannot_be_is_told_and_undone_things_are_done_again(page: FirefoxPage, speech_like: Path) -> None:
    _uploaded(page, speech_like)
    page.click("button", "Start correcting")
    fields = "[...document.querySelectorAll('.marks tbody input')]"
    page.wait_for(f"{fields}.length === 6")

    def type_into(place: int, text: str) -> None:
        page.evaluate(
            f"(field => {{ field.focus(); field.value = {json.dumps(text)};"
            f" field.dispatchEvent(new Event('change', {{bubbles: true}})); }})({fields}[{place}])"
        )

    complaint = "document.querySelector('.marks .complaint')?.innerText ?? ''"
    type_into(0, "soon")
    page.wait_for(f"({complaint}).includes('“soon” is not a time')")
    type_into(0, "0:01.000")
    page.wait_for(f"({complaint}) === ''")
    type_into(1, "9:59")
    page.wait_for(f"({complaint}).includes('is behind a neighbour')")
    type_into(2, "主持人 anna!")
    page.wait_for(f"{fields}[2].value === '主持人 anna!'")
    page.click(".toolbar.edit button[aria-label=Undo]")
    page.wait_for(f"{fields}[2].value === ''")
    page.click(".toolbar.edit button[aria-label=Redo]")
    page.wait_for(f"{fields}[2].value === '主持人 anna!'")


_IMPORT = """(async form => {
    const answer = await (await fetch('../vad?keep=true', {method: 'POST', body: window.sound})).json();
    const written = await (await fetch(`../analyses/${answer.analysis_id}/segments?format=${form}`)).text();
    const transfer = new DataTransfer();
    transfer.items.add(new File([written], form));
    const input = document.querySelector('[data-import]');
    input.files = transfer.files;
    input.dispatchEvent(new Event('change', {bubbles: true}));
    return answer.segments.length;
})(%s)"""


def test_every_form_is_read_back(page: FirefoxPage, server: RunningServer, speech_like: Path) -> None:
    with server.client() as client:
        forms = [form["name"] for form in client.get("/options").json()["forms"] if not form["needs_audio"]]
    assert len(forms) == 16
    page.evaluate("fetch('../sample.wav').then(answer => answer.blob()).then(blob => { window.sound = blob; })")
    page.wait_for("window.sound")
    _uploaded(page, speech_like)
    for form in forms:
        if form == "ndjson":  # a form of streams: kept analyses do not have it
            continue
        page.click(".corrections button", "Start correcting")
        page.wait_for("document.querySelectorAll('.marks tbody tr').length === 2")
        count = page.evaluate(_IMPORT % json.dumps(form))
        page.wait_for(f"document.querySelectorAll('.marks tbody tr').length === {count} || {count} === 2")
        assert page.evaluate("document.querySelector('.corrections > .complaint') === null"), form
        page.click("button", "Discard corrections")


def test_a_service_that_was_started_anew_or_is_away(
    page: FirefoxPage, small_model: Path, speech_like: Path, tmp_path: Path
) -> None:
    with local_server(small_model, tmp_path) as first:
        page.go(f"{first.url}/ui/")
        _uploaded(page, speech_like)
    move = """(() => {
        const field = document.querySelector('[data-option=max_end_silence_time]');
        field.value = %s;
        for (const kind of ['input', 'change']) field.dispatchEvent(new Event(kind, {bubbles: true}));
    })()"""
    page.evaluate(move % 3000)
    page.wait_for("document.querySelector('.problem')?.innerText.includes('The service cannot be reached')")
    assert "Check the network" in page.evaluate("document.querySelector('.problem').innerText")
    # What had come before is still there.
    assert page.evaluate("document.querySelectorAll('.choosable tbody tr').length") == 2
    page.complaints.clear()
    with local_server(small_model, tmp_path, port=int(first.url.rpartition(":")[2])):
        page.click(".problem button", "Try again")
        page.wait_for("document.querySelector('article.card').dataset.segments === '1'")
        assert page.evaluate("document.querySelector('.problem') === null")


def test_without_a_sound_card_it_says_so_and_not_that_it_cannot_play(server: RunningServer, speech_like: Path) -> None:
    with firefox_page() as page:
        page.evaluate("void window.addEventListener('beforeunload', event => event.stopImmediatePropagation(), true)")
        page.go(f"{server.url}/ui/")
        _uploaded(page, speech_like)
        page.click(".toolbar button[aria-label=Play]")
        page.wait_for("/^0:0[1-9]/.test(document.querySelector('article.card .time').innerText)")
        assert "cannot play" not in page.evaluate("document.querySelector('article.card').innerText")
        assert page.evaluate("document.querySelector('.toolbar button').getAttribute('aria-label')") == "Pause"


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
