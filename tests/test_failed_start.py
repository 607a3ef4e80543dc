"""A start that cannot succeed: one clear message, the right exit status, in time."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def serve(folder: Path, **settings: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("VAD_", "MODELSCOPE"))}
    environment |= {"VAD_PORT": "0", "MODELSCOPE_CACHE": str(folder / "cache"), **settings}
    return subprocess.run(
        [sys.executable, "-m", "app.cli", "serve"],
        env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=15, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_no_model_and_no_hub(tmp_path: Path) -> None:
    ended = serve(tmp_path, MODELSCOPE_ENDPOINT="http://127.0.0.1:9")
    assert ended.returncode == 3
    assert "could not start" in ended.stderr
    assert "cannot be reached" in ended.stderr
    assert "set VAD_MODEL to that directory" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
def test_a_broken_model(small_model: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(small_model, tmp_path / "model"))
    (broken / "model.pt").write_bytes(b"no weights")
    ended = serve(tmp_path, VAD_MODEL=str(broken))
    assert ended.returncode == 3
    assert "model.pt" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
def test_another_fingerprint(small_model: Path, tmp_path: Path) -> None:
    ended = serve(tmp_path, VAD_MODEL=str(small_model), VAD_MODEL_FINGERPRINT="0" * 64)
    assert ended.returncode == 3
    assert "0" * 64 in ended.stderr


@pytest.mark.parametrize(
    ("variable", "value"),
    [("VAD_PORT", "abc"), ("VAD_WORKERS", "0"), ("VAD_DEVICE", "tpu"), ("VAD_MODEL_FINGERPRINT", "12"),
     ("VAD_DEFAULT_OPTIONS", "{"), ("VAD_RATE_LIMIT", "often")],
)  # fmt: skip
def test_a_wrong_setting_is_named(tmp_path: Path, variable: str, value: str) -> None:
    ended = serve(tmp_path, **{variable: value})
    assert ended.returncode == 2
    assert variable in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
def test_a_wrong_default_option_is_named(small_model: Path, tmp_path: Path) -> None:
    ended = serve(tmp_path, VAD_MODEL=str(small_model), VAD_DEFAULT_OPTIONS='{"max_end_silence": 3}')
    assert ended.returncode == 3
    assert "max_end_silence" in ended.stderr
