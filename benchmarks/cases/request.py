"""What a clip's request costs beside its audio: server CPU over a raw socket, above that of decoding, scoring and
segmenting the same samples in one thread of a process without a service; beside an upload that a FastAPI application
does nothing with.

All are asked alike, one request at a time, in turns in one run, in two ways. *One after the other*: each is asked many
times in a row, so that code and weights are in the processor's caches. *Spaced*: each is asked once, then the next, so
that every request finds caches as the others have left them, and threads and cores asleep.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from statistics import fmean, median

from benchmarks import raw
from benchmarks.clips import SECONDS, form, wav_of
from benchmarks.contenders import bare_clips
from benchmarks.gate import rounds_of
from benchmarks.plan import ROOT, Plan
from benchmarks.table import Result, progress
from benchmarks.trees import Side, require_schedstat, serving

_COLUMNS = {
    "name": "request", "asked": "asked", "cpu_ms": "server CPU ms", "bare_ms": "bare ms", "above_ms": "above it ms",
    "times_bare": "x bare", "times_empty": "above / empty upload",
}  # fmt: skip
_IN_A_ROW = {None: 200, 0.1: 80, 5.5: 20}
"""Requests of a round one after the other, by the clip's seconds: some tenths of a second."""
_TURNS = 20
"""Of a round, in each of which everybody is asked once."""
_SETTLES_S = 0.005
"""After an answer, for what a server does when it has gone out."""
_ROW, _SPACED = "one after the other", "spaced"

Ask = Callable[[int], float]
"""Asks so often in a row, and gives the CPU ms of one request."""


@dataclass(frozen=True)
class _Asked:
    """Somebody who is asked in turns."""

    name: str
    seconds: float | None
    """Of its clip; None for a server that does nothing with it."""
    opened: Callable[[], AbstractContextManager[Ask]]
    """For the time of a round."""


def request(plan: Plan) -> Result:
    """FSMN-VAD with the defaults. Raises `benchmarks.process.Missing`."""
    require_schedstat()
    rounds = rounds_of(plan)
    result = Result("request", "What a request costs beside its audio", _COLUMNS, rounds=rounds)
    taken: dict[tuple[str, str], list[float]] = {}
    with ExitStack() as held:
        bare = held.enter_context(bare_clips(plan))
        ours = held.enter_context(serving("ours", ROOT))
        empty = held.enter_context(serving("empty", ROOT, "benchmarks/peers/empty_upload.py"))
        all_asked = _all_asked(bare, ours, empty)
        for number in range(rounds + 1):
            progress(f"request: {number} of {rounds}")
            for (name, asked), cost in _round(all_asked if number % 2 else all_asked[::-1]).items():
                if number:  # what a first request pays for is not of interest
                    taken.setdefault((name, asked), []).append(cost)
    for asked in (_ROW, _SPACED):
        costs = {name: median(times) for (name, how), times in taken.items() if how == asked}
        result.rows += _rows(asked, costs)
    result.notes += [
        "Bare: decoded, scored and segmented in one thread, asked as the servers are.",
        "Spaced: everybody is asked in turn, so a request finds caches as the others have left them.",
    ]
    return result


def _all_asked(bare: Callable[[float, int], float], ours: Side, empty: Side) -> list[_Asked]:
    all_asked = [
        _Asked("empty upload, raw", None, partial(_connected, empty, raw.post(wav_of(0.1)))),
        _Asked("empty upload, form", None, partial(_connected, empty, raw.post(*form(wav_of(0.1)), path="/form"))),
    ]
    for seconds in SECONDS:
        content = wav_of(seconds)
        all_asked += [
            _Asked(f"bare {seconds}", seconds, partial(_piped, bare, seconds)),
            _Asked(f"{seconds} s clip, raw", seconds, partial(_connected, ours, raw.post(content))),
            _Asked(f"{seconds} s clip, form", seconds, partial(_connected, ours, raw.post(*form(content)))),
        ]
    return all_asked


def _round(all_asked: list[_Asked]) -> dict[tuple[str, str], float]:
    """What one request of each cost, both ways, by its name and the way."""
    with ExitStack() as held:
        asks = [(each, held.enter_context(each.opened())) for each in all_asked]
        costs = {(each.name, _ROW): ask(_IN_A_ROW[each.seconds]) for each, ask in asks}
    with ExitStack() as held:
        asks = [(each, held.enter_context(each.opened())) for each in all_asked]
        turns = [{each.name: ask(1) for each, ask in asks} for _ in range(_TURNS)]
    return costs | {(each.name, _SPACED): fmean(turn[each.name] for turn in turns) for each in all_asked}


@contextmanager
def _connected(side: Side, request: bytes) -> Iterator[Ask]:
    """Ask a server, on a connection that has been used before."""
    with raw.connect(side.port) as connection:
        raw.exchange(connection, request)

        def ask(count: int) -> float:
            before = side.cpu_s()
            for _ in range(count):
                raw.exchange(connection, request)
            time.sleep(_SETTLES_S)
            return (side.cpu_s() - before) / count * 1e3

        yield ask


@contextmanager
def _piped(bare: Callable[[float, int], float], seconds: float) -> Iterator[Ask]:
    """Ask for clips without a service; each tells its own time, without that of being asked."""
    bare(seconds, 1)

    def ask(count: int) -> float:
        cost = fmean(bare(seconds, 1) for _ in range(count))
        time.sleep(_SETTLES_S)
        return cost

    yield ask


def _rows(asked: str, costs: dict[str, float]) -> Iterator[dict[str, object]]:
    for kind in ("raw", "form"):
        yield {"name": f"empty upload, {kind}", "asked": asked, "cpu_ms": costs[f"empty upload, {kind}"]}
    for seconds in SECONDS:
        for kind in ("raw", "form"):
            name = f"{seconds} s clip, {kind}"
            cost, alone = costs[name], costs[f"bare {seconds}"]
            yield {
                "name": name, "asked": asked, "cpu_ms": cost, "bare_ms": alone, "above_ms": cost - alone,
                "times_bare": cost / alone, "times_empty": (cost - alone) / costs[f"empty upload, {kind}"],
            }  # fmt: skip
