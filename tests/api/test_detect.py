"""`POST /vad` over a real socket: the contract, and every error that can occur."""

import json
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

from app.vad.segmenters.endpoint import EndpointOptions
from app.vad.segmenters.hysteresis import TightOptions
from app.vad.segmenters.options import SegmenterOptions
from tests.server import RunningServer, local_server
from tests.signals import bursts

SEGMENT_MEMBERS = {"index", "start_ms", "end_ms", "duration_ms", "forced_end", "speech_probability"}


def post(server: RunningServer, path: Path, **fields: str) -> httpx.Response:
    with server.client() as client:
        return client.post("/vad", files={"file": (path.name, path.read_bytes())}, data=fields)


def problem(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert {"type", "title", "status", "detail", "code", "request_id"} <= document.keys()
    assert document["status"] == response.status_code
    assert document["request_id"] == response.headers["x-request-id"]
    return response.status_code, document["code"]


def pairs(answer: dict[str, Any]) -> list[list[int]]:
    return [[segment["start_ms"], segment["end_ms"]] for segment in answer["segments"]]


def wav(folder: Path, samples: np.ndarray, rate: int = 16_000, name: str = "a.wav", subtype: str = "PCM_16") -> Path:
    soundfile.write(folder / name, samples, rate, subtype=subtype)
    return folder / name


def test_the_answer_has_every_member(server: RunningServer, speech_like: Path) -> None:
    answer = post(server, speech_like).json()
    assert answer["model"].keys() == {"name", "id", "revision", "fingerprint"}
    assert (answer["device"], answer["degraded"]) == ("cpu", False)
    assert answer["audio"] == {
        "duration_ms": 10_000,
        "sample_rate": 16_000,
        "channels": 1,
        "format": "WAV",
        "subtype": "PCM_16",
        "truncated": False,
        "file_name": speech_like.name,
    }
    assert [segment["index"] for segment in answer["segments"]] == [1, 2]
    assert all(segment.keys() == SEGMENT_MEMBERS for segment in answer["segments"])
    assert answer["speech_ms"] == sum(segment["duration_ms"] for segment in answer["segments"])
    assert answer["options"] == {"mode": "endpoint", **EndpointOptions().model_dump(exclude_none=True)}
    assert answer["timing"].keys() == {"queue_ms", "decode_ms", "inference_ms", "total_ms", "rtf"}
    (first, last), (second, end) = pairs(answer)
    assert 1_700 <= first <= 2_000
    assert 4_000 <= last <= 4_900
    assert 5_700 <= second <= 6_000
    assert 8_000 <= end <= 8_900


def test_raw_body_equals_form(server: RunningServer, speech_like: Path) -> None:
    with server.client() as client:
        raw = client.post("/vad", content=speech_like.read_bytes()).json()
        form_type = {"content-type": "application/x-www-form-urlencoded"}
        as_curl_sends = client.post("/vad", content=speech_like.read_bytes(), headers=form_type).json()
    assert pairs(raw) == pairs(as_curl_sends) == pairs(post(server, speech_like).json())


def test_options_by_query_and_by_form(server: RunningServer, speech_like: Path) -> None:
    form = post(server, speech_like, max_end_silence_time="2500").json()
    with server.client() as client:
        query = client.post("/vad?max_end_silence_time=2500", content=speech_like.read_bytes()).json()
    assert pairs(form) == pairs(query)
    assert len(pairs(form)) == 1
    assert form["options"]["max_end_silence_time"] == 2500


@pytest.mark.parametrize(
    ("fields", "option"),
    [
        ({"max_end_silence": "500"}, "max_end_silence"),
        ({"max_end_silence_time": "5"}, "max_end_silence_time"),
        ({"max_end_silence_time": "soon"}, "max_end_silence_time"),
        ({"max_end_silence_time": "300", "window_size_ms": "400", "speech_to_sil_time_thres": "350"},
         "speech_to_sil_time_thres"),
        ({"sil_to_speech_time_thres": "300"}, "sil_to_speech_time_thres"),
        ({"mode": "tight", "threshold": "0.3", "neg_threshold": "0.4"}, "neg_threshold"),
        ({"mode": "tight", "threshold": "nan"}, "threshold"),
        ({"mode": "loose"}, "mode"),
        ({"format": "doc"}, "format"),
        ({"channel": "left"}, "channel"),
        ({"channel": "3"}, "channel"),
        ({"model": "no-such-model"}, "model"),
    ],
)  # fmt: skip
def test_wrong_options_are_named(server: RunningServer, speech_like: Path, fields: dict[str, str], option: str) -> None:
    response = post(server, speech_like, **fields)
    assert problem(response) == (422, "invalid_option")
    assert response.json()["option"] == option


@pytest.mark.parametrize(
    ("mode", "name", "has_it"),
    [("endpoint", name, "tight") for name in TightOptions.names() if name not in SegmenterOptions.model_fields]
    + [("tight", name, "endpoint") for name in EndpointOptions.names() if name not in SegmenterOptions.model_fields],
)
def test_an_option_of_another_mode_says_which_has_it(
    server: RunningServer, speech_like: Path, mode: str, name: str, has_it: str
) -> None:
    response = post(server, speech_like, mode=mode, **{name: "1"})
    assert problem(response) == (422, "invalid_option")
    assert response.json()["option"] == name
    assert f"mode={has_it}" in response.json()["detail"]
    assert f"the mode in force is {mode}" in response.json()["detail"]


@pytest.mark.parametrize(("mode", "options"), [("endpoint", EndpointOptions), ("tight", TightOptions)])
def test_every_option_works_alone(
    server: RunningServer, speech_like: Path, mode: str, options: type[SegmenterOptions]
) -> None:
    default = post(server, speech_like, mode=mode).json()
    unset = {"pad_start_ms", "pad_end_ms"}  # they are in force only where they are given
    assert list(default["options"]) == ["mode", *(name for name in options.names() if name not in unset)]
    for name, value in default["options"].items():
        given = {"mode": mode, name: str(value).lower() if isinstance(value, bool) else str(value)}
        answer = post(server, speech_like, **given)
        assert answer.status_code == 200, (name, value, answer.text)
        assert pairs(answer.json()) == pairs(default)
        assert answer.json()["options"] == default["options"]


def test_two_requests_with_different_options_do_not_mix(server: RunningServer, speech_like: Path) -> None:
    choices: list[dict[str, str]] = [{}, {"max_end_silence_time": "2500"}, {"mode": "tight"}, {"do_extend": "false"}]
    alone = [pairs(post(server, speech_like, **choice).json()) for choice in choices]
    assert len({str(result) for result in alone}) == len(choices)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda index: post(server, speech_like, **choices[index % 4]).json(), range(100)))
    assert [pairs(answer) for answer in answers] == [alone[index % 4] for index in range(100)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", (400, "no_audio")),
        (b"hello, this is a text and not a recording", (415, "unsupported_audio")),
        (b"\x00" * 5_000, (415, "unsupported_audio")),
        (b"RIFF\xff\xff\xff\xffWAVEjunk", (422, "invalid_audio")),
        (b"fLaC" + b"\x00" * 100, (422, "invalid_audio")),
    ],
)
def test_what_is_not_audio(server: RunningServer, content: bytes, expected: tuple[int, str]) -> None:
    with server.client() as client:
        assert problem(client.post("/vad", content=content)) == expected
        assert problem(client.post("/vad", files={"file": ("x.wav", content)})) == expected


