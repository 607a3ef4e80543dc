"""A start without the model: another one serves only when asked to, and everything says so."""

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile

from app.config import DEFAULT_MODEL, Settings
from app.registry import Plugin, Registry
from app.runtime import Runtime, start_runtime
from app.vad.errors import InvalidModel, InvalidOption, ModelNotFound
from app.vad.models.family import ModelSpec
from app.vad.models.fsmn.family import FsmnFamily
from app.vad.models.hub import USUAL_PATIENCE, HubPatience, ModelHub, ModelPlace
from app.vad.models.silero import family as silero
from tests.cli.calling import call
from tests.hub_server import running_hub
from tests.server import RunningServer, given_settings, local_server
from tests.voice import voice

pytest.importorskip("silero_vad", reason="the package silero-vad is not installed")

ROOT = Path(__file__).resolve().parent.parent
UNREACHABLE = "http://127.0.0.1:9"
DEFAULT_ID = "iic/speech_fsmn_vad_zh-cn-16k-common-pytorch"


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("audio") / "voice.wav"
    soundfile.write(path, voice(9.0, [(0.5, 1.5), (3.0, 6.6)]), 16_000, subtype="PCM_16")
    return path


def without_hub(folder: Path, **settings: str) -> dict[str, str]:
    """Settings with an empty cache, no hub, and Silero VAD in its place."""
    return {
        "VAD_MODEL": DEFAULT_MODEL, "MODELSCOPE_CACHE": str(folder / "cache"), "MODELSCOPE_ENDPOINT": UNREACHABLE,
        "VAD_FALLBACK_MODEL": "silero", **settings,
    }  # fmt: skip


class PatientFamily(FsmnFamily):
    """Waits for the hub as a test says."""

    def __init__(self, patience: HubPatience) -> None:
        self.patience = patience

    def find(self, spec: ModelSpec, hub: ModelHub) -> ModelPlace:
        return super().find(spec, replace(hub, patience=self.patience))


def serving(
    folder: Path, settings: Mapping[str, str], patience: HubPatience = USUAL_PATIENCE
) -> AbstractContextManager[RunningServer]:
    """A server that starts with these settings, finding its models for itself."""
    registry = Registry.of([Plugin([PatientFamily(patience)])])
    return local_server(settings["VAD_MODEL"], folder, settings, registry=registry)


@asynccontextmanager
async def started(settings: Mapping[str, str]) -> AsyncIterator[Runtime]:
    """What a server, a command or a worker starts with. Raises what stops the start."""
    runtime = await start_runtime(given_settings(settings))
    try:
        yield runtime
    finally:
        await asyncio.to_thread(runtime.close)


# ---- the fallback serves


