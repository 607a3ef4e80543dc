"""Two settings over each other on one waveform; channels and labels as lanes; warnings with what can be done."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from playwright.sync_api import Page, Route, expect

from tests.browser.card import CardView, upload
from tests.browser.conftest import OpenPage
from tests.server import RunningServer
from tests.signals import bursts
from tests.waiting import eventually

_NOTE_TEXTS = """() => {
    window.painted = new Set();
    const paint = CanvasRenderingContext2D.prototype.fillText;
    CanvasRenderingContext2D.prototype.fillText = function (text, ...rest) {
        window.painted.add(text);
        return paint.call(this, text, ...rest);
    };
}"""


def lanes(card: CardView) -> list[str]:
    """Keys of the strips under the waveform."""
    told = card.root.locator("canvas.over").get_attribute("data-lanes") or ""
    return told.split()


def painted(page: Page, text: str) -> bool:
    """Whether this has been written on a canvas."""
    return bool(page.evaluate("text => window.painted.has(text)", text))


@pytest.fixture
def card(server: RunningServer, open_page: OpenPage, speech_like: Path) -> CardView:
    page = open_page(server.url)
    page.evaluate(_NOTE_TEXTS)
    shown = upload(page, speech_like)
    shown.await_segments(2)
    return shown


def test_the_threshold_says_what_its_slider_says(card: CardView) -> None:
    expect(card.option("speech_noise_thres")).to_have_value("0.6")
    eventually(lambda: painted(card.page, "Speech margin 0.6 (p 0.8)"))
    card.choose_mode("tight")
    eventually(lambda: painted(card.page, "Start threshold 0.45"))


def test_differences_are_marked_and_summed(card: CardView) -> None:
    assert lanes(card) == []
    card.root.get_by_role("button", name="Compare settings").click()
    comparison = card.root.locator(".comparison")
    expect(comparison).to_have_attribute("data-agreement", "1.0000")
    card.set_option("max_end_silence_time", 3000)
    # A has 2 to 4 and 6 to 8 s and a little around, B all between.
    expect(comparison).not_to_have_attribute("data-agreement", "1.0000")
    expect(card.rows).to_have_count(1)
    assert lanes(card) == ["a", "b", "onlyA", "onlyB"]
    agreement = float(comparison.get_attribute("data-agreement") or "")
    (start, end), only_b = card.table_ms()[0], comparison.locator("dd").nth(3).inner_text()
    card.root.locator('input[value="a"] + span').click()
    first, second = card.table_ms()
    between = second[0] - first[1] + (end - second[1]) + (first[0] - start)
    assert agreement == pytest.approx(1 - between / 10_000, abs=2e-4)
    assert only_b == f"0:0{between // 1000}.{between % 1000:03d}"
    # Each has settings of its own, and its own line for a shell.
    expect(card.option("max_end_silence_time")).to_have_value("800")
    expect(card.root.locator(".command code")).not_to_contain_text("?")
    card.root.locator('input[value="b"] + span').click()
    expect(card.root.locator(".command code")).to_contain_text("max_end_silence_time=3000")
    card.root.get_by_role("button", name="End the comparison").click()
    expect(comparison).to_have_count(0)
    expect(card.rows).to_have_count(2)


def test_each_side_has_its_own_curve_under_its_own_thresholds(card: CardView) -> None:
    card.root.get_by_role("button", name="Compare settings").click()
    ground = card.root.locator("canvas.ground")
    expect(ground).to_have_attribute("data-curves", "a/ b/")
    card.choose_mode("tight")
    card.set_option("threshold", 0.9)
    card.set_option("neg_threshold", 0.8)
    expect(ground).to_have_attribute("data-thresholds", "0.6 0.9/0.8")
    # What is shaded is what stands in the table, of either side.
    for side in ("a", "b"):
        card.root.locator(f'input[value="{side}"] + span').click()
        card.expect_regions(card.rows.count())
        for (left, right), (start, end) in zip(card.region_pixels(), card.table_ms(), strict=True):
            box = card.timeline.bounding_box()
            assert box is not None
            assert left - box["x"] == pytest.approx(card.x_of(start), abs=1.5)
            assert right - box["x"] == pytest.approx(card.x_of(end), abs=1.5)


def test_a_threshold_is_dragged_on_the_curve(card: CardView) -> None:
    card.choose_mode("tight")
    ground = card.root.locator("canvas.ground")
    expect(ground).to_have_attribute("data-thresholds", "0.45/0.3")
    box = card.timeline.bounding_box()
    assert box is not None
    bottom, height = box["y"] + box["height"] - 1, 76 - 3
    mouse = card.page.mouse
    mouse.move(box["x"] + 300, bottom - 0.45 * height)
    assert card.timeline.evaluate("element => element.style.cursor") == "ns-resize"
    mouse.down()
    mouse.move(box["x"] + 300, bottom - 0.8 * height, steps=3)
    mouse.move(box["x"] + 300, bottom - 0.9 * height, steps=3)
    mouse.up()
    eventually(lambda: float(card.option("threshold").input_value()) > 0.85)
    expect(card.root.locator(".command code")).to_contain_text("threshold=0.")


@pytest.fixture
def call(tmp_path: Path) -> Path:
    """Two sides of a call, of which one is heard on the left and one on the right; they overlap for a second."""
    path = tmp_path / "call.wav"
    sides = [bursts(8.0, [(1.0, 4.0)], seed=1), bursts(8.0, [(3.0, 6.0)], seed=2)]
    soundfile.write(path, np.stack(sides, axis=1), 16_000, subtype="PCM_16")
    return path


def test_channels_are_lanes_with_figures(server: RunningServer, open_page: OpenPage, call: Path) -> None:
    card = upload(open_page(server.url), call)
    card.await_segments(1)
    card.root.get_by_label("Channels", exact=True).select_option("split")
    card.await_segments(2)
    assert lanes(card) == ["0/null", "1/null"]
    # Each channel's own curve: the mean of both reaches no threshold where one alone speaks.
    expect(card.root.locator("canvas.ground")).to_have_attribute("data-curves", "a/0 a/1")
    figures = card.root.locator("table.channels")
    with server.client() as client:
        told = client.post("/vad", params={"channel": "split"}, files={"file": call.read_bytes()}).json()["channels"]
    for number, channel in enumerate(told):
        row = figures.locator("tbody tr").nth(number)
        expect(row.locator("td").first).to_have_text(str(channel["segment_count"]))
        expect(row).to_contain_text(f"({channel['overlap_ms'] / 80:.1f}%)")
    expect(card.root.locator(".command code")).to_contain_text("channel=split")
    assert card.root.locator(".choosable th").all_inner_texts()[-1] == "Channel"


def test_channels_that_cancel_are_told_with_the_remedy(
    server: RunningServer, open_page: OpenPage, tmp_path: Path
) -> None:
    path = tmp_path / "opposite.wav"
    side = bursts(6.0, [(1.0, 3.0)])
    soundfile.write(path, np.stack([side, -side], axis=1), 16_000, subtype="PCM_16")
    card = upload(open_page(server.url), path)
    warning = card.root.locator('.warnings li[data-code="channels_cancel"]')
    expect(warning).to_be_visible()
    warning.get_by_role("button", name="Hear the loudest channel").click()
    card.await_segments(1)
    expect(warning).to_have_count(0)
    expect(card.root.locator(".command code")).to_contain_text("channel=loudest")


def test_cut_segments_are_told_with_the_remedy(card: CardView) -> None:
    card.set_option("max_single_segment_time", 1000)
    warning = card.root.locator('.warnings li[data-code="forced_cuts"]')
    warning.get_by_role("button", name="Cut at pauses instead").click()
    expect(card.root.locator(".command code")).to_contain_text("split=pause")
    expect(warning.get_by_role("button", name="Cut at pauses instead")).to_have_count(0)
    # The first place that was cut is a click away.
    moment = warning.locator(".moment")
    moment.click()
    expect(card.root.locator(".time")).to_contain_text(moment.inner_text())


@pytest.mark.parametrize(
    ("code", "button", "query"),
    [("other_tracks", "Hear track 2 of 3", "track=1"), ("time_gap", "Use the player’s times", "clock=container")],
)
def test_other_warnings_have_their_remedies(card: CardView, code: str, button: str, query: str) -> None:
    def warn(route: Route) -> None:
        response = route.fetch()
        answer = response.json()
        answer["warnings"] = [{"code": code, "detail": "3"}]
        answer["audio"] |= {"track": 0, "tracks": 3}
        route.fulfill(response=response, json=answer)

    card.page.route("**/segments?*", warn)
    card.set_option("max_end_silence_time", 700)
    sent: list[str] = []
    card.page.on("request", lambda made: sent.append(made.url) if made.method == "POST" else None)
    card.root.get_by_role("button", name=button).click()
    eventually(lambda: any(query in url for url in sent))


def test_raw_samples_are_read_once_their_coding_is_told(
    server: RunningServer, open_page: OpenPage, tmp_path: Path
) -> None:
    path = tmp_path / "samples.raw"
    path.write_bytes((bursts(6.0, [(1.0, 3.0)], rate=8_000) * 32_767).astype("<i2").tobytes())
    page = open_page(f"{server.url}")
    page.goto(f"{server.url}/ui/?encoding=pcm_s16le&sample_rate=8000")
    card = upload(page, path)
    card.await_segments(1)
    expect(card.option("encoding")).to_have_value("pcm_s16le")
    expect(card.option("sample_rate")).to_have_value("8000")
    expect(card.root.locator(".summary")).to_contain_text("0:06.000")
    card.set_option("sample_rate", 16_000)
    expect(card.root.locator(".summary")).to_contain_text("0:03.000")
    card.option("encoding").select_option("")
    expect(card.root.get_by_role("alert").first).to_contain_text("Unsupported audio")


def test_what_raw_samples_are_is_asked_where_they_are_refused(
    server: RunningServer, open_page: OpenPage, tmp_path: Path
) -> None:
    path = tmp_path / "samples.raw"
    path.write_bytes((bursts(6.0, [(1.0, 3.0)]) * 32_767).astype("<i2").tobytes())
    card = upload(open_page(server.url), path)
    expect(card.root.get_by_role("alert").first).to_contain_text("“How the file is read”")
    card.option("encoding").select_option("pcm_s16le")
    card.await_segments(1)
    expect(card.root.locator(".problem[data-code]")).to_have_count(0)
    expect(card.root.locator(".changed")).to_have_attribute("data-changed", "1")


def test_labels_are_lanes(card: CardView) -> None:
    def tell_kinds(route: Route) -> None:
        response = route.fetch()
        answer = response.json()
        for segment, label in zip(answer["segments"], ["speech", "music"], strict=True):
            segment["label"] = label
        route.fulfill(response=response, json=answer)

    card.page.route("**/segments?*", tell_kinds)
    card.choose_mode("tight")
    expect(card.root.locator(".choosable th").last).to_have_text("Kind")
    eventually(lambda: lanes(card) == ["null/speech", "null/music"])
    eventually(lambda: painted(card.page, "music"))
