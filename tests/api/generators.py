"""Other people's generators of clients: where they are, and what they make of the service's document.

`make generators` installs those that make Python, `make node-clients` those that make TypeScript. Where one is missing
a test skips; in continuous integration it fails, because there nobody would miss it.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON_TOOLS = ROOT / os.environ.get("VAD_GENERATORS", ".generators") / "bin"
NODE_TOOLS = ROOT / "tests" / "node" / "node_modules" / ".bin"
_LIMIT_S = 120
_TYPES = [
    "--noEmit", "--strict", "--skipLibCheck", "--target", "es2022", "--module", "esnext", "--moduleResolution",
    "bundler", "--lib", "es2022,dom,dom.iterable", "--typeRoots", str(NODE_TOOLS.parent / "@types"), "--types", "node",
]  # fmt: skip


def tool(folder: Path, name: str) -> Path:
    """A program that has been installed for tests."""
    path = folder / name
    if not path.exists() or (folder == NODE_TOOLS and shutil.which("node") is None):
        reason = f"needs {name}: make {'node-clients' if folder == NODE_TOOLS else 'generators'}"
        if os.environ.get("CI", "").lower() in ("", "0", "false"):
            pytest.skip(reason)
        pytest.fail(reason)
    return path


def run(*command: str | Path, cwd: Path | None = None, **variables: str) -> str:
    """What a program prints. Raises AssertionError with all that it said where it fails."""
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env={**os.environ, **variables}, capture_output=True, text=True,
        timeout=_LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-4_000:]
    return done.stdout


def told_by_python(folder: Path, script: str, variables: Mapping[str, str]) -> Any:
    """Run a script beside a generated package, and read the JSON that it prints."""
    (folder / "calling.py").write_text(script)
    return json.loads(run(tool(PYTHON_TOOLS, "python"), "calling.py", cwd=folder, **variables))


def told_by_node(folder: Path, script: str, variables: Mapping[str, str]) -> Any:
    """Check the types of a script and of the generated files that it imports, run it, and read the JSON it prints."""
    (folder / "calling.ts").write_text(script)
    run(tool(NODE_TOOLS, "tsc"), *_TYPES, "calling.ts", cwd=folder)
    bundled = ["--bundle", "--platform=node", "--format=esm", "--outfile=calling.mjs", "--log-level=error"]
    run(tool(NODE_TOOLS, "esbuild"), "calling.ts", *bundled, cwd=folder)
    return json.loads(run("node", "calling.mjs", cwd=folder, **variables))
