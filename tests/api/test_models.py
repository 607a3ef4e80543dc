"""Several models in one service: which answers, by which names, and each request alone with its own."""

import io
import itertools
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

from app.registry import Registry
from app.vad.models.accuracy import LISTED_SUMS
from app.vad.models.cost import cost_of
from tests.conftest import ROOT
from tests.live.client import converse, cut, hear_all, s16, stream
from tests.server import RunningServer, local_server
from tests.voice import voice

pytest.importorskip("silero_vad", reason="the package silero-vad is not installed")

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def mixed(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """The tiny model under two names, and whatever is at hand."""
    folder = tmp_path_factory.mktemp("mixed")
    settings = {
        "VAD_MODELS": f"auto,other={small_model}", "VAD_MAX_REQUESTS": "100", "VAD_MAX_ANALYSES": "100",
        "MODELSCOPE_CACHE": str(folder / "cache"),
        "MODELSCOPE_ENDPOINT": NOWHERE,
    }  # fmt: skip
    with local_server(f"small={small_model}", folder, settings) as server:
        yield server


def wav(samples: np.ndarray, rate: int = 16_000) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def spoken(number: int) -> np.ndarray:
    start = 0.3 + (number % 7) / 10
    return voice(5.0 + number % 3, [(start, start + 1.1), (2.5, 3.0 + (number % 5) / 5)], 16_000)


def post(server: RunningServer, content: bytes, **query: Any) -> httpx.Response:
    return server.post("/vad", params=query, content=content, timeout=60)


def spans(answer: dict[str, Any]) -> list[list[int]]:
    return [[segment["start_ms"], segment["end_ms"]] for segment in answer["segments"]]


def test_a_request_names_its_model(mixed: RunningServer) -> None:
    content = wav(spoken(1))
    answers = {
        name: post(mixed, content, **({"model": name} if name else {})).json()
        for name in ("", "small", "other", "silero", "silero-8k")
    }
    assert answers[""]["model"] == answers["small"]["model"]
    assert {name: answers[name]["model"]["name"] for name in answers if name} == {n: n for n in answers if n}
    assert spans(answers[""]) == spans(answers["other"])
    assert [answers[name]["options"]["mode"] for name in ("small", "silero")] == ["endpoint", "tight"]
    assert answers["silero"]["options"]["threshold"] == 0.5
    form = mixed.post("/vad", data={"model": "silero"}, files={"file": content}, timeout=60).json()
    assert spans(form) == spans(answers["silero"])


def test_a_model_may_be_called_by_its_id(mixed: RunningServer) -> None:
    assert post(mixed, wav(spoken(2)), model="silero-vad").json()["model"]["name"] == "silero"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nobody", "there is no model 'nobody' here; there are: small, other, silero, silero-8k"),
        ("../../etc", "there is no model '../../etc' here"),
        ("fsmn-8k", "fsmn-8k is not on this machine; get it with: fsmn-vad model download fsmn-8k"),
        ("damo/speech_fsmn_vad_zh-cn-8k-common", "fsmn-8k is not on this machine"),
    ],
)
def test_a_model_that_is_not_here(mixed: RunningServer, name: str, told: str) -> None:
    content = wav(spoken(3))
    refused = post(mixed, content, model=name)
    assert (refused.status_code, refused.json()["code"], refused.json()["option"]) == (422, "invalid_option", "model")
    assert told in refused.json()["detail"]
    form = mixed.post("/vad", data={"model": name}, files={"file": content}, timeout=60)
    assert form.json()["detail"] == refused.json()["detail"]
    with stream(mixed, model=name) as socket:
        heard = hear_all(socket)
    assert (heard.error["code"], heard.error["option"], heard.code) == ("invalid_option", "model", 1008)
    assert told in heard.error["detail"]