def test_form_without_a_file(server: RunningServer) -> None:
    with server.client() as client:
        assert problem(client.post("/vad", files={"mode": (None, "tight")})) == (400, "no_audio")
        assert problem(client.post("/vad", files={"audio": ("a.wav", b"x")})) == (422, "invalid_option")


@pytest.mark.parametrize("milliseconds", [0.1, 10, 24, 40, 60])
def test_very_short_files_have_no_segments(server: RunningServer, tmp_path: Path, milliseconds: float) -> None:
    path = wav(tmp_path, np.zeros(max(1, round(16 * milliseconds)), dtype=np.float32))
    answer = post(server, path)
    assert answer.status_code == 200
    assert answer.json()["segments"] == []


def test_silence_has_none_and_noise_throughout_has_one(server: RunningServer, tmp_path: Path) -> None:
    assert pairs(post(server, wav(tmp_path, np.zeros(80_000, dtype=np.float32))).json()) == []
    assert pairs(post(server, wav(tmp_path, bursts(5, []))).json()) == []
    (only,) = pairs(post(server, wav(tmp_path, bursts(5, [(0, 5)]))).json())
    assert only[0] == 0
    assert only[1] >= 4_900


def test_a_truncated_file_says_so(server: RunningServer, speech_like: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.wav"
    cut.write_bytes(speech_like.read_bytes()[:200_001])
    answer = post(server, cut).json()
    assert answer["audio"]["truncated"] is True
    assert answer["audio"]["duration_ms"] == (200_001 - 44) // 2 * 1000 // 16_000


def test_nan_samples_are_refused(server: RunningServer, tmp_path: Path) -> None:
    samples = bursts(1, [])
    samples[5_000] = np.nan
    assert problem(post(server, wav(tmp_path, samples, subtype="FLOAT"))) == (422, "invalid_audio")


def test_a_rate_out_of_range_is_refused(server: RunningServer, speech_like: Path, tmp_path: Path) -> None:
    content = bytearray(speech_like.read_bytes())
    content[24:28] = struct.pack("<I", 1)
    (tmp_path / "slow.wav").write_bytes(content)
    assert problem(post(server, tmp_path / "slow.wav")) == (422, "invalid_audio")


def test_content_encoding_is_refused(server: RunningServer, speech_like: Path) -> None:
    with server.client() as client:
        response = client.post("/vad", content=speech_like.read_bytes(), headers={"content-encoding": "gzip"})
    assert problem(response) == (415, "unsupported_audio")


def test_a_broken_form_is_refused(server: RunningServer) -> None:
    kind = {"content-type": "multipart/form-data; boundary=xyz"}
    with server.client() as client:
        for body in (b"--abc\r\n", b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nRIFF'):
            assert problem(client.post("/vad", content=body, headers=kind)) == (400, "bad_request")
        kind = {"content-type": "multipart/form-data"}
        assert problem(client.post("/vad", content=b"x", headers=kind)) == (400, "bad_request")


def test_the_frameworks_own_errors_are_problems_too(server: RunningServer) -> None:
    with server.client() as client:
        assert problem(client.get("/nowhere")) == (404, "not_found")
        assert problem(client.get("/vad")) == (405, "method_not_allowed")


def test_too_large_and_too_long(small_model: Path, speech_like: Path, tmp_path: Path) -> None:
    settings = {"VAD_MAX_UPLOAD_MB": "1", "VAD_MAX_AUDIO_HOURS": "0.002"}
    long = wav(tmp_path, np.zeros(16_000 * 8, dtype=np.float32))
    with local_server(small_model, tmp_path / "server", settings) as server:
        assert problem(post(server, long)) == (422, "audio_too_long")
        with server.client() as client:
            large = b"RIFF" + b"\x00" * (3 << 20)
            assert problem(client.post("/vad", content=large)) == (413, "upload_too_large")
            chunks = iter([b"RIFF" + b"\x00" * (1 << 19)] * 6)
            assert problem(client.post("/vad", content=chunks)) == (413, "upload_too_large")
        assert server.upload_files == []


def test_several_files_each_get_their_own_answer(server: RunningServer, speech_like: Path) -> None:
    good = speech_like.read_bytes()
    files = [("file", ("a.wav", good)), ("file", ("b.wav", b"no audio at all")), ("file", ("c.wav", good))]
    with server.client() as client:
        answers = client.post("/vad", files=files).json()
    assert [answer.get("code") for answer in answers] == [None, "unsupported_audio", None]
    assert [answer["name"] for answer in answers] == ["a", "b", "c"]
    assert pairs(answers[0]) == pairs(answers[2]) == pairs(post(server, speech_like).json())


def test_request_id_is_taken_when_sane(server: RunningServer) -> None:
    with server.client() as client:
        assert client.get("/health/live", headers={"x-request-id": "abc-1.2_3"}).headers["x-request-id"] == "abc-1.2_3"
        made = client.get("/health/live", headers={"x-request-id": "a b\tc"}).headers["x-request-id"]
    assert made.isalnum()


def test_health_tells_the_state(server: RunningServer) -> None:
    with server.client() as client:
        health = client.get("/health")
        assert client.get("/health/live").json() == {"status": "alive"}
        assert client.get("/health/ready").json() == {"status": "ready"}
    assert health.status_code == 200
    document = health.json()
    assert document["status"] == "ready"
    assert len(document["model"]["fingerprint"]) == 64
    assert document["models"] == [document["model"]["name"]]
    assert document["fallback"] is None
    assert {"device", "workers", "queue", "version", "uptime_s", "inflight"} <= document.keys()


def test_nothing_is_left_behind(server: RunningServer, speech_like: Path) -> None:
    post(server, speech_like)
    post(server, speech_like, format="zip")
    post(server, speech_like, mode="loose")
    assert server.upload_files == []


@pytest.mark.slow
@pytest.mark.reference
def test_the_published_example_over_http(published_server: RunningServer, reference: Path) -> None:
    cases = json.loads((reference / "golden" / "offline.json").read_text())
    for case in cases[::4]:
        fields = {name: str(value) for name, value in case["options"].items()}
        answer = post(published_server, reference / "audio" / case["audio"], **fields).json()
        assert pairs(answer) == case["segments_ms"]
