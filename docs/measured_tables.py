"""Tables of docs/performance.md and docs/scaling.md, from what benchmarks/results keeps: no figure is copied."""

import json
from pathlib import Path
from typing import Any

from benchmarks.table import cell

RESULTS = Path(__file__).resolve().parent.parent / "benchmarks" / "results"
SHOWN = (
    "wav", "models", "http", "replicas", "fairness", "memory", "live", "live_models", "growth", "growth_models",
    "growth_files", "startup", "overload", "floor", "parts", "request",
)  # fmt: skip
"""Cases that the page has a place for, `<!-- name -->`."""
_USED = 0.85
"""The share of time in which a batch of long files keeps its cores scoring."""
_PRICE = 0.04
"""Dollars for an hour of one core of a general-purpose cloud machine, on demand."""
_HOURS = (1_000, 10_000, 100_000, 1_000_000)  # of audio: the rows of the table
_CORES = (2, 64, 512)  # its columns
_MB_AN_HOUR = (
    ("16 kHz, 16 bit", 115.2), ("FLAC", 60), ("Opus or MP3, 64 kbit/s", 28.8), ("Opus, 24 kbit/s", 10.8),
)  # fmt: skip
"""How audio is stored, and the size of an hour of it; FLAC's is what speech comes to, roughly."""


def measured_tables() -> dict[str, str]:
    """Each case's part of the page, by its name; those that were not measured are left as they are."""
    files = {name: RESULTS / f"{name}.json" for name in SHOWN}
    return {name: _part(json.loads(path.read_text())) for name, path in files.items() if path.is_file()}


def scaling_tables() -> dict[str, str]:
    """The blocks of docs/scaling.md: what an hour costs, and what follows from it."""
    cost = _row("wav", cores=1)["cpu_s"]
    memory, start = _row("memory", minutes=60), _row("startup")
    numbers = [
        "| | | |",
        "|---|---|---|",
        f"| **c** | **{cost:.1f} CPU s an hour of audio** | one core, everything included; 1 / c: "
        f"**{3600 / cost:,.0f} hours of audio an hour** |",
        f"| memory of a service | {memory['ready_mb']:.0f} MB when ready, {memory['peak_mb']:.0f} MB at most | "
        "does not grow with the length of the audio |",
        f"| start | {start['ready_s']:.1f} s | until ready; a local Ray takes 5–10 s before that |",
    ]
    hours = [
        f"| audio | core-hours (c = {cost:.1f}, u = {_USED}) | {' | '.join(f'{cores} cores' for cores in _CORES)} "
        f"| at {_PRICE} $ a core-hour |",
        f"|{'---|' * (3 + len(_CORES))}",
    ]
    for audio in _HOURS:
        needed = audio * cost / 3600 / _USED
        clock = " | ".join(_clock(needed / cores) for cores in _CORES)
        hours.append(f"| {audio:,} h | {needed:,.1f} | {clock} | {needed * _PRICE:,.2f} $ |")
    reading = ["| stored as | an hour | each core | 64 cores | a million hours |", "|---|---|---|---|---|"]
    for name, size in _MB_AN_HOUR:
        each = size / cost
        reading.append(f"| {name} | {size:.0f} MB | {each:.1f} MB/s | {64 * each / 1000:.1f} GB/s | {size:.0f} TB |")
    return {"numbers": "\n".join(numbers), "hours": "\n".join(hours), "reading": "\n".join(reading)}


def _row(case: str, **wanted: int) -> dict[str, Any]:
    """This project's row of a case."""
    rows: list[dict[str, Any]] = json.loads((RESULTS / f"{case}.json").read_text())["rows"]
    return next(
        row for row in rows
        if row["name"] == "this project" and all(row[key] == value for key, value in wanted.items())
    )  # fmt: skip


def _clock(hours: float) -> str:
    if hours < 1:
        return f"{hours * 60:.1f} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} d"


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
