"""Correcting by hand: drag, add, split, merge, take back, measure, keep, take away, bring in."""

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.card import CardView, upload
from tests.browser.conftest import OpenPage
from tests.server import RunningServer
from tests.waiting import eventually

_MARKS_LANE = 18 + 92 + 18 + 9
"""The middle of the lane of the corrected ones, under that of the detected: pixels from the timeline's top."""


@pytest.fixture
def card(server: RunningServer, open_page: OpenPage, speech_like: Path) -> CardView:
    """Two segments, about 2 to 4 and 6 to 8 s of 10, being corrected."""
    shown = upload(open_page(server.url), speech_like)
    shown.await_segments(2)
    shown.root.get_by_role("button", name="Start correcting").click()
    expect(_rows(shown)).to_have_count(2)
    return shown


def _rows(card: CardView) -> Any:
    return card.root.locator(".marks tbody tr:not(.gap)")


def marks(card: CardView) -> list[tuple[str, str]]:
    """(start, end) as the fields show them."""
    read = "rows => rows.map(row => [...row.querySelectorAll('input')].slice(0, 2).map(field => field.value))"
    return [(start, end) for start, end in _rows(card).evaluate_all(read)]


def drag(card: CardView, from_ms: float, to_ms: float, y: float) -> None:
    """With the mouse, in steps as a hand does."""
    box = card.timeline.bounding_box()
    assert box is not None
    mouse = card.page.mouse
    mouse.move(box["x"] + card.x_of(from_ms), box["y"] + y)
    mouse.down()
    mouse.move(box["x"] + card.x_of((from_ms + to_ms) / 2), box["y"] + y, steps=3)
    mouse.move(box["x"] + card.x_of(to_ms), box["y"] + y, steps=3)
    mouse.up()


def ms(clock: str) -> int:
    minutes, seconds = clock.split(":")
    return round((int(minutes) * 60 + float(seconds)) * 1000)


def test_edges_are_dragged_and_the_measure_follows(card: CardView) -> None:
    measure = card.root.locator("[data-f1]")
    expect(measure).to_have_attribute("data-f1", "1.0000")
    (start, end), _ = marks(card)
    drag(card, ms(end), 5_000, 60)
    moved = marks(card)[0]
    assert moved[0] == start
    assert ms(moved[1]) == pytest.approx(5_000, abs=15)
    missed = ms(moved[1]) - ms(end)
    found = sum(last - first for first, last in card.table_ms())
    assert float(measure.get_attribute("data-f1") or "") == pytest.approx(2 * found / (2 * found + missed), abs=1e-4)
    expect(measure).to_contain_text(f"{missed / 1000:.3f} s, 0 whole")
    # An edge is stopped by the next segment.
    drag(card, ms(moved[1]), 9_500, 60)
    assert marks(card)[0][1] == marks(card)[1][0]


def test_new_ones_are_drawn_split_merged_deleted_and_all_of_it_taken_back(card: CardView) -> None:
    keyboard = card.page.keyboard
    before = marks(card)
    drag(card, 300, 1_300, _MARKS_LANE)
    assert len(marks(card)) == 3
    assert ms(marks(card)[0][1]) - ms(marks(card)[0][0]) == pytest.approx(1_000, abs=20)
    card.click_at(800)
    keyboard.press("x")
    assert len(marks(card)) == 4
    keyboard.press("m")
    assert len(marks(card)) == 3
    keyboard.press("Delete")
    assert marks(card) == before
    for _ in range(4):
        card.root.get_by_role("button", name="Undo").click()
    assert marks(card) == before
    expect(card.root.get_by_role("button", name="Undo")).to_be_disabled()
    for _ in range(3):
        keyboard.press("Control+Shift+z")
    assert len(marks(card)) == 3
    keyboard.press("Control+z")
    assert len(marks(card)) == 4


def test_times_and_labels_are_typed(card: CardView) -> None:
    first = _rows(card).first
    first.get_by_label("Start of segment 1").fill("1.5")
    first.get_by_label("Start of segment 1").press("Enter")
    first.get_by_label("Label of segment 1").fill("主持人 anna!")
    first.get_by_label("Label of segment 1").press("Enter")
    assert marks(card)[0][0] == "0:01.500"
    expect(first.get_by_label("Label of segment 1")).to_have_value("主持人 anna!")
    lines = card.export("audacity")[1].decode().splitlines()
    assert lines[0].startswith("1.500000\t")
    assert [line.split("\t")[2] for line in lines] == ["主持人 anna!", "speech"]


def test_what_cannot_be_is_told_beside_the_field_and_not_silently_changed(card: CardView) -> None:
    first = _rows(card).first
    before = marks(card)[0]
    end = first.get_by_label("End of segment 1")
    end.fill("soon")
    end.press("Enter")
    expect(first.get_by_role("alert")).to_contain_text("“soon” is not a time")
    expect(end).to_have_value("soon")
    expect(end).to_have_attribute("aria-invalid", "true")
    end.fill("99:00")
    end.press("Enter")
    expect(first.get_by_role("alert")).to_contain_text("1:39:00.000 is behind a neighbour")
    expect(end).not_to_have_value("99:00")
    end.fill(before[1])
    end.press("Enter")
    expect(first.get_by_role("alert")).to_have_count(0)


