"""A family, a segmenter and a format from outside `app/`: everything that names models, modes and formats has them."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import httpx
import pytest

from app.registry import Registry
from tests.cli.calling import Ended, spawn
from tests.live.client import converse, cut, s16
from tests.server import RunningServer, local_server
from tests.signals import bursts

PACKAGE = Path(__file__).parent / "package"
SPANS = [[2_000, 4_000], [6_000, 8_000]]
LINES = "2000 to 4000\n6000 to 8000\n"


@pytest.fixture(scope="module")
def toy() -> Iterator[ModuleType]:
    sys.path.insert(0, str(PACKAGE))
    try:
        import toy_vad

        yield toy_vad
    finally:
        sys.path.remove(str(PACKAGE))


@pytest.fixture(scope="module")
def toy_server(toy: ModuleType, small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    registry = Registry.of([toy.PLUGIN])
    with local_server(small_model, tmp_path_factory.mktemp("toy"), {"VAD_MODELS": "auto"}, registry=registry) as server:
        yield server


def test_over_http(toy_server: RunningServer, speech_like: Path) -> None:
    with toy_server.client() as client:
        answer = client.post("/vad", params={"model": "toy"}, content=speech_like.read_bytes()).json()
        assert [[s["start_ms"], s["end_ms"]] for s in answer["segments"]] == SPANS
        assert answer["model"] == {"name": "toy", "id": "toy", "revision": "1.0", "fingerprint": "0" * 64}
        assert answer["options"] == {"mode": "runs", "level": 0.25, "merge_gap_ms": 0}
        lines = client.post("/vad?model=toy&format=lines", content=speech_like.read_bytes())
        assert lines.text == LINES
        assert lines.headers["content-type"] == "text/x-lines; charset=utf-8"
        accepted = client.post("/vad?model=toy", headers={"Accept": "text/x-lines"}, content=speech_like.read_bytes())
        assert accepted.text == LINES
        refused = client.post("/vad?model=toy&threshold=0.4", content=speech_like.read_bytes())
        assert refused.status_code == 422
        assert (
            refused.json()["detail"]
            == "threshold: is an option of mode=tight, but the mode in force is runs: add mode=tight"
        )


def test_any_segmenter_on_any_model(toy_server: RunningServer, speech_like: Path) -> None:
    with toy_server.client() as client:
        theirs = client.post("/vad", params={"mode": "runs", "level": "0.9"}, content=speech_like.read_bytes()).json()
        assert len(theirs["segments"]) == 2
        assert theirs["options"] == {"mode": "runs", "level": 0.9, "merge_gap_ms": 0}
        ours = client.post("/vad", params={"model": "toy", "mode": "tight"}, content=speech_like.read_bytes()).json()
        assert len(ours["segments"]) == 2
        assert ours["options"]["threshold"] == 0.3
        end_pointed = client.post("/vad?model=toy&mode=endpoint", content=speech_like.read_bytes()).json()
        assert len(end_pointed["segments"]) == 2


def test_kept_analyses(toy_server: RunningServer, speech_like: Path) -> None:
    with toy_server.client() as client:
        kept = client.post("/vad?model=toy&keep=true", content=speech_like.read_bytes()).json()["analysis_id"]
        again = client.get(f"/analyses/{kept}/segments", params={"level": 0.1, "format": "lines"})
        assert again.text == LINES
        other = client.get(f"/analyses/{kept}/segments", params={"model": toy_server_default(client)})
        assert (other.status_code, other.json()["option"]) == (422, "model")
        assert "send the file" in other.json()["detail"]


def toy_server_default(client: httpx.Client) -> str:
    return str(client.get("/health").json()["model"]["name"])


def test_live(toy_server: RunningServer) -> None:
    pcm = s16(bursts(10.0, [(2.0, 4.0), (6.0, 8.0)]))
    heard = converse(toy_server, cut(pcm, 3_200), model="toy")
    assert heard.pairs == SPANS
    assert heard.messages[0]["model"]["name"] == "toy"
    assert heard.messages[0]["options"] == {"mode": "runs", "level": 0.25, "merge_gap_ms": 0}


def test_what_there_is(toy_server: RunningServer) -> None:
    with toy_server.client() as client:
        models = {model["name"]: model for model in client.get("/models").json()["models"]}
        assert models["toy"]["state"] == "loaded"
        assert (models["toy"]["frame_ms"], models["toy"]["licence"]) == (20, "CC0")
        options = client.get("/options").json()
        assert "lines" in options["formats"]
        [runs] = [mode for mode in options["modes"] if mode["mode"] == "runs"]
        assert runs["options"]["level"]["maximum"] == 1
        assert options["models"]["toy"]["default_mode"] == "runs"
        assert options["models"]["toy"]["defaults"]["runs"] == {"mode": "runs", "level": 0.25, "merge_gap_ms": 0}
        assert "vad_model_info{" in client.get("/metrics").text
        assert "toy" in client.get("/health").json()["models"]


def test_openapi(toy_server: RunningServer) -> None:
    with toy_server.client() as client:
        vad = client.get("/openapi.json").json()["paths"]["/vad"]["post"]
    parameters = {parameter["name"]: parameter for parameter in vad["parameters"]}
    assert parameters["level"]["description"].startswith("`mode=runs`")
    assert "runs" in parameters["mode"]["schema"]["enum"]
    assert "lines" in parameters["format"]["schema"]["enum"]
    assert "text/x-lines" in vad["responses"]["200"]["content"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--model", "toy", "--format", "lines"], LINES),
        (["--model", "toy", "--mode", "runs", "--level", "0.3", "--format", "lines"], LINES),
    ],
)
def test_on_the_command_line(speech_like: Path, arguments: list[str], expected: str) -> None:
    """Installed as any package is: found by its entry point, in a process of its own."""
    ended = run("detect", *arguments, str(speech_like))
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == expected


def test_the_command_line_tells_of_it() -> None:
    assert "--level" in run("detect", "--help").stdout
    assert "toy" in run("model", "list").stdout


def test_the_command_line_live(speech_like: Path) -> None:
    ended = run("stream", "--model", "toy", "--json", str(speech_like))
    done = json.loads(ended.stdout.splitlines()[-1])
    assert [[s["start_ms"], s["end_ms"]] for s in done["segments"]] == SPANS


def run(*arguments: str) -> Ended:
    return spawn("fsmn", *arguments, PYTHONPATH=str(PACKAGE), COLUMNS="200")
