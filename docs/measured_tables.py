"""Draws the tables of figures in the pages from benchmarks/results: a figure is never copied by hand.

A page marks the place of a table by `<!-- name -->` and `<!-- /name -->`. TABLES tells what stands there.
"""

import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.table import cell

RESULTS = Path(__file__).resolve().parent.parent / "benchmarks" / "results"
Row = dict[str, Any]
_OURS = "this project"
"""What results call the project; another model than the default follows a comma."""
_BUSY = 1.5
"""Load average for each core from which a table says that the machine was busy."""
_IN_TIME = 0.999
"""The share of live chunks that has to be within 300 ms where a number of streams is advised."""
_STOLEN = 0.05
"""Share of the processor taken by other guests of the host from which a table says so."""
_USED = 0.85
"""The share of time in which a batch of long files keeps its cores scoring."""
_PRICE = 0.04
"""Dollars for an hour of one core of a general-purpose cloud machine, on demand."""
_TRANSFER = 0.02
"""Dollars for a GB moved between regions of a cloud."""
_HOURS = (1_000, 10_000, 100_000, 1_000_000)  # of audio: the rows of the table
_CORES = (2, 64, 512)  # its columns
_MB_AN_HOUR = (
    ("16 kHz, 16 bit", 115.2), ("FLAC", 60), ("Opus or MP3, 64 kbit/s", 28.8), ("Opus, 24 kbit/s", 10.8),
)  # fmt: skip
"""How audio is stored, and the size of an hour of it; FLAC's is what speech comes to, roughly."""
_PACKAGES = {
    "fsmn": "FunASR AutoModel",
    "silero": "Silero, ONNX",
    "firered": "FireRedVAD's package",
    "firered-stream": "FireRedVAD's package, stream",
    "pyannote": "pyannote.audio's pipeline",
}
"""Each model's own package, by the name of its row."""


@dataclass(frozen=True)
class Table:
    """What a page shows of a case."""

    case: str
    columns: Mapping[str, str]
    """Keys of the rows, and the headings of their columns."""
    wanted: Callable[[Row], bool] = lambda _: True
    """Which rows are shown."""


_FILE = {"cpu_s": "CPU s", "peak_rss_mb": "memory at most, MB"}
_LAG = {"p50_ms": "lag: median ms", "p95_ms": "95th percentile", "p99_ms": "99th"}

