"""One child process, and what it cost: wall time, CPU time, peak memory, and the JSON line that it said."""

import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.plan import ROOT

_MAXRSS_UNIT = 1 if os.uname().sysname == "Darwin" else 1024


class Missing(Exception):
    """What was to be measured is not installed here; the message says what."""


class RunnerFailed(Exception):
    """A runner ended with an error; the message is the last line of what it printed."""


@dataclass(frozen=True)
class Measured:
    """One run of one process. Peak memory is what it says of itself; else that of the largest process under it."""

    wall_s: float
    cpu_s: float
    peak_rss_mb: float
    answer: Mapping[str, Any]


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's, without settings of the service that happen to be set, and with no look at a network."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VAD_")}
    if "VAD_DEVICE" in os.environ:
        kept["VAD_DEVICE"] = os.environ["VAD_DEVICE"]
    return {**kept, "PYTHONWARNINGS": "ignore", **(extra or {})}


def cpu_of_threads(pid: int) -> dict[int, float]:
    """Processor time so far of each thread of a process, s, by the kernel's own count; its first thread has the
    process's number. Empty where the system has no such count."""
    found: dict[int, float] = {}
    if not Path("/proc/self/schedstat").is_file():
        return found
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            found[int(task.name)] = int((task / "schedstat").read_text().split()[0]) / 1e9
        except FileNotFoundError:  # noqa: PERF203 - a thread that has just ended
            continue
    return found


def measure(command: Sequence[str | Path], extra: Mapping[str, str] | None = None) -> Measured:
    """Run `command` to its end. Raises `Missing`, `RunnerFailed`."""
    if not Path(command[0]).exists():
        raise Missing("its environment is not here (make bench-peers)")
    log = ROOT / "artifacts" / "benchmarks" / "runner.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    with log.open("wb") as errors:
        child = subprocess.Popen(
            [str(part) for part in command], env=environment(extra), cwd=ROOT,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
        )  # fmt: skip
        said = _read_all(child)
        _, status, usage = os.wait4(child.pid, 0)
    wall_s = time.perf_counter() - started
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode or not said.strip():
        # Results keep this: the error itself, and not where on this machine it came from, which the log has.
        last = (log.read_text(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
        raise RunnerFailed(f"status {child.returncode}: {last} ({log.relative_to(ROOT)})")
    answer = json.loads(said.splitlines()[-1])
    if "missing" in answer:
        raise Missing(answer["missing"])
    peak_rss_mb = answer.get("peak_rss_mb") or usage.ru_maxrss * _MAXRSS_UNIT / (1 << 20)
    return Measured(wall_s, usage.ru_utime + usage.ru_stime, peak_rss_mb, answer)


def _read_all(child: "subprocess.Popen[bytes]") -> bytes:
    if child.stdout is None:
        raise RuntimeError("the child was started without a pipe")
    with child.stdout as pipe:
        return pipe.read()