@pytest.fixture(scope="module")
def fallen_back(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("fallback")
    with serving(folder, without_hub(folder)) as server:
        yield server


def test_health_says_which_model_serves_and_why(fallen_back: RunningServer) -> None:
    with fallen_back.client() as client:
        health = client.get("/health").json()
    assert health["status"] == "ready"
    assert (health["model"]["name"], health["model"]["id"]) == ("silero", "silero-vad")
    assert re.fullmatch(r"\d+\.\d+(\.\d+)?", health["model"]["revision"])
    assert health["models"] == ["silero"]
    assert DEFAULT_ID in health["fallback"]
    assert "silero-vad" in health["fallback"]
    assert str(fallen_back.folder) not in health["fallback"]


def test_the_log_says_so(fallen_back: RunningServer) -> None:
    [line] = [line for line in fallen_back.log.splitlines() if "ANOTHER MODEL" in line]
    assert '"level": "warning"' in line
    assert DEFAULT_ID in line
    assert "silero-vad" in line
    assert f"the hub {UNREACHABLE}: cannot be reached" in line


def test_every_answer_says_so(fallen_back: RunningServer, spoken: Path) -> None:
    with fallen_back.client() as client:
        answer = client.post("/vad", content=spoken.read_bytes()).json()
        assert answer["model"] == client.get("/health").json()["model"]
        assert len(answer["segments"]) == 2
        assert [warning["code"] for warning in answer["warnings"]] == ["fallback_model"]
        assert DEFAULT_ID in answer["warnings"][0]["detail"]
        named = client.post("/vad?model=silero", content=spoken.read_bytes()).json()
        assert named["warnings"] == []
        lines = client.post("/vad?format=ndjson", content=spoken.read_bytes()).text.splitlines()
        assert '"silero-vad"' in lines[-1]
        [told] = [line for line in client.get("/metrics").text.splitlines() if line.startswith("vad_model_info{")]
    labels = dict(re.findall(r'(\w+)="([^"]*)"', told))
    assert labels.keys() == {"name", "id", "revision", "fingerprint", "device"}
    assert (labels["name"], labels["id"]) == ("silero", "silero-vad")


def test_its_own_mode_is_the_default_and_all_is_on_its_grid(fallen_back: RunningServer, spoken: Path) -> None:
    with fallen_back.client() as client:
        answer = client.post(
            "/vad", params={"probabilities": "true", "keep": "true"}, content=spoken.read_bytes()
        ).json()
        assert (answer["options"]["mode"], answer["options"]["threshold"]) == ("tight", 0.5)
        assert answer["probabilities"]["frame_ms"] == 32
        assert len(answer["probabilities"]["values"]) == -(-9_000 // 32)
        again = client.get(f"/analyses/{answer['analysis_id']}/segments", params={"mode": "tight"}).json()
        assert again["segments"] == answer["segments"] != []
        curve = client.get(f"/analyses/{answer['analysis_id']}/curve").json()
        assert curve["frame_ms"] == 32
        assert len(curve["probabilities"]) == len(curve["peaks"]) == -(-9_000 // 32)


def test_the_command_line_says_so(tmp_path: Path, spoken: Path) -> None:
    ended = call(DEFAULT_MODEL, "detect", "--format", "json", spoken, stdin=b"", **without_hub(tmp_path))
    assert ended.returncode == 0
    assert "silero-vad" in ended.stdout
    assert "is used instead" in ended.stderr


@pytest.mark.parametrize(
    ("models", "told"),
    [
        ("auto", "fsmn is not on this machine; get it with: fsmn-vad model download fsmn"),
        ("silero", "fsmn is not in VAD_MODELS of this service; add it there"),
    ],
)
@pytest.mark.parametrize("name", [DEFAULT_MODEL, DEFAULT_ID])
async def test_who_asks_for_the_model_by_name_is_told_how_to_get_it(
    tmp_path: Path, models: str, told: str, name: str
) -> None:
    async with started(without_hub(tmp_path, VAD_MODELS=models)) as runtime:
        with pytest.raises(InvalidOption) as failure:
            await runtime.models.get(name)
        assert failure.value.reason == told
        assert (await runtime.models.get(None)).info.name == "silero"
        assert DEFAULT_MODEL not in await runtime.models.available()


def test_a_hub_without_the_model_falls_back(small_model: Path, tmp_path: Path) -> None:
    with running_hub(small_model) as hub:
        hub.fault = "not-found"
        settings = without_hub(tmp_path, MODELSCOPE_ENDPOINT=hub.url)
        with serving(tmp_path, settings) as server, server.client() as client:
            assert client.get("/health").json()["model"]["id"] == "silero-vad"
            assert "[404] model not found" in server.log


def test_a_hub_that_lets_wait_falls_back(tmp_path: Path) -> None:
    """It takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = without_hub(tmp_path, MODELSCOPE_ENDPOINT=f"http://127.0.0.1:{silent.getsockname()[1]}")
        with serving(tmp_path, settings, HubPatience(stall_s=0.5)) as server, server.client() as client:
            assert client.get("/health").json()["model"]["id"] == "silero-vad"
            assert "stood still for 0.5 s; the hub did not answer" in server.log


# ---- it does not


def test_the_model_serves_when_the_hub_has_it(small_model: Path, tmp_path: Path) -> None:
    with running_hub(small_model) as hub:
        settings = without_hub(tmp_path, MODELSCOPE_ENDPOINT=hub.url, VAD_MODEL="owner/small")
        with serving(tmp_path, settings) as server, server.client() as client:
            health = client.get("/health").json()
            assert (health["model"]["id"], health["fallback"]) == ("owner/small", None)
            assert "ANOTHER MODEL" not in server.log


def test_eight_khz_network(tmp_path: Path, spoken: Path) -> None:
    with local_server("silero-8k", tmp_path) as server, server.client() as client:
        health = client.get("/health").json()
        assert (health["model"]["name"], health["model"]["id"]) == ("silero-8k", "silero-vad-8k")
        assert health["fallback"] is None
        assert len(client.post("/vad", content=spoken.read_bytes()).json()["segments"]) == 2


async def fails(settings: Mapping[str, str], error: type[Exception], *told: str) -> None:
    """The start fails, and these words are told."""
    with pytest.raises(error) as failure:
        async with started(settings):
            pass
    for words in told:
        assert words in str(failure.value)


async def test_nothing_falls_back_by_itself(tmp_path: Path) -> None:
    assert Settings.model_fields["fallback_model"].default == ""
    await fails(without_hub(tmp_path, VAD_FALLBACK_MODEL=""), ModelNotFound, "cannot be reached")


async def test_a_broken_model_is_not_replaced(small_model: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(small_model, tmp_path / "model"))
    (broken / "model.pt").write_bytes(b"no weights")
    await fails(without_hub(tmp_path, VAD_MODEL=str(broken)), InvalidModel, "model.pt")


async def test_weights_that_are_pinned_are_not_replaced(tmp_path: Path) -> None:
    await fails(without_hub(tmp_path, VAD_MODEL_FINGERPRINT="0" * 64), ModelNotFound, "cannot be reached")


async def test_no_other_model_that_is_listed_is_replaced(small_model: Path, tmp_path: Path) -> None:
    for listed in (DEFAULT_MODEL, "owner/other", "mine=owner/other"):
        settings = without_hub(tmp_path, VAD_MODEL=str(small_model), VAD_MODELS=f"silero,{listed}")
        wanted = DEFAULT_ID if listed == DEFAULT_MODEL else "owner/other"
        await fails(settings, ModelNotFound, f"The model {wanted} is not available", "cannot be reached", "VAD_MODELS")


@pytest.fixture
def kept_signals() -> Iterator[None]:
    """A server takes them over, for as long as its process lives."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("kept_signals")
def test_a_listed_model_that_cannot_be_had_ends_the_command(small_model: Path, tmp_path: Path) -> None:
    settings = without_hub(tmp_path, VAD_MODEL=str(small_model), VAD_MODELS="owner/other", VAD_PORT="0")
    ended = call(small_model, "serve", stdin=b"", **settings)
    assert ended.returncode == 3
    assert "could not start" in ended.stderr
    assert "The model owner/other is not available" in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_a_package_that_is_not_there_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silero, "PACKAGE", "silero-vad-that-nobody-has")
    asked = "To install it: pip install 'silero-vad-that-nobody-has"
    await fails(without_hub(tmp_path), ModelNotFound, "cannot be reached", "is not available either", asked)
    await fails(without_hub(tmp_path, VAD_MODEL="silero", VAD_FALLBACK_MODEL=""), ModelNotFound, asked)


# ---- who asks for it


@pytest.mark.parametrize("folder", ["docker", "deploy"])
def test_what_is_deployed_never_switches(folder: str) -> None:
    files = [path for path in (ROOT / folder).rglob("*") if path.is_file() and path.suffix != ".md"]
    assert files
    for path in files:
        assert not re.search(r"VAD_FALLBACK_MODEL\s*[=:]\s*[\"']?\w", path.read_text(errors="replace")), path


def test_only_make_run_asks_for_it() -> None:
    shown = subprocess.run(["make", "-n", "run"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    [start] = [line for line in shown.splitlines() if line.startswith("exec ")]
    prelude = shown[: shown.index(start)].splitlines()[-1]
    for given, expected in ((None, "silero"), ("", ""), ("other", "other")):
        environment = {name: value for name, value in os.environ.items() if name != "VAD_FALLBACK_MODEL"}
        environment |= {} if given is None else {"VAD_FALLBACK_MODEL": given}
        script = prelude.removesuffix("\\") + '\nprintf %s "$VAD_FALLBACK_MODEL"'
        said = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True, check=True)
        assert said.stdout == expected
