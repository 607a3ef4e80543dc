"""`fsmn-vad model`: what there is, where it is, and bundles."""

from pathlib import Path

import pytest

from tests.cli.calling import call
from tests.hub_server import running_hub
from tests.small_checkpoint import write_small_checkpoint


def test_where_a_model_is(small_model: Path) -> None:
    assert call(small_model, "model", "path").stdout.strip() == str(small_model)
    assert call("none", "model", "path", small_model).stdout.strip() == str(small_model)
    ended = call(small_model, "model", "path", "owner/none")
    assert ended.returncode == 3
    assert "the hub was not asked" in ended.stderr


def test_a_model_that_is_sound(small_model: Path) -> None:
    told = call(small_model, "model", "verify").stdout.splitlines()
    assert told[0] == f"{small_model}: sound"
    assert told[1].startswith("fingerprint ")
    assert len(told[1].split()[1]) == 64
    assert "16000 Hz" in told[2]
    assert call("none", "model", "verify", f"mine={small_model}").stdout.splitlines() == told


def test_a_package_is_verified_and_not_bundled(small_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("silero_vad", reason="the package silero-vad is not installed")
    told = call(small_model, "model", "verify", "silero").stdout
    assert ": sound" in told
    assert "fingerprint" in told
    ended = call(small_model, "model", "export", "silero", tmp_path / "bundle")
    assert ended.returncode == 3
    assert "silero has no folder to copy: its weights are in a Python package" in ended.stderr
    assert not (tmp_path / "bundle").exists()


def test_a_bundle_of_the_default_model(small_model: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    ended = call(small_model, "model", "export", bundle)
    assert ended.returncode == 0
    assert ended.stdout.strip() == f"Start with VAD_MODEL={bundle}"
    assert call(bundle, "model", "verify").returncode == 0
    (bundle / "model.pt").write_bytes(b"")
    ended = call(bundle, "model", "verify")
    assert ended.returncode == 3
    assert "model.pt" in ended.stderr
    assert call(bundle, "model", "export", tmp_path / "broken").returncode == 3
    assert not (tmp_path / "broken").exists()


def test_a_bundle_of_another_model(small_model: Path, tmp_path: Path) -> None:
    other = write_small_checkpoint(tmp_path / "other", seed=1)
    bundle = tmp_path / "bundle"
    assert call(small_model, "model", "export", other, bundle).returncode == 0
    prints = [call("none", "model", "verify", place).stdout.splitlines()[1] for place in (small_model, other, bundle)]
    assert prints[1] == prints[2] != prints[0]
    assert call(small_model, "model", "export", "a", "b", "c").returncode == 2


def test_another_fingerprint_is_refused(small_model: Path) -> None:
    ended = call(small_model, "model", "verify", VAD_MODEL_FINGERPRINT="0" * 64)
    assert ended.returncode == 3
    assert "0" * 64 in ended.stderr
    # It is the default model's, and of no other.
    assert call("none", "model", "verify", small_model, VAD_MODEL_FINGERPRINT="0" * 64).returncode == 0


def test_a_download(small_model: Path, tmp_path: Path) -> None:
    with running_hub(small_model) as hub:
        settings = {"MODELSCOPE_ENDPOINT": hub.url, "MODELSCOPE_CACHE": str(tmp_path)}
        ended = call("none", "model", "download", "owner/small", **settings)
        assert ended.returncode == 0, ended.stderr
        assert (Path(ended.stdout.strip()) / "model.pt").is_file()
        assert call("none", "model", "path", "owner/small", **settings).stdout == ended.stdout


def test_the_list(small_model: Path, tmp_path: Path) -> None:
    settings = {"VAD_MODELS": f"mine={small_model}", "MODELSCOPE_CACHE": str(tmp_path)}
    lines = call(small_model, "model", "list", **settings).stdout.splitlines()
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if "│" in line]
    rows = {name: rest for name, *rest in cells}
    assert rows[small_model.name] == ["", "yes", "default", "", str(small_model)]
    assert rows["mine"] == ["", "yes", "", "", str(small_model)]
    assert rows["fsmn"] == [
        "16000 Hz", "no", "", "FunASR model licence", "iic/speech_fsmn_vad_zh-cn-16k-common-pytorch",
    ]  # fmt: skip
    assert [rows["silero"][0], *rows["silero"][3:]] == ["16000 Hz", "MIT", "silero-vad"]
    listed = call("silero-8k", "model", "list", MODELSCOPE_CACHE=str(tmp_path)).stdout
    [default] = [line for line in listed.splitlines() if "default" in line]
    assert "silero-vad-8k" in default


def test_a_sum_is_its_members(tmp_path: Path) -> None:
    pytest.importorskip("silero_vad", reason="the package silero-vad is not installed")
    both = "silero+silero-8k"
    told = call(both, "model", "verify").stdout
    assert told.count(": sound") == 2
    assert call("none", "model", "verify", both).stdout == told
    listed = call(both, "model", "list", MODELSCOPE_CACHE=str(tmp_path)).stdout
    assert [line.split()[1] for line in listed.splitlines() if "default" in line] == ["silero", "silero-8k"]
    ended = call(both, "model", "export", tmp_path / "bundle")
    assert ended.returncode == 2
    assert "export one of silero and silero-8k" in ended.stderr


def test_a_name_that_cannot_be_one(small_model: Path) -> None:
    ended = call(small_model, "model", "path", "a b=c")
    assert ended.returncode == 2
    assert "cannot be a name" in ended.stderr
