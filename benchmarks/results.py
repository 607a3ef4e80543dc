"""Results as JSON, one file a case, with the machine and the versions that they were had on."""

import json
import os
import platform
import subprocess
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.audio import describe
from benchmarks.plan import ROOT, Plan, cores
from benchmarks.table import Result

_SHOWN = ("torch", "numpy", "soundfile", "uvicorn", "starlette")


def machine() -> dict[str, Any]:
    """What the figures belong to."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.is_file() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    memory_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    return {"cpu": model, "cores": cores(), "memory_mb": memory_mb, "system": platform.platform()}


class Neighbours:
    """How much of the processor other guests of the same host have taken from this one since this was made: figures of
    a run that lost a tenth to them say little."""

    def __init__(self) -> None:
        self._before = _ticks()

    @property
    def share(self) -> float | None:
        """Of all cores' time, 0-1; None where the system does not tell."""
        now = _ticks()
        if now is None or self._before is None:
            return None
        stolen, total = (later - earlier for later, earlier in zip(now, self._before, strict=True))
        return round(stolen / total, 3) if total else 0.0


def _ticks() -> tuple[int, int] | None:
    """Stolen ones and all, of all cores, as proc(5) has them: user, nice, system, idle, iowait, irq, softirq, steal."""
    stat = Path("/proc/stat")
    if not stat.is_file():
        return None
    counts = [int(number) for number in stat.read_text().split("\n", 1)[0].split()[1:9]]
    return counts[7], sum(counts)


def write(result: Result, plan: Plan, stolen: float | None) -> Path:
    """Write one case's result; its path. `stolen`: as `Neighbours` has it."""
    head = {
        "taken": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": commit(),
        "quick": plan.quick,
        "repeat": result.rounds or plan.repeat,
        "audio": describe(plan),
        "load_average": os.getloadavg()[0],
        "stolen": stolen,
        "machine": machine(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _SHOWN}},
    }
    plan.results_folder.mkdir(parents=True, exist_ok=True)
    path = plan.results_folder / f"{result.case}.json"
    path.write_text(json.dumps({**head, **asdict(result)}, indent=2, ensure_ascii=False, default=str) + "\n")
    return path


def commit() -> str:
    """Of the working tree, and whether it differs from that; empty where there is no git."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
