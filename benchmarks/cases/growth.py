"""How time and memory grow with the length of the audio, on all cores."""

from functools import partial

from benchmarks.audio import clip, minutes_of
from benchmarks.cases.offline import COLUMNS, file_row
from benchmarks.contenders import FUNASR, FUNASR_ONNX, OURS, SILERO_ONNX
from benchmarks.plan import Plan, cores
from benchmarks.table import Result
from benchmarks.turns import take_turns


def growth(plan: Plan) -> Result:
    """1 min, 10 min, 1 h, 10 h of WAV."""
    columns = {"minutes": "minutes", **{key: heading for key, heading in COLUMNS.items() if key != "cores"}}
    result = Result("growth", f"How cost grows with length ({cores()} cores, WAV)", columns)
    for minutes in (1, 10) if plan.quick else (1, 10, 60, 600):
        audio = minutes_of(plan, minutes)
        contenders = (OURS, FUNASR) if minutes > 60 else (OURS, FUNASR, FUNASR_ONNX, SILERO_ONNX)
        able = [each for each in contenders if minutes <= each.longest_minutes]
        runs = {each.name: partial(each.run, plan, audio, clip(plan), cores()) for each in able}
        # Ten hours take a peer many minutes, and vary little.
        turns = take_turns(runs, 1 if minutes > 60 else plan.repeat, f"growth, {minutes} min")
        result.rows += [{**file_row(name, turns), "minutes": minutes} for name in turns.taken]
        result.missing |= {f"{name}, {minutes} min": reason for name, reason in turns.missing.items()}
    result.notes.append("10 h: funasr-onnx would take some 40 GB of memory; Silero takes ten times as long as for 1 h.")
    return result
