"""Formats for the next tool, read back by that tool where it is installed, else held to what it publishes."""

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings

from app.formats.report import Report
from app.vad.chunks import Chunk
from tests.formats.reports import EXAMPLE, FORMATS, Times, rendered, report_of, tracks
from tests.server import RunningServer

RELAXED = settings(max_examples=40, deadline=None)


def chunked(report: Report) -> Report:
    """Two chunks in each channel: the first two segments, and the rest."""
    channels = []
    for entry in report.channels:
        places = tuple(range(len(entry.segments)))
        groups = [group for group in (places[:2], places[2:]) if group]
        chunks = tuple(
            Chunk(entry.segments[group[0]].start_ms, entry.segments[group[-1]].end_ms, group) for group in groups
        )
        channels.append(replace(entry, chunks=chunks))
    return replace(report, channels=tuple(channels))


REPORTS = {
    "mix": report_of(EXAMPLE),
    "split": report_of(EXAMPLE[:3], EXAMPLE[1:4], split=True),
    "chunks": chunked(report_of(EXAMPLE)),
    "none": report_of([]),
    "chinese": report_of(EXAMPLE[:2], name="会议_1"),
}
every = pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)


def pieces(report: Report) -> list[tuple[float, float]]:
    return [(piece.start_ms / 1000, piece.end_ms / 1000) for piece in report.pieces()]


@every
def test_clips_are_pairs_as_faster_whisper_takes_them(report: Report) -> None:
    """`clip_timestamps`: a list of floats; two and two are a clip's start and end, none after the next one's start."""
    edges = json.loads(rendered("clips", report))
    assert list(zip(edges[0::2], edges[1::2], strict=True)) == pieces(report)
    assert all(isinstance(edge, float) for edge in edges)


@every
def test_whisperx(report: Report) -> None:
    """`merge_chunks` gives dictionaries of `start`, `end`, and the `segments` that are in each."""
    found = json.loads(rendered("whisperx", report))
    assert [(each["start"], each["end"]) for each in found] == pieces(report)
    for each in found:
        assert set(each) == {"start", "end", "segments"}
        assert each["segments"][0][0] == each["start"]
        assert each["segments"][-1][1] == each["end"]


@given(times=tracks())
@RELAXED
def test_kaldi_as_validate_data_dir_has_it(times: Times) -> None:
    """Four fields, sorted as C sorts, ids that are not repeated and begin with the recording's, ends after starts."""
    report = report_of(times, times[:3], split=True)
    lines = rendered("kaldi", report).decode().splitlines()
    assert lines == sorted(lines, key=str.encode)
    ids = [line.split(" ")[0] for line in lines]
    assert len(set(ids)) == len(ids)
    found = []
    for line in lines:
        utterance, recording, start, end = line.split(" ")
        assert utterance.startswith(recording)
        assert re.fullmatch(r"\d+\.\d{3}", start)
        assert float(end) > float(start)
        found.append((float(start), float(end)))
    assert sorted(found) == sorted(pieces(report))


@every
def test_lhotse_reads_its_supervisions(report: Report, tmp_path: Path) -> None:
    lhotse = pytest.importorskip("lhotse", reason="the package lhotse is not installed")
    path = tmp_path / "supervisions.jsonl"
    path.write_bytes(rendered("lhotse", report))
    read = list(lhotse.SupervisionSet.from_jsonl(path)) if report.pieces() else []
    assert sorted((each.start, each.end) for each in read) == sorted(pieces(report))
    assert {each.recording_id for each in read} <= {report.name}
    assert [each.channel for each in read] == [piece.channel or 0 for piece in report.pieces()]


@every
def test_elan_documents_are_read_by_pympi(report: Report, tmp_path: Path) -> None:
    pympi = pytest.importorskip("pympi", reason="the package pympi-ling is not installed")
    path = tmp_path / "talk.eaf"
    path.write_bytes(rendered("eaf", report))
    document = pympi.Elan.Eaf(str(path))
    for track in report.tracks():
        spans = document.get_annotation_data_for_tier(track.name)
        assert sorted(span[:2] for span in spans) == [(each.start_ms, each.end_ms) for each in track.segments]
    if report.has_chunks:
        spans = document.get_annotation_data_for_tier("chunks")
        assert sorted(spans) == [(each.start_ms, each.end_ms, f"chunk {each.index}") for each in report.chunks()]