def test_every_text_form_that_is_exported_can_be_imported(
    server: RunningServer, open_page: OpenPage, speech_like: Path, tmp_path: Path
) -> None:
    """The same segments come back, from the file as it was downloaded."""
    card = upload(open_page(server.url), speech_like)
    card.await_segments(2)
    expected = card.table_ms()
    with server.client() as client:
        forms = [each["name"] for each in client.get("/options").json()["forms"] if not each["needs_audio"]]
    assert len(forms) == 16
    for form in forms:
        name, content = card.export(form)
        (tmp_path / name).write_bytes(content)
        card.root.locator("input[data-import]").set_input_files(tmp_path / name)
        expect(_rows(card), form).to_have_count(len(expected))
        assert [(ms(start), ms(end)) for start, end in marks(card)] == expected, form
        expect(_rows(card).first.get_by_label("Label of segment 1")).to_have_value("")
        card.root.get_by_role("button", name="Discard corrections").click()


def test_they_are_kept_until_they_are_taken_away(card: CardView, speech_like: Path) -> None:
    first = _rows(card).first
    first.get_by_label("Start of segment 1").fill("1.5")
    first.get_by_label("Start of segment 1").press("Enter")
    expect(card.root.get_by_text("have not been exported")).to_be_visible()
    page = card.page
    page.on("dialog", lambda dialog: dialog.accept())
    page.reload()
    again = upload(page, speech_like)
    again.await_segments(2)
    expect(_rows(again)).to_have_count(2)
    assert marks(again)[0][0] == "0:01.500"
    exported = json.loads(again.export("json")[1])
    assert exported["segments"][0]["start_ms"] == 1_500
    assert exported["options"] == {"mode": "corrected"}
    expect(again.root.get_by_text("have not been exported")).to_have_count(0)
    page.reload()
    fresh = upload(page, speech_like)
    fresh.await_segments(2)
    expect(fresh.root.get_by_role("button", name="Start correcting")).to_be_visible()


_TEXT_FORMS = [
    "json", "funasr", "csv", "audacity", "rttm", "srt", "vtt", "textgrid", "clips", "whisperx", "kaldi", "lhotse",
    "labelstudio", "eaf", "md",
]  # fmt: skip


def test_every_text_form_holds_what_was_corrected(card: CardView) -> None:
    first = _rows(card).first
    first.get_by_label("Start of segment 1").fill("1.234")
    first.get_by_label("Start of segment 1").press("Enter")
    shown = card.root.locator("button[data-format]").evaluate_all("all => all.map(one => one.dataset.format)")
    assert sorted(shown) == sorted(_TEXT_FORMS)
    for form in _TEXT_FORMS:
        text = card.export(form)[1].decode("utf-8-sig")
        # Chromium drops, without a word, what comes after ten downloads within a second.
        card.page.wait_for_timeout(110)
        assert any(time in text for time in ("1234", "1.234", "01,234")), form


@pytest.mark.parametrize("form", ["audacity", "rttm", "textgrid", "labelstudio", "json", "funasr"])
def test_what_the_service_writes_is_read_back(card: CardView, tmp_path: Path, form: str) -> None:
    before = marks(card)
    name, content = card.export(form)
    path = tmp_path / name
    path.write_bytes(content)
    card.root.get_by_role("button", name="Discard corrections").click()
    expect(_rows(card)).to_have_count(0)
    card.root.locator("input[data-import]").set_input_files(path)
    expect(_rows(card)).to_have_count(2)
    assert marks(card) == before


def test_what_cannot_be_read_is_said(card: CardView, tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear Sir or Madam")
    card.root.locator("input[data-import]").set_input_files(path)
    expect(card.root.get_by_role("alert").filter(has_text="No segments could be read")).to_be_visible()
    assert len(marks(card)) == 2


def test_a_finger_drags_edges_in_the_corrected_ones_row(
    server: RunningServer, open_page: OpenPage, speech_like: Path
) -> None:
    page = open_page(server.url, viewport={"width": 390, "height": 844}, has_touch=True)
    card = upload(page, speech_like)
    card.await_segments(2)
    card.root.get_by_role("button", name="Start correcting").click()
    expect(_rows(card)).to_have_count(2)
    end = ms(marks(card)[0][1])
    card.timeline.scroll_into_view_if_needed()
    box = card.timeline.bounding_box()
    assert box is not None
    session = page.context.new_cdp_session(page)

    def touch(kind: str, at_ms: float | None) -> None:
        y = box["y"] + _MARKS_LANE
        points = [] if at_ms is None else [{"x": box["x"] + card.x_of(at_ms), "y": y}]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", end)
    for at in (end + 200, end + 500, end + 900):
        touch("touchMove", at)
    touch("touchEnd", None)
    eventually(lambda: ms(marks(card)[0][1]) == pytest.approx(end + 900, abs=60))
