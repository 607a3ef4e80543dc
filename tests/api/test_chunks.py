"""`max_chunk_s`, `merge_gap_ms`, `split` and `preset` over HTTP: every form of answer, and what is refused."""

import csv
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

from app.presets import OF_A_MODEL, PRESETS
from tests.server import RunningServer, local_server
from tests.signals import bursts

SPANS = [(0.5, 2.0), (2.6, 3.4), (4.4, 5.0), (6.0, 7.7), (8.2, 9.0), (12.0, 13.0)]
TIGHT = {"mode": "tight", "min_silence_duration_ms": "100"}


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """14 s, six bursts, two channels of which the second is silent."""
    path = tmp_path_factory.mktemp("talk") / "talk.wav"
    samples = bursts(14.0, SPANS)
    soundfile.write(path, np.stack([samples, np.zeros_like(samples)], axis=1), 16_000, subtype="PCM_16")
    return path


@pytest.fixture
def client(server: RunningServer) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def post(client: httpx.Client, path: Path, **options: str) -> httpx.Response:
    answer = client.post("/vad", params={**TIGHT, "channel": "0", **options}, files={"file": path.read_bytes()})
    assert answer.status_code == 200, answer.text
    return answer


def chunks(answer: dict[str, Any]) -> list[tuple[int, int]]:
    return [(chunk["start_ms"], chunk["end_ms"]) for chunk in answer["chunks"]]


def test_json_has_chunks_only_when_asked(client: httpx.Client, talk: Path) -> None:
    plain = post(client, talk).json()
    assert "chunks" not in plain
    assert "max_chunk_s" not in plain["options"]
    answer = post(client, talk, max_chunk_s="5").json()
    assert answer["segments"] == plain["segments"]  # not touched by chunking
    assert (answer["options"]["max_chunk_s"], answer["options"]["chunk_pad_ms"]) == (5.0, 0)
    assert all(0 < chunk["duration_ms"] <= 5_000 for chunk in answer["chunks"])
    assert [index for chunk in answer["chunks"] for index in chunk["segments"]] == [1, 2, 3, 4, 5, 6]
    assert all(chunk["channel"] == 0 for chunk in answer["chunks"])
    by_index = {segment["index"]: segment for segment in answer["segments"]}
    for chunk in answer["chunks"]:
        first, last = by_index[chunk["segments"][0]], by_index[chunk["segments"][-1]]
        assert (chunk["start_ms"], chunk["end_ms"]) == (first["start_ms"], last["end_ms"])


def test_ndjson_tells_a_chunk_before_the_end(client: httpx.Client, talk: Path) -> None:
    expected = post(client, talk, max_chunk_s="5").json()
    lines = [json.loads(line) for line in post(client, talk, max_chunk_s="5", format="ndjson").text.splitlines()]
    told = [line for line in lines if line["type"] == "chunk"]
    assert [{name: value for name, value in line.items() if name != "type"} for line in told] == expected["chunks"]
    assert lines[-1]["chunk_count"] == len(expected["chunks"])
    assert "chunks" not in lines[-1]


def test_zip_and_wav_write_chunks(client: httpx.Client, talk: Path) -> None:
    expected = chunks(post(client, talk, max_chunk_s="5").json())
    samples, _ = soundfile.read(talk)
    cuts = [samples[start * 16 : end * 16, 0] for start, end in expected]
    whole, rate = soundfile.read(io.BytesIO(post(client, talk, max_chunk_s="5", format="wav").content))
    np.testing.assert_array_equal(whole, np.concatenate(cuts))
    with zipfile.ZipFile(
        io.BytesIO(post(client, talk, max_chunk_s="5", format="zip", time_map="true").content)
    ) as held:
        rows = list(csv.DictReader(io.StringIO(held.read("manifest.csv").decode())))
        assert [(int(row["start_ms"]), int(row["end_ms"])) for row in rows] == expected
        assert [float(row["source_ms"]) for row in rows] == [start for start, _ in expected]
        for row, cut in zip(rows, cuts, strict=True):
            np.testing.assert_array_equal(soundfile.read(io.BytesIO(held.read(row["file"])))[0], cut)
    assert rate == 16_000


def test_each_channel_has_chunks_of_its_own(client: httpx.Client, talk: Path) -> None:
    answer = post(client, talk, max_chunk_s="5", channel="split").json()
    assert chunks(answer) == chunks(post(client, talk, max_chunk_s="5").json())
    assert {chunk["channel"] for chunk in answer["chunks"]} == {0}


def test_a_time_map_leads_back_to_the_source(client: httpx.Client, talk: Path) -> None:
    options = {"max_chunk_s": "5", "time_map": "true", "excerpt_rate": "8000"}
    told = post(client, talk, **options).json()["time_map"]
    answer = post(client, talk, **options, format="wav")
    samples, rate = soundfile.read(io.BytesIO(answer.content))
    assert rate == 8_000
    header = [list(map(float, part.split(","))) for part in answer.headers["X-VAD-Time-Map"].split(";")]
    assert header == told
    assert int(answer.headers["X-VAD-Time-Map-Stretches"]) == len(told)
    source, _ = soundfile.read(talk)
    for start, at, length in told:
        excerpt = samples[round(start * 8) : round((start + length) * 8)]
        original = source[round(at * 16) : round((at + length) * 16), 0]
        # Loud where the source is: the same sound at another rate.
        assert np.sqrt(np.mean(excerpt**2)) == pytest.approx(np.sqrt(np.mean(original**2)), rel=0.4)
    assert told[-1][0] + told[-1][2] == pytest.approx(len(samples) / 8, abs=0.2)