def test_a_directory_is_no_name_for_requests(mixed: RunningServer, small_model: Path) -> None:
    assert post(mixed, wav(spoken(3)), model="/etc").status_code == 422
    # But for one that the settings name: it is the model's own source.
    assert post(mixed, wav(spoken(3)), model=str(small_model)).status_code == 200


def test_what_a_service_tells_of_its_models(mixed: RunningServer) -> None:
    with mixed.client() as client:
        post(mixed, wav(spoken(1)), model="silero-8k")
        listed = client.get("/models").json()["models"]
        states = {model["name"]: model["state"] for model in listed}
        assert states == {
            "small": "loaded", "other": "loaded", "silero": "loaded", "silero-8k": "loaded", "fsmn": "absent",
            "fsmn-8k": "absent", "firered": "absent", "firered-stream": "absent", "firered-aed": "absent",
            "pyannote": "absent", "silero+firered+2*pyannote": "absent",
            "fsmn+silero": "absent", "fsmn+silero+firered": "absent", "silero+firered": "absent",
            "silero+firered-stream": "absent",
        }  # fmt: skip
        assert [model["name"] for model in listed if model["default"]] == ["small"]
        assert listed[0]["name"] == "small"
        by_name = {model["name"]: model for model in listed}
        assert (by_name["silero"]["frame_ms"], by_name["silero"]["licence"]) == (32, "MIT")
        assert by_name["small"]["look_ahead_ms"] == 20
        health = client.get("/health").json()
        assert set(health["models"]) == {"small", "other", "silero", "silero-8k"}
        text = client.get("/metrics").text
        for name in health["models"]:
            assert f'name="{name}"' in text
        assert 'vad_audio_seconds_total{model="silero-8k"}' in text
        assert 'vad_inference_seconds_count{model="silero"}' in text


def test_options_are_told_for_every_mode_and_model(mixed: RunningServer) -> None:
    with mixed.client() as client:
        answer = client.get("/options").json()
    modes = {mode["mode"]: mode["options"] for mode in answer["modes"]}
    assert set(modes) == {"endpoint", "tight", "smoothed", "binarize"}
    assert modes["endpoint"]["max_end_silence_time"] == {
        "default": 800, "minimum": 200, "maximum": 10_000, "type": "integer", "unit": "ms",
        "description": "This much silence ends a segment. A lower value cuts earlier and more often.",
    }  # fmt: skip
    assert all(option["description"] for mode in modes.values() for option in mode.values())
    assert answer["default_model"] == "small"
    assert answer["models"]["silero"]["default_mode"] == "tight"
    assert answer["models"]["silero"]["defaults"]["tight"]["min_speech_duration_ms"] == 250
    assert answer["models"]["small"]["defaults"]["tight"]["threshold"] == 0.45


def test_a_list_of_models_is_all_there_is(small_model: Path, tmp_path: Path) -> None:
    settings = {"VAD_MODELS": "silero", "MODELSCOPE_ENDPOINT": NOWHERE}
    with local_server(f"mine={small_model}", tmp_path, settings) as server:
        assert post(server, wav(spoken(1))).json()["model"]["name"] == "mine"
        assert post(server, wav(spoken(1)), model="silero").status_code == 200
        refused = post(server, wav(spoken(1)), model="silero-8k").json()
        assert refused["detail"] == "model: silero-8k is not in VAD_MODELS of this service; add it there"


@pytest.mark.reference
def test_published_weights_have_their_name_wherever_they_lie(
    published_model: Path, tmp_path: Path, reference: Path
) -> None:
    with local_server(published_model, tmp_path, {"VAD_MODELS": "auto"}) as server:
        content = (reference / "audio" / "asr_example.wav").read_bytes()
        for name in ("fsmn", "iic/speech_fsmn_vad_zh-cn-16k-common-pytorch"):
            assert post(server, content, model=name).json()["model"]["name"] == "fsmn"


