"""What the import contracts in pyproject.toml cannot say: who may import a thing, when it is imported, and names that
no module may have."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "app").rglob("*.py"))

TORCH_AT_ONCE = ("app/engine/device.py", "app/engine/memory.py", "app/vad/models/*")
"""Modules that may import torch when they are imported."""
TORCH_NEVER_AT_ONCE = (
    "app/vad/models/family.py",
    "app/vad/models/registry.py",
    "app/vad/models/fusion.py",
    "app/vad/models/hub*.py",
    "app/vad/models/*/family.py",
)
"""Of these, the ones that may not: models are listed, found and configured without it. A family's `family.py` imports
it in the functions that read and place a model."""
TORCH_FREE = (
    "app.vad.stream",
    "app.vad.segmenters.registry",
    "app.vad.models.registry",
    "app.audio.source",
    "app.formats.registry",
    "app.registry",
    "app.request",
    "app.cli",
)
"""After importing these, one after the other, there is no torch in the process."""

SETTINGS_READERS = ("app/config.py", "app/runtime.py", "app/main.py", "app/server/*", "app/cli/*")
"""The wiring: everything else is handed plain values."""
FRAMEWORK_ROOMS = ("app/api/*", "app/main.py", "app/server/*")
SHAPELESS = {"utils", "util", "helpers", "helper", "common", "misc", "base", "tools"}

KNOWN_BY_THE_LIST_ALONE = {
    "app.vad.models.fsmn": ("app/vad/models/fsmn/*", "app/vad/models/registry.py"),
    "app.vad.models.silero": ("app/vad/models/silero/*", "app/vad/models/registry.py"),
    "app.vad.models.firered": ("app/vad/models/firered/*", "app/vad/models/registry.py"),
    "app.vad.segmenters.endpoint": ("app/vad/segmenters/registry.py",),
    # The compatible alias is tight, whatever the model: its options are named there.
    "app.vad.segmenters.hysteresis": ("app/vad/segmenters/registry.py", "app/api/detect.py"),
    "app.vad.segmenters.smoothed": ("app/vad/segmenters/registry.py",),
    # Beside the formats: requests have its options, whoever answers adds its time map to any form, and CORS exposes its
    # headers.
    "app.formats.excerpts": (
        "app/formats/*",
        "app/request.py",
        "app/answer.py",
        "app/api/*",
        "app/main.py",
        "app/cli/flags.py",
    ),
    "app.formats.texts": ("app/formats/*",),
}
"""Members of a collection, and who may name one: whoever adds a family, a segmenter or a format touches its own files
and the list."""


def imported(tree: ast.AST, path: Path, *, in_functions: bool = True) -> Iterator[str]:
    """Dotted names that a file imports; `in_functions`: also when they are called."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif in_functions or not (_is_function(node) or _is_for_type_checkers(node)):
            yield from imported(node, path, in_functions=in_functions)


def _is_function(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def _is_for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


@cache
def names_in(path: Path, *, in_functions: bool) -> frozenset[str]:
    """What a file imports."""
    return frozenset(imported(ast.parse(path.read_text("utf-8"), str(path)), path, in_functions=in_functions))


def importers(package: str, *, in_functions: bool = True) -> list[str]:
    """Files under `app/`, relative to the root, that import the package or anything in it."""
    return [
        path.relative_to(ROOT).as_posix()
        for path in MODULES
        if any(name == package or name.startswith(f"{package}.") for name in names_in(path, in_functions=in_functions))
    ]


def outside(paths: list[str], rooms: tuple[str, ...]) -> list[str]:
    return [path for path in paths if not any(fnmatch(path, room) for room in rooms)]


def test_there_is_something_to_look_at() -> None:
    assert "app/vad/models/fsmn/network.py" in importers("torch", in_functions=False)
    assert "app/vad/models/fsmn/family.py" in importers("torch")


def test_torch_stays_with_the_models_and_the_device() -> None:
    assert outside(importers("torch"), TORCH_AT_ONCE) == []
    at_once = importers("torch", in_functions=False)
    assert [path for path in at_once if any(fnmatch(path, room) for room in TORCH_NEVER_AT_ONCE)] == []


def test_they_can_be_imported_without_torch() -> None:
    lines = ["import sys"]
    for module in TORCH_FREE:
        lines += [f"import {module}", f"assert 'torch' not in sys.modules, '{module} imports torch'"]
    program = [sys.executable, "-c", "\n".join(lines)]
    ended = subprocess.run(program, capture_output=True, text=True, cwd=ROOT, check=False)
    assert ended.returncode == 0, ended.stderr


def test_only_the_edges_read_settings() -> None:
    assert outside(importers("app.config"), SETTINGS_READERS) == []


@pytest.mark.parametrize("framework", ["fastapi", "starlette", "uvicorn"])
def test_only_the_http_rooms_know_the_web_framework(framework: str) -> None:
    assert outside(importers(framework), FRAMEWORK_ROOMS) == []


@pytest.mark.parametrize("member", KNOWN_BY_THE_LIST_ALONE)
def test_a_member_of_a_collection_is_named_by_its_list_alone(member: str) -> None:
    found = importers(member)
    assert found
    assert outside(found, KNOWN_BY_THE_LIST_ALONE[member]) == []


def test_every_module_is_named_by_its_concept() -> None:
    names = {path.relative_to(ROOT).as_posix(): {path.stem, *path.relative_to(ROOT).parent.parts} for path in MODULES}
    assert [path for path, parts in names.items() if parts & SHAPELESS] == []


def test_no_module_is_too_long() -> None:
    """A file that tells one thing whole may take 600 lines; past that it tells two."""
    lengths = {path.relative_to(ROOT).as_posix(): len(path.read_text("utf-8").splitlines()) for path in MODULES}
    assert {path: lines for path, lines in lengths.items() if lines > 600} == {}
