"""Services of this tree and of earlier commits, all from one environment, and the processor time that they take."""

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import raw
from benchmarks.plan import ROOT, Plan
from benchmarks.process import Missing, cpu_of_threads, environment
from benchmarks.servers import free_port
from tools.reference_data import reference_folder

_START_LIMIT_S = 120.0  # many times what a start takes, for machines that do other work


@dataclass
class Side:
    """One tree's server."""

    name: str
    port: int
    process: "subprocess.Popen[bytes]"

    def cpu_s(self) -> float:
        """Processor time of all its threads so far."""
        return sum(cpu_of_threads(self.process.pid).values())


def require_schedstat() -> None:
    """Raise `Missing` where the system does not count a thread's processor time."""
    if not Path("/proc/self/schedstat").is_file():
        raise Missing("this system does not count a thread's processor time in /proc")


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """A commit's tree in a folder of its own. Raises `Missing` for one that is not here."""
    folder = Path(tempfile.mkdtemp(prefix="gate-")) / "tree"
    made = subprocess.run(
        ["git", "worktree", "add", "--quiet", "--detach", str(folder), commit],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if made.returncode:
        raise Missing(f"the commit {commit} cannot be checked out: {made.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", str(folder)], cwd=ROOT, check=False)
        shutil.rmtree(folder.parent, ignore_errors=True)


@contextmanager
def serving(name: str, tree: Path, script: str | None = None) -> Iterator[Side]:
    """A tree's service, or another server that takes its port as an argument, ready to be asked. Raises `Missing`."""
    port = free_port()
    reference = reference_folder() / "modelscope"
    settings = {
        "VAD_PORT": str(port),
        "VAD_LOG_LEVEL": "error",
        "VAD_FALLBACK_MODEL": "silero",
        "PYTHONPATH": str(tree),
    }
    if reference.is_dir():
        settings["MODELSCOPE_CACHE"] = str(reference)
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [Plan(False, 1).ours_python, *(["-m", "app.cli", "serve"] if script is None else [script, str(port)])],
            cwd=tree, env=environment(settings), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            side = Side(name, port, process)
            _wait_until_ready(side)
            yield side
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)


def _wait_until_ready(side: Side) -> None:
    started = time.monotonic()
    while time.monotonic() - started < _START_LIMIT_S and side.process.poll() is None:
        try:
            with raw.connect(side.port) as connection:
                raw.exchange(connection, raw.get("/health/ready"))
                return
        except (OSError, Missing):
            pass
        time.sleep(0.1)
    raise Missing(f"the server of the tree {side.name!r} did not become ready")
