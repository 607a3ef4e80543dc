"""The page's types of the service's documents are those of the service."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from app.config import Settings
from app.main import create_app
from tests.conftest import ROOT

WEB = ROOT / "web"


def test_the_types_are_those_of_openapi(tmp_path: Path) -> None:
    program = WEB / "node_modules" / ".bin" / "openapi-typescript"
    if shutil.which("node") is None or not program.is_file():
        pytest.skip("the page's tools are not installed (npm ci in web/)")
    (tmp_path / "openapi.json").write_text(json.dumps(create_app(Settings(model="unused")).openapi()))
    made = tmp_path / "schema.d.ts"
    subprocess.run([program, tmp_path / "openapi.json", "-o", made], check=True, capture_output=True)
    assert made.read_text() == (WEB / "src/service/schema.d.ts").read_text(), "make page-types"
