"""FireRedVAD and sums of models over HTTP and live: the package's own segments, labels in every format, one decode."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

from tests.live.client import converse, cut, hear_all, s16, stream
from tests.server import RunningServer, local_server
from tests.signals import bursts
from tests.small_firered import write_small_firered
from tests.voice import voice


@pytest.fixture(scope="module")
def small(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Tiny networks under names of their own, and Silero where it is installed."""
    folder = tmp_path_factory.mktemp("firered")
    ahead = write_small_firered(folder / "ahead")
    aed = write_small_firered(folder / "aed", labels=3, seed=4)
    settings = {"VAD_MODELS": f"auto,ahead=firered:{ahead},aed=firered:{aed}", "MODELSCOPE_CACHE": str(folder / "none")}
    with local_server(f"small={small_model}", folder, settings) as server:
        yield server


@pytest.fixture(scope="module")
def published(
    reference: Path, published_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """Everything that is at hand."""
    if not (reference / "modelscope" / "models" / "xukaituo" / "FireRedVAD").is_dir():
        pytest.skip("FireRedVAD is not among the reference data")
    settings = {"VAD_MODELS": "auto", "MODELSCOPE_CACHE": str(reference / "modelscope")}
    with local_server(published_model, tmp_path_factory.mktemp("published"), settings) as server:
        yield server


SOUND = bursts(10.0, [(2.0, 4.0), (6.0, 8.0)])


def wav(samples: np.ndarray) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.frombuffer(s16(samples), "<i2"), 16_000, format="WAV", subtype="PCM_16")
    return file.getvalue()


def post(server: RunningServer, content: bytes, **query: Any) -> httpx.Response:
    return server.post("/vad", params=query, content=content, timeout=120)


def spans(answer: dict[str, Any], label: str | None = None) -> list[list[int]]:
    return [[each["start_ms"], each["end_ms"]] for each in answer["segments"] if each.get("label") == label]


# ---- labels


def test_labels_stand_in_json(small: RunningServer) -> None:
    answer = post(small, wav(SOUND), model="aed").json()
    assert {each["label"] for each in answer["segments"]} == {"speech", "singing", "music"}
    assert set(answer["events"]) == {"speech", "singing", "music"}
    assert 0.3 < answer["events"]["speech"] < 0.5
    assert answer["speech_ms"] == sum(end - start for start, end in spans(answer, "speech"))
    assert answer["options"]["min_event_frame"] == 20
    starts = [each["start_ms"] for each in answer["segments"]]
    assert starts == sorted(starts)
    assert [each["index"] for each in answer["segments"]] == list(range(1, len(starts) + 1))


def test_labels_stand_in_every_format(small: RunningServer) -> None:
    content = wav(SOUND)
    answer = post(small, content, model="aed").json()
    rows = list(csv.DictReader(io.StringIO(post(small, content, model="aed", format="csv").text)))
    assert [row["label"] for row in rows] == [each["label"] for each in answer["segments"]]
    for form in ("rttm", "audacity", "srt", "vtt", "textgrid", "md"):
        text = post(small, content, model="aed", format=form).text
        assert all(label in text for label in ("speech", "singing", "music")), form
    grid = post(small, content, model="aed", format="textgrid").text
    assert "size = 3" in grid.splitlines()[6]
    funasr = post(small, content, model="aed", format="funasr").json()
    assert [entry["key"].rsplit("-", 1)[1] for entry in funasr] == ["speech", "singing", "music"]
    lines = [json.loads(line) for line in post(small, content, model="aed", format="ndjson").text.splitlines()]
    assert {line["label"] for line in lines if line["type"] == "segment"} == {"speech", "singing", "music"}
    assert lines[-1]["events"] == answer["events"]
    spoken, _ = soundfile.read(io.BytesIO(post(small, content, model="aed", format="wav").content))
    assert len(spoken) == 16 * answer["speech_ms"]
    assert post(small, content, model="aed", format="zip").status_code == 200
    plain = post(small, content, format="csv").text
    assert "label" not in plain


