"""The examples of live streams, run against a real server."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.cli.relay import breaking_relay
from tests.server import RunningServer

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def run(command: list[str], path: Path, url: str) -> list[str]:
    environment = {**os.environ, "SPEED": "20"}
    ended = subprocess.run(
        [*command, str(path), url], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


def expected(server: RunningServer, path: Path) -> list[list[int]]:
    with server.client() as client:
        answer = client.post("/vad?max_end_silence_time=500", files={"file": (path.name, path.read_bytes())})
    return [[segment["start_ms"], segment["end_ms"]] for segment in answer.json()["segments"]]


def shown(lines: list[str]) -> list[list[int]]:
    return [[int(word) for word in line.split()[:2]] for line in lines if "..." not in line]


def node() -> list[str]:
    """Node with a WebSocket of its own: from 22 on, or from 20.10 on behind a flag."""
    if shutil.which("node") is None:
        pytest.skip("needs node")
    for flags in ([], ["--experimental-websocket"]):
        command = ["node", *flags]
        ended = subprocess.run([*command, "-e", "WebSocket"], capture_output=True, check=False)
        if ended.returncode == 0:
            return command
    pytest.skip("needs a node that has WebSocket: 22, or 20.10")


def test_python(server: RunningServer, speech_like: Path) -> None:
    lines = run([sys.executable, str(EXAMPLES / "stream.py")], speech_like, server.url.replace("http", "ws"))
    assert len(lines) == 4
    assert shown(lines) == expected(server, speech_like)


def test_python_comes_back(server: RunningServer, speech_like: Path) -> None:
    with breaking_relay(urlsplit(server.url).port or 0, [150_000, 100_000]) as relay:
        lines = run([sys.executable, str(EXAMPLES / "stream.py")], speech_like, f"ws://127.0.0.1:{relay.port}")
    assert relay.connections == 3
    assert shown(lines) == expected(server, speech_like)
    assert len(lines) == 4  # nothing is told twice


@pytest.mark.parametrize("name", ["stream.py", "stream.mjs", "fsmn-vad"])
def test_without_a_service_there_is_a_sentence(name: str, speech_like: Path) -> None:
    url = "ws://127.0.0.1:9"
    command = {
        "stream.py": [sys.executable, str(EXAMPLES / "stream.py"), str(speech_like), url],
        "stream.mjs": [*(node() if name == "stream.mjs" else []), str(EXAMPLES / "stream.mjs"), str(speech_like), url],
        "fsmn-vad": [sys.executable, "-m", "app.cli", "stream", str(speech_like), "--url", url],
    }[name]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert ended.stdout == ""
    (line,) = ended.stderr.strip().splitlines()
    assert "no answer from ws://127.0.0.1:9" in line


@pytest.mark.parametrize("name", ["stream.py", "stream.mjs"])
def test_a_refusal_is_a_sentence(name: str, server: RunningServer, speech_like: Path) -> None:
    program = [sys.executable] if name == "stream.py" else node()
    spoiled = (EXAMPLES / name).read_text().replace("max_end_silence_time", "max_end_silence")
    command = [*program, "-" if name == "stream.py" else "--input-type=module", *([] if name == "stream.py" else ["-"])]
    ended = subprocess.run(
        [*command, str(speech_like), server.url.replace("http", "ws")],
        input=spoiled, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    (line,) = ended.stderr.strip().splitlines()
    assert line.startswith("invalid_option: max_end_silence: there is no such option")


def test_an_old_node_is_told_which_one_is_needed(speech_like: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("needs node")
    # As a Node without one has it, whichever is here.
    source = "delete globalThis.WebSocket\n" + (EXAMPLES / "stream.mjs").read_text()
    ended = subprocess.run(
        ["node", "--input-type=module", "-", str(speech_like)],
        input=source, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 2
    (line,) = ended.stderr.strip().splitlines()
    assert "needs Node 22" in line


def test_javascript(server: RunningServer, speech_like: Path) -> None:
    lines = run([*node(), str(EXAMPLES / "stream.mjs")], speech_like, server.url.replace("http", "ws"))
    assert len(lines) == 4
    assert shown(lines) == expected(server, speech_like)


def test_javascript_comes_back(server: RunningServer, speech_like: Path) -> None:
    command = [*node(), str(EXAMPLES / "stream.mjs")]
    with breaking_relay(urlsplit(server.url).port or 0, [150_000]) as relay:
        lines = run(command, speech_like, f"ws://127.0.0.1:{relay.port}")
    assert relay.connections == 2
    assert shown(lines) == expected(server, speech_like)


PYTHON_EXAMPLES = sorted(path.name for path in EXAMPLES.glob("*.py"))


@pytest.mark.parametrize("name", PYTHON_EXAMPLES)
def test_without_its_packages_an_example_says_what_to_install(name: str) -> None:
    # -I -S: a Python that has nothing but its own library.
    ended = subprocess.run(
        [sys.executable, "-I", "-S", str(EXAMPLES / name), "talk.wav"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    last = ended.stderr.strip().splitlines()[-1]
    assert "is not installed: pip install " in last
    readme = (EXAMPLES / "README.md").read_text()
    assert last.partition("is not installed: ")[2] in readme


@pytest.mark.parametrize("name", [name for name in PYTHON_EXAMPLES if name not in ("pipecat_vad.py", "livekit_vad.py")])
def test_help_needs_no_package(name: str) -> None:
    command = [sys.executable, "-I", "-S", str(EXAMPLES / name), "--help"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert f"usage: {name}" in ended.stdout


def test_every_example_is_in_the_list() -> None:
    readme = (EXAMPLES / "README.md").read_text()
    assert all(f"[{path.name}]({path.name})" in readme for path in EXAMPLES.iterdir() if path.suffix != ".md")
