"""What every runner does around its peer: stay on its cores, load, warm up, detect, say what it cost in one JSON line.

Runners are scripts in processes of their own, in the environment of what they measure. This module is found beside
them and needs nothing but the standard library.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Detect = Callable[[Path], int]
"""A file to its number of segments."""


def arguments() -> argparse.Namespace:
    """What every runner is told; the process is held to its cores before this returns."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--audio", type=Path, required=True)
    parser.add_argument("--warm-up", type=Path, required=True, help="short audio, detected once before the clock runs")
    parser.add_argument("--cores", type=int, required=True)
    parser.add_argument("--model", default="")
    parser.add_argument("--variant", default="")
    given = parser.parse_args()
    stay_on(given.cores)
    return given


def stay_on(cores: int) -> None:
    """Hold this process to so many cores, and the libraries that it has not yet imported to as many threads."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-cores:])
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = str(cores)


def measure(given: argparse.Namespace, load: Callable[[], Detect]) -> None:
    """Load, warm up, detect, and say so. What is not installed is said too, and is no failure."""
    out = os.dup(1)
    os.dup2(2, 1)  # peers print as they please; standard output is for the one line
    started = time.perf_counter()
    try:
        detect = load()
    except (ImportError, FileNotFoundError) as error:
        _say(out, {"missing": str(error)})
        return
    ready_s = time.perf_counter() - started
    detect(given.warm_up)
    wall, cpu = time.perf_counter(), time.process_time()
    segments = detect(given.audio)
    detect_s, detect_cpu_s = time.perf_counter() - wall, time.process_time() - cpu
    _say(
        out,
        {
            "ready_s": ready_s, "detect_s": detect_s, "detect_cpu_s": detect_cpu_s, "segments": segments,
            "peak_rss_mb": peak_rss_mb(),
        },
    )  # fmt: skip


def peak_rss_mb() -> float | None:
    """The most memory that this program has had, MiB; `None` where the system does not tell it. What `getrusage` tells
    begins with the memory of the program that started this one, which is more than a small detector has."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), None)


def _say(out: int, answer: dict[str, Any]) -> None:
    sys.stdout.flush()
    os.write(out, (json.dumps(answer) + "\n").encode())
