"""A bare number in the code has its reason beside it."""

import ast
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted([*ROOT.glob("app/**/*.py"), *ROOT.glob("benchmarks/**/*.py"), *ROOT.glob("docs/*.py")])
UNITS = {"_MIB", "_MS_PER_H"}
"""Names that say all there is to say of a number."""


def numbers_without_a_reason(source: str) -> Iterator[str]:
    """Constants of a module that are numbers, or some, with no comment on, above or below them and no string below."""
    tree = ast.parse(source)
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    commented = {token.start[0] for token in tokens if token.type == tokenize.COMMENT}
    for node, after in zip(tree.body, [*tree.body[1:], None], strict=False):
        names = _constants(node)
        last = node.end_lineno or 0
        told = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        if set(names) - UNITS and not told and not commented.intersection(range(node.lineno - 1, last + 1)):
            yield ", ".join(names)


def _constants(node: ast.stmt) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    value = getattr(node, "value", None)
    if not targets or value is None or not _is_numbers(value):
        return []
    return [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]


def _is_numbers(value: ast.expr) -> bool:
    """A number of two and more, alone, in an expression of numbers, or in a tuple of numbers."""
    parts = [part for part in ast.walk(value) if isinstance(part, ast.expr)]
    plain = (ast.Constant, ast.BinOp, ast.UnaryOp, ast.Tuple)
    constants = [part.value for part in parts if isinstance(part, ast.Constant)]
    return (
        all(isinstance(part, plain) for part in parts)
        and all(isinstance(number, int | float) for number in constants)
        and any(not isinstance(number, bool) and abs(number) >= 2 for number in constants)
    )


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_numbers_have_reasons(path: Path) -> None:
    assert list(numbers_without_a_reason(path.read_text())) == []


def test_the_checks_find_what_they_look_for() -> None:
    source = 'A = 3\nB = 4  # so many fit\nC = 5\n"""As many."""\n# As tall.\nD = 6\nE = (7, 8)\nF = 1 << 20\nG = "9"\n'
    assert list(numbers_without_a_reason(source)) == ["A", "E", "F"]