def test_silence_may_stay_in_its_place(client: httpx.Client, talk: Path) -> None:
    cut = post(client, talk).json()["segments"]
    answer = post(client, talk, format="wav", silence="zero", min_excerpt_s="0.7", time_map="true")
    samples, _ = soundfile.read(io.BytesIO(answer.content))
    source, _ = soundfile.read(talk)
    expected = np.zeros(14 * 16_000)
    for segment in cut:
        if segment["duration_ms"] >= 700:
            stretch = slice(segment["start_ms"] * 16, segment["end_ms"] * 16)
            expected[stretch] = source[stretch, 0]
    np.testing.assert_array_equal(samples, expected)
    assert answer.headers["X-VAD-Time-Map"] == "0,0,14000"
    assert len([segment for segment in cut if segment["duration_ms"] < 700]) >= 1


def test_one_channel_is_the_mean_of_all(client: httpx.Client, talk: Path) -> None:
    answer = post(client, talk, format="wav", channel="mix", excerpt_channels="1", threshold="0.3")
    samples, _ = soundfile.read(io.BytesIO(answer.content), always_2d=True)
    assert samples.shape[1] == 1


def test_merging_joins_and_pauses_split(client: httpx.Client, talk: Path) -> None:
    merged = post(client, talk, merge_gap_ms="1500").json()
    assert len(merged["segments"]) == 2
    assert merged["options"]["merge_gap_ms"] == 1500
    params = {"channel": "0", "split": "pause", "max_single_segment_time": "2000", "split_window_ms": "800"}
    answer = client.post("/vad", params=params, files={"file": talk.read_bytes()}).json()
    assert answer["options"]["split"] == "pause"
    assert all(segment["duration_ms"] <= 2_000 for segment in answer["segments"])


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"max_chunk_s": "0.5"}, "max_chunk_s"),
        ({"max_chunk_s": "30s"}, "max_chunk_s"),
        ({"max_chunk_s": "2", "chunk_pad_ms": "900"}, "chunk_pad_ms"),
        ({"merge_gap_ms": "-1"}, "merge_gap_ms"),
        ({"mode": "tight", "split": "pause"}, "split"),
        ({"split": "soft"}, "split"),
        ({"preset": "everything"}, "preset"),
        ({"silence": "loud"}, "silence"),
        ({"excerpt_rate": "7999"}, "excerpt_rate"),
        ({"excerpt_channels": "2"}, "excerpt_channels"),
        ({"min_excerpt_s": "nan"}, "min_excerpt_s"),
    ],
)
def test_what_is_refused(client: httpx.Client, talk: Path, options: dict[str, str], option: str) -> None:
    answer = client.post("/vad", params=options, files={"file": talk.read_bytes()})
    assert (answer.status_code, answer.json()["code"], answer.json()["option"]) == (422, "invalid_option", option)


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_every_preset_answers_where_its_model_is_not(client: httpx.Client, talk: Path, preset: Any) -> None:
    answer = client.post("/vad", params={"preset": preset.name}, files={"file": talk.read_bytes()}).json()
    assert [warning["code"] for warning in answer["warnings"]] == ["preset_model"]
    assert preset.model in answer["warnings"][0]["detail"]
    assert answer["options"]["mode"] == preset.mode
    # Another model has its own thresholds.
    for name, value in [each for each in preset.options.items() if each[0] not in OF_A_MODEL]:
        assert answer["options"][name] == value
    assert set(preset.reasons) == {"model", "mode", *preset.options}


def test_what_a_request_sets_wins_over_its_preset(client: httpx.Client, talk: Path) -> None:
    params = {"preset": "asr", "mode": "endpoint", "max_chunk_s": "20"}
    answer = client.post("/vad", params=params, files={"file": talk.read_bytes()}).json()
    assert (answer["options"]["mode"], answer["options"]["max_chunk_s"]) == ("endpoint", 20)
    assert "speech_pad_ms" not in answer["options"]  # the mode in force does not have it
    named = client.post(
        "/vad", params={"preset": "asr", "model": answer["model"]["name"]}, files={"file": talk.read_bytes()}
    )
    assert named.json()["warnings"] == []


def test_options_are_told(client: httpx.Client) -> None:
    told = client.get("/options").json()
    assert list(told["chunks"]) == ["max_chunk_s", "chunk_pad_ms"]
    assert "default" not in told["chunks"]["max_chunk_s"]
    assert (told["chunks"]["max_chunk_s"]["minimum"], told["chunks"]["max_chunk_s"]["maximum"]) == (1, 600)
    assert [preset["name"] for preset in told["presets"]] == [preset.name for preset in PRESETS]
    assert told["default_preset"] is None


def test_the_services_own_preset(small_model: Path, talk: Path, tmp_path: Path) -> None:
    settings = {"VAD_PRESET": "asr", "VAD_DEFAULT_OPTIONS": '{"speech_pad_ms": 40}'}
    with local_server(small_model, tmp_path, settings) as server, server.client() as client:
        answer = client.post("/vad", files={"file": talk.read_bytes()}).json()
        # VAD_MODEL was set: no other model was wanted.
        assert answer["warnings"] == []
        assert answer["options"]["speech_pad_ms"] == 40
        assert len(answer["chunks"]) == 1
        other = client.post("/vad", params={"preset": "none"}, files={"file": talk.read_bytes()}).json()
        assert (other["options"]["mode"], "chunks" in other) == ("endpoint", False)
        assert client.get("/options").json()["default_preset"] == "asr"
