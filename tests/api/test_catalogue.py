"""`GET /models` and `GET /options`: what can be asked for, told truly."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from app.formats.registry import FORMATS
from app.registry import installed
from app.vad.segmenters.registry import SEGMENTERS, Segmenters
from tests.server import RunningServer, local_server
from tests.small_checkpoint import write_small_checkpoint

ROOT = Path(__file__).resolve().parents[2]
DEFAULTS = {"VAD_DEFAULT_OPTIONS": '{"threshold": 0.9, "max_end_silence_time": 900}'}


@pytest.fixture(scope="module")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hears the same at 8 kHz."""
    return write_small_checkpoint(tmp_path_factory.mktemp("other-model"), sample_rate=8_000, seed=5)


@pytest.fixture(scope="module")
def several(small_model: Path, other_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Two models, and defaults of the server's own for options of both modes."""
    settings = {"VAD_MODELS": f"telephone={other_model}", **DEFAULTS}
    with local_server(f"room={small_model}", tmp_path_factory.mktemp("several"), settings) as server:
        yield server


def told(server: RunningServer, path: str) -> dict[str, Any]:
    with server.client() as client:
        answer = client.get(path)
    assert answer.status_code == 200
    return dict(answer.json())


def listed(server: RunningServer) -> dict[str, dict[str, Any]]:
    models: list[dict[str, Any]] = told(server, "/models")["models"]
    return {model["name"]: model for model in models}


def answer(server: RunningServer, audio: Path, **options: str) -> httpx.Response:
    with server.client() as client:
        return client.post("/vad", content=audio.read_bytes(), params=options)


def test_models_that_are_loaded_come_with_everything(several: RunningServer) -> None:
    models = listed(several)
    assert next(iter(models)) == "room", "the default one stands first"
    assert [name for name, model in models.items() if model["default"]] == ["room"]
    for name, rate in (("room", 16_000), ("telephone", 8_000)):
        model = models[name]
        assert (model["state"], model["device"], model["sample_rate"]) == ("loaded", "cpu", rate)
        assert (model["frame_ms"], model["look_ahead_ms"], model["live"]) == (10, 20, True)
        assert (model["default_mode"], len(model["fingerprint"])) == ("endpoint", 64)


def test_models_that_are_known_are_told_though_they_are_not_there(several: RunningServer) -> None:
    models = listed(several)
    for name in ("fsmn", "fsmn-8k", "silero", "silero-8k"):
        assert models[name]["state"] == "absent", "VAD_MODELS does not say auto"
        assert models[name]["licence"]
        assert "fingerprint" not in models[name]


def test_the_measured_accuracy_is_told_as_the_documents_tell_it(several: RunningServer) -> None:
    text = (ROOT / "docs" / "accuracy.md").read_text()
    rows = re.findall(r"^\| `([\w+*-]+)` \| \**(0\.\d{3})\** \| ([\d.]+) / ([\d.]+) \|", text, re.MULTILINE)
    assert len(rows) == 10
    accuracies = {name: model["accuracy"] for name, model in listed(several).items() if model["accuracy"]}
    assert accuracies == {
        name: {"frame_f1": float(f1), "threshold": float(upper), "neg_threshold": float(lower)}
        for name, f1, upper, lower in rows
    }


def test_sums_that_were_measured_are_listed(several: RunningServer) -> None:
    pair = listed(several)["silero+firered"]
    assert pair["members"] == ["silero", "firered"]
    assert (pair["state"], pair["default"], pair["default_mode"]) == ("absent", False, "tight")
    assert (pair["sample_rate"], pair["live"], pair["licence"]) == (16_000, False, "MIT, Apache-2.0")
    assert listed(several)["silero+firered-stream"]["live"]


def test_a_sum_can_be_the_default(small_model: Path, other_model: Path, speech_like: Path, tmp_path: Path) -> None:
    settings = {"VAD_MODEL": f"{small_model}+{other_model}", "VAD_MODELS": ""}
    with local_server(small_model, tmp_path, settings) as server:
        models, options = listed(server), told(server, "/options")
        name = "+".join(sorted([small_model.name, other_model.name]))
        first = next(iter(models.values()))
        assert (first["name"], first["default"], first["state"]) == (name, True, "loaded")
        assert [model["name"] for model in models.values() if model["default"]] == [name]
        assert options["default_model"] == name
        assert options["models"][name]["default_mode"] == "tight"
        assert "members" not in models[small_model.name]
        answered = answer(server, speech_like).json()
        assert answered["model"] == {key: first[key] for key in ("name", "id", "revision", "fingerprint")}


@pytest.mark.parametrize("setting", ["VAD_MODEL_FINGERPRINT", "VAD_MODEL_REVISION"])
def test_what_pins_one_model_is_refused_for_a_sum(
    small_model: Path, other_model: Path, tmp_path: Path, setting: str
) -> None:
    settings = {"VAD_MODEL": f"{small_model}+{other_model}", setting: "0" * 64}
    with pytest.raises(AssertionError) as caught, local_server(small_model, tmp_path, settings):
        pass
    assert f"{setting} applies to one model" in str(caught.value.__cause__)


def test_a_model_is_asked_for_by_the_id_that_it_answers_with() -> None:
    catalogue = installed().catalogue
    for _, known in catalogue.known():
        spec = catalogue.find_known(known.source)
        assert spec is not None
        assert spec.name == known.name
    whole = catalogue.find_known("xukaituo/FireRedVAD")
    assert whole is not None
    assert whole.name == "firered"


def test_each_loaded_model_answers_under_its_name(several: RunningServer, speech_like: Path) -> None:
    for name in ("room", "telephone"):
        model = listed(several)[name]
        response = answer(several, speech_like, model=name).json()
        assert response["model"] == {key: model[key] for key in ("name", "id", "revision", "fingerprint")}
        assert len(response["segments"]) == 2
        assert answer(several, speech_like, model=model["id"]).json()["model"] == response["model"]
    assert answer(several, speech_like).json()["model"]["name"] == "room"


@pytest.mark.parametrize(
    ("name", "told"),
    [("silero", "not in VAD_MODELS"), ("fsmn", "not in VAD_MODELS"), ("whisper", "there are: room, telephone")],
)
def test_a_model_that_is_not_loaded_is_refused_before_the_audio_is_looked_at(
    several: RunningServer, speech_like: Path, name: str, told: str
) -> None:
    for content in (speech_like.read_bytes(), b"no audio"):
        with several.client() as client:
            refusal = client.post("/vad", content=content, params={"model": name})
        assert (refusal.status_code, refusal.json()["code"]) == (422, "invalid_option")
        assert refusal.json()["option"] == "model"
        assert told in refusal.json()["detail"]


def test_a_model_at_hand_is_loaded_at_its_first_use(small_model: Path, speech_like: Path, tmp_path: Path) -> None:
    pytest.importorskip("silero_vad", reason="the package silero-vad is not installed")
    settings = {"VAD_MODELS": "auto", "MODELSCOPE_CACHE": str(tmp_path / "cache")}
    with local_server(small_model, tmp_path / "server", settings) as server:
        states = {name: model["state"] for name, model in listed(server).items()}
        assert states["silero"] == "loaded", "one of those that are loaded at the start when they are at hand"
        assert states["silero-8k"] == "available"
        assert states["fsmn"] == "absent"
        assert answer(server, speech_like, model="silero-8k").json()["model"]["name"] == "silero-8k"
        assert listed(server)["silero-8k"]["state"] == "loaded"
        refusal = answer(server, speech_like, model="fsmn").json()
        assert "fsmn-vad model download fsmn" in refusal["detail"]


def test_a_model_that_is_named_twice_is_one(small_model: Path, speech_like: Path, tmp_path: Path) -> None:
    """Kept posteriors serve it under either name."""
    with local_server(small_model, tmp_path, {"VAD_MODELS": str(small_model)}) as server:
        name = next(iter(listed(server)))
        kept = answer(server, speech_like, keep="true").json()["analysis_id"]
        with server.client() as client:
            assert client.get(f"/analyses/{kept}/segments", params={"model": name}).status_code == 200


def test_two_models_of_one_name_stop_the_start(small_model: Path, tmp_path: Path) -> None:
    other = write_small_checkpoint(tmp_path / small_model.name, seed=9)
    settings = {"VAD_MODELS": str(other)}
    with pytest.raises(AssertionError) as caught, local_server(small_model, tmp_path / "server", settings):
        pass
    assert f"two models are called {small_model.name}" in str(caught.value.__cause__)
    with local_server(small_model, tmp_path / "server", {"VAD_MODELS": f"second={other}"}) as server:
        assert [name for name, model in listed(server).items() if model["state"] == "loaded"] == [
            small_model.name, "second"
        ]  # fmt: skip


def test_options_are_the_segmenters_own(several: RunningServer) -> None:
    options = told(several, "/options")
    machines = list(Segmenters(SEGMENTERS).variants())
    assert [(mode["use"], mode["mode"]) for mode in options["modes"]] == [(use, kind.mode) for use, kind in machines]
    for mode, (_, kind) in zip(options["modes"], machines, strict=True):
        assert mode["title"] == kind.title
        assert list(mode["options"]) == kind.options.names()
        for name, schema in mode["options"].items():
            jsonschema.Draft202012Validator.check_schema(schema)
            assert "description" in schema
            # Without one an option is not in force where it is not given.
            assert ("default" in schema) == (kind.options.model_fields[name].default is not None)
    assert options["formats"] == [form.name for form in FORMATS]
    assert options["default_model"] == "room"


def test_defaults_are_those_in_force(several: RunningServer, speech_like: Path) -> None:
    """Of every loaded model in every mode: what an answer says that was in force where nothing was asked for."""
    models = told(several, "/options")["models"]
    assert set(models) == {"room", "telephone"}
    for name, model in models.items():
        assert model["default_mode"] == "endpoint"
        for mode, defaults in model["defaults"].items():
            assert answer(several, speech_like, model=name, mode=mode).json()["options"] == defaults
        assert model["defaults"]["tight"]["threshold"] == 0.9
        assert model["defaults"]["endpoint"]["max_end_silence_time"] == 900


def test_every_default_lies_in_its_range(several: RunningServer) -> None:
    options = told(several, "/options")
    for mode in options["modes"]:
        for model in options["models"].values():
            if model["use"] != mode["use"]:
                continue
            for name, value in model["defaults"][mode["mode"]].items():
                if name != "mode":
                    jsonschema.validate(value, mode["options"][name])


def test_a_servers_default_is_not_held_against_a_request(several: RunningServer, speech_like: Path) -> None:
    """Options of tight mode lie in wait while the end-point machine serves."""
    response = answer(several, speech_like).json()
    assert response["options"]["mode"] == "endpoint"
    assert "threshold" not in response["options"]