def test_labels_in_kept_analyses_and_probabilities(small: RunningServer) -> None:
    first = post(small, wav(SOUND), model="aed", keep="true", probabilities="true", members="true").json()
    apart = first["probabilities"]["members"]
    assert set(apart) == {"speech", "singing", "music"}
    assert apart["speech"] == first["probabilities"]["values"]
    url = f"{small.url}/analyses/{first['analysis_id']}/segments"
    again = httpx.get(url, timeout=30).json()
    assert (again["segments"], again["events"]) == (first["segments"], first["events"])
    stricter = httpx.get(url, params={"music_threshold": 1}, timeout=30).json()
    assert spans(stricter, "music") == []
    assert spans(stricter, "speech") == spans(first, "speech")


def test_what_cannot_be(small: RunningServer) -> None:
    content = wav(SOUND)
    for query, told in (
        ({"model": "aed+small"}, "aed finds more than speech, so it cannot be part of a sum"),
        ({"model": "small+ahead+small"}, "small is named twice"),
        ({"model": "small+nobody"}, "there is no model 'nobody' here"),
        ({"model": "ahead", "pad_start_frame": 3}, "is an option of mode=smoothed for live streams"),
        ({"model": "ahead", "music_threshold": 0.3}, "for models with labels besides speech"),
    ):
        refused = post(small, content, **query)
        assert refused.status_code == 422
        assert told in refused.json()["detail"]
    with stream(small, model="aed") as socket:
        heard = hear_all(socket)
    assert "cannot follow a live stream" in heard.error["detail"]


# ---- sums


def test_a_sum_by_any_way_of_joining(small: RunningServer) -> None:
    content = wav(SOUND)
    answers = [post(small, content, model=name).json() for name in ("small+ahead", "ahead small", "ahead,small")]
    assert {answer["model"]["name"] for answer in answers} == {"ahead+small"}
    assert len({json.dumps(answer["segments"]) for answer in answers}) == 1
    assert answers[0]["options"]["mode"] == "tight"
    assert len(answers[0]["segments"]) == 2
    plus_in_url = small.post("/vad?model=small+ahead", content=content, timeout=60).json()
    assert plus_in_url["model"] == answers[0]["model"]


def test_members_are_told_apart(small: RunningServer) -> None:
    content = wav(SOUND)
    answer = post(small, content, model="small+ahead", probabilities="true", members="true").json()
    values, members = answer["probabilities"]["values"], answer["probabilities"]["members"]
    assert set(members) == {"small", "ahead"}
    np.testing.assert_allclose(values, np.mean([members["small"], members["ahead"]], axis=0), atol=2e-4)
    alone = post(small, content, model="small", probabilities="true").json()["probabilities"]["values"]
    np.testing.assert_allclose(members["small"][: len(alone)], alone, atol=2e-4)
    assert len(values) == 1_000


def test_a_sum_live_equals_the_file(small: RunningServer) -> None:
    pytest.importorskip("silero_vad", reason="the package silero-vad is not installed")
    sound = voice(9.013, [(0.5, 1.5), (2.0, 2.4), (3.0, 6.6)], 16_000)
    expected = post(small, wav(sound), model="small+silero").json()
    for size in (3_200, 640, 20_002):
        heard = converse(small, cut(s16(sound), size), model="silero+small")
        assert heard.pairs == spans(expected) != []
        assert heard.messages[0]["model"]["name"] == "silero+small"
    streams = post(small, wav(sound), model="small+silero", mode="endpoint").json()
    assert converse(small, cut(s16(sound), 3_200), model="small+silero", mode="endpoint").pairs == spans(streams)


def test_sums_and_members_at_once(small: RunningServer) -> None:
    """Members share batches and permits with requests of their own."""
    from concurrent.futures import ThreadPoolExecutor

    sounds = [bursts(5.0 + number / 7, [(1.0 + number / 20, 2.5)], seed=number) for number in range(6)]
    names = ["small", "ahead", "small+ahead", "aed"]
    alone = {(name, number): post(small, wav(sound), model=name).json()["segments"]
             for name in names for number, sound in enumerate(sounds)}  # fmt: skip

    def ask(number: int) -> bool:
        name, sound = names[number % 4], number % 6
        return bool(post(small, wav(sounds[sound]), model=name).json()["segments"] == alone[name, sound])

    with ThreadPoolExecutor(24) as pool:
        assert all(pool.map(ask, range(48)))


# ---- the published networks


