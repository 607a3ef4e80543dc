"""Presets of one's own: a file that `VAD_PRESETS` names, at every door; and what is wrong with such a file."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.presets import PRESETS, Preset, read_presets, write_presets
from app.registry import Registry
from app.vad.errors import InvalidOption
from tests.cli.calling import call
from tests.live.client import converse, s16, wav
from tests.server import RunningServer, local_server
from tests.signals import bursts

TIGHT = {"threshold": 0.3, "neg_threshold": 0.2, "speech_pad_ms": 70}
SAMPLES = bursts(3.0, [(0.5, 1.2), (1.8, 2.4)])
"""Loud where the small model hears speech."""
SOUND = wav(s16(SAMPLES))


def entry(**members: Any) -> dict[str, Any]:
    return {"name": "calls", "model": "fsmn", "mode": "tight", "options": TIGHT, **members}


def write(path: Path, *entries: Any) -> Path:
    path.write_text(json.dumps({"presets": list(entries)}))
    return path


@pytest.fixture(scope="module")
def presets(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the small model; with live settings of its own; and of a model that is not here."""
    own, live = entry(model=small_model.name), {**TIGHT, "threshold": 0.6}
    elsewhere = entry(name="elsewhere", model="silero+nobody", options={**TIGHT, "min_silence_duration_ms": 150})
    path = tmp_path_factory.mktemp("presets") / "mine.json"
    return write(path, own, {**own, "name": "live", "live_options": live}, elsewhere)


