"""The tables of figures in the Chinese page about accuracy: the English page's, with heads and rows in Chinese, so that
no figure stands in two places."""

import re
from pathlib import Path

DOCS = Path(__file__).resolve().parent
_KINDS = {"conversation": "对话", "meetings": "会议"}
_WORDS = {
    "mean": "平均",
    "clean": "干净",
    "white 5 dB": "白噪声 5 dB",
    "pink 0 dB": "粉红噪声 0 dB",
    "music 5 dB": "音乐 5 dB",
    "telephone": "电话",
    "mean F1": "平均 F1",
    "best F1": "最佳 F1",
    "missed %": "漏检 %",
    "false alarms %": "误报 %",
    "detection error %": "检测错误率 %",
    "starts: median, p95, bias ms; found %": "起点：中位数、p95、偏差 ms；found %",
    "ends: median, p95, bias ms; found %": "终点：中位数、p95、偏差 ms；found %",
    "segments, longest": "段数、最长",
    "white noise": "白噪声",
    "pink noise": "粉红噪声",
    "music": "音乐",
    "tone of 440 Hz": "440 Hz 单音",
    "tone of 1 kHz": "1 kHz 单音",
    "ringing tone": "回铃音",
    "telephone keys": "按键音",
    "sweep": "扫频",
    "model": "模型",
    "mean frame F1": "平均帧 F1",
}


def chinese_accuracy(english: str) -> str:
    """docs/zh/accuracy.md with its tables taken anew from the English page."""
    text = (DOCS / "zh/accuracy.md").read_text()
    for name, block in re.findall(r"<!-- (\w+) -->\n(.*?)<!-- /\1 -->", english, re.DOTALL):
        made = f"<!-- {name} -->\n{_translated(block)}<!-- /{name} -->"
        text = re.sub(rf"<!-- {name} -->.*<!-- /{name} -->", lambda _, made=made: made, text, flags=re.DOTALL)
    return text


def _translated(block: str) -> str:
    return "".join("|".join(map(_cell, line.split("|"))) for line in block.splitlines(keepends=True))


def _cell(cell: str) -> str:
    words = cell.strip()
    kind, _, rest = words.partition(" ")
    if kind in _KINDS:
        return cell.replace(words, f"{_KINDS[kind]}，{_WORDS.get(rest, rest)}")
    told = _WORDS.get(words, words).replace("preset ", "预设 ").replace(", its own", "，自带")
    return cell.replace(words, told) if words else cell
