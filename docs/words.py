"""What the tables of options say in each language. The Chinese meanings are the page's own: nobody reads two."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PAGE = Path(__file__).resolve().parent.parent / "web/src/text/names.ts"


@dataclass(frozen=True)
class Words:
    """What one language says in a table and over it."""

    head: tuple[str, str, str, str, str]
    uses: Mapping[str, str]
    """After a mode's name, for which use it is."""
    title: Callable[[dict[str, Any]], str]
    """What a mode is for, from its entry in `/options`."""
    meaning: Callable[[str, dict[str, Any]], str]
    """What an option does, from its name and schema."""
    unit: Callable[[str], str]
    chunks: str
    """The heading and sentence over the options of chunks."""
    above: str
    none: str
    comma: str


def _chinese(table: str) -> dict[str, tuple[str, str]]:
    """Name and meaning in Chinese, by what the service calls it, as the page has them."""
    block = re.search(rf"const {table}\b.*?{{\n(.*?)\n}};", _PAGE.read_text(), re.DOTALL)
    assert block is not None, f"{_PAGE.name} has no {table}"
    lines = re.findall(r"^  (\w+): \['(.*?)', '.*?', '(.*?)'\],$", block[1], re.MULTILINE)
    return {name: (title, meaning) for name, title, meaning in lines}


_OPTIONS, _MODES = _chinese("OPTIONS"), _chinese("MODES")
_TITLES = {
    ("endpoint", "file"): "FSMN-VAD 的端点状态机，为语音识别设计：句中的停顿保留在段内。",
    ("tight", "file"): "对语音概率做迟滞判决，做法同 Silero VAD：紧贴说出的部分。",
    ("smoothed", "file"): "FireRedVAD 对整段音频做平滑，再由四态机切分。",
    ("smoothed", "live"): "FireRedVAD 的流式状态机，不等待后面的音频。",
    ("smoothed", "labelled"): "FireRedVAD 对整段音频的状态机，分别标出语音、歌声与音乐。",
    ("binarize", "file"): "pyannote.audio 的门限与最短时长，按网络自己的帧判断。",
}
_UNITS = {"frames": "帧"}

ENGLISH = Words(
    head=("option", "default", "range", "unit", "meaning"),
    uses={"file": "", "live": ", live and with `firered-stream`", "labelled": ", with `firered-aed`"},
    title=lambda mode: str(mode["title"]),
    meaning=lambda name, schema: str(schema["description"]),
    unit=str,
    chunks="### Chunks, with any mode, of files\n\n[Chunks](chunks.md) says how they are made.",
    above="above ",
    none="none",
    comma=", ",
)
CHINESE = Words(
    head=("选项", "默认值", "范围", "单位", "含义"),
    uses={"file": "", "live": "，实时与 `firered-stream`", "labelled": "，`firered-aed`"},
    title=lambda mode: _TITLES[mode["mode"], mode["use"]],
    meaning=lambda name, schema: f"{_OPTIONS[name][0]}：{_OPTIONS[name][1]}。",
    unit=lambda unit: _UNITS.get(unit, unit),
    chunks="### 分块，任何模式，只用于文件\n\n分块的做法见[分块](../chunks.md)（英文）。",
    above="大于 ",
    none="无",
    comma="，",
)
