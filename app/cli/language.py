"""The language of the command line: Chinese where the locale is Chinese, else English.

English stands in the code. `app/texts/help.zh.json` has the Chinese for each text and the patterns of the most common
errors; `app/texts/options.json` has the options, which the page and the documents tell in the same words. Both are read
when the first Chinese text is wanted.
"""

import json
import os
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

_TEXTS = Path(__file__).resolve().parent.parent / "texts"
Names = Literal["options", "modes", "presets", "words"]


def is_chinese(environment: Mapping[str, str]) -> bool:
    """Whether POSIX's variables name a Chinese locale; as in GNU programs LANGUAGE wins where there is a locale."""
    locale = next((value for name in ("LC_ALL", "LC_MESSAGES", "LANG") if (value := environment.get(name))), "C")
    if locale.split(".")[0] in ("C", "POSIX"):
        return False
    return (environment.get("LANGUAGE", "").split(":")[0] or locale).lower().startswith("zh")


CHINESE = is_chinese(os.environ)


@cache
def _texts() -> Any:
    return json.loads((_TEXTS / "help.zh.json").read_text(encoding="utf-8"))


@cache
def _names() -> Any:
    return json.loads((_TEXTS / "options.json").read_text(encoding="utf-8"))


def say(text: str, **values: object) -> str:
    """A text in the reader's language, with `{name}` replaced by values. One without a translation stays English."""
    told = str(_texts()["texts"].get(text, text)) if CHINESE else text
    return told.format(**values) if values else told


def named(kind: Names, name: str, member: str, english: str) -> str:
    """What an option, mode, preset or unit is called or does; `english` for those of plug-ins, too."""
    if not CHINESE:
        return english
    known = _names()[kind].get(name)
    for part in filter(None, member.split(".")):
        known = known and known.get(part)
    return str(known or english)


def option_meaning(name: str, english: str) -> str:
    """What an option does, as a sentence."""
    known = _names()["options"].get(name) if CHINESE else None
    return f"{known['zh']}：{known['meaning']}。" if known else english


def sentences(parts: Iterable[str]) -> str:
    """One text of several: Chinese has no space between sentences."""
    return ("" if CHINESE else " ").join(parts)


@cache
def _errors() -> list[tuple[re.Pattern[str], str]]:
    return [(_pattern(english), chinese) for english, chinese in _texts()["errors"].items()]


def _pattern(english: str) -> re.Pattern[str]:
    """`no model {name}`: a name in braces stands for any text."""
    parts = re.split(r"\{(\w+)\}", english)
    return re.compile(
        "".join(f"(?P<{part}>.+?)" if at % 2 else re.escape(part) for at, part in enumerate(parts)), re.DOTALL
    )


def say_error(text: str) -> str:
    """An error in the reader's language: each line that is known, the others as they are."""
    return "\n".join(map(_error_line, text.split("\n"))) if CHINESE else text


def _error_line(line: str) -> str:
    for pattern, chinese in _errors():
        if found := pattern.fullmatch(line):
            return chinese.format(**found.groupdict())
    return line
