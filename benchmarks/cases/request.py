"""What a clip's request costs beside its audio: server CPU over a raw socket, above that of decoding, scoring and
segmenting the same samples in one thread; beside an upload that a FastAPI application does nothing with. All in one
run, in turns."""

from contextlib import ExitStack
from statistics import median

from benchmarks.clips import SECONDS, form, wav_of
from benchmarks.contenders import bare_clips
from benchmarks.gate import Side, posts, serving
from benchmarks.plan import ROOT, Plan
from benchmarks.table import Result, progress

_COLUMNS = {
    "name": "request", "cpu_ms": "server CPU ms", "bare_ms": "bare ms", "above_ms": "above it ms",
    "times_bare": "x bare", "times_empty": "above / empty upload",
}  # fmt: skip
_ROUNDS, _QUICK_ROUNDS = 15, 5
"""Of pairs; each a hundred requests or so."""
_REPEATS = {0.1: 80, 5.5: 20}
"""Requests in a round: some tenths of a second."""


def request(plan: Plan) -> Result:
    """FSMN-VAD with the defaults; one client, one request after the other. Raises `benchmarks.process.Missing`."""
    result = Result("request", "What a request costs beside its audio", _COLUMNS)
    runs = {("empty upload, raw", None): (posts(wav_of(0.1)), 200)}
    runs["empty upload, form", None] = posts(*form(wav_of(0.1)), path="/form"), 200
    for seconds in SECONDS:
        runs[f"{seconds} s clip, raw", seconds] = posts(wav_of(seconds)), _REPEATS[seconds]
        runs[f"{seconds} s clip, form", seconds] = posts(*form(wav_of(seconds))), _REPEATS[seconds]
    taken: dict[str, list[float]] = {name: [] for name, _ in runs}
    bare: dict[float, list[float]] = {}
    with ExitStack() as held:
        bare_of = held.enter_context(bare_clips(plan))
        ours = held.enter_context(serving("ours", ROOT))
        empty = held.enter_context(serving("empty", ROOT, "benchmarks/peers/empty_upload.py"))
        for number in range((_QUICK_ROUNDS if plan.quick else _ROUNDS) + 1):
            progress(f"request: round {number}")
            for length in SECONDS:
                cost = bare_of(length, _REPEATS[length] // 2)
                if number:
                    bare.setdefault(length, []).append(cost)
            for (name, seconds), (run, repeats) in runs.items():
                side: Side = empty if seconds is None else ours
                before = side.cpu_s()
                run(side, repeats)
                if number:  # what a first request pays for is not of interest
                    taken[name].append((side.cpu_s() - before) / repeats * 1e3)
    costs = {name: median(times) for name, times in taken.items()}
    for name, seconds in runs:
        row: dict[str, object] = {"name": name, "cpu_ms": costs[name]}
        if seconds is not None:
            alone = median(bare[seconds])
            above = costs[name] - alone
            base = costs["empty upload, form" if name.endswith("form") else "empty upload, raw"]
            row |= {"bare_ms": alone, "above_ms": above}
            row |= {"times_bare": costs[name] / alone, "times_empty": above / base}
        result.rows.append(row)
    return result
