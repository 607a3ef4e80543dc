"""What travels along with the project: types, licences, and facts about them that can be looked up."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from app.audio.ffmpeg import find_ffmpeg
from app.vad.models.registry import FAMILIES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
NOTICE = (ROOT / "NOTICE").read_text()
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT, HATCH = PYPROJECT["project"], PYPROJECT["tool"]["hatch"]


def test_types_are_told() -> None:
    for package in ("app", "fsmn_vad_client"):
        assert (ROOT / package / "py.typed").exists()
        assert package in HATCH["build"]["targets"]["wheel"]["packages"]
        assert f"!{package}\n" in (ROOT / ".dockerignore").read_text()
    assert "Typing :: Typed" in PROJECT["classifiers"]


def test_the_pythons_are_those_that_ci_tries() -> None:
    matrix = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["test"]["strategy"]["matrix"]
    named = [line.rsplit(" ", 1)[1] for line in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", line)]
    assert named == matrix["python"]
    assert PROJECT["requires-python"] == f">={named[0]}"


def test_licences_are_packed() -> None:
    assert set(PROJECT["license-files"]) == {"LICENSE", "NOTICE"}
    for dockerfile in ("Dockerfile", "Dockerfile.cuda"):
        assert "LICENSE NOTICE" in (ROOT / "docker" / dockerfile).read_text()


def test_the_licence_of_the_ffmpeg_that_comes_along_is_as_told() -> None:
    pytest.importorskip("imageio_ffmpeg")
    told = subprocess.run([str(find_ffmpeg("")), "-L"], capture_output=True, text=True, check=True).stdout
    words = " ".join(told.split())
    assert "GNU General Public License" in words
    assert "version 3 of the License, or (at your option) any later version" in words
    assert "GNU General Public License, version 3 or later" in " ".join(NOTICE.split())


TOLD_LICENCES = ("MIT", "Apache-2.0")
"""Of what the page bundles: NOTICE has the text of the one and points to that of the other."""


def test_what_the_page_bundles_is_named() -> None:
    bundled = json.loads((ROOT / "web/package.json").read_text()).get("dependencies", {})
    lock = json.loads((ROOT / "web/package-lock.json").read_text())["packages"]
    for name in bundled:
        assert name in NOTICE
        assert lock[f"node_modules/{name}"]["license"] in TOLD_LICENCES, f"{name}: tell its licence"


def test_every_familys_weights_are_named() -> None:
    weights = NOTICE.partition("3. Model weights")[2]
    for family in FAMILIES:
        assert family.name in weights.lower().replace("fsmn-vad", "fsmn"), family.name


def test_workflows_and_templates_are_yaml_and_pinned() -> None:
    for path in [*ROOT.glob(".github/**/*.yml"), ROOT / ".pre-commit-config.yaml"]:
        text = path.read_text()
        assert yaml.safe_load(text), path.name
        for action in re.findall(r"uses: ([^.\s]\S+)", text):  # a workflow of this repository needs no pin
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action), f"{path.name}: {action} is not pinned by hash"


def test_nothing_hints_at_a_system_that_was_not_tried() -> None:
    assert not any("Windows" in line or "OS Independent" in line for line in PROJECT["classifiers"])
    assert not any("win32" in line for line in PROJECT["dependencies"])
