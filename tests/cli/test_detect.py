"""`fsmn-vad` as a person or a script runs it."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import soundfile

from app.formats.registry import FORMATS
from tests.server import RunningServer


def run(model: Path, *arguments: str, stdin: bytes = b"", **settings: str) -> "subprocess.CompletedProcess[bytes]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VAD_")}
    environment |= {"VAD_MODEL": str(model), "COLUMNS": "100", **settings}
    command = [sys.executable, "-m", "app.cli", *arguments]
    return subprocess.run(command, env=environment, input=stdin, capture_output=True, timeout=60, check=False)


def pairs(document: dict[str, Any]) -> list[list[int]]:
    return [[segment["start_ms"], segment["end_ms"]] for segment in document["segments"]]


@pytest.fixture(scope="module")
def found(small_model: Path, speech_like: Path) -> list[list[int]]:
    """What `detect` finds in the file."""
    return pairs(json.loads(run(small_model, "detect", str(speech_like)).stdout))


def test_json_is_the_default_where_nobody_looks(found: list[list[int]]) -> None:
    assert len(found) == 2


def test_a_table_for_people(small_model: Path, speech_like: Path) -> None:
    ended = run(small_model, "detect", str(speech_like), "--format", "table")
    assert ended.returncode == 0
    assert "2 segments" in ended.stdout.decode()


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in ("wav", "zip")])
def test_every_format(small_model: Path, speech_like: Path, server: RunningServer, name: str) -> None:
    ended = run(small_model, "detect", str(speech_like), "--format", name, "--lang", "en")
    assert (ended.returncode, ended.stderr) == (0, b"")
    with server.client() as client:
        served = client.post("/vad", params={"format": name, "lang": "en"}, files={
            "file": (speech_like.name, speech_like.read_bytes())
        })  # fmt: skip
    if name not in ("json", "ndjson"):
        assert ended.stdout.decode().strip() == served.text.strip() or name == "funasr"
    if name in ("json", "funasr"):
        json.loads(ended.stdout)


def test_stdin_folders_and_globs(small_model: Path, speech_like: Path, tmp_path: Path, found: list[list[int]]) -> None:
    piped = run(small_model, "detect", "-", stdin=speech_like.read_bytes())
    assert pairs(json.loads(piped.stdout)) == found
    for name in ("a.wav", "deep/b.wav", "deep/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(speech_like.read_bytes())
    for source, count in ((str(tmp_path), 2), (f"{tmp_path}/**/*.wav", 2), (f"{tmp_path}/*.wav", 1)):
        ended = run(small_model, "detect", source, "--jobs", "2")
        documents = (
            [json.loads(line) for line in ended.stdout.splitlines()] if count > 1 else [json.loads(ended.stdout)]
        )
        assert [pairs(document) for document in documents] == [found] * count


def test_options_are_flags(small_model: Path, speech_like: Path) -> None:
    ended = run(small_model, "detect", str(speech_like), "--max-end-silence-time", "2500", "--no-do-extend")
    document = json.loads(ended.stdout)
    assert (document["options"]["max_end_silence_time"], document["options"]["do_extend"]) == (2500, False)
    assert len(document["segments"]) == 1


def test_results_in_a_folder_never_overwrite(small_model: Path, speech_like: Path, tmp_path: Path) -> None:
    for _ in range(2):
        assert run(small_model, "detect", str(speech_like), "--format", "srt", "--out", str(tmp_path)).returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bursts-2.srt", "bursts.srt"]
    assert run(small_model, "detect", str(speech_like), "--format", "zip", "--out", str(tmp_path)).returncode == 0
    assert len(zipfile.ZipFile(tmp_path / "bursts.zip").namelist()) == 3
    assert run(small_model, "detect", str(speech_like), "--format", "wav", "--out", str(tmp_path)).returncode == 0
    assert soundfile.info(tmp_path / "bursts.speech.wav").samplerate == 16_000


def test_one_bad_file_spoils_nothing(small_model: Path, speech_like: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_text("no audio")
    ended = run(small_model, "detect", str(bad), str(speech_like))
    assert ended.returncode == 1
    assert b"bad.wav: this is not audio" in ended.stderr
    assert len(json.loads(ended.stdout)["segments"]) == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("nowhere.wav",), "nowhere.wav"),
        (("*.nothing",), "nothing matches"),
        (("-", "--format", "doc"), "doc"),
        (("-", "--format", "zip"), "--out"),
        (("-", "--threshold", "3"), "threshold"),
        (("-", "--channel", "left"), "channel"),
        (("-", "--no-such-option"), "no-such-option"),
    ],
)
def test_wrong_usage(small_model: Path, arguments: tuple[str, ...], told: str) -> None:
    ended = run(small_model, "detect", *arguments)
    assert ended.returncode == 2
    assert told in ended.stderr.decode()
    assert b"Traceback" not in ended.stderr


def test_no_model(tmp_path: Path, speech_like: Path) -> None:
    ended = run(tmp_path / "none", "detect", str(speech_like), MODELSCOPE_CACHE=str(tmp_path))
    assert ended.returncode == 3
    assert b"VAD_MODEL" in ended.stderr


def test_a_server_in_place_of_this_machine(
    small_model: Path, server: RunningServer, speech_like: Path, tmp_path: Path, found: list[list[int]]
) -> None:
    ended = run(tmp_path, "detect", str(speech_like), "--url", server.url)
    assert pairs(json.loads(ended.stdout)) == found
    refused = run(tmp_path, "detect", str(speech_like), "--url", "http://127.0.0.1:9")
    assert refused.returncode == 1
    assert b"no answer" in refused.stderr


def test_model_commands(small_model: Path, tmp_path: Path) -> None:
    assert run(small_model, "model", "path").stdout.decode().strip() == str(small_model)
    assert b"fingerprint" in run(small_model, "model", "verify").stdout
    bundle = tmp_path / "bundle"
    assert run(small_model, "model", "export", str(bundle)).returncode == 0
    assert run(bundle, "model", "verify").returncode == 0
    (bundle / "model.pt").write_bytes(b"")
    assert run(bundle, "model", "verify").returncode == 3


def test_health_command(small_model: Path, server: RunningServer) -> None:
    assert run(small_model, "health", "--url", server.url).returncode == 0
    assert run(small_model, "health", "--url", "http://127.0.0.1:9").returncode == 1


@pytest.mark.parametrize("command", [[], ["serve"], ["detect"], ["model"], ["model", "export"], ["health"]])
def test_help(small_model: Path, command: list[str]) -> None:
    ended = run(small_model, *command, "--help")
    assert ended.returncode == 0
    assert b"Usage" in ended.stdout


def test_settings_are_listed(small_model: Path) -> None:
    listed = run(small_model, "serve", "--settings", COLUMNS="200").stdout.decode()
    for name in ("VAD_PORT", "VAD_MAX_UPLOAD_MB", "MODELSCOPE_CACHE"):
        assert name in listed
