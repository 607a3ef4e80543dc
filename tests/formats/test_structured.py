"""The JSON document, FunASR's list, and the lines of ndjson."""

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

from hypothesis import given

from app.formats.documents import AudioDocument, DetectionDocument, funasr_documents, json_document
from app.formats.registry import NdjsonRenderer, RenderContext
from app.formats.report import AudioSummary, Report
from tests.formats.reports import EXAMPLE, Times, rendered, report_of, tracks


def found(document: dict[str, Any]) -> list[tuple[int, int, int | None]]:
    return [(item["start_ms"], item["end_ms"], item.get("channel")) for item in document["segments"]]


def with_probabilities(report: Report) -> Report:
    channels = (replace(entry, probabilities=[0.25, 0.5]) for entry in report.channels)
    return replace(report, channels=tuple(channels))


def test_the_example() -> None:
    document = json.loads(json.dumps(json_document(report_of(EXAMPLE)), allow_nan=False))
    assert found(document) == [(start, end, None) for start, end in EXAMPLE]
    assert document["segments"][2] == {
        "index": 3, "start_ms": 6480, "end_ms": 23670, "duration_ms": 17190, "forced_end": True,
        "speech_probability": 0.9156,
    }  # fmt: skip
    assert document["speech_ms"] == sum(end - start for start, end in EXAMPLE) == 65_870
    assert document["speech_ratio"] == 0.9347
    assert document["timing"]["rtf"] == 0.1
    assert "channels" not in document
    assert "probabilities" not in document


def test_speech_of_two_channels_counts_once() -> None:
    document = json_document(report_of([(0, 1000), (3000, 4000)], [(500, 1500)], split=True, duration_ms=10_000))
    assert found(document) == [(0, 1000, 0), (500, 1500, 1), (3000, 4000, 0)]
    assert [item["index"] for item in document["segments"]] == [1, 2, 3]
    assert (document["speech_ms"], document["speech_ratio"]) == (2500, 0.25)
    assert document["channels"] == [
        {
            "channel": 0,
            "segment_count": 2,
            "speech_ms": 2000,
            "speech_ratio": 0.2,
            "silence_ms": 8000,
            "overlap_ms": 500,
            "interruptions": 0,
        },
        {
            "channel": 1,
            "segment_count": 1,
            "speech_ms": 1000,
            "speech_ratio": 0.1,
            "silence_ms": 9000,
            "overlap_ms": 500,
            "interruptions": 1,
        },
    ]


@given(left=tracks(), right=tracks())
def test_speech_ms_is_the_union(left: Times, right: Times) -> None:
    report = report_of(left, right, split=True, duration_ms=43_200_000)
    spoken = {at for start, end in (*left, *right) for at in (start, end)}
    marks = sorted(spoken)
    union = sum(
        stop - start
        for start, stop in pairwise(marks)
        if any(first <= start and stop <= last for first, last in (*left, *right))
    )
    assert report.speech_ms == union
    assert 0 <= report.speech_ratio <= 1


def test_no_audio_divides_by_nothing() -> None:
    document = json_document(report_of([], duration_ms=0))
    assert (document["segments"], document["speech_ratio"], document["timing"]["rtf"]) == ([], 0.0, 0.0)


def test_probabilities_stand_once_or_by_channel() -> None:
    values = {"frame_ms": 10, "values": [0.25, 0.5]}
    assert json_document(with_probabilities(report_of(EXAMPLE)))["probabilities"] == values
    split = json_document(with_probabilities(report_of([], [], split=True)))
    assert [entry["probabilities"] for entry in split["channels"]] == [values, values]
    assert "probabilities" not in split


@given(times=tracks())
def test_funasr_is_pairs(times: Times) -> None:
    document = json.loads(json.dumps(funasr_documents(report_of(times, name="a"))))
    assert document == [{"key": "a", "value": [list(pair) for pair in times]}]


def test_ndjson_tells_each_thing_once() -> None:
    report = report_of([(0, 1000)], [(500, 1500)], split=True)
    wrong = {"type": "about:blank", "code": "x", "detail": "a\nb"}
    renderer = NdjsonRenderer(RenderContext())
    lines = [renderer.segment(segment, channel) for channel, segment in report.in_order()]
    lines += [renderer.progress(2000, None), *renderer.finish(report), renderer.failed(wrong)]
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in lines)
    first, second, progress, summary, problem = map(json.loads, lines)
    whole = json_document(report)
    assert [first, second] == [{"type": "segment", **segment} for segment in whole.pop("segments")]
    assert progress == {"type": "progress", "done_ms": 2000, "expected_ms": None}
    assert summary == {"type": "summary", "segment_count": 2, **whole}
    assert problem == {**wrong, "type": "error"}


def test_ndjson_of_a_finished_report_tells_its_segments_too() -> None:
    """Where nothing was told while it was found, as from kept posteriors."""
    report = report_of([(0, 1000)], [(500, 1500)], split=True)
    lines = [json.loads(line) for line in rendered("ndjson", report).splitlines()]
    segments = json_document(report)["segments"]
    assert lines[:-1] == [{"type": "segment", **segment} for segment in segments]
    assert (lines[-1]["type"], lines[-1]["segment_count"]) == ("summary", 2)


def test_what_a_door_adds_stands_in_the_documents() -> None:
    report = replace(report_of(EXAMPLE), extras={"analysis_id": "abc"})
    assert json_document(report)["analysis_id"] == "abc"
    assert json.loads(rendered("ndjson", report).splitlines()[-1])["analysis_id"] == "abc"
    assert "analysis_id" not in json_document(report_of(EXAMPLE))


@given(left=tracks(), right=tracks())
def test_a_document_says_what_its_report_did(left: Times, right: Times) -> None:
    """Read back by the classes that it was made from."""
    report = report_of(left, right, split=True, duration_ms=43_200_000)
    read = DetectionDocument.model_validate_json(rendered("json", report))
    assert [(entry.channel, entry.start_ms, entry.end_ms, entry.forced_end) for entry in read.segments] == [
        (channel, segment.start_ms, segment.end_ms, segment.forced_end) for channel, segment in report.in_order()
    ]
    assert read.model.info() == report.model
    assert read.dump() == json_document(report)


def test_what_is_said_of_the_audio_comes_back_as_it_was() -> None:
    summary = AudioSummary(
        9_000, 16_000, 1, "MP4", "", truncated=False, track=1, tracks=2, late_start_ms=500, time_gap_ms=7_000,
        time_gaps=((3_000, 7_000),), clock_map=((0, 500, 3_000), (3_000, 10_500, 6_000)),
    )  # fmt: skip
    told = AudioDocument.of(summary).model_dump_json(exclude_none=True)
    assert AudioDocument.model_validate_json(told).summary() == summary
