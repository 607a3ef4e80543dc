"""The tables of docs/performance.md, from what benchmarks/results keeps: no figure is copied by hand."""

import json
from pathlib import Path
from typing import Any

from benchmarks.table import cell

RESULTS = Path(__file__).resolve().parent.parent / "benchmarks" / "results"
SHOWN = (
    "wav", "models", "http", "replicas", "fairness", "memory", "live", "growth", "growth_models", "growth_files",
    "startup", "overload", "floor", "parts", "request",
)  # fmt: skip
"""Cases that the page has a place for, `<!-- name -->`."""


def measured_tables() -> dict[str, str]:
    """Each case's part of the page, by its name; those that were not measured are left as they are."""
    files = {name: RESULTS / f"{name}.json" for name in SHOWN}
    return {name: _part(json.loads(path.read_text())) for name, path in files.items() if path.is_file()}


def _part(found: dict[str, Any]) -> str:
    columns = found["columns"]
    lines = [
        f"### {found['title']}",
        "",
        f"| {' | '.join(heading or ' ' for heading in columns.values())} |",
        f"|{'---|' * len(columns)}",
        *(f"| {' | '.join(cell(row.get(key)) for key in columns)} |" for row in found["rows"]),
        "",
        *(f"- {note}" for note in found["notes"]),
        *(f"- not measured: {name}" for name in found["missing"]),
        f"- {_taken(found)}",
    ]
    return "\n".join(lines)


def _taken(found: dict[str, Any]) -> str:
    """Where and how the figures were had; they compare with nothing but one another."""
    machine, rounds = found["machine"], found["repeat"]
    stolen = found.get("stolen")
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {found['taken'][:10]}, "
        f"{'one round' if rounds == 1 else f'median of {rounds} rounds'}"
        + (f"; other guests of the host took {stolen:.1%} of the processor" if stolen else "")
    )
