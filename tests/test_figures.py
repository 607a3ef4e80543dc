"""Figures in the documents: each that tells a measurement stands in a table that is drawn from kept results.

Prose and tables typed by hand may repeat a figure of such a table on their page, and the default or bound of a setting
or option that they name. Everything else with a unit has to be a definition, listed here with its reason.
"""

import importlib
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.config import Settings
from app.presets import PRESETS
from app.registry import SEGMENTERS
from app.request import DetectionRequest
from app.vad.segmenters.endpoint import EndpointOptions
from benchmarks.cases import CASES
from tests import markdown

ROOT = Path(__file__).resolve().parent.parent
_FRAMES = "frames of the models"
_LATENCY = {
    "10 ms": _FRAMES, "100 ms": "a chunk that is recommended", "2 ×": "a formula", "185 ms": "a formula, tested below",
    "235 ms": "a formula, tested below", "400 ms": "a formula", "445 ms": "a formula, tested below",
    "575 ms": "a formula, tested below", "735 ms": "a formula, tested below",
}  # fmt: skip
DEFINITIONS: dict[str, dict[str, str]] = {
    "README.md": {"4 GB": "the machine that the project is meant for"},
    "README.zh.md": {"4 GB": "the machine that the project is meant for"},
    "ARCHITECTURE.md": {},
    "docs/options.md": {},
    "docs/clients.md": {},
    "docs/performance.md": {"1.2 times": "a goal"},
    "docs/accuracy.md": {
        "10 ms": _FRAMES,
        "10 s": "length of the sounds",
        "95 %": "the intervals",
        "500 ms": "how far a partner may lie",
    },
    "docs/zh/accuracy.md": {"10 ms": _FRAMES, "95 %": "the intervals", "500 ms": "how far a partner may lie"},
    "docs/models.md": {
        "10 ms": _FRAMES,
        "17 ms": _FRAMES,
        "32 ms": _FRAMES,
        "10 s": "pyannote's windows",
        "1.6 s": "what firered hears ahead",
        "15 ms": "what firered-stream hears ahead",
        "35 ms": "what fsmn hears ahead",
        "60 ms": "what the sum hears ahead",
        "16 s": "length of a sound",
        "300 s": "where the package cuts",
        "500 ms": "Silero's least rest",
    },
    "docs/scaling.md": {
        "0.02": "an assumed price",
        "0.5 s": "when to act",
        "100 hours": "a first try",
        "256 kB": "uploads kept in memory",
        "32 MiB": "all of them together",
        "5.5 s": "the clip",
    },
    "docs/live-latency.md": _LATENCY,
    "docs/zh/live-latency.md": _LATENCY,
    "docs/chunks.md": {"200 ms": "the steps in which pauses are compared", "30 s": "what recognisers take"},
}
"""Pages that are looked through, and figures in them that nobody measured, with what they are."""
_MADE = re.compile(r"<!-- (\w+) -->\n.*?<!-- /\1 -->", re.DOTALL)
_UNITS = "ms|s|µs|min|MB|MiB|GB|GiB|kB|KB|TB|x|×|times|answers|streams|clips/s|clips a second|hours|CPU s|%|per cent"
_FIGURE = re.compile(rf"(?<![\w.,-])(\d[\d,]*(?:\.\d+)?) ?({_UNITS})(?![\w/])|(?<![\w.,])(0?\.\d{{2,}})(?![\w.])")


def passages(text: str) -> Iterator[str]:
    """Paragraphs, list items and rows of tables, without what is drawn from results, code in blocks, and addresses."""
    text = markdown.prose(_MADE.sub("", text))
    text = re.sub(r"\]\([^)]*\)", "]", text)
    for paragraph in re.split(r"\n\s*\n", text):
        yield from re.split(r"\n(?=[|]|- |\d\. )", paragraph)


def strays(text: str, known: dict[str, set[float]]) -> Iterator[str]:
    """Figures of a page that nothing there accounts for. `known`: values by the names of settings and options."""
    drawn = {number(found) for block in _MADE.finditer(text) for found in re.findall(r"\d[\d,]*(?:\.\d+)?", block[0])}
    for passage in passages(text):
        names = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", passage))))
        allowed = drawn.union(*(known.get(name, set()) for name in names))
        for found in _FIGURE.finditer(re.sub(r"`[^`]+`", "``", passage)):
            if number(found[1] or found[3]) not in allowed:
                yield found[0]


