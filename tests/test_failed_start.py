"""A start that cannot succeed: one clear message, told once, the right exit status, in time."""

import shutil
import socket
from pathlib import Path

import pytest

from app.server.serve import address
from tests.cli.calling import call, spawn
from tests.server import running_server
from tests.waiting import eventually


@pytest.mark.slow
def test_no_model_and_no_hub(tmp_path: Path) -> None:
    settings = {"MODELSCOPE_CACHE": str(tmp_path / "cache"), "MODELSCOPE_ENDPOINT": "http://127.0.0.1:9"}
    ended = spawn("fsmn", "serve", VAD_PORT="0", limit_s=40, **settings)
    assert ended.returncode == 3
    assert ended.stderr.count("could not start") == 1
    assert ended.stderr.count("cannot be reached") == 1
    assert "set VAD_MODEL to that directory" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_broken_model(small_model: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(small_model, tmp_path / "model"))
    (broken / "model.pt").write_bytes(b"no weights")
    ended = call(broken, "serve", VAD_PORT="0")
    assert ended.returncode == 3
    assert ended.stderr.count("model.pt") == 1
    assert "Traceback" not in ended.stderr


def test_another_fingerprint(small_model: Path) -> None:
    ended = call(small_model, "serve", VAD_PORT="0", VAD_MODEL_FINGERPRINT="0" * 64)
    assert ended.returncode == 3
    assert ended.stderr.count("0" * 64) == 1


def test_a_model_that_cannot_be_had_beside_the_default_one(small_model: Path, tmp_path: Path) -> None:
    arguments = ("serve", "--port", "0", "--model", small_model, "--models", f"mine={small_model},{tmp_path}/none")
    ended = call("nowhere", *arguments)
    assert ended.returncode == 3
    assert f"The model {tmp_path}/none is not available" in ended.stderr


@pytest.mark.parametrize(
    ("variable", "value"),
    [("VAD_PORT", "abc"), ("VAD_WORKERS", "0"), ("VAD_DEVICE", "tpu"), ("VAD_MODEL_FINGERPRINT", "12"),
     ("VAD_DEFAULT_OPTIONS", "{"), ("VAD_RATE_LIMIT", "often")],
)  # fmt: skip
def test_a_wrong_setting_is_named(small_model: Path, variable: str, value: str) -> None:
    ended = call(small_model, "serve", **{variable: value})
    assert ended.returncode == 2
    assert variable in ended.stderr


def test_a_wrong_default_option_is_named(small_model: Path) -> None:
    ended = call(small_model, "serve", VAD_PORT="0", VAD_DEFAULT_OPTIONS='{"max_end_silence": 3}')
    assert ended.returncode == 3
    assert "max_end_silence" in ended.stderr


def test_a_wrong_preset_is_named(small_model: Path) -> None:
    ended = call(small_model, "serve", VAD_PORT="0", VAD_PRESET="everything")
    assert ended.returncode == 3
    assert "VAD_PRESET: there is no such preset; there are: asr" in ended.stderr


def test_a_port_that_is_taken_is_told_with_a_way_out(small_model: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = call(small_model, "serve", VAD_PORT=str(port))
    assert ended.returncode == 4
    assert f"Port {port} of 127.0.0.1 cannot be used" in ended.stderr
    assert f"--port {port + 1}" in ended.stderr


def test_the_last_line_of_a_start_says_what_to_open(small_model: Path, tmp_path: Path) -> None:
    with running_server(small_model, tmp_path) as server:
        eventually(lambda: f"Open {server.url}/ (Ctrl-C stops)" in server.log)


@pytest.mark.parametrize(
    ("host", "shown"),
    [("127.0.0.1", "http://127.0.0.1:80/"), ("0.0.0.0", "http://127.0.0.1:80/"), ("::1", "http://[::1]:80/")],
)
def test_the_address_can_be_opened_in_a_browser(host: str, shown: str) -> None:
    assert address(host, 80) == shown
