"""How a making of golden files differs from another one: segments must be the same, posteriors within a tolerance."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

# What tests allow between this project's arithmetic and a reference's; two makings by the same package are far closer.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Compared:
    """One golden file beside the other of the same name."""

    name: str
    same: bool
    told: str
    """In words: how many cases, or how far apart."""


def compare(made: Path, kept: Path) -> Iterator[Compared]:
    """Every file that either folder has. One that is new is no difference; one that was not made is."""
    names = sorted({path.name for folder in (made, kept) for path in folder.glob("*.*") if path.suffix in _READERS})
    for name in names:
        if not (made / name).is_file():
            yield Compared(name, False, "was not made")
        elif not (kept / name).is_file():
            yield Compared(name, True, "is new, so there is nothing to compare it with")
        else:
            yield _READERS[Path(name).suffix](name, made / name, kept / name)


def _cases(name: str, made: Path, kept: Path) -> Compared:
    mine, theirs = _by_question(made), _by_question(kept)
    wrong = [key for key in mine.keys() | theirs.keys() if mine.get(key) != theirs.get(key)]
    if wrong:
        return Compared(name, False, f"{len(wrong)} of {len(theirs)} cases differ, such as {min(wrong)}")
    return Compared(name, True, f"all {len(theirs)} cases are the same")


def _by_question(path: Path) -> dict[str, Any]:
    """Cases by what was asked, in whatever order they stand; the answers are what is left."""
    cases = json.loads(path.read_text())
    asked = ("audio", "options", "chunk_ms")
    return {
        json.dumps({key: case[key] for key in asked if key in case}, sort_keys=True): {
            key: value for key, value in case.items() if key not in asked
        }
        for case in cases
    }


def _posteriors(name: str, made: Path, kept: Path) -> Compared:
    mine, theirs = np.load(made), np.load(kept)
    if mine.shape != theirs.shape:
        return Compared(name, False, f"shape {mine.shape}, and {theirs.shape} is kept")
    apart = float(np.abs(mine.astype(np.float64) - theirs).max(initial=0.0))
    return Compared(name, apart <= TOLERANCE, f"{len(theirs):,} frames, {apart:.1e} apart at most")


_READERS = {".json": _cases, ".npy": _posteriors}
