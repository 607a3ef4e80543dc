"""The programs of docs/clients.md, as they stand there, against a real service."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from tests import markdown
from tests.conftest import ROOT
from tests.server import RunningServer

PAGE = (ROOT / "docs" / "clients.md").read_text()
_SERVICE = "http://localhost:8000"
PROGRAMS: dict[str, tuple[str, list[str]]] = {
    "python": ("program.py", [sys.executable]),
    "js": ("program.mjs", ["node"]),
    "go": ("program.go", ["go", "run"]),
    "java": ("Detect.java", ["java"]),
    "php": ("program.php", ["php"]),
    "ruby": ("program.rb", ["ruby"]),
}
"""By the language of the fence: the file's name, and what runs it."""
NOT_RUN = {"csharp", "powershell", "sh"}


def run(language: str, code: str, server: RunningServer, folder: Path) -> "subprocess.CompletedProcess[str]":
    name, command = PROGRAMS[language]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not here")
    (folder / name).write_text(code.replace(_SERVICE, server.url))
    return subprocess.run([*command, name], cwd=folder, capture_output=True, text=True, timeout=300, check=False)


def test_every_program_is_tried_or_says_that_it_is_not() -> None:
    languages = {language for language, _ in markdown.fenced(PAGE)}
    assert languages == PROGRAMS.keys() | NOT_RUN
    rows = [line for line in PAGE.splitlines() if re.match(r"\| \[", line)]
    assert sum(line.endswith("| no |") for line in rows) == len(NOT_RUN - {"sh"})


@pytest.mark.full
@pytest.mark.parametrize("language", PROGRAMS)
def test_it_prints_the_segments(language: str, server: RunningServer, speech_like: Path, tmp_path: Path) -> None:
    shutil.copy(speech_like, tmp_path / "talk.wav")
    code = next(code for found, code in markdown.fenced(PAGE) if found == language)
    found = server.post("/vad", content=speech_like.read_bytes()).json()["segments"]
    done = run(language, code, server, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{one['start_ms']} {one['end_ms']}" for one in found]
    assert len(found) == 2


@pytest.mark.full
@pytest.mark.parametrize("language", PROGRAMS)
def test_a_refusal_is_printed(language: str, server: RunningServer, tmp_path: Path) -> None:
    (tmp_path / "talk.wav").write_bytes(b"this is no audio at all")
    code = next(code for found, code in markdown.fenced(PAGE) if found == language)
    done = run(language, code, server, tmp_path)
    assert "unsupported_audio" in done.stdout + done.stderr


@pytest.mark.full
def test_the_stream_of_the_python_client(server: RunningServer, speech_like: Path, tmp_path: Path) -> None:
    samples, _ = soundfile.read(speech_like, dtype="int16")
    (tmp_path / "talk.pcm").write_bytes(samples.tobytes())
    code = [code for language, code in markdown.fenced(PAGE) if language == "python"][1]
    done = run("python", code, server, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["speech_start", "speech_end", "speech_start", "speech_end", "done"]
