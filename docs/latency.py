"""Makes the tables of docs/live-latency.md and its Chinese page, and docs/latency.svg, from the measured results.

    python docs/latency.py            write them; `python -m benchmarks --only latency` measures anew

Neither needs a model or audio: what was measured lies with the project.
"""

import json
import re
from html import escape
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
RESULT = DOCS.parent / "benchmarks" / "results" / "latency.json"
_ROW, _HEAD, _LEFT, _WIDTH, _FOOT = 34, 58, 236, 880, 42
"""Pixels: a row's height, what stands above and left of the bars, the whole width, the axis below."""
_BAR = 11
"""Height of a bar, in the picture\'s units."""
_SERIES = (("start", "to speech_start", "#2f6fdb"), ("end", "to speech_end", "#c2410c"))
"""Blue and rust: told apart by the colour-blind, too, and in grey one is the darker."""

_TABLES = {
    "live-latency.md": (
        "| setting | model, mode | `speech_start` after a word's first sound: median, p95 ms | "
        "`speech_end` after its last: median, p95 ms | segments |",
        ", ",
    ),
    "zh/live-latency.md": (
        "| 设置 | 模型、模式 | `speech_start` 晚于词的第一个音：中位数、p95 ms | "
        "`speech_end` 晚于最后一个音：中位数、p95 ms | 段数 |",
        "、",
    ),
}
"""Each page's head of the table, and what stands between a model and its mode."""

Row = dict[str, Any]


def rows() -> list[Row]:
    """The rows as they were measured."""
    found: list[Row] = json.loads(RESULT.read_text(encoding="utf-8"))["rows"]
    return found


def taken() -> str:
    """Where and when."""
    found = json.loads(RESULT.read_text(encoding="utf-8"))
    return f"*{found['machine']['cpu']}, {found['taken'][:10]}*"


def table(measured: list[Row], head: str, comma: str) -> str:
    """The rows as a table in Markdown, under `head`; `comma` stands between a model and its mode."""
    lines = [head, "| --- | --- | --- | --- | --- |"]
    for row in measured:
        start, end = (f"{row[f'{what}_p50_ms']}, {row[f'{what}_p95_ms']}" for what in ("start", "end"))
        lines.append(
            f"| `{row['name']}` | `{row['model']}`{comma}`{row['mode']}` | {start} | {end} | {row['starts']} |"
        )
    return "\n".join(lines)


def picture(measured: list[Row]) -> str:
    """SVG: for each setting a bar to the median and a line on to the 95th percentile, of starts and of ends."""
    most = max(row[f"{what}_p95_ms"] for row in measured for what, _, _ in _SERIES)
    limit = -(-most // 200) * 200
    scale = (_WIDTH - _LEFT - 24) / limit
    height = _HEAD + _ROW * len(measured) + _FOOT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        'font-family="system-ui, sans-serif" font-size="13">',
        "<title>Live latency in ms of audio: bars end at the median, lines at the 95th percentile</title>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        *_axis(limit, scale, height),
        *_legend(),
    ]
    for place, row in enumerate(measured):
        parts += _bars(row, _HEAD + place * _ROW, scale)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _axis(limit: int, scale: float, height: int) -> list[str]:
    parts = []
    for value in range(0, limit + 1, 200):
        x = _LEFT + value * scale
        parts.append(f'<line x1="{x:.1f}" y1="{_HEAD - 6}" x2="{x:.1f}" y2="{height - _FOOT}" stroke="#d4d4d8"/>')
        parts.append(f'<text x="{x:.1f}" y="{height - _FOOT + 20}" text-anchor="middle" fill="#3f3f46">{value}</text>')
    return [*parts, f'<text x="{_LEFT - 12}" y="{height - _FOOT + 20}" text-anchor="end" fill="#3f3f46">ms</text>']


def _legend() -> list[str]:
    parts = []
    for place, (_, title, colour) in enumerate(_SERIES):
        x = _LEFT + place * 180
        parts.append(f'<rect x="{x}" y="16" width="22" height="{_BAR}" fill="{colour}"/>')
        parts.append(f'<text x="{x + 30}" y="26" fill="#18181b">{title}</text>')
    return [*parts, f'<text x="{_LEFT + 360}" y="26" fill="#3f3f46">bar: median, line: p95</text>']


def _bars(row: Row, y: int, scale: float) -> list[str]:
    parts = [f'<text x="{_LEFT - 12}" y="{y + 17}" text-anchor="end" fill="#18181b">{escape(row["name"])}</text>']
    for place, (what, _, colour) in enumerate(_SERIES):
        top = y + 1 + place * (_BAR + 2)
        middle, far = (_LEFT + row[f"{what}_{key}_ms"] * scale for key in ("p50", "p95"))
        parts.append(f'<rect x="{_LEFT}" y="{top}" width="{middle - _LEFT:.1f}" height="{_BAR}" fill="{colour}"/>')
        centre = top + _BAR / 2
        parts.append(
            f'<path d="M{middle:.1f} {centre}H{far:.1f}M{far:.1f} {top + 2}v{_BAR - 4}" stroke="{colour}" '
            'stroke-width="2" fill="none"/>'
        )
    return parts


def pages() -> dict[str, str]:
    """What is made, by its name, as it should be."""
    measured = rows()
    made = {"latency.svg": picture(measured)}
    for page, (head, comma) in _TABLES.items():
        block = f"<!-- latency -->\n{table(measured, head, comma)}\n\n{taken()}\n<!-- /latency -->"
        text = (DOCS / page).read_text(encoding="utf-8")
        made[page] = re.sub(r"<!-- latency -->.*<!-- /latency -->", lambda _, block=block: block, text, flags=re.DOTALL)
    return made


if __name__ == "__main__":
    for name, content in pages().items():
        (DOCS / name).write_text(content, encoding="utf-8")
