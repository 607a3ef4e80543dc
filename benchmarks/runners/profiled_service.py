"""The service with a profiler in its event loop and in the threads that score. One argument: the port, which is set.

SIGUSR1 begins; SIGUSR2 ends, and writes what each function took by itself to the file that `profile_of` names: for each
thread [file, calls, seconds], the time of built-in functions counted as that of whoever called them.
"""

import cProfile
import json
import pstats
import signal
import sys
import tempfile
from pathlib import Path

from app.config import Settings
from app.engine.workers import Work
from app.server.serve import serve


def profile_of(port: int) -> Path:
    """Where a service's profile is."""
    return Path(tempfile.gettempdir()) / f"profile-{port}.json"


def main(port: int) -> None:
    """Serve."""
    of_loop, of_threads = cProfile.Profile(), cProfile.Profile()
    running = [False]
    make = Work.make

    def profiled_make(work: Work) -> None:
        if not running[0]:
            make(work)
            return
        of_threads.enable()
        try:
            make(work)
        finally:
            of_threads.disable()

    def begin(*_: object) -> None:
        running[0] = True
        of_loop.enable()

    def end(*_: object) -> None:
        of_loop.disable()
        running[0] = False
        found = {"event loop": _by_file(of_loop), "scoring": _by_file(of_threads)}
        written = profile_of(port).with_suffix(".part")
        written.write_text(json.dumps(found))
        written.rename(profile_of(port))

    Work.make = profiled_make  # type: ignore[method-assign]
    signal.signal(signal.SIGUSR1, begin)
    signal.signal(signal.SIGUSR2, end)
    serve(Settings())


def _by_file(profile: cProfile.Profile) -> list[tuple[str, int, float]]:
    took: dict[str, list[float]] = {}
    for (file, _, _), (_, calls, own_s, _, callers) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        # A built-in function has no file: its callers have theirs.
        shares = {name[0]: each for name, each in callers.items()} if file == "~" else {file: (calls, calls, own_s)}
        for name, (_, times, seconds, *_) in shares.items():
            each = took.setdefault(name, [0, 0.0])
            each[0] += times
            each[1] += seconds
    return [(name, int(calls), seconds) for name, (calls, seconds) in took.items()]


if __name__ == "__main__":
    main(int(sys.argv[1]))
