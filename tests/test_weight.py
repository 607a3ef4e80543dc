"""What a machine that only serves can be without: the service runs, and a command that cannot says what to type."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from app.extras import how_to_install, missing
from tests import forked
from tests.cli.calling import Ended
from tests.waiting import eventually

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
NOT_FOR_SERVING = (
    "httpx",
    "httpcore",
    "fsspec",
    "pyarrow",
    "s3fs",
    "modelscope",
    "modelscope_hub",
    "sympy",
    "networkx",
    "mpmath",
    "torch._dynamo",
    "torch._inductor",
    "torch.distributed.checkpoint",
    "torch.distributed.fsdp",
    "torch.distributed.pipelining",
    "torch.distributed.tensor",
    "torch.onnx",
    "torch.testing._internal.distributed",
    "torch.testing._internal.common_utils",
    "torch.utils.benchmark",
    "numpy._core._simd",
    "numpy.f2py",
)
"""Of the extras; of the hub's client, which is a child process where it downloads; of torch's compiler and its
training on many machines; of tests. docker/Dockerfile leaves them out."""
WITHOUT = "import sys; sys.modules.update(dict.fromkeys({names!r})); from app.cli import main; main()"


def command(without: Sequence[str], *arguments: str) -> list[str]:
    """`fsmn-vad` as it is where these packages are not installed."""
    return [sys.executable, "-c", WITHOUT.format(names=list(without)), *arguments]


def environment(**settings: str) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("VAD_", "MODELSCOPE_"))}
    return {**own, **settings}


def call(without: Sequence[str], *arguments: str, **settings: str) -> Ended:
    ended = forked.run(*arguments, env=environment(**settings), without=without)
    return Ended(ended.returncode, ended.stdout.decode(), ended.stderr.decode())


@pytest.mark.slow
def test_it_serves_without_what_serving_does_not_need(small_model: Path, speech_like: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    settings = environment(VAD_MODEL=str(small_model), VAD_MODELS="auto", VAD_DEVICE="cpu", VAD_TMP_DIR=str(tmp_path))
    with log.open("w") as out:
        service = subprocess.Popen(
            command(NOT_FOR_SERVING, "serve", "--port", "0"), env=settings, stdout=out, stderr=out
        )
    try:
        eventually(lambda: re.search(r"running on (http://\S+:\d+)", log.read_text()), limit_s=60)
        found = re.search(r"running on (http://\S+:\d+)", log.read_text())
        assert found is not None
        url = found[1]
        eventually(lambda: httpx.get(f"{url}/health/ready").status_code == httpx.codes.OK, limit_s=60)
        answer = httpx.post(f"{url}/vad", content=speech_like.read_bytes())
        assert len(answer.json()["segments"]) == 2
        assert httpx.get(f"{url}/openapi.json").status_code == httpx.codes.OK
        healthy = call(NOT_FOR_SERVING, "health", "--url", url)
        assert (healthy.returncode, healthy.stderr) == (0, "")
    finally:
        service.terminate()
        assert service.wait(60) == 0


def test_health_says_that_nobody_answers() -> None:
    nobody = call((), "health", "--url", "http://127.0.0.1:9")
    assert nobody.returncode == 1
    assert "no answer from http://127.0.0.1:9" in nobody.stderr


@pytest.mark.parametrize(
    ("package", "extra", "arguments"),
    [
        ("httpx", "cli", ["detect", "a.wav", "--url", "http://127.0.0.1:9"]),
        ("fsspec", "batch", ["batch", "in", "out"]),
        ("pyarrow", "batch", ["batch", "in", "out", "--format", "parquet"]),
        ("ray", "ray", ["batch", "in", "out", "--ray", "local"]),
        ("sounddevice", "mic", ["stream", "--mic"]),
    ],
)
def test_a_command_says_which_extra_it_needs(small_model: Path, package: str, extra: str, arguments: list[str]) -> None:
    ended = call([package], *arguments, VAD_MODEL=str(small_model))
    assert ended.returncode == 2
    assert f"make install EXTRAS={extra}" in " ".join(ended.stderr.split())


def test_the_extras_that_are_named_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {
        name
        for path in [*ROOT.glob("app/**/*.py"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("*.md")]
        for name in re.findall(r"(?:how_to_install|missing)\(['\"](\w+)['\"]|EXTRAS=([\w,-]+)", path.read_text())
        for name in ",".join(filter(None, name)).split(",")
    }
    assert {"mic", "otel"} <= named
    assert named <= extras.keys()


def test_what_is_here_is_not_missing() -> None:
    assert missing("dev", "pytest") is None
    assert missing("dev", "pytest", "no_such_module") == (
        f"no_such_module is not installed; it comes with the extra [dev]: {how_to_install('dev')}"
    )


def test_no_page_names_a_package_that_is_not_published() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/*.md"), *ROOT.glob("app/**/*.py")]
    assert [page.name for page in pages if re.search(r"pip install '?fsmn-vad", page.read_text())] == []