@pytest.mark.reference
def test_golden_segments_over_http(published: RunningServer, reference: Path) -> None:
    for model, file in (("firered", "firered_offline.json"), ("firered-stream", "firered_stream.json")):
        cases = json.loads((reference / "golden" / file).read_text())
        for case in cases[::7]:
            content = (reference / "audio" / case["audio"]).read_bytes()
            answer = post(published, content, model=model, **case["options"]).json()
            end_ms = answer["audio"]["duration_ms"]  # rounded down; the package's last end may be a fraction behind it
            expected = [[start, min(end, end_ms)] for start, end in case["segments_ms"]]
            assert spans(answer) == expected, (model, case["audio"], case["options"])
            assert answer["model"]["name"] == model
    for case in json.loads((reference / "golden" / "firered_aed.json").read_text())[::4]:
        content = (reference / "audio" / case["audio"]).read_bytes()
        answer = post(published, content, model="firered-aed", **case["options"]).json()
        assert {label: spans(answer, label) for label in case["timestamps_ms"]} == case["timestamps_ms"]
        assert answer["events"] == case["ratio"]


@pytest.mark.reference
def test_golden_streams_over_a_socket(published: RunningServer, reference: Path) -> None:
    cases = json.loads((reference / "golden" / "firered_stream.json").read_text())
    for case in cases[::5]:
        samples, _ = soundfile.read(reference / "audio" / case["audio"], dtype="int16")
        for size in (3_200, 1_280):
            heard = converse(published, cut(samples.tobytes(), size), model="firered", **case["options"])
            assert heard.messages[0]["model"]["name"] == "firered-stream", "what takes its place live, and it says so"
            assert heard.pairs == case["segments_ms"], (case["audio"], case["options"], size)


@pytest.mark.reference
def test_the_pair_in_files_and_live(published: RunningServer, reference: Path) -> None:
    pytest.importorskip("silero_vad", reason="the package silero-vad is not installed")
    content = (reference / "audio" / "vad_example.wav").read_bytes()
    answer = post(published, content, model="silero+firered").json()
    assert answer["model"]["name"] == "silero+firered"
    assert (answer["options"]["threshold"], answer["options"]["neg_threshold"]) == (0.08, 0.06)
    causal = post(published, content, model="silero+firered-stream").json()
    assert (causal["options"]["threshold"], causal["options"]["neg_threshold"]) == (0.1, 0.06)
    samples, _ = soundfile.read(io.BytesIO(content), dtype="int16")
    heard = converse(published, cut(samples.tobytes(), 3_200), model="silero+firered")
    assert heard.messages[0]["model"]["name"] == "silero+firered-stream"
    assert heard.pairs == spans(causal)


@pytest.mark.reference
def test_results_do_not_depend_on_blocks_or_workers(published_model: Path, reference: Path, tmp_path: Path) -> None:
    """Published weights over speech."""
    samples, _ = soundfile.read(reference / "audio" / "vad_example.wav", dtype="int16")
    settings = {"VAD_MODELS": "firered", "MODELSCOPE_CACHE": str(reference / "modelscope")}
    answers_are_the_same(published_model, samples, settings, "firered", tmp_path)


def test_there_is_no_seam_in_long_files(small_model: Path, tmp_path: Path) -> None:
    """At 300 s, where its own package has one, or anywhere."""
    write_small_firered(tmp_path / "firered")
    samples = bursts(350, [(at + 0.013 * at % 3, at + 5) for at in range(1, 340, 9)])
    settings = {"VAD_MODELS": f"small=firered:{tmp_path / 'firered'}"}
    answers_are_the_same(small_model, samples, settings, "small", tmp_path)


def answers_are_the_same(
    default: Path, samples: np.ndarray, settings: dict[str, str], model: str, folder: Path
) -> None:
    """Whatever the length of blocks and the number of workers."""
    content = io.BytesIO()
    soundfile.write(content, samples, 16_000, format="FLAC")
    answers = []
    for seconds, workers in [("10", "1"), ("3", "2"), ("61", "3")]:
        more = {**settings, "VAD_BLOCK_SECONDS": seconds, "VAD_WORKERS": workers}
        with local_server(default, folder / workers, more) as server:
            answers.append(spans(post(server, content.getvalue(), model=model).json()))
    assert answers[0] == answers[1] == answers[2] != []
