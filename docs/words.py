"""What the tables of options say in each language. The Chinese meanings are those of the page and of `--help`."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_NAMES = json.loads((Path(__file__).resolve().parent.parent / "app/texts/options.json").read_text())


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
    title=lambda mode: str(_NAMES["modes"][mode["mode"]]["titles"][mode["use"]]),
    meaning=lambda name, schema: f"{_NAMES['options'][name]['zh']}：{_NAMES['options'][name]['meaning']}。",
    unit=lambda unit: str(_NAMES["words"].get(unit, unit)),
    chunks="### 分块，任何模式，只用于文件\n\n分块的做法见[分块](../chunks.md)（英文）。",
    above="大于 ",
    none="无",
    comma="，",
)
