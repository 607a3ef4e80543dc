"""The READMEs' table of models: accuracy and licence as `GET /models` tells them, speed from benchmarks/results."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from measured_tables import found, taken

ROOT = Path(__file__).resolve().parent.parent
_OURS = "this project"
"""What rows of benchmarks/results call the project; another model's name follows a comma."""
_DEFAULT = "fsmn"

_ROWS: Mapping[str, Mapping[str, str]] = {
    "README.md": {
        "fsmn": "FunASR's segments, exact; weak in noise",
        "silero": "noise, at the least cost; no download",
        "firered": "clean recordings; live it is `firered-stream`",
        "firered-aed": "speech, singing and music, each labelled; files only",
        "silero+firered": "finding speech wherever it is",
        "pyannote": "meetings, telephone, far or sung speech; overlapping speech; files only",
        "silero+firered+2*pyannote": "`best`: conversation and meetings, clean or not; files only",
    },
    "README.zh.md": {
        "fsmn": "与 FunASR 的切分完全一致；噪声下较弱",
        "silero": "噪声环境，开销最小；无需下载",
        "firered": "干净的录音；实时用 `firered-stream`",
        "firered-aed": "分别标出语音、歌声、音乐；只用于文件",
        "silero+firered": "各种条件下都要准确找到语音",
        "pyannote": "会议、电话、远处或唱出的声音；可标出多人同时说话；只用于文件",
        "silero+firered+2*pyannote": "`best`：对话与会议，干净或嘈杂；只用于文件",
    },
}
_HEADS = {
    "README.md": "| `model=` | good for | frame F1 | speed | licence |",
    "README.zh.md": "| `model=` | 适合 | 帧 F1 | 速度 | 许可 |",
}
_SPEED = {"README.md": "Speed: one core, ", "README.zh.md": "速度：单核，"}


def readme(page: str, models: Sequence[Mapping[str, Any]]) -> str:
    """A README with its table made anew. `models`: those of `GET /models`."""
    told = {model["name"]: model for model in models}
    lines = [_HEADS[page], "| --- | --- | ---: | ---: | --- |"]
    for name, good_for in _ROWS[page].items():
        licence = told[name]["licence"]
        lines.append(f"| `{name}` | {good_for} | {_frame_f1(told[name])} | {_speed(name)} | {licence} |")
    measured = taken("models").strip("*")
    table = "\n".join([*lines, "", f"*{_SPEED[page]}{measured}*"])
    text = (ROOT / page).read_text()
    made = f"<!-- models -->\n\n{table}\n\n<!-- /models -->"
    return re.sub(r"<!-- models -->.*<!-- /models -->", lambda _: made, text, flags=re.DOTALL)


def _frame_f1(model: Mapping[str, Any]) -> str:
    return "–" if model["accuracy"] is None else f"{model['accuracy']['frame_f1']:.3f}"


def _speed(name: str) -> str:
    rows = found("models")["rows"]
    wanted = _OURS if name == _DEFAULT else f"{_OURS}, {name}"
    row = next((row for row in rows if row["name"] == wanted), None)
    return "–" if row is None else f"{row['times_funasr']:.1f}×"
