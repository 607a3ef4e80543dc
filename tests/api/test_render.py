"""`POST /render` and `GET /sample.wav`: what the page takes away, and what it has to try."""

import csv
import io
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import soundfile

from app.api import pages
from app.formats.registry import FORMATS
from tests.server import RunningServer
from tests.waiting import eventually

TEXT_FORMATS = [form.name for form in FORMATS if not form.needs_audio and not form.streams]
AUDIO = {
    "duration_ms": 9000,
    "sample_rate": 16000,
    "channels": 1,
    "format": "WAV",
    "subtype": "PCM_16",
    "truncated": False,
}


def rendered(server: RunningServer, segments: list[dict[str, Any]], **query: str) -> str:
    answer = server.post("/render", params=query, json={"name": "talk.wav", "audio": AUDIO, "segments": segments})
    assert answer.status_code == 200, answer.text
    return answer.text


@pytest.mark.parametrize("form", [name for name in TEXT_FORMATS if name not in ("json", "labelstudio")])
def test_the_detector_s_segments_are_written_as_it_writes_them(
    server: RunningServer, speech_like: Path, form: str
) -> None:
    files = {"file": ("talk.wav", speech_like.read_bytes())}
    detected = server.post("/vad", files=files).json()
    told = {name: detected[name] for name in ("name", "audio", "model", "segments")}
    own, again = (
        server.post("/vad", params={"format": form}, files=files),
        server.post("/render", params={"format": form}, json=told),
    )
    assert again.status_code == 200, again.text
    assert again.text == own.text
    assert again.headers["content-type"] == own.headers["content-type"]
    assert again.headers["content-disposition"] == own.headers["content-disposition"]


def test_json_and_label_studio_say_that_they_were_corrected(server: RunningServer, speech_like: Path) -> None:
    detected = server.post("/vad", files={"file": ("talk.wav", speech_like.read_bytes())}).json()
    told = {name: detected[name] for name in ("name", "audio", "model", "segments")}
    document = server.post("/render", json=told).json()
    assert document["segments"] == detected["segments"]
    assert document["options"] == {"mode": "corrected"}
    task = server.post("/render", params={"format": "labelstudio"}, json=told).json()
    assert task[0]["predictions"][0]["model_version"].endswith("-corrected")


def test_labels_and_channels(server: RunningServer) -> None:
    segments = [
        {"start_ms": 3000, "end_ms": 4000, "channel": 1, "label": "说话人"},
        {"start_ms": 500, "end_ms": 1500, "channel": 0},
    ]
    lines = rendered(server, segments, format="audacity").splitlines()
    assert lines == ["0.500000\t1.500000\tspeech_ch0", "3.000000\t4.000000\t说话人_ch1"]
    assert 'name = "说话人_ch1"' in rendered(server, segments, format="textgrid")
    assert rendered(server, [], format="rttm") == ""


@pytest.mark.parametrize(
    ("segment", "option"),
    [
        ({"start_ms": 5, "end_ms": 5}, "segments"),
        ({"start_ms": -1, "end_ms": 5}, "segments.0.start_ms"),
        ({"start_ms": 0, "end_ms": 5, "label": " "}, "segments.0.label"),
        ({"start_ms": 0, "end_ms": 5, "label": "x" * 65}, "segments.0.label"),
        ({"start_ms": 0, "end_ms": 5, "label": "line\n"}, "segments.0.label"),
        ({"start_ms": 0, "end_ms": 5, "label": "\ta"}, "segments.0.label"),
        ({"start_ms": 0, "end_ms": 10**400}, "segments.0.end_ms"),
        ({"start_ms": 0}, "segments.0.end_ms"),
    ],
)
def test_what_cannot_be_written(server: RunningServer, segment: dict[str, Any], option: str) -> None:
    answer = server.post("/render", json={"audio": AUDIO, "segments": [segment]})
    assert (answer.status_code, answer.json()["option"]) == (422, option)


@pytest.mark.parametrize("form", TEXT_FORMATS)
def test_no_cell_or_line_begins_a_formula(server: RunningServer, form: str) -> None:
    """Labels are made harmless as names of files are, in every form alike."""
    labels = ["+1", "-2+3", "+-cmd", "--", "=1|2", "@SUM", "＝1", "a+b", "c-d"]
    segments = [{"start_ms": at * 100, "end_ms": at * 100 + 50, "label": label} for at, label in enumerate(labels)]
    body = {"name": "=cmd+x\t@.wav", "audio": AUDIO, "segments": segments}
    text = server.post("/render", params={"format": form}, json=body).text
    for label in ("+1", "-2+3", "cmd+x"):
        assert label not in text.replace("2+3", "")
    if form == "csv":
        assert [line.rsplit(",", 1)[1] for line in text.splitlines()] == [
            "label", "1", "2+3", "cmd", "speech", "1|2", "SUM", "1", "a+b", "c-d",
        ]  # fmt: skip
        assert not [cell for line in text.splitlines() for cell in line.split(",") if cell[:1] in "=+-@\t\r" and cell]


