"""Node and the packages that tests run with it (`make node-clients`)."""

import shutil
from pathlib import Path

import pytest

NODE = Path(__file__).resolve().parents[1] / "node"


def node_with(*packages: str) -> list[str]:
    """Node, for a module on its stdin that imports these packages; run it in `NODE`. Skips without any of them."""
    if shutil.which("node") is None:
        pytest.skip("needs node")
    missing = [name for name in packages if not (NODE / "node_modules" / name).is_dir()]
    if missing:
        pytest.skip(f"needs {' and '.join(missing)}: make node-clients")
    return ["node", "--input-type=module", "-"]
