"""The files that golden data are kept in. Runs inside the references' environment."""

import argparse
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Places:
    """Where a reference script reads and writes."""

    audio: Path
    models: Path
    """A ModelScope cache's `models`: folders by id."""
    golden: Path

    def recording(self, name: str) -> str:
        """A recording's path, as the packages take it."""
        return str(self.audio / name)


def places() -> Places:
    """From the command line: three folders."""
    parser = argparse.ArgumentParser()
    for name in ("audio", "models", "golden"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    return Places(**vars(parser.parse_args()))


def write_cases(path: Path, cases: Iterable[Mapping[str, Any]]) -> None:
    """A JSON list with a case on each line, so that a difference can be read."""
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    path.write_text(f"[{lines}]\n")


def in_ms(pairs: Iterable[tuple[float, float]]) -> list[list[int]]:
    """Segments in whole ms, from seconds."""
    return [[round(1000 * start), round(1000 * end)] for start, end in pairs]