def test_labels_without_number_are_refused_and_many_take_no_time(server: RunningServer) -> None:
    """What is done for each label and each segment is not done for each pair of them."""
    segments = [{"start_ms": at, "end_ms": at + 1, "label": f"a{at}"} for at in range(20_000)]
    body = {"audio": AUDIO, "segments": segments}
    answer = server.post("/render", params={"format": "textgrid"}, json=body, timeout=20)
    assert (answer.status_code, answer.json()["option"]) == (422, "segments")
    for segment in segments:
        segment["label"] = f"a{segment['start_ms'] % 256}"
    answer = server.post("/render", params={"format": "textgrid"}, json=body, timeout=20)
    assert answer.text.count("IntervalTier") == 256


def test_a_length_that_is_none(server: RunningServer) -> None:
    for duration in (-1, 10**30):
        answer = server.post("/render", json={"audio": {**AUDIO, "duration_ms": duration}, "segments": []})
        assert (answer.status_code, answer.json()["option"]) == (422, "audio.duration_ms")


def test_overlaps_are_refused_within_a_label_alone(server: RunningServer) -> None:
    both = [{"start_ms": 0, "end_ms": 900}, {"start_ms": 800, "end_ms": 1000}]
    answer = server.post("/render", json={"audio": AUDIO, "segments": both})
    assert (answer.status_code, answer.json()["option"]) == (422, "segments")
    both[1]["label"] = "music"  # type: ignore[assignment]
    assert len(rendered(server, both, format="rttm").splitlines()) == 2


@pytest.mark.parametrize("form", ["wav", "ndjson", "nothing"])
def test_forms_that_have_no_segments_alone(server: RunningServer, form: str) -> None:
    answer = server.post("/render", params={"format": form}, json={"audio": AUDIO, "segments": []})
    assert (answer.status_code, answer.json()["option"]) == (422, "format")


def test_a_body_that_is_no_json_leaves_nothing_behind(server: RunningServer) -> None:
    answer = server.post("/render", content=b"{" + b" " * 5_000_000)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_option")
    eventually(lambda: server.upload_files == [])
    too_large = server.post("/render", content=b" " * (17 << 20))
    assert (too_large.status_code, too_large.json()["code"]) == (413, "upload_too_large")


@pytest.fixture
def synthetic(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in a build that could not fetch the sample."""
    monkeypatch.setattr(pages, "FETCHED_SAMPLE", tmp_path / "none.wav")


def test_a_sample_that_the_build_has_fetched_is_sent(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, speech_like: Path
) -> None:
    fetched = tmp_path / "sample.wav"
    fetched.write_bytes(speech_like.read_bytes())
    monkeypatch.setattr(pages, "FETCHED_SAMPLE", fetched)
    assert server.get("/sample.wav").content == speech_like.read_bytes()


@pytest.mark.usefixtures("synthetic")
def test_the_sample_is_audio_and_the_same_each_time(server: RunningServer) -> None:
    first, second = server.get("/sample.wav"), server.get("/sample.wav")
    assert first.content == second.content
    assert first.headers["content-type"] == "audio/wav"
    info = soundfile.info(io.BytesIO(first.content))
    assert (info.samplerate, info.channels, info.duration) == (16_000, 1, 12.0)


@pytest.mark.reference
@pytest.mark.usefixtures("synthetic")
def test_the_published_model_hears_three_stretches_in_the_sample(published_server: RunningServer) -> None:
    heard = published_server.post("/vad", content=published_server.get("/sample.wav").content).json()["segments"]
    assert [(one["start_ms"] // 1000, round(one["end_ms"] / 1000)) for one in heard] == [(0, 3), (3, 8), (8, 11)]


@pytest.mark.usefixtures("synthetic")
def test_silero_hears_the_same(tmp_path: Path) -> None:
    pytest.importorskip("silero_vad", reason="the package silero-vad is not installed")
    from tests.server import local_server

    with local_server("silero", tmp_path) as server:
        heard = server.post("/vad", content=server.get("/sample.wav").content).json()["segments"]
    assert [(round(one["start_ms"] / 1000), round(one["end_ms"] / 1000)) for one in heard] == [(1, 3), (4, 8), (9, 11)]


def test_a_label_is_any_line_of_text_and_stays_within_its_field(server: RunningServer) -> None:
    label = '主持人 "Anna" <b> | & --> !'
    document = {"audio": AUDIO, "segments": [{"start_ms": 1000, "end_ms": 2000, "label": label}]}

    def written(form: str) -> str:
        answer = server.post("/render", params={"format": form}, json=document)
        assert answer.status_code == 200, answer.text
        return answer.text

    assert json.loads(written("json"))["segments"][0]["label"] == label
    assert next(csv.DictReader(io.StringIO(written("csv"))))["label"] == label
    assert written("audacity") == f"1.000000\t2.000000\t{label}\n"
    [line] = written("rttm").splitlines()
    assert len(line.split()) == 10
    assert written("srt").count("-->") == 1
    assert written("vtt").endswith('主持人 "Anna" &lt;b&gt; | &amp; --&gt; !\n')
    assert 'text = "主持人 ""Anna"" <b> | & --> !"' in written("textgrid")
    assert ElementTree.fromstring(written("eaf")).findtext(".//ANNOTATION_VALUE") == label
    assert written("md").splitlines()[2].replace("\\|", "").count("|") == written("md").splitlines()[0].count("|")


def test_segments_alone_are_enough(server: RunningServer) -> None:
    answer = server.post("/render", params={"format": "srt"}, json={"segments": [{"start_ms": 0, "end_ms": 5}]})
    assert answer.status_code == 200
    assert answer.text == "1\n00:00:00,000 --> 00:00:00,005\nspeech\n"