TABLES: dict[str, dict[str, Table]] = {
    "performance.md": {
        "hour": Table(
            "models",
            {"name": "", "cpu_s": "CPU s", "times_ours": "x ours", "peak_rss_mb": "memory at most, MB"},
            lambda row: not row["name"].startswith(f"{_OURS},"),
        ),
        "http": Table(
            "http",
            {
                "name": "",
                "clients": "clients",
                "per_s": "answers/s",
                "times_locked": "x FunASR's",
                "p50_ms": "median ms",
                "p99_ms": "99th percentile ms",
            },
        ),
        "clips": Table(
            "clips",
            {
                "name": "",
                "clients": "clients",
                "per_s": "clips/s",
                "times_in_process": "x in process",
                "p50_ms": "median ms",
                "p99_ms": "99th percentile ms",
                "spread": "99th / median",
            },
        ),
        "request": Table(
            "request",
            {
                "name": "request",
                "asked": "asked",
                "cpu_ms": "CPU ms",
                "bare_ms": "detection, ms",
                "above_ms": "the request itself, ms",
                "times_empty": "itself, x an empty upload",
                "times_bare": "in all, x detection",
            },
        ),
        "steps": Table(
            "steps", {"thread": "thread", "step": "step", "calls": "calls", "cpu_ms": "CPU ms", "share": "share"}
        ),
        "editions": Table(
            "editions",
            {
                "name": "CPU of the server",
                "unit": "unit",
                "442151a": "first release line",
                "4b99a37": "second",
                "now": "now",
                "to_first": "now / first",
                "to_second": "now / second",
            },
        ),
        "live": Table(
            "live",
            {
                "connections": "streams",
                **_LAG,
                "in_time": "within 300 ms",
                "server_cpu": "server, cores",
                "rss_mb": "memory MB",
            },
        ),
        "live_models": Table(
            "live_models",
            {
                "name": "model",
                "chunk_us": "CPU µs a chunk",
                "bare_us": "of it detection",
                "times_bare": "all, x detection",
                "streams": "streams a core",
            },
        ),
        "memory": Table(
            "memory",
            {
                "name": "",
                "minutes": "minutes of FLAC",
                "ready_mb": "when ready, MB",
                "peak_mb": "at most",
                "after_mb": "after",
            },
        ),
        "startup": Table("startup", {"name": "", "ready_s": "seconds", "times": "x ours"}),
        "growth": Table("growth", {"minutes": "minutes of WAV", **_FILE}, lambda row: row["name"] == _OURS),
        "growth_files": Table(
            "growth_files",
            {"files": "clips of 5.5 s", "seconds": "seconds", "per_s": "clips/s", "peak_mb": "memory, MB"},
        ),
    },
    "models.md": {
        "growth_models": Table("growth_models", {"models": "`VAD_MODELS`", "ready_mb": "memory when ready, MB"})
    },
    "scaling.md": {
        "replicas": Table(
            "replicas", {"name": "", "per_s": "answers/s", "p50_ms": "median ms", "p99_ms": "99th percentile ms"}
        ),
    },
    "reliability.md": {
        "soak": Table("soak", {"name": "", "value": ""}),
        "overload": Table(
            "overload",
            {
                "per_s": "answers/s",
                "p99_ms": "answers: 99th percentile ms",
                "refused": "refused",
                "refused_p99_ms": "refusals: 99th percentile ms",
                "health_p99_ms": "`/health/live`: 99th percentile ms",
                "health_worst_ms": "worst ms",
            },
        ),
        "fairness": Table(
            "fairness",
            {
                "name": "",
                "alone_p50_ms": "alone: median ms",
                "alone_p95_ms": "95th percentile ms",
                "beside_p50_ms": "beside: median ms",
                "beside_p95_ms": "95th percentile ms",
            },
        ),
        "siege": Table(
            "siege",
            {
                "name": "one client",
                "answered": "the other's answers",
                "refused": "refused",
                "p50_ms": "median ms",
                "p95_ms": "95th percentile",
                "worst_ms": "worst",
                "probe_ms": "worst probe",
                "live_ms": "worst live",
                "idle_mb": "memory before, MB",
                "peak_mb": "at most",
                "after_mb": "a minute after",
            },
        ),
    },
}
"""By page and name of the place."""
_SHARES = {"in_time", "share"}
"""Keys whose figures are shown as percentages."""


@cache
def found(case: str) -> dict[str, Any]:
    """The kept results of a case."""
    results: dict[str, Any] = json.loads((RESULTS / f"{case}.json").read_text())
    return results


def tables(page: str) -> dict[str, str]:
    """The tables of a page, by the names of their places."""
    made = {name: _table(table) for name, table in TABLES.get(page, {}).items()}
    if page == "scaling.md":
        made |= _scaling()
    if page == "models.md":
        made["cost"] = _cost()
    if page == "performance.md":
        machine = found("live")["machine"]
        made["live_advice"] = (
            f"`VAD_MAX_STREAMS={most_streams()}` on that machine ({machine['cores']} cores, which the clients share): "
            f"the most streams of which {_IN_TIME:.1%} of the chunks are within 300 ms."
        )
    return made


def most_streams() -> int:
    """The most live streams that the table of them shows in time, before the first number that is not."""
    rows = itertools.takewhile(lambda row: row["in_time"] >= _IN_TIME, found("live")["rows"])
    return max(int(row["connections"]) for row in rows)


def markdown(heads: list[str], rows: list[list[str]], others: str = "---:") -> str:
    """A table: the first column at the left, the others at the right, or as `others` says."""
    lines = [f"| {' | '.join(heads)} |", f"| --- |{f' {others} |' * (len(heads) - 1)}"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])