def test_the_compatible_endpoint_takes_any_name(mixed: RunningServer) -> None:
    """Its clients name the models of another service."""
    content, url = wav(spoken(4)), f"{mixed.url}/v1/audio/speech/timestamps"

    def found(model: str) -> Any:
        answer = httpx.post(url, data={"model": model}, files={"file": content}, timeout=60)
        assert answer.status_code == 200, answer.text
        return [[each["start"], each["end"]] for each in answer.json()]

    assert found("silero_vad_v5") == spans(post(mixed, content, model="silero", mode="tight").json())
    assert found("whisper-1") == spans(post(mixed, content, mode="tight").json())
    assert found("silero-8k") == spans(post(mixed, content, model="silero-8k", mode="tight").json())


@pytest.mark.slow
def test_a_hundred_at_once_of_every_kind(mixed: RunningServer) -> None:
    """Files, kept analyses and live streams; models, modes and options mixed: each gets what it gets alone."""
    kinds = list(
        itertools.product(
            ("small", "silero", "silero-8k", "other"),
            ({"mode": "endpoint"}, {"mode": "tight", "threshold": "0.3"}, {"mode": "tight", "speech_pad_ms": "200"}),
        )
    )
    sounds = [spoken(number) for number in range(5)]

    def ask(number: int) -> list[list[int]]:
        (model, options), sound = kinds[number % len(kinds)], sounds[number % len(sounds)]
        if number % 3 == 0:
            heard = converse(mixed, cut(s16(sound), 3_200), model=model, **options)
            return heard.pairs
        if number % 3 == 1:
            kept = post(mixed, wav16(sound), model=model, keep="true").json()["analysis_id"]
            answer = mixed.get(f"/analyses/{kept}/segments", params={"model": model, **options}, timeout=60)
            return spans(answer.json())
        return spans(post(mixed, wav16(sound), model=model, **options).json())

    alone = {
        (kind, sound): spans(post(mixed, wav16(sounds[sound]), model=kinds[kind][0], **kinds[kind][1]).json())
        for kind in range(len(kinds))
        for sound in range(len(sounds))
    }
    with ThreadPoolExecutor(100) as pool:
        together = list(pool.map(ask, range(102)))
    wrong = [
        number for number, found in enumerate(together) if found != alone[number % len(kinds), number % len(sounds)]
    ]
    assert wrong == []
    assert len({str(found) for found in together}) > 10


def wav16(samples: np.ndarray) -> bytes:
    """The very samples that a live stream of 16-bit PCM sends."""
    file = io.BytesIO()
    soundfile.write(file, np.frombuffer(s16(samples), "<i2"), 16_000, format="WAV", subtype="PCM_16")
    return file.getvalue()


def test_costs_are_those_that_were_measured() -> None:
    measured: dict[str, float] = {}
    for case in ("costs", "models"):
        rows = json.loads((ROOT / "benchmarks" / "results" / f"{case}.json").read_text())["rows"]
        ours = [row for row in rows if row["name"].startswith("this project")]
        spent = {row["name"].partition(", ")[2] or "fsmn": row["cpu_s"] for row in ours}
        measured |= {name: float(f"{cpu_s / spent['fsmn']:.2g}") for name, cpu_s in spent.items()}
    assert {name: cost_of(name) for name in measured} == measured
    named = {"+".join(each) for each in LISTED_SUMS} | {known.name for _, known in Registry.of([]).catalogue.known()}
    assert named - measured.keys() == {"fsmn-8k"}, "which has no published weights here"


def test_who_tells_when_several_people_talk_at_once(mixed: RunningServer) -> None:
    with mixed.client() as client:
        told = {model["name"]: model["overlap"] for model in client.get("/models").json()["models"]}
        options = client.get("/options").json()["overlap"]
    assert {name for name, overlap in told.items() if overlap} == {name for name in told if "pyannote" in name}
    assert list(options) == ["overlap", "overlap_threshold"]
    assert (options["overlap"]["default"], options["overlap_threshold"]["default"]) == (False, 0.13)