@every
def test_elan_documents_keep_the_schemas_order_and_references(report: Report) -> None:
    """EAFv3.0.xsd: header, time order, tiers, types, locales; every reference leads somewhere."""
    root = ET.fromstring(rendered("eaf", report))
    kinds = list(dict.fromkeys(child.tag for child in root))
    assert kinds == ["HEADER", "TIME_ORDER", "TIER", "LINGUISTIC_TYPE", "LOCALE"]
    slots = {slot.get("TIME_SLOT_ID") for slot in root.iter("TIME_SLOT")}
    for annotation in root.iter("ALIGNABLE_ANNOTATION"):
        assert {annotation.get("TIME_SLOT_REF1"), annotation.get("TIME_SLOT_REF2")} <= slots
    types = {kind.get("LINGUISTIC_TYPE_ID") for kind in root.iter("LINGUISTIC_TYPE")}
    assert {tier.get("LINGUISTIC_TYPE_REF") for tier in root.iter("TIER")} <= types


@every
def test_label_studio_tasks(report: Report) -> None:
    """A list of tasks; a prediction's regions have `from_name`, `to_name`, `type`, and a `value` in seconds."""
    [task] = json.loads(rendered("labelstudio", report))
    assert set(task) == {"data", "predictions"}
    [prediction] = task["predictions"]
    regions = prediction["result"]
    assert len({region["id"] for region in regions}) == len(regions)
    for region in regions:
        assert (region["from_name"], region["to_name"], region["type"]) == ("label", "audio", "labels")
        assert region["value"]["labels"] == ["speech"]
        assert 0 <= region["value"]["start"] < region["value"]["end"] <= region["original_length"] + 1
    assert [(region["value"]["start"], region["value"]["end"]) for region in regions] == pieces(report)


@pytest.fixture
def client(server: RunningServer) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def several(client: httpx.Client, path: Path, form: str) -> httpx.Response:
    files: list[tuple[str, Any]] = [
        ("file", ("one.wav", path.read_bytes())),
        ("file", ("bad.wav", b"no audio")),
        ("file", ("two.wav", path.read_bytes())),
    ]
    answer = client.post("/vad", params={"format": form}, files=files)
    assert answer.status_code == 200, answer.text
    return answer


def test_csv_of_several_files_is_one_table(client: httpx.Client, speech_like: Path) -> None:
    answer = several(client, speech_like, "csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["name"] for row in rows] == ["one", "one", "two", "two"]
    assert answer.headers["X-VAD-Problems"] == "bad=unsupported_audio"
    assert [row["index"] for row in rows] == ["1", "2", "1", "2"]


@pytest.mark.parametrize("form", ["rttm", "kaldi", "lhotse"])
def test_lines_that_name_their_file_follow_each_other(client: httpx.Client, speech_like: Path, form: str) -> None:
    lines = several(client, speech_like, form).text.splitlines()
    assert len(lines) == 4
    assert sum("one" in line for line in lines) == 2


@pytest.mark.parametrize("form", ["srt", "vtt", "textgrid", "audacity", "md", "eaf"])
def test_other_texts_of_several_files_come_in_a_zip(client: httpx.Client, speech_like: Path, form: str) -> None:
    answer = several(client, speech_like, form)
    assert answer.headers["content-type"] == "application/zip"
    extension = FORMATS[form].extension
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.namelist() == [f"one.{extension}", f"two.{extension}", "problems.json"]
        alone = client.post("/vad", params={"format": form}, files={"file": ("one.wav", speech_like.read_bytes())})
        assert archive.read(f"one.{extension}") == alone.content
        assert json.loads(archive.read("problems.json"))[0]["code"] == "unsupported_audio"


@pytest.mark.parametrize("form", ["clips", "whisperx", "labelstudio"])
def test_json_of_several_files_is_an_array(client: httpx.Client, speech_like: Path, form: str) -> None:
    entries = several(client, speech_like, form).json()
    assert len(entries) == 3
    assert entries[0] != []
    assert entries[1]["code"] == "unsupported_audio"
