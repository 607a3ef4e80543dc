"""Where reference data are: published models, golden files and recordings, for tests, benchmarks and documents."""

import os
from pathlib import Path

VARIABLE = "VAD_REFERENCE_DATA"
_MADE_HERE = Path(__file__).resolve().parent.parent / "artifacts" / "golden"


def reference_folder() -> Path:
    """The folder that `VAD_REFERENCE_DATA` names; without it the one that `make golden` fills. It need not be there."""
    return Path(os.environ.get(VARIABLE) or _MADE_HERE).expanduser().absolute()
