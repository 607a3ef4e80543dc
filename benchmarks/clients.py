"""Starting the load (`benchmarks/load.py`) in a process of its own."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.process import RunnerFailed, measure

_SCRIPT = Path(__file__).resolve().parent / "load.py"


@dataclass(frozen=True)
class Load:
    """So many clients for so long."""

    port: int
    file: Path
    clients: int
    seconds: float

    @property
    def command(self) -> list[str]:
        """The process to start."""
        options = ["--clients", str(self.clients), "--seconds", str(self.seconds)]
        return [sys.executable, str(_SCRIPT), str(self.port), str(self.file), *options]


def seen_by(load: Load) -> Mapping[str, Any]:
    """Answers a second, latency percentiles, statuses. Raises `RunnerFailed` when there was no good answer."""
    answer = measure(load.command).answer
    if not answer["count"]:
        raise RunnerFailed(f"no answer with status 200: {answer['statuses']}")
    return answer


@contextmanager
def in_background(load: Load) -> Iterator[None]:
    """The load goes on while the body runs, and ends with it."""
    process = subprocess.Popen(load.command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        yield
        if process.poll() is not None:
            raise RunnerFailed("the load in the background ended before its time")
    finally:
        process.kill()
        process.wait()
