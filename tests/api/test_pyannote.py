"""pyannote's network over HTTP: a directory as a model, its own modes, and what it cannot do."""

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

from tests.doors.house import SILERO
from tests.live.client import hear_all, s16, stream
from tests.server import RunningServer, local_server
from tests.signals import bursts
from tests.small_firered import write_small_firered
from tests.small_pyannote import write_small_pyannote

SOUND = bursts(12.0, [(2.0, 4.0), (6.0, 8.0), (9.0, 11.5)])


@pytest.fixture(scope="module")
def small(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Tiny networks; that of pyannote's layout is found by its directory's files."""
    folder = tmp_path_factory.mktemp("pyannote")
    windows = write_small_pyannote(folder / "windows")
    ahead = write_small_firered(folder / "ahead")
    settings = {"VAD_MODELS": f"windows={windows},ahead=firered:{ahead}", "MODELSCOPE_CACHE": str(folder / "none")}
    with local_server(f"small={small_model}", folder, settings) as server:
        yield server


def wav(samples: np.ndarray, rate: int = 16_000) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.frombuffer(s16(samples), "<i2"), rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def post(server: RunningServer, content: bytes, **query: Any) -> httpx.Response:
    return server.post("/vad", params=query, content=content, timeout=120)


def spans(answer: dict[str, Any], label: str | None = None) -> list[list[int]]:
    return [[each["start_ms"], each["end_ms"]] for each in answer["segments"] if each.get("label") == label]


def test_a_directory_is_a_model(small: RunningServer) -> None:
    answer = post(small, wav(SOUND), model="windows").json()
    assert answer["model"]["name"] == "windows"
    assert answer["options"]["mode"] == "tight"
    assert (answer["options"]["threshold"], answer["options"]["neg_threshold"]) == (0.6, 0.6)
    assert len(spans(answer)) == 3
    [listed] = [each for each in small.get("/models").json()["models"] if each["name"] == "windows"]
    assert (listed["live"], listed["look_ahead_ms"], listed["frame_ms"]) == (False, 10_000, 10)


@pytest.mark.parametrize("count", [1, 100, 160, 990, 16_000, 160_000, 160_500])
def test_audio_of_any_length(small: RunningServer, count: int) -> None:
    for options in ({}, {"mode": "binarize", "pad_onset": 0.2, "pad_offset": 0.2}, {"probabilities": "true"}):
        answer = post(small, wav(SOUND[24_000 : 24_000 + count]), model="windows", **options).json()
        assert all(0 <= start < end <= count // 16 for start, end in spans(answer))
        if "probabilities" in options:
            assert len(answer["probabilities"]["values"]) == count // 160


def test_its_own_post_processing(small: RunningServer) -> None:
    content = wav(SOUND)
    plain = post(small, content, model="windows", mode="binarize").json()
    assert plain["options"] == {
        "mode": "binarize", "onset": 0.5, "offset": 0.5, "min_duration_on": 0.0, "min_duration_off": 0.0,
        "pad_onset": 0.0, "pad_offset": 0.0, "merge_gap_ms": 0,
    }  # fmt: skip
    assert len(spans(plain)) == 3
    higher = post(small, content, model="windows", mode="binarize", onset=0.7).json()
    assert (higher["options"]["onset"], higher["options"]["offset"]) == (0.7, 0.7)
    nought = post(small, content, model="windows", mode="binarize", offset=0).json()
    assert nought["options"]["offset"] == 0
    assert len(spans(nought)) == 1  # once it has begun nothing ends it
    joined = post(small, content, model="windows", mode="binarize", min_duration_off=2.5).json()
    assert len(spans(joined)) == 1
    assert spans(post(small, content, model="windows", mode="binarize", min_duration_on=3).json()) == []
    for wrong in ({"onset": 1.5}, {"min_duration_on": -1}, {"offset": "nan"}, {"threshold": 0.5}):
        refused = post(small, content, model="windows", mode="binarize", **wrong)
        assert (refused.status_code, refused.json()["option"]) == (422, next(iter(wrong)))
    refused = post(small, content, model="windows", onset=0.5)
    assert "is an option of mode=binarize, but the mode in force is tight" in refused.json()["detail"]
    other = post(small, content, model="small", mode="binarize", min_duration_off=0.5).json()
    assert len(spans(other)) == 3


def test_kept_posteriors_answer_in_every_mode(small: RunningServer) -> None:
    content = wav(SOUND)
    kept = post(small, content, model="windows", keep="true").json()["analysis_id"]
    for mode in ("tight", "endpoint", "smoothed", "binarize"):
        again = small.get(f"/analyses/{kept}/segments", params={"mode": mode}).json()
        assert spans(again) == spans(post(small, content, model="windows", mode=mode).json()) != []


def test_live_streams_refuse_it_and_say_what_to_take(small: RunningServer) -> None:
    for model in ("windows", "small+windows"):
        with stream(small, model=model) as socket:
            heard = hear_all(socket)
        assert heard.error["code"] == "invalid_option"
        assert f"{model} cannot follow a live stream: windows needs windows of 10 s" in heard.error["detail"]
        assert "silero+firered-stream can" in heard.error["detail"]
        assert heard.code == 1008


# ---- overlap

LOUDER = SOUND * np.where(np.arange(len(SOUND)) % 32_000 < 12_000, 1, 0.4).astype(np.float32)
"""The small network takes the loudest for two people."""


def test_overlap_is_a_second_row_in_every_format_with_labels(small: RunningServer) -> None:
    content = wav(LOUDER)
    plain = post(small, content, model="windows").json()
    answer = post(small, content, model="windows", overlap="true").json()
    assert spans(answer, "speech") == spans(plain)
    overlapping = spans(answer, "overlap")
    assert len(overlapping) > 1
    assert answer["speech_ms"] == plain["speech_ms"]
    assert answer["overlap_ratio"] == round(sum(end - start for start, end in overlapping) / 12_000, 4) > 0
    assert (answer["options"]["overlap"], answer["options"]["overlap_threshold"]) == (True, 0.13)
    assert "overlap_ratio" not in plain
    assert "overlap" not in plain["options"]

    def text(form: str) -> str:
        return post(small, content, model="windows", overlap="true", format=form).text

    labels = [row["label"] for row in csv.DictReader(io.StringIO(text("csv")))]
    assert labels == [each["label"] for each in answer["segments"]]
    assert {label: labels.count(label) for label in ("speech", "overlap")} == {
        "speech": len(spans(plain)), "overlap": len(overlapping),
    }  # fmt: skip
    for form in ("audacity", "rttm", "srt", "vtt", "md", "textgrid", "eaf", "labelstudio", "ndjson"):
        assert text(form).count("overlap") >= len(overlapping), form
    grid = text("textgrid")
    assert 'name = "speech"' in grid
    assert 'name = "overlap"' in grid
    assert [each["key"] for each in json.loads(text("funasr"))] == ["audio-speech", "audio-overlap"]
    for form in ("clips", "whisperx", "kaldi", "lhotse"):
        assert text(form) == post(small, content, model="windows", format=form).text or form == "whisperx"
    assert len(json.loads(text("whisperx"))) == len(spans(plain))


def test_overlap_is_no_excerpt_and_no_chunk(small: RunningServer) -> None:
    content = wav(LOUDER)
    kinds = {"model": "windows", "overlap": "true"}
    with_it = post(small, content, **kinds, format="wav").content
    assert with_it == post(small, content, model="windows", format="wav").content
    names = zipfile.ZipFile(io.BytesIO(post(small, content, **kinds, format="zip").content)).namelist()
    assert len(names) == 1 + len(spans(post(small, content, model="windows").json()))
    assert not [name for name in names if "overlap" in name]
    chunks = post(small, content, **kinds, max_chunk_s=5).json()["chunks"]
    plain = post(small, content, model="windows", max_chunk_s=5).json()["chunks"]
    assert [[each["start_ms"], each["end_ms"]] for each in chunks] == [
        [each["start_ms"], each["end_ms"]] for each in plain
    ]


def test_overlap_by_channels_and_kept(small: RunningServer) -> None:
    file = io.BytesIO()
    both = np.stack([LOUDER, bursts(12.0, [(3.0, 5.0)], seed=5)], axis=1)
    soundfile.write(file, both, 16_000, format="WAV", subtype="PCM_16")
    kinds = {"model": "windows", "channel": "split"}
    answer = post(small, file.getvalue(), **kinds, overlap="true", keep="true", probabilities="true").json()
    assert [each["overlap_ratio"] > 0 for each in answer["channels"]] == [True, True]
    assert max(each["overlap_ratio"] for each in answer["channels"]) <= answer["overlap_ratio"]
    plain = post(small, file.getvalue(), **kinds).json()
    assert answer["overlap_ms"] == plain["overlap_ms"]  # that of two channels, another thing
    url = f"/analyses/{answer['analysis_id']}/segments"
    again = small.get(url, params={"overlap": "true"}).json()
    assert again["segments"] == answer["segments"]
    assert again["overlap_ratio"] == answer["overlap_ratio"]
    without = small.get(url).json()
    assert without["segments"] == plain["segments"]
    surer = small.get(url, params={"overlap": "true", "overlap_threshold": "0.9", "format": "csv"}).text
    assert "overlap" not in surer


def test_overlap_in_every_mode(small: RunningServer) -> None:
    content = wav(LOUDER)
    rows = {mode: post(small, content, model="windows", mode=mode, overlap="true").json()
            for mode in ("tight", "endpoint", "smoothed", "binarize")}  # fmt: skip
    for mode, answer in rows.items():
        assert spans(answer, "speech") == spans(post(small, content, model="windows", mode=mode).json())
        if mode != "binarize":
            assert spans(answer, "overlap") == spans(rows["tight"], "overlap")
    # The mode's own durations are those of both rows.
    longer = post(small, content, model="windows", mode="binarize", overlap="true", min_duration_on=0.5).json()
    assert [span for span in spans(rows["binarize"], "overlap") if span[1] - span[0] >= 500] == spans(longer, "overlap")


def test_the_probability_of_overlap(small: RunningServer) -> None:
    answer = post(small, wav(LOUDER), model="windows", overlap="true", probabilities="true", members="true").json()
    members = answer["probabilities"]["members"]
    assert set(members) == {"windows", "overlap"}
    assert len(members["overlap"]) == len(answer["probabilities"]["values"]) == 1_200
    assert 0.13 < max(members["overlap"]) <= 1


def test_a_sum_has_the_overlap_of_its_member(small: RunningServer) -> None:
    content = wav(LOUDER)
    alone = post(small, content, model="windows", overlap="true").json()
    answer = post(small, content, model="small+windows", overlap="true", probabilities="true", members="true").json()
    assert spans(answer, "overlap") == spans(alone, "overlap") != []
    assert set(answer["probabilities"]["members"]) == {"small", "windows", "overlap"}
    assert answer["overlap_ratio"] == alone["overlap_ratio"]


def test_overlap_is_refused_where_it_is_not_told(small: RunningServer) -> None:
    content = wav(SOUND)
    for model in ("small", "ahead", "ahead+small"):
        refused = post(small, content, model=model, overlap="true")
        assert (refused.status_code, refused.json()["option"]) == (422, "overlap")
        assert f"{model} cannot find where several people talk at once; pyannote can" in refused.json()["detail"]
    refused = post(small, content, model="windows", overlap_threshold=0.5)
    assert (refused.status_code, refused.json()["option"]) == (422, "overlap_threshold")
    refused = post(small, content, model="windows", overlap="true", overlap_threshold=1.5)
    assert (refused.status_code, refused.json()["option"]) == (422, "overlap_threshold")
    assert post(small, content, model="small", overlap="false").status_code == 200


# ---- sums with weights


def test_weights_of_a_sum(small: RunningServer) -> None:
    content = wav(SOUND)
    asked = ("small+2*windows", "2*windows small", "2*small,4*windows", "small + 2 * windows")
    answers = [post(small, content, model=name).json() for name in asked]
    assert {answer["model"]["name"] for answer in answers} == {"small+2*windows"}
    assert len({json.dumps(answer["segments"]) for answer in answers}) == 1
    assert len({answer["model"]["fingerprint"] for answer in answers}) == 1
    in_url = small.post("/vad?model=small+2*windows", content=content, timeout=60).json()
    assert in_url["model"] == answers[0]["model"]
    told = post(small, content, model="small+2*windows", probabilities="true", members="true").json()["probabilities"]
    members = told["members"]
    expected = [(one + 2 * two) / 3 for one, two in zip(members["small"], members["windows"], strict=True)]
    np.testing.assert_allclose(told["values"], expected, atol=2e-4)
    plain = post(small, content, model="2*small+2*windows").json()
    assert plain["model"]["name"] == "small+windows"
    assert plain["model"]["fingerprint"] != answers[0]["model"]["fingerprint"]
    assert post(small, content, model="3*windows").json()["model"]["name"] == "windows"


def test_weights_that_are_none(small: RunningServer) -> None:
    content = wav(SOUND)
    for name in ("0*small+windows", "small+10*windows", "small+1.5*windows", "small*2+windows", "small+*windows", "2*"):
        refused = post(small, content, model=name)
        assert (refused.status_code, refused.json()["option"]) == (422, "model")
        assert "a weight is a whole number from 1 to 9" in refused.json()["detail"]
    refused = post(small, content, model="2*small+3*small")
    assert refused.json()["detail"] == "model: small is named twice"


def test_best_says_what_is_missing(small: RunningServer) -> None:
    refused = post(small, wav(SOUND), model="best")
    assert (refused.status_code, refused.json()["option"]) == (422, "model")
    told = refused.json()["detail"]
    assert told.startswith("model: best is silero+firered+2*pyannote; ")
    for name in ("silero", "firered", "pyannote"):
        assert f"{name} is not " in told
    [listed] = [each for each in small.get("/models").json()["models"] if each.get("alias") == "best"]
    assert (listed["name"], listed["members"], listed["weights"], listed["live"]) == (
        "silero+firered+2*pyannote", ["silero", "firered", "pyannote"], [1, 1, 2], False,
    )  # fmt: skip
    assert "in meetings pyannote alone is level with it" in listed["note"]


@pytest.mark.skipif(not SILERO, reason="the package silero-vad is not installed")
def test_best(small_model: Path, tmp_path: Path) -> None:
    ahead, windows = write_small_firered(tmp_path / "ahead"), write_small_pyannote(tmp_path / "windows")
    settings = {
        "VAD_MODELS": f"silero,firered=firered:{ahead},pyannote=pyannote:{windows}",
        "MODELSCOPE_CACHE": str(tmp_path / "none"),
    }
    content = wav(LOUDER)
    with local_server(small_model, tmp_path, settings) as server:
        answer = post(server, content, model="best", overlap="true").json()
        assert answer["model"]["name"] == "silero+firered+2*pyannote"
        assert (answer["options"]["threshold"], answer["options"]["neg_threshold"]) == (0.45, 0.4)
        assert (
            answer["segments"]
            == post(server, content, model="2*pyannote+silero+firered", overlap="true").json()["segments"]
        )
        assert "overlap_ratio" in answer
        assert answer["model"]["name"] in server.get("/options").json()["models"]
        with stream(server, model="best") as socket:
            heard = hear_all(socket)
        assert "pyannote needs windows of 10 s" in heard.error["detail"]


# ---- the published network


@pytest.mark.reference
def test_golden_scores_over_http(reference: Path, published_model: Path, tmp_path: Path) -> None:
    """What `probabilities` tells are the law's scores, on 10 ms; and segments are those of the law's scores."""
    if not (reference / "modelscope" / "models" / "pyannote").is_dir():
        pytest.skip("pyannote is not among the reference data")
    settings = {"VAD_MODELS": "auto", "MODELSCOPE_CACHE": str(reference / "modelscope")}
    with local_server(published_model, tmp_path, settings) as server:
        for name in ("vad_example", "firered_event", "funasr_long"):
            content = (reference / "audio" / f"{name}.wav").read_bytes()
            kinds = {"model": "pyannote", "overlap": "true", "probabilities": "true", "members": "true"}
            answer = post(server, content, **kinds).json()
            law = np.load(reference / "golden" / f"pyannote_scores_{name}.law.npy")
            told = answer["probabilities"]
            nearest = ((320 * np.arange(len(told["values"])) - 561) // 540).clip(0, len(law) - 1)
            np.testing.assert_allclose(told["values"], law[nearest, 0], atol=1.6e-4)  # told in four places
            np.testing.assert_allclose(told["members"]["overlap"], law[nearest, 1], atol=1.6e-4)
            assert answer["model"]["name"] == "pyannote"
        content = (reference / "audio" / "vad_example.wav").read_bytes()
        answer = post(server, content, model="pyannote", mode="binarize").json()
        cases = json.loads((reference / "golden" / "pyannote_segments.json").read_text())
        case = next(
            each
            for each in cases
            if (each["audio"], each["scores"], each["options"]) == ("vad_example.wav", "law_speech", {})
        )
        found = np.array(spans(answer))
        assert found.shape == np.array(case["segments_ms"]).shape
        # Another processor's arithmetic may move an edge by a frame.
        assert np.abs(found - case["segments_ms"]).max() <= 17


def test_the_picture_of_a_kept_analysis_has_the_sounds_amplitude(small: RunningServer) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 440 / 16_000 * np.arange(32_000)).astype(np.float32)
    for model in ("windows", "small", "small+windows"):
        kept = post(small, wav(tone), model=model, keep="true").json()["analysis_id"]
        peaks = small.get(f"/analyses/{kept}/curve", params={"points": 100}).json()["peaks"]
        assert abs(np.median(peaks) - 0.5) < 0.01, model