def taken(case: str) -> str:
    """Where and when a case was measured; its figures compare with one another only."""
    results = found(case)
    machine, rounds, load, stolen = (results.get(key) for key in ("machine", "repeat", "load_average", "stolen"))
    words = [
        machine["cpu"].replace("(R)", ""), f"{machine['cores']} cores", results["taken"][:10],
        "one round" if rounds == 1 else f"median of {rounds} rounds",
    ]  # fmt: skip
    if load and load > _BUSY * machine["cores"]:
        words.append(f"busy with other work (load average {load:.0f})")
    if stolen and stolen > _STOLEN:
        words.append(f"other machines on its host took {stolen:.0%} of the processor")
    return f"*{', '.join(words)}*"


def _table(table: Table) -> str:
    rows = [
        [_cell(key, row.get(key)) for key in table.columns] for row in found(table.case)["rows"] if table.wanted(row)
    ]
    return f"{markdown(list(table.columns.values()), rows)}\n\n{taken(table.case)}"


def _cell(key: str, value: Any) -> str:
    return f"{value:.1%}" if key in _SHARES else cell(value)


def _row(case: str, name: str = _OURS, **wanted: int) -> Row:
    """The row of a case that has this name and these values."""
    return next(
        row for row in found(case)["rows"]
        if row["name"] == name and all(row[key] == value for key, value in wanted.items())
    )  # fmt: skip


def _cost() -> str:
    """What an hour costs with each model, beside the model's own package."""
    by_name = {row["name"]: row for row in found("models")["rows"]}
    fsmn = by_name[_OURS]["cpu_s"]
    rows = []
    for name, row in by_name.items():
        if not name.startswith(_OURS):
            continue
        model = name.partition(", ")[2] or "fsmn"
        package = by_name.get(_PACKAGES.get(model, ""))
        rows.append([
            f"`{model}`", cell(row["cpu_s"]), cell(row["cpu_s"] / fsmn),
            "–" if package is None else cell(package["cpu_s"]),
            "–" if package is None else cell(package["cpu_s"] / row["cpu_s"]),
        ])  # fmt: skip
    heads = ["model", "CPU s an hour of audio", "x `fsmn`", "its own package", "x here"]
    return f"{markdown(heads, rows)}\n\n{taken('models')}"


def _scaling() -> dict[str, str]:
    """What an hour costs, and what follows from it."""
    cost = _row("models")["cpu_s"]
    memory, start = _row("memory", minutes=60), _row("startup")
    numbers = [
        ["**c**", f"**{cell(cost)} CPU s an hour of audio**",
         f"one core, everything included; 1 / c: **{3600 / cost:,.0f} hours of audio an hour**. {taken('models')}"],
        ["memory of a service", f"{memory['ready_mb']:.0f} MB when ready, {memory['peak_mb']:.0f} MB at most",
         f"does not grow with the length of the audio. {taken('memory')}"],
        ["start", f"{start['ready_s']:.1f} s", f"until ready. {taken('startup')}"],
    ]  # fmt: skip
    hours = []
    for audio in _HOURS:
        needed = audio * cost / 3600 / _USED
        clock = [_clock(needed / cores) for cores in _CORES]
        hours.append([f"{audio:,} h", f"{needed:,.1f}", *clock, f"{needed * _PRICE:,.2f} $"])
    hours_heads = [
        "audio", f"core-hours (c = {cell(cost)}, u = {_USED})", *(f"{cores} cores" for cores in _CORES),
        f"at {_PRICE} $ a core-hour",
    ]  # fmt: skip
    reading = []
    for name, size in _MB_AN_HOUR:
        each = size / cost
        reading.append([name, f"{size:.0f} MB", f"{each:.1f} MB/s", f"{64 * each / 1000:.1f} GB/s", f"{size:.0f} TB"])
    return {
        "numbers": markdown(["", "", ""], numbers, "---"),
        "hours": markdown(hours_heads, hours),
        "reading": markdown(["stored as", "an hour", "each core", "64 cores", "a million hours", "moved"], reading),
    }


def _clock(hours: float) -> str:
    if hours < 1:
        return f"{hours * 60:.1f} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} d"
