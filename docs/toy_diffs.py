"""The diffs in ARCHITECTURE.md: what the toy example adds, cut from its source, so that they cannot go stale."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOY = ROOT / "tests/toy/package/toy_vad.py"


def architecture_page() -> str:
    """ARCHITECTURE.md with its diffs made anew from the toy example."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    return re.sub(
        r"<!-- toy: ([\w. ]+) -->\n.*?<!-- /toy -->",
        lambda found: f"<!-- toy: {found[1]} -->\n\n{_toy_diff(found[1].split())}\n\n<!-- /toy -->",
        text,
        flags=re.DOTALL,
    )


def _toy_diff(names: list[str]) -> str:
    """The lines that define these names, as the diff that adds them."""
    source = TOY.read_text()
    parts = ["\n+\n+\n".join(_added(source, name) for name in names)]
    return "\n".join([f'```diff title="{TOY.relative_to(ROOT)}"', *parts, "```"])


def _added(source: str, name: str) -> str:
    """`Class`, or `Class.field`: then the lines around it that a reader needs stand as unchanged."""
    outer, _, inner = name.partition(".")
    node = next(node for node in ast.parse(source).body if outer in _names_of(node))
    lines = source.splitlines()
    if not inner:
        return "\n".join(f"+{line}" for line in lines[node.lineno - 1 : node.end_lineno])
    assert isinstance(node, ast.ClassDef)
    member = next(part for part in node.body if inner in _names_of(part))
    own = range(member.lineno, (member.end_lineno or 0) + 1)
    whole = range(node.lineno, (node.end_lineno or 0) + 1)
    return "\n".join(f"{'+' if number in own else ' '}{lines[number - 1]}".rstrip() for number in whole)


def _names_of(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}
