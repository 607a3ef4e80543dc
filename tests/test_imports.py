"""What the import contracts in pyproject.toml cannot say: who may import a thing, and names no module may have."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "app").rglob("*.py"))

TORCH_ROOMS = ("app/vad",)
TORCH_FREE = {"endpointer", "errors", "hub", "hysteresis", "model_config", "options", "segment"}
"""Modules of `app/vad` that are arithmetic, text or network: they must run, and be tested, without torch."""

SETTINGS_READERS = ("app/config.py", "app/runtime.py", "app/main.py", "app/cli.py", "app/cli/")
"""The wiring: everything else is handed plain values."""
FRAMEWORK_ROOMS = ("app/api/", "app/main.py", "app/cli.py", "app/cli/")
SHAPELESS = {"utils", "util", "helpers", "helper", "common", "misc", "base", "tools"}


def imported(path: Path) -> Iterator[str]:
    """Dotted names that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def importers(package: str) -> list[str]:
    """Files under `app/`, relative to the root, that import the package or anything in it."""
    return [
        path.relative_to(ROOT).as_posix()
        for path in MODULES
        if any(name == package or name.startswith(f"{package}.") for name in imported(path))
    ]


def test_there_is_something_to_look_at() -> None:
    assert "app/vad/models/fsmn/network.py" in importers("torch")


def test_torch_stays_in_the_model_rooms() -> None:
    outside = [path for path in importers("torch") if not path.startswith(TORCH_ROOMS)]
    free = [path for path in importers("torch") if Path(path).stem in TORCH_FREE]
    assert outside + free == []


def test_only_the_edges_read_settings() -> None:
    assert [path for path in importers("app.config") if not path.startswith(SETTINGS_READERS)] == []


@pytest.mark.parametrize("framework", ["fastapi", "starlette", "uvicorn"])
def test_only_the_http_rooms_know_the_web_framework(framework: str) -> None:
    assert [path for path in importers(framework) if not path.startswith(FRAMEWORK_ROOMS)] == []


@pytest.mark.parametrize("room", ["app/vad", "app/audio", "app/formats"])
def test_the_domain_does_not_look_up(room: str) -> None:
    above = ("app.api", "app.config", "app.main", "app.cli")
    upward = {path for package in above for path in importers(package) if path.startswith(room)}
    assert upward == set()


def test_every_module_is_named_by_its_concept() -> None:
    names = {path.relative_to(ROOT).as_posix(): {path.stem, *path.relative_to(ROOT).parent.parts} for path in MODULES}
    assert [path for path, parts in names.items() if parts & SHAPELESS] == []


def test_no_module_is_too_long() -> None:
    """300 lines is the habit, 400 the end: past that there is more than one concept in a file."""
    lengths = {path.relative_to(ROOT).as_posix(): len(path.read_text("utf-8").splitlines()) for path in MODULES}
    assert {path: lines for path, lines in lengths.items() if lines > 400} == {}
