"""What a public reader of each text format gets out of ours: the same segments, to the millisecond."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
import rttm_manager
from hypothesis import given, settings
from hypothesis import strategies as st

from app.formats.report import Report, safe_name
from app.formats.texts import csv_text, textgrid_text
from tests.formats.readers import LABELS, READERS, Found, ms, open_textgrid
from tests.formats.reports import EXAMPLE, FORMATS, Times, rendered, report_of, tracks

FEWER = settings(max_examples=50)
READ_BY_TOOLS = {"kaldi", "lhotse", "eaf"}
"""In tests/formats/test_pipeline.py."""


def test_every_text_format_has_a_reader() -> None:
    texts = {form.name for form in FORMATS if form.media_type.endswith("charset=utf-8")}
    assert set(READERS) == texts - READ_BY_TOOLS


def read_back(name: str, report: Report) -> Found:
    return READERS[name](rendered(name, report, "en").decode())


def expected(tracks: list[Times], label: str) -> Found:
    found = [(start, end, number) for number, times in enumerate(tracks) for start, end in times]
    return [(start, end, label.format(number)) for start, end, number in sorted(found, key=lambda s: (s[0], s[2]))]


@pytest.mark.parametrize("name", READERS)
@given(times=tracks())
@FEWER
def test_times_survive(name: str, times: Times) -> None:
    assert read_back(name, report_of(times, duration_ms=43_200_000)) == expected([times], LABELS[name][0])


@pytest.mark.parametrize("name", READERS)
@given(left=tracks(), right=tracks())
@FEWER
def test_channels_stand_together_by_start(name: str, left: Times, right: Times) -> None:
    report = report_of(left, right, split=True, duration_ms=43_200_000)
    assert read_back(name, report) == expected([left, right], LABELS[name][1])


@pytest.mark.parametrize("name", READERS)
def test_no_segments_is_a_file_of_none(name: str) -> None:
    assert read_back(name, report_of([])) == []
    assert read_back(name, report_of([], [], split=True)) == []


def test_csv_tells_what_ended_a_segment() -> None:
    rows = list(csv.DictReader(io.StringIO(csv_text(report_of(EXAMPLE)))))
    assert [row["forced_end"] for row in rows] == ["false", "false", "true"] * 4
    assert [float(row["speech_probability"]) for row in rows[:2]] == [0.9, 0.9078]


def test_rttm_names_file_and_channel(tmp_path: Path) -> None:
    report = report_of([(0, 500)], [(100, 200)], split=True, name=safe_name("通话 1.wav"))
    (tmp_path / "two.rttm").write_bytes(rendered("rttm", report))
    turns = rttm_manager.import_rttm(str(tmp_path / "two.rttm"))
    assert [(turn.file_id, turn.channel_id) for turn in turns] == [("通话_1", 1), ("通话_1", 2)]


@given(left=tracks(60_000), right=tracks(60_000), spare=st.integers(0, 99))
def test_textgrid_covers_the_duration(left: Times, right: Times, spare: int) -> None:
    grid = open_textgrid(textgrid_text(report_of(left, right, split=True, duration_ms=60_000 + spare)))
    assert grid.tierNames == ("speech_ch0", "speech_ch1")
    for tier in grid.tiers:
        entries = tier.entries
        assert (ms(entries[0].start), ms(entries[-1].end)) == (0, 60_000 + spare)
        assert [entry.end for entry in entries[:-1]] == [entry.start for entry in entries[1:]]
        assert all(entry.start < entry.end and entry.label in ("", "speech") for entry in entries)


@pytest.mark.parametrize(("duration_ms", "end"), [(70_470, 70.47), (1, 0.001), (0, 0.001)])
def test_textgrid_of_silence_is_one_empty_interval(duration_ms: int, end: float) -> None:
    entries = open_textgrid(textgrid_text(report_of([], duration_ms=duration_ms))).getTier("speech").entries
    assert [(entry.start, entry.end, entry.label) for entry in entries] == [(0, end, "")]


def test_textgrid_reaches_the_end_of_speech_past_the_duration() -> None:
    """A last frame may round a segment's end up over the last sample."""
    grid = open_textgrid(textgrid_text(report_of([(0, 1010)], duration_ms=1006)))
    assert ms(grid.maxTimestamp) == 1010
    assert [(ms(e.start), ms(e.end), e.label) for e in grid.getTier("speech").entries] == [(0, 1010, "speech")]


NAMES = st.text(max_size=40) | st.text('"\\|,;\t\r\n<>&`*_=+-@ ]}', max_size=40)
LABEL = st.from_regex(r"[\w.+-]{1,32}", fullmatch=True)
"""What `POST /render` takes; a model's own labels are words."""


@pytest.mark.parametrize("name", [*READERS, *sorted(READ_BY_TOOLS)])
@given(filename=NAMES, label=LABEL)
def test_no_name_or_label_breaks_out_of_its_field(name: str, filename: str, label: str) -> None:
    """The text has as many lines and fields, and XML as many elements, as with plain words in their places."""

    def written(name_of_file: str, label: str) -> str:
        report = report_of([(0, 500), (700, 900)], name=safe_name(name_of_file))
        [entry] = report.channels
        labelled = tuple(replace(segment, label=label) for segment in entry.segments)
        report = replace(report, labels=(label,), channels=(replace(entry, segments=labelled),))
        return rendered(name, report, "en").decode()

    hostile, plain = written(filename, label), written("plain", "word")
    assert len(hostile.splitlines()) == len(plain.splitlines())
    for marks in ('"', "\t", "|", ",", "<", "\r", " "):
        assert hostile.count(marks) == plain.count(marks)
