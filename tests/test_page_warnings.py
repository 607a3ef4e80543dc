"""The page has words of its own for every warning: its examples are what this service says."""

import ast
import json
import re
from collections.abc import Iterator
from functools import cache

import pytest

from app.audio.clock import ClockFacts, TimeGap
from app.audio.damage import Trouble, describe
from app.audio.facts import FileFacts
from app.warnings import MEANINGS
from tests.conftest import ROOT

EXAMPLES: dict[str, list[str]] = json.loads((ROOT / "web" / "tests" / "warnings.json").read_text())
"""What web/tests/warnings.test.ts has the page say in both languages."""
_VALUES = r"0x\w+|-?[\d.]+%?|\b(?:noisy|box|\w*silero\S*|fsmn|iic\S*|aac, eng)"
_SHORT = 3
"""Letters; less is between two values."""
_OF_ANY_KIND = {"fallback_model"}
"""Whose detail is whatever went wrong."""


@cache
def _texts() -> str:
    """All texts of the service's code, those of f-strings with their holes."""
    return "\n".join(text for path in sorted((ROOT / "app").rglob("*.py")) for text in _strings(path.read_text()))


def _strings(code: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_every_code_has_examples() -> None:
    assert EXAMPLES.keys() == MEANINGS.keys()
    assert all(EXAMPLES.values())


@pytest.mark.parametrize("code", sorted(EXAMPLES.keys() - _OF_ANY_KIND))
def test_examples_are_the_service_s_words(code: str) -> None:
    for detail in EXAMPLES[code]:
        pieces = [piece.split() for piece in re.split(f"{_VALUES}|[,;:] ", detail)]
        # Packets are counted by a function of their own, which the next test calls.
        assert [
            piece for piece in pieces if not _is_made_of_texts(piece) and piece[:1] not in (["packet"], ["packets"])
        ] == []


def _is_made_of_texts(words: list[str]) -> bool:
    """Whether the code has these words, in one text, or in two of which one is put into the other's hole."""
    whole = " ".join(words)
    if len(whole) <= _SHORT or whole in _texts():
        return True
    splits = [(" ".join(words[:end]), " ".join(words[end:])) for end in range(1, len(words))]
    return any(
        re.search(rf"{re.escape(head)} ?(?:{{}}|$)", _texts(), re.MULTILINE)
        and re.search(rf"(?:{{}}|^) ?{re.escape(tail)}", _texts(), re.MULTILINE)
        for head, tail in splits
    )


def test_refusals_are_the_service_s_words() -> None:
    """Those of ranges are pydantic's."""
    source = (ROOT / "web" / "src" / "text" / "refusals.ts").read_text()
    patterns = [
        found for found in re.findall(r"^  \[/\^(.+)\$/, ", source, re.MULTILINE) if "input should" not in found
    ]
    assert len(patterns) > 8
    pieces = [
        piece for one in patterns for piece in re.split(r"\\?\([^()]*\)|\.\*|\\[()]| s$", one.replace("an? ", ""))
    ]
    assert [piece for piece in pieces if len(piece.strip()) > _SHORT and piece.strip() not in _texts()] == []


def test_what_the_service_finds_is_among_the_examples() -> None:
    clock = ClockFacts(late_start_ms=500, gaps=(TimeGap(1500, 700),), gap_count=2, gap_ms=700)
    told = [(warning.code, warning.detail) for name in ("samples", "container") for warning in clock.warnings(name)]
    damages = [
        describe(FileFacts(), trouble, 5000.0, cut=False, clock_ms=clock_ms)
        for trouble in (Trouble(failed=1), Trouble(failed=2, corrupt=1), Trouble(corrupt=2), Trouble(broken=1))
        for clock_ms in (0, 120)
    ]
    told += [("damaged", damage) for damage in damages if damage]
    assert len(told) == 12
    clauses = {code: {plain for one in examples for plain in _clauses(one)} for code, examples in EXAMPLES.items()}
    assert [(code, detail) for code, detail in told if not _clauses(detail) <= clauses[code]] == []


def _clauses(detail: str) -> set[str]:
    return {re.sub(r"\d+", "#", clause) for clause in detail.split("; ")}
