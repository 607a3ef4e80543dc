"""How time and memory grow: with the length of the audio, the number of models, the number of files in a batch."""

import shutil
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.audio import clip, minutes_of
from benchmarks.cases.offline import COLUMNS, file_row
from benchmarks.contenders import EARSHOT, FUNASR, FUNASR_ONNX, OURS, SILERO_ONNX, TEN, WEBRTC
from benchmarks.plan import Plan, cores
from benchmarks.process import Measured, measure
from benchmarks.servers import running, start_ours
from benchmarks.table import Result
from benchmarks.turns import take_turns

_CONTENDERS = (OURS, FUNASR, FUNASR_ONNX, SILERO_ONNX, WEBRTC, TEN, EARSHOT)


def growth(plan: Plan) -> Result:
    """1 min, 10 min, 1 h, 10 h of WAV."""
    columns = {"minutes": "minutes", **{key: heading for key, heading in COLUMNS.items() if key != "cores"}}
    result = Result("growth", f"How cost grows with length ({cores()} cores, WAV)", columns)
    for minutes in (1, 10) if plan.quick else (1, 10, 60, 600):
        audio = minutes_of(plan, minutes)
        contenders = (OURS, FUNASR, WEBRTC) if minutes > 60 else _CONTENDERS
        able = [each for each in contenders if minutes <= each.longest_minutes]
        runs = {each.name: partial(each.run, plan, audio, clip(plan), cores()) for each in able}
        # Ten hours take a peer many minutes, and vary little.
        turns = take_turns(runs, 1 if minutes > 60 else plan.repeat, f"growth, {minutes} min")
        result.rows += [{**file_row(name, turns), "minutes": minutes} for name in turns.taken]
        result.missing |= {f"{name}, {minutes} min": reason for name, reason in turns.missing.items()}
    result.notes.append(
        "10 h: funasr-onnx would take some 40 GB of memory; Silero, TEN VAD and earshot take ten times what 1 h takes."
    )
    return result


_MODELS = ("fsmn", "fsmn,silero", "fsmn,silero,firered")


def growth_models(plan: Plan) -> Result:
    """One to three families in one service: until ready, and the memory then."""
    columns = {"models": "VAD_MODELS", "ready_s": "ready s", "ready_mb": "RSS MB"}
    result = Result("growth_models", "How a service grows with its models", columns)
    turns = take_turns({names: partial(_ready, plan, names) for names in _MODELS}, plan.repeat, "growth_models")
    result.missing = turns.missing
    result.rows = [
        {
            "models": names,
            "ready_s": turns.median(names, lambda seen: seen[0]),
            "ready_mb": turns.median(names, lambda seen: seen[1]),
        }
        for names in turns.taken
    ]
    return result


def _ready(plan: Plan, names: str) -> tuple[float, float]:
    with running(start_ours(plan, {"VAD_MODELS": names, **plan.model_cache})) as server:
        return server.ready_s, server.memory_mb("VmRSS")


def growth_files(plan: Plan) -> Result:
    """`fsmn-vad batch` over more and more clips of 5.5 s."""
    columns = {
        "files": "clips of 5.5 s", "seconds": "seconds", "cpu_s": "CPU s", "per_s": "clips/s", "peak_mb": "peak RSS MB",
    }  # fmt: skip
    result = Result("growth_files", f"How a batch grows with its files ({cores()} cores)", columns)
    counts = (20, 80) if plan.quick else (50, 200, 800, 3200)
    turns = take_turns({str(count): partial(_batch, plan, count) for count in counts}, plan.repeat, "growth_files")
    result.missing = turns.missing
    for count in map(int, turns.taken):
        seconds = turns.median(str(count), lambda run: run.wall_s) or 0.0
        result.rows.append(
            {
                "files": count,
                "seconds": seconds,
                "cpu_s": turns.median(str(count), lambda run: run.cpu_s),
                "per_s": count / seconds,
                "peak_mb": turns.median(str(count), lambda run: run.peak_rss_mb),
            }
        )
    result.notes.append("Seconds hold the start of the workers, some seconds; peak RSS is the largest process's.")
    return result


def _batch(plan: Plan, count: int) -> Measured:
    """A folder of so many names for one clip, in a run of its own."""
    folder = Path(tempfile.mkdtemp(dir=plan.audio_folder))
    try:
        (folder / "in").mkdir()
        for index in range(count):
            (folder / "in" / f"{index:05}.wav").hardlink_to(clip(plan))
        command = [plan.ours_python, "-c", _BATCH, str(folder / "in"), str(folder / "out")]
        return measure(command, {**plan.model_cache, **({"VAD_MODEL": plan.model} if plan.model else {})})
    finally:
        shutil.rmtree(folder)


# `measure` wants a line of JSON in the end, which the command itself does not print.
_BATCH = """
import subprocess, sys
subprocess.run([sys.executable, "-m", "app.cli", "batch", *sys.argv[1:]], check=True, stdout=2)
print("{}")
"""
