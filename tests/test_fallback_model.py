"""A start without the model: another one serves only when asked to, and everything says so."""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import soundfile

from app.config import DEFAULT_MODEL, Settings
from tests.hub_server import running_hub
from tests.server import RunningServer, running_server, start_server, stop_server, wait_until_ready
from tests.voice import voice

pytest.importorskip("silero_vad", reason="the package silero-vad is not installed")

ROOT = Path(__file__).resolve().parent.parent
UNREACHABLE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("audio") / "voice.wav"
    soundfile.write(path, voice(9.0, [(0.5, 1.5), (3.0, 6.6)]), 16_000, subtype="PCM_16")
    return path


def without_hub(folder: Path, **settings: str) -> dict[str, str]:
    return {
        "VAD_MODEL": DEFAULT_MODEL, "MODELSCOPE_CACHE": str(folder / "cache"), "MODELSCOPE_ENDPOINT": UNREACHABLE,
        "VAD_FALLBACK_MODEL": "silero", **settings,
    }  # fmt: skip


@pytest.fixture(scope="module")
def fallen_back(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("fallback")
    with running_server(Path(DEFAULT_MODEL), folder, without_hub(folder)) as server:
        yield server


def serve_and_fail(folder: Path, **settings: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("VAD_", "MODELSCOPE"))}
    environment |= {"VAD_PORT": "0", **settings}
    return subprocess.run(
        [sys.executable, "-m", "app.cli", "serve"],
        env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


def test_health_says_which_model_serves_and_why(fallen_back: RunningServer) -> None:
    health = httpx.get(f"{fallen_back.url}/health").json()
    assert health["status"] == "ready"
    assert health["model"]["id"] == "silero-vad"
    assert re.fullmatch(r"\d+\.\d+(\.\d+)?", health["model"]["revision"])
    assert DEFAULT_MODEL in health["fallback"]
    assert "silero-vad" in health["fallback"]
    assert str(fallen_back.folder) not in health["fallback"]


def test_the_terminal_says_so(fallen_back: RunningServer) -> None:
    [line] = [line for line in fallen_back.log.splitlines() if "ANOTHER MODEL" in line]
    assert '"level": "warning"' in line
    assert DEFAULT_MODEL in line
    assert "silero-vad" in line
    assert f"the hub {UNREACHABLE}: cannot be reached" in line


def test_every_answer_says_so(fallen_back: RunningServer, spoken: Path) -> None:
    answer = httpx.post(f"{fallen_back.url}/vad", content=spoken.read_bytes(), timeout=30).json()
    assert answer["model"] == httpx.get(f"{fallen_back.url}/health").json()["model"]
    assert len(answer["segments"]) == 2
    lines = httpx.post(
        f"{fallen_back.url}/vad?format=ndjson", content=spoken.read_bytes(), timeout=30
    ).text.splitlines()
    assert '"silero-vad"' in lines[-1]
    assert 'vad_model_info{fingerprint="' in httpx.get(f"{fallen_back.url}/metrics").text
    assert 'id="silero-vad"' in httpx.get(f"{fallen_back.url}/metrics").text


def test_tight_mode_kept_analyses_and_probabilities_are_on_its_grid(fallen_back: RunningServer, spoken: Path) -> None:
    with fallen_back.client() as client:
        parameters = {"mode": "tight", "probabilities": "true", "keep": "true"}
        answer = client.post("/vad", params=parameters, content=spoken.read_bytes()).json()
        assert answer["options"]["threshold"] == 0.5
        assert answer["probabilities"]["frame_ms"] == 32
        assert len(answer["probabilities"]["values"]) == -(-9_000 // 32)
        again = client.get(f"/analyses/{answer['analysis_id']}/segments", params={"mode": "tight"}).json()
        assert again["segments"] == answer["segments"] != []
        curve = client.get(f"/analyses/{answer['analysis_id']}/curve").json()
        assert curve["frame_ms"] == 32
        assert len(curve["probabilities"]) == len(curve["peaks"]) == -(-9_000 // 32)


def test_eight_khz_network(tmp_path: Path, spoken: Path) -> None:
    with running_server(Path("silero-8k"), tmp_path) as server:
        health = httpx.get(f"{server.url}/health").json()
        assert health["model"]["id"] == "silero-vad-8k"
        assert health["fallback"] is None
        answer = httpx.post(f"{server.url}/vad", content=spoken.read_bytes(), timeout=30).json()
        assert len(answer["segments"]) == 2


def test_the_model_serves_when_the_hub_has_it(small_model: Path, tmp_path: Path) -> None:
    with running_hub(small_model) as hub:
        settings = without_hub(tmp_path, MODELSCOPE_ENDPOINT=hub.url, VAD_MODEL="owner/small")
        with running_server(Path("owner/small"), tmp_path, settings) as server:
            health = httpx.get(f"{server.url}/health").json()
            assert (health["model"]["id"], health["fallback"]) == ("owner/small", None)
            assert "ANOTHER MODEL" not in server.log


def test_a_hub_without_the_model_falls_back(small_model: Path, tmp_path: Path) -> None:
    with running_hub(small_model) as hub:
        hub.fault = "not-found"
        settings = without_hub(tmp_path, MODELSCOPE_ENDPOINT=hub.url)
        with running_server(Path(DEFAULT_MODEL), tmp_path, settings) as server:
            assert httpx.get(f"{server.url}/health").json()["model"]["id"] == "silero-vad"


def test_a_hub_that_lets_wait_falls_back(tmp_path: Path) -> None:
    """It takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = without_hub(tmp_path, MODELSCOPE_ENDPOINT=f"http://127.0.0.1:{silent.getsockname()[1]}")
        server = start_server(Path(DEFAULT_MODEL), tmp_path, settings)
        try:
            wait_until_ready(server)
            assert "stood still" in server.log
        finally:
            stop_server(server)


def test_nothing_falls_back_by_itself(tmp_path: Path) -> None:
    assert Settings.model_fields["fallback_model"].default == ""
    settings = {**without_hub(tmp_path), "VAD_FALLBACK_MODEL": ""}
    ended = serve_and_fail(tmp_path, **settings)
    assert ended.returncode == 3
    assert "could not start" in ended.stderr


def test_a_broken_model_is_not_replaced(small_model: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(small_model, tmp_path / "model"))
    (broken / "model.pt").write_bytes(b"no weights")
    ended = serve_and_fail(tmp_path, **without_hub(tmp_path, VAD_MODEL=str(broken)))
    assert ended.returncode == 3
    assert "model.pt" in ended.stderr


def test_weights_that_are_pinned_are_not_replaced(tmp_path: Path) -> None:
    ended = serve_and_fail(tmp_path, **without_hub(tmp_path, VAD_MODEL_FINGERPRINT="0" * 64))
    assert ended.returncode == 3
    assert "cannot be reached" in ended.stderr


def test_a_package_that_is_not_there_is_asked_for(tmp_path: Path) -> None:
    """In an interpreter that sees all packages but that one."""
    program = (
        "import sys, app.vad.models.silero.checkpoint as package\n"
        "package.PACKAGE = 'silero-vad-that-nobody-has'\n"
        "sys.argv = ['fsmn-vad', 'serve']\n"
        "from app.cli import main\n"
        "main()\n"
    )
    for settings in (without_hub(tmp_path), {"VAD_MODEL": "silero"}):
        ended = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "VAD_PORT": "0", **settings},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert ended.returncode == 3
        assert "To install it: pip install" in ended.stderr
        assert "Traceback" not in ended.stderr


def test_the_command_line_says_so(tmp_path: Path, spoken: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("VAD_", "MODELSCOPE"))}
    command = [sys.executable, "-m", "app.cli", "detect", "--format", "json", str(spoken)]
    ended = subprocess.run(
        command, env={**environment, **without_hub(tmp_path)}, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 0
    assert "silero-vad" in ended.stdout
    assert "serves in its place" in ended.stderr


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
