"""What the documents' tests read out of Markdown: headings with GitHub's anchors for them, links, code, tables.

Enough for how this project writes: fenced code, `#` headings, inline links, pipe tables.
"""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^( *)```(\S*)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Heading:
    """One heading."""

    level: int
    text: str


def pages(root: Path) -> list[Path]:
    """Every page that people read."""
    folders = ("*.md", "docs/**/*.md", "deploy/**/*.md", "examples/*.md", ".github/*.md")
    return sorted(page for folder in folders for page in root.glob(folder))


def fenced(text: str) -> list[tuple[str, str]]:
    """(language, content) of each fenced block, in order."""
    return [(found[2], found[3]) for found in _FENCE.finditer(text)]


def prose(text: str) -> str:
    """The text without fenced blocks."""
    return _FENCE.sub("", text)


def headings(text: str) -> list[Heading]:
    return [Heading(len(marks), words) for marks, words in re.findall(r"^(#{1,6}) (.+)$", prose(text), re.MULTILINE)]


def links(text: str) -> list[str]:
    """Targets, in order; code is no link."""
    return _LINK.findall(re.sub(r"`[^`]*`", "``", prose(text)))


def anchors(text: str) -> set[str]:
    """What may stand behind `#`, as GitHub makes it: lower case, punctuation dropped, spaces as hyphens."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in headings(text):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.text).lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def tables(text: str) -> list[list[list[str]]]:
    """Cells of each table, row by row, without the line under the head."""
    blocks = re.findall(r"(?:^\|.*\n?)+", prose(text), re.MULTILINE)
    rows = [[re.split(r"(?<!\\)\|", line)[1:-1] for line in block.splitlines()] for block in blocks]
    return [[row for row in table if not all(re.fullmatch(r" *:?-+:? *", cell) for cell in row)] for table in rows]


def inline_code(text: str) -> set[str]:
    """What stands between backticks outside of fenced blocks."""
    return set(re.findall(r"`([^`\n]+)`", prose(text)))
