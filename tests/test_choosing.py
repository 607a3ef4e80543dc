"""The table at the head of docs/models.md: what to take for which audio. Each command there, and each request in the
blocks of that page and of chunks.md, works as it is written."""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import forked, markdown
from tests.server import RunningServer, local_server

ROOT = Path(__file__).resolve().parent.parent
HEADING = "## Choosing a model and a mode by what you have"
COMMANDS = [
    row[-1].strip().strip("`").replace("\\|", "|")
    for row in markdown.tables((ROOT / "docs/models.md").read_text().partition(HEADING)[2])[0][1:]
]
CALLS = [command for command in COMMANDS if command.startswith("curl ")]
LOCAL = ["fsmn-vad detect audio.wav --model silero"]
BLOCKS = [
    line
    for page in ("models.md", "chunks.md")
    for _, block in markdown.fenced((ROOT / "docs" / page).read_text())
    for line in block.replace("\\\n", " ").splitlines()
    if line.startswith("curl ")
]
LIVE = [command for command in COMMANDS if command.startswith("arecord ")]
ELSEWHERE = ["VAD_DEVICE=cuda fsmn-vad serve", "fsmn-vad tune recordings"]
"""Not tried here: one takes a GPU; the other takes minutes, and has tests/cli/test_tune.py."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.reference,
    pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl"),
]


@pytest.fixture(scope="module")
def with_all(
    published_model: Path, reference: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """A service with every model that has been downloaded."""
    pytest.importorskip("silero_vad", reason="the package silero-vad is not installed")
    if (
        not (reference / "modelscope/models/pyannote").is_dir()
        or not (reference / "modelscope/models/xukaituo").is_dir()
    ):
        pytest.skip("FireRedVAD or pyannote is not among the reference data")
    settings = {"VAD_MODELS": "auto", "MODELSCOPE_CACHE": str(reference / "modelscope")}
    with local_server(published_model, tmp_path_factory.mktemp("choosing"), settings) as running:
        yield running


@pytest.fixture
def folder(reference: Path, tmp_path: Path) -> Path:
    """With a conversation under every name that the commands have, and `fsmn-vad` and `arecord` to call."""
    for name in set(re.findall(r"@([\w.]+)", " ".join([*COMMANDS, *BLOCKS]))) | {"audio.wav"}:
        shutil.copyfile(reference / "audio/asr_example.wav", tmp_path / name)
    programs = tmp_path / "bin"
    programs.mkdir()
    forked.write_script(programs / "fsmn-vad")
    arecord = programs / "arecord"
    arecord.write_text(f"#!/bin/sh\ntail -c +45 {shlex.quote(str(tmp_path / 'audio.wav'))}\n")
    arecord.chmod(0o755)
    return tmp_path


def ran(command: str, folder: Path, **settings: str) -> str:
    """What a command prints; it must succeed."""
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    ended = subprocess.run(
        ["/bin/bash", "-o", "pipefail", "-c", command], cwd=folder, env={**os.environ, **settings, "PATH": path},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, (command, ended.stdout, ended.stderr)
    return ended.stdout


def test_every_command_is_tried() -> None:
    assert len(COMMANDS) >= 15
    assert sorted([*CALLS, *LOCAL, *LIVE, *ELSEWHERE]) == sorted(COMMANDS)


@pytest.mark.parametrize("command", CALLS)
def test_requests_find_speech(command: str, with_all: RunningServer, folder: Path) -> None:
    asked = command.replace("localhost:8000", with_all.url).replace("curl ", "curl -fsS ", 1)
    told = ran(asked, folder)
    if "-o chunks.zip" in command:
        assert (folder / "chunks.zip").stat().st_size > 10_000
    elif "format=" in command:
        assert len(told.splitlines()) >= 1
    else:
        assert "preset_model" not in told, "the preset's own model is here"
        assert '"start_ms"' in told


@pytest.mark.skipif(shutil.which("jq") is None, reason="needs jq")
@pytest.mark.parametrize("command", BLOCKS)
def test_requests_in_blocks_answer(command: str, with_all: RunningServer, folder: Path) -> None:
    told = ran(command.replace("localhost:8000", with_all.url), folder)
    assert told.strip() not in ("", "null"), told


@pytest.mark.parametrize("command", [*LOCAL, *LIVE])
def test_commands_find_speech(command: str, published_model: Path, reference: Path, folder: Path) -> None:
    pytest.importorskip("silero_vad", reason="the package silero-vad is not installed")
    settings = {"VAD_MODEL": str(published_model), "MODELSCOPE_CACHE": str(reference / "modelscope")}
    assert ran(command, folder, **settings)