@pytest.fixture(scope="module")
def server(small_model: Path, presets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    settings = {"VAD_PRESETS": str(presets), "VAD_MODELS": str(small_model)}
    with local_server(small_model, tmp_path_factory.mktemp("server"), settings) as running:
        yield running


def options_of(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: answer["options"].get(name) for name in TIGHT}


@pytest.mark.parametrize("way", ["query", "form"])
def test_over_http(server: RunningServer, way: str) -> None:
    asked = {"params" if way == "query" else "data": {"preset": "calls"}}
    with server.client() as client:
        answer = client.post("/vad", files={"file": SOUND}, **asked).json()  # type: ignore[arg-type]
    assert (options_of(answer), answer["warnings"]) == (TIGHT, [])
    assert len(answer["segments"]) == 2


def test_it_is_listed(server: RunningServer) -> None:
    """The page draws its list from the same answer, and OpenAPI has the names."""
    with server.client() as client:
        told = client.get("/options").json()["presets"]
        schema = client.get("/openapi.json").json()["paths"]["/vad"]["post"]["parameters"]
    names = [*(preset.name for preset in PRESETS), "calls", "live", "elsewhere"]
    assert [preset["name"] for preset in told] == names
    assert told[-3]["options"] == TIGHT
    assert (told[-2]["live_options"]["threshold"], told[0]["live_options"]) == (0.6, None)
    (preset,) = (parameter for parameter in schema if parameter["name"] == "preset")
    assert preset["schema"]["enum"] == [*names, "none"]


def test_live(server: RunningServer) -> None:
    for name, threshold in (("calls", 0.3), ("live", 0.6)):
        heard = converse(server, [s16(SAMPLES)], preset=name)
        assert heard.messages[0]["options"]["threshold"] == threshold
        assert len([message for message in heard.messages if message["type"] == "speech_end"]) == 2


def test_on_the_command_line(small_model: Path, presets: Path, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(SOUND)
    settings = {"VAD_PRESETS": str(presets), "VAD_MODELS": str(small_model)}
    ended = call(small_model, "detect", tmp_path / "a.wav", "--preset", "calls", "-f", "json", **settings)
    assert (ended.returncode, options_of(json.loads(ended.stdout)), ended.stderr) == (0, TIGHT, "")
    ended = call(small_model, "stream", tmp_path / "a.wav", "--preset", "live", "--json", **settings)
    assert [json.loads(line)["type"] for line in ended.stdout.splitlines()].count("speech_end") == 2
    wrong = call(small_model, "detect", tmp_path / "a.wav", "--preset", "call", **settings)
    assert (wrong.returncode, "there are: asr" in wrong.stderr, "calls, live" in wrong.stderr) == (2, True, True)


def test_a_model_that_is_not_here_is_told_at_use(server: RunningServer, small_model: Path) -> None:
    """Another model has its own thresholds: those of the preset were found for the one that is missing."""
    with server.client() as client:
        answer = client.post("/vad", params={"preset": "elsewhere"}, files={"file": SOUND}).json()
        defaults = client.post("/vad", params={"mode": "tight"}, files={"file": SOUND}).json()["options"]
    (warning,) = answer["warnings"]
    assert warning["code"] == "preset_model"
    assert "silero+nobody" in warning["detail"]
    told = answer["options"]
    assert (told["speech_pad_ms"], told["min_silence_duration_ms"]) == (70, 150)
    assert (told["threshold"], told["neg_threshold"]) == (defaults["threshold"], defaults["neg_threshold"])


def test_it_may_be_the_services_own(small_model: Path, presets: Path, tmp_path: Path) -> None:
    settings = {"VAD_PRESETS": str(presets), "VAD_MODELS": str(small_model), "VAD_PRESET": "calls"}
    with local_server(small_model, tmp_path, settings) as running, running.client() as client:
        assert options_of(client.post("/vad", files={"file": SOUND}).json()) == TIGHT


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "this is not JSON: Expecting property name"),
        ("[]", "the whole: input should be a valid dictionary or instance of GivenPresets"),
        ({"presets": [entry(), entry(name="b", model=None)]}, "preset 2 (b), model: input should be a valid string"),
        ({"presets": [{"name": "a"}]}, "preset 1 (a), model: field required"),
        ({"presets": [entry(treshold=0.5)]}, "preset 1 (calls), treshold: extra inputs are not permitted"),
        ({"presets": [entry(name="two words")]}, "preset 1 (two words), name: string should match pattern"),
        ({"presets": [entry(name="asr")]}, "preset 1 (asr), name: this name is taken; choose another"),
        ({"presets": [entry(name="none")]}, "preset 1 (none), name: this name is taken; choose another"),
        ({"presets": [entry(), entry()]}, "preset 2 (calls), name: this name is taken; choose another"),
        ({"presets": [entry(mode="loose")]}, "preset 1 (calls), mode: there is no such mode; there are: endpoint"),
        ({"presets": [entry(options={"threshold": 2})]}, "preset 1 (calls), options.threshold: input should be less"),
        (
            {"presets": [entry(options={"threshold": 0.3, "neg_threshold": 0.5})]},
            "preset 1 (calls), options.neg_threshold: must be at most threshold (0.3)",
        ),
        (
            {"presets": [entry(options={"max_end_silence_time": 500})]},
            "preset 1 (calls), options.max_end_silence_time: is an option of mode=endpoint",
        ),
        ({"presets": [entry(live_options={"max_chunk_s": 3})]}, "preset 1 (calls), live_options.max_chunk_s: is an"),
        ({"presets": [entry(), 3]}, "preset 2: input should be a valid dictionary"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_by_entry_and_field(text: Any, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "presets.json"
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    with pytest.raises(InvalidOption) as refused:
        Registry().with_presets(path)
    assert str(refused.value).startswith(f"VAD_PRESETS: {path}: {complaint}")


def test_a_wrong_file_ends_the_start(small_model: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "presets.json", entry(options={"speech_pad_ms": -1}))
    (tmp_path / "a.wav").write_bytes(SOUND)
    for command in (("serve",), ("detect", tmp_path / "a.wav")):
        ended = call(small_model, *command, VAD_PORT="0", VAD_PRESETS=str(path))
        assert ended.returncode == 2
        assert "preset 1 (calls), options.speech_pad_ms: input should be greater than or equal to 0" in ended.stderr
    ended = call(small_model, "serve", VAD_PORT="0", VAD_PRESETS=str(tmp_path / "none.json"))
    assert (ended.returncode, "none.json: cannot be read: No such file or directory" in ended.stderr) == (2, True)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    made = [
        Preset("a", "For calls.", "fsmn", "fsmn", "tight", TIGHT, {"model": "F1 0.9"}),
        Preset("b", "", "fsmn+silero", "silero", "tight", {}, {}, {"threshold": 0.4}),
    ]
    paths = [tmp_path / "one.json", tmp_path / "two.json"]
    for path in paths:
        write_presets(path, made)
        assert read_presets(path, Registry().segmenters) == made
    assert paths[0].read_bytes() == paths[1].read_bytes()