def number(text: str) -> float:
    return float(text.replace(",", ""))


def known_values() -> dict[str, set[float]]:
    """Defaults and bounds of settings and options, by name."""
    found: dict[str, set[float]] = {}
    classes = [(f"VAD_{name}".upper(), field) for name, field in Settings.model_fields.items()]
    classes += DetectionRequest.model_fields.items()
    classes += [each for kind in SEGMENTERS for each in kind.options.model_fields.items()]
    for name, field in classes:
        bounds = [getattr(each, key, None) for each in field.metadata for key in ("ge", "gt", "le", "lt")]
        values = [field.default, *bounds]
        found.setdefault(name, set()).update(float(each) for each in values if isinstance(each, int | float))
    for preset in PRESETS:
        for name, value in preset.options.items():
            if isinstance(value, int | float):
                found.setdefault(name, set()).add(float(value))
    return found


@pytest.mark.parametrize("page", DEFINITIONS)
def test_no_figure_is_typed_by_hand(page: str) -> None:
    text = (ROOT / page).read_text()
    found = set(strays(text, known_values()))
    assert sorted(found - set(DEFINITIONS[page])) == [], "draw it from benchmarks/results, or leave it out"
    # A measured figure may happen to be the same, and then it is no stray.
    read = {each[0] for passage in passages(text) for each in _FIGURE.finditer(passage)}
    assert set(DEFINITIONS[page]) - read == set(), "no longer there"


def test_the_check_finds_what_it_looks_for() -> None:
    page = (
        "<!-- hour -->\n| us | 3.05 | 1,134 MB |\n<!-- /hour -->\n\nAn hour takes 3.05 CPU s, and 1134 MB.\n\n"
        "It takes 25 ms, 40% less, and 145 answers. F1 is 0.91, or .884; `VAD_X` is 20 ms, version 1.4.16.\n\n"
        "| a row | 7.1 s |\n| `VAD_X` | 20 ms |\n"
    )
    assert list(strays(page, {"VAD_X": {20.0}})) == ["25 ms", "40%", "145 answers", "0.91", ".884", "7.1 s"]


def test_the_formulas_of_live_latency_hold() -> None:
    """35 ms: two frames of 10 ms ahead, and what a frame of 25 ms has beyond its own 10."""
    given = EndpointOptions()
    ahead = 2 * 10 + 25 - 10
    silent = given.window_size_ms - given.speech_to_sil_time_thres
    told = {
        given.sil_to_speech_time_thres + ahead,
        given.window_size_ms + given.lookback_time_start_point + ahead + 10,
        *(silent + end - given.speech_to_sil_time_thres + ahead for end in (given.max_end_silence_time, 300)),
    }
    assert told == {185, 445, 735, 235}
    text = (ROOT / "docs/live-latency.md").read_text()
    assert all(f"{value} ms" in text for value in told)


def test_fsmn_separates_speech_worst() -> None:
    """As accuracy.md says, beside Silero's, in every condition."""
    rows = json.loads((ROOT / "benchmarks/results/accuracy.json").read_text())["scores"]
    areas = {(row["model"], row["condition"]): row["auc"][0] for row in rows}
    conditions = {condition for _, condition in areas}
    assert len(conditions) == 10
    assert all(areas["fsmn", each] < areas["silero", each] for each in conditions)


def test_the_benchmarks_that_pages_name_are_there() -> None:
    text = "\n".join(page.read_text() for page in markdown.pages(ROOT))
    named = set(re.findall(r"--only (\w+)", text))
    assert len(named) >= 6
    assert named <= set(CASES)


def test_the_commands_that_measure_accuracy_are_taken() -> None:
    pytest.importorskip("sklearn", reason="the extra `accuracy` is not installed")
    taken = importlib.import_module("benchmarks.accuracy.__main__")._arguments
    blocks = "\n".join(block for _, block in markdown.fenced((ROOT / "docs/accuracy.md").read_text()))
    lines = re.findall(r"^python -m benchmarks\.accuracy (recordings .*)$", blocks, re.MULTILINE)
    assert len(lines) >= 3
    for line in lines:
        assert taken(shlex.split(line)).folder == Path("recordings")
