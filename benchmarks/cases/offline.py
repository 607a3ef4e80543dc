"""One long file, on one core and on all of them; what decoding adds to it."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from benchmarks.audio import clip, minutes_of
from benchmarks.contenders import ALL, BY_MODEL, FUNASR, OURS, QUICKEST, Contender
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


def wav(plan: Plan) -> Result:
    """A long WAV, from file to segments, beside the peers."""
    return _long_file(plan, "wav", ALL)


def models(plan: Plan) -> Result:
    """A long WAV by every model, beside its own package, on one core."""
    return _long_file(plan, "wav", BY_MODEL, name="models", counts=[1])


def flac(plan: Plan) -> Result:
    """A long FLAC: what decoding adds."""
    return _long_file(plan, "flac", QUICKEST)


def mp3(plan: Plan) -> Result:
    """A long mp3: what decoding outside the process adds."""
    return _long_file(plan, "mp3", QUICKEST)


def file_row(name: str, turns: Turns[Measured]) -> dict[str, Any]:
    """The figures of one contender."""
    taken = turns.taken[name]
    ours = turns.ratio(name, OURS.name, detect_s)
    return {
        "name": name,
        "detect_s": turns.median(name, detect_s),
        "cpu_s": turns.median(name, lambda run: float(run.answer["detect_cpu_s"])),
        "times_ours": ours,
        "times_funasr": turns.ratio(FUNASR.name, name, detect_s),
        "peak_rss_mb": turns.median(name, lambda run: run.peak_rss_mb),
        "segments": taken[0].answer["segments"],
        "all_s": [round(detect_s(run), 3) for run in taken],
    }


def _long_file(
    plan: Plan, kind: str, contenders: Iterable[Contender], *, name: str = "", counts: list[int] | None = None
) -> Result:
    title = f"{plan.hour_minutes:g} min of {kind.upper()}, one file"
    result = Result(
        name or kind, title, COLUMNS, notes=["x ours: its seconds over this project's in the same round, median."]
    )
    single: float | None = None
    for count in counts or core_counts():
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
