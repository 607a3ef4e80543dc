"""The command line in Chinese: where the locale is Chinese, all of its help and its most common errors."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from rich.cells import cell_len

from app.audio.options import InputOptions
from app.cli.help import wrapped
from app.cli.language import is_chinese
from app.config import Settings
from app.formats.excerpts import ExcerptOptions
from app.presets import PRESETS
from app.request import STREAM_ONLY, DetectionRequest
from app.vad.chunks import ChunkOptions
from app.vad.segmenters.registry import MODE, SEGMENTERS, USES, variant

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = (
    "", "serve", "health", "detect", "stream", "batch", "tune", "model", "model list", "model path", "model download",
    "model verify", "model export",
)  # fmt: skip
NAMES = json.loads((ROOT / "app/texts/options.json").read_text())
TEXTS = json.loads((ROOT / "app/texts/help.zh.json").read_text())
_ENGLISH = re.compile(r"\b[A-Za-z][a-z]+,? (?:[a-z]{2,},? ){2,}[a-z]{2,}")
"""Four words in a row, which no name or example has."""
_RUN = """
import json, sys
from typer.testing import CliRunner
from app.cli import language
from app.cli.commands import cli
read_before = language._texts.cache_info().currsize
ended = [CliRunner().invoke(cli, arguments) for arguments in json.loads(sys.argv[1])]
print(json.dumps([read_before, [[each.exit_code, each.output] for each in ended]]))
"""


HELPS = tuple(f"{command} --help".strip() for command in COMMANDS)
ERRORS = {
    "detect": "缺少参数“FILE...”",
    "detct": "没有命令“detct”。是不是“detect”？",
    "detect --treshold 3 a.wav": "没有选项 --treshold",
    "detect --jobs 0 a.wav": "的值不对：至少为 1",
    "health a b": "多余的参数：a b",
    "batch --format foo a b": "'foo' 不在 'jsonl', 'parquet' 之中",
    "detect nowhere.wav": "nowhere.wav：没有这个文件或文件夹",
    "detect nowhere*.wav": "nowhere*.wav：没有匹配的文件",
    "detect README.md --model silerro": "没有模型 'silerro'；有：fsmn, fsmn-8k",
    "detect README.md --threshold 0.5": "当前模式是 endpoint：请加上 --mode tight",
    "detect README.md --mode loose": "没有这个模式；有：endpoint, tight",
    "detect README.md --format doc": "没有这种格式；有：json",
    "detect README.md --format table --out out": "--format table 只用于终端",
    "detect README.md --format zip": "--format zip 需要 --out 文件夹",
    "batch deploy out": "这里没有音频文件",
    "health --url http://127.0.0.1:9": "http://127.0.0.1:9 没有应答",
}
_SETTINGS = "serve --settings"


@cache
def run(language: str) -> tuple[int, dict[str, tuple[int, str]]]:
    """How many translations were read before anything was said, and by command line its exit status and what it says.
    All in one process."""
    lines = [*HELPS, _SETTINGS, *ERRORS]
    settings = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "COLUMNS": "80", "LANG": language}
    arguments = json.dumps([line.split() for line in lines])
    process = subprocess.run(
        [sys.executable, "-c", _RUN, arguments], cwd=ROOT, env=settings, capture_output=True, text=True, check=True
    )
    read_before, ended = json.loads(process.stdout)
    return read_before, {line: (status, text) for line, (status, text) in zip(lines, ended, strict=True)}


def helps(language: str) -> dict[str, str]:
    _, ended = run(language)
    assert {ended[line][0] for line in HELPS} == {0}
    return {line: ended[line][1] for line in HELPS}


@pytest.mark.parametrize(
    ("environment", "chinese"),
    [
        ({}, False),
        ({"LANG": "zh_CN.UTF-8"}, True),
        ({"LANG": "zh_TW"}, True),
        ({"LANG": "en_US.UTF-8"}, False),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_CN.UTF-8"}, True),
        ({"LANG": "zh_CN.UTF-8", "LC_MESSAGES": "en_GB.UTF-8"}, False),
        ({"LANG": "zh_CN.UTF-8", "LC_MESSAGES": "zh_CN.UTF-8", "LC_ALL": "C.UTF-8"}, False),
        ({"LANG": "C", "LC_ALL": "zh_CN.UTF-8"}, True),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": ""}, True),
        ({"LANG": "en_US.UTF-8", "LANGUAGE": "zh_CN:en"}, True),
        ({"LANG": "zh_CN.UTF-8", "LANGUAGE": "en"}, False),
        ({"LANG": "C", "LANGUAGE": "zh_CN"}, False),
    ],
)
def test_the_locale_decides(environment: dict[str, str], chinese: bool) -> None:
    assert is_chinese(environment) is chinese


@pytest.mark.slow
def test_help_is_chinese_and_fits_80_columns() -> None:
    for command, text in helps("zh_CN.UTF-8").items():
        assert text.startswith("用法："), command
        assert not _ENGLISH.search(text), (command, _ENGLISH.search(text))
        assert max(map(cell_len, text.splitlines())) <= 80, command


@pytest.mark.slow
def test_chinese_help_has_every_option_and_default_of_the_english() -> None:
    for command, english in helps("en_US.UTF-8").items():
        chinese = helps("zh_CN.UTF-8")[command]
        options = re.compile(r"^  (?:-\w, )?(--[\w-]+)", re.MULTILINE)
        assert options.findall(chinese) == options.findall(english)
        for number in re.findall(r"Default: (-?\d[\d.]*)", " ".join(english.split())):
            assert number in chinese


@pytest.mark.slow
def test_the_list_of_settings_is_chinese() -> None:
    status, text = run("zh_CN.UTF-8")[1][_SETTINGS]
    assert status == 0
    assert not _ENGLISH.search(text), _ENGLISH.search(text)
    assert max(map(cell_len, text.splitlines())) <= 80


@pytest.mark.slow
@pytest.mark.parametrize(("line", "expected"), ERRORS.items())
def test_common_errors_are_chinese(line: str, expected: str) -> None:
    status, text = run("zh_CN.UTF-8")[1][line]
    assert status in (1, 2, 3)
    assert expected in text


@pytest.mark.slow
def test_english_reads_no_chinese() -> None:
    read_before, ended = run("en_US.UTF-8")
    assert read_before == 0
    assert not any(re.search(r"[\u4e00-\u9fff]", text) for _, text in ended.values())


def test_every_option_mode_and_preset_has_a_chinese_name() -> None:
    """Of one source for the page, the documents and the command line, which has nothing else."""
    of_modes = {name for kind in SEGMENTERS for use in USES for name in variant(kind, use).options.model_fields}
    shared = {*ChunkOptions.model_fields, *InputOptions.model_fields, *ExcerptOptions.model_fields}
    asked = {name for name in DetectionRequest.names() if name not in STREAM_ONLY}
    assert set(NAMES["options"]) == {*of_modes, *shared, *asked, MODE}
    assert set(NAMES["modes"]) == {kind.mode for kind in SEGMENTERS}
    assert set(NAMES["presets"]) == {preset.name for preset in PRESETS}
    names = (ROOT / "web/src/text/names.ts").read_text()
    assert "app/texts/options.json" in names
    assert "app/texts/options.json" in (ROOT / "docs/words.py").read_text()
    assert not any(each["meaning"] in names for each in NAMES["options"].values())


def test_no_translation_is_of_a_text_that_is_gone() -> None:
    texts = {" ".join(text.split()) for path in (ROOT / "app/cli").glob("*.py") for text in _constants(path)}
    texts |= {field.description or "" for field in Settings.model_fields.values()}
    typer_own = {
        text for text in TEXTS["texts"] if text.startswith(("Install completion", "Show completion", "Show this"))
    }
    # What stands at an end of a sentence has a space there.
    assert {text.strip() for text in set(TEXTS["texts"]) - typer_own} <= {text.strip() for text in texts}


def _constants(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("four words and no more", ["four words", "and no", "more"]),
        ("语音段的起点与终点。", ["语音段的起", "点与终点。"]),
        ("语音段的起点，与终点", ["语音段的起", "点，与终点"]),
        ("一二三四五。六", ["一二三四", "五。六"]),
        ("（一二三四）五", ["（一二三", "四）五"]),
        ("用 --mode 时", ["用 --mode", "时"]),
        ("a-name-longer-than-a-line 字", ["a-name-longer-than-a-line", "字"]),
    ],
)
def test_lines_are_broken_by_columns(text: str, lines: list[str]) -> None:
    """A Chinese character takes two; its punctuation stays with it; a name is never broken."""
    assert wrapped(text, 10) == lines
