"""One long file, on one core and on all of them; what decoding adds to it."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from benchmarks.audio import clip, minutes_of
from benchmarks.contenders import ALL, BY_MODEL, FUNASR, OURS, OURS_ALONE, QUICKEST, Contender
from benchmarks.plan import Plan, cores
from benchmarks.process import Measured
from benchmarks.table import Result
from benchmarks.turns import Turns, take_turns

COLUMNS = {
    "name": "", "cores": "cores", "detect_s": "seconds", "cpu_s": "CPU s", "times_ours": "x ours",
    "times_funasr": "FunASR / it", "peak_rss_mb": "peak RSS MB", "segments": "segments",
}  # fmt: skip


def detect_s(run: Measured) -> float:
    """Seconds from a path to its segments, in a process that is loaded and warm."""
    return float(run.answer["detect_s"])


def detect_cpu_s(run: Measured) -> float:
    """Processor seconds of the same."""
    return float(run.answer["detect_cpu_s"])


def wav(plan: Plan) -> Result:
    """A long WAV, from file to segments, beside the peers."""
    return _long_file(plan, "wav", ALL)


def models(plan: Plan) -> Result:
    """A long WAV by every model, its own package and other detectors, on one core. The ratios are of processor time,
    so that other work on the machine hardly changes them."""
    turns = take_turns({each.name: run_of(plan, each, "wav", 1) for each in BY_MODEL}, plan.repeat, "models")
    columns = {key: heading for key, heading in COLUMNS.items() if key not in ("cores", "detect_s")}
    result = Result("models", f"{plan.hour_minutes:g} min of WAV on one core", columns, missing=turns.missing)
    result.rows = [file_row(name, turns, detect_cpu_s) for name in turns.taken]
    return result


def costs(plan: Plan) -> Result:
    """A long WAV by every model and listed sum, on one core: what app/vad/models/cost.py tells."""
    return _long_file(plan, "wav", OURS_ALONE, name="costs", counts=[1])


def flac(plan: Plan) -> Result:
    """A long FLAC: what decoding adds."""
    return _long_file(plan, "flac", QUICKEST)


def mp3(plan: Plan) -> Result:
    """A long mp3: what decoding outside the process adds."""
    return _long_file(plan, "mp3", QUICKEST)


def file_row(name: str, turns: Turns[Measured], compared: Callable[[Measured], float] = detect_s) -> dict[str, Any]:
    """The figures of one contender. `compared`: what the ratios are of."""
    taken = turns.taken[name]
    ours = turns.ratio(name, OURS.name, compared)
    return {
        "name": name,
        "detect_s": turns.median(name, detect_s),
        "cpu_s": turns.median(name, detect_cpu_s),
        "times_ours": ours,
        "times_funasr": turns.ratio(FUNASR.name, name, compared),
        "peak_rss_mb": turns.median(name, lambda run: run.peak_rss_mb),
        "segments": taken[0].answer["segments"],
        "all_s": [round(compared(run), 3) for run in taken],
    }


def _long_file(plan: Plan, kind: str, contenders: Iterable[Contender]) -> Result:
    title = f"{plan.hour_minutes:g} min of {kind.upper()}, one file"
    result = Result(kind, title, COLUMNS, notes=["x ours: its seconds over this project's in the same round, median."])
    single: float | None = None
    for count in core_counts():
        able = {each.name: run_of(plan, each, kind, count) for each in contenders if kind in each.kinds}
        turns = take_turns(able, plan.repeat, f"{kind}, {count} cores")
        result.rows += [{**file_row(name, turns), "cores": count} for name in turns.taken]
        result.missing |= turns.missing
        ours = turns.median(OURS.name, detect_s)
        if single and ours:
            result.notes.append(f"This project on {count} cores: {single / ours:.2f} times as fast as on one.")
        single = single or ours
    return result


def run_of(plan: Plan, contender: Contender, kind: str, count: int) -> Callable[[], Measured]:
    """One detection of the long file."""
    audio = minutes_of(plan, plan.hour_minutes, kind)
    return partial(contender.run, plan, audio, clip(plan), count)


def core_counts() -> list[int]:
    """One core, and all that there are."""
    return sorted({1, cores()})
