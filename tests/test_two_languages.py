"""English and Chinese say the same: the same headings, tables, commands and names, page by page."""

import re
from pathlib import Path

import pytest

from tests import markdown

ROOT = Path(__file__).resolve().parent.parent
ENGLISH = {
    "README.zh.md": "README.md",
    "docs/zh/deploy.md": "deploy/README.md",
    **{
        f"docs/zh/{name}.md": f"docs/{name}.md"
        for name in ("options", "recipes", "running", "live", "live-latency", "accuracy")
    },
}
"""A Chinese page, and the page that it must not fall behind."""
TRANSLATED_CODE = {"", "text"}
"""Blocks without a language are pictures made of letters, whose words are translated: their lines are counted."""
_COMMENT = {"js": r"\s*//.*", "json": r"(?!)"}
_MADE = re.compile(r"<!-- tables -->.*<!-- /tables -->", re.DOTALL)
_SWITCH = re.compile(r"^\[(English|中文)\]\(.*\)$", re.MULTILINE)

pairs = pytest.mark.parametrize(("chinese", "english"), ENGLISH.items(), ids=list(ENGLISH))


def read(name: str) -> str:
    return _SWITCH.sub("", (ROOT / name).read_text())


def code(text: str) -> list[tuple[str, list[str]]]:
    """Blocks without their comments."""
    return [
        (language, [re.sub(_COMMENT.get(language, r"(^|\s+)#.*"), "", line).rstrip() for line in block.splitlines()])
        for language, block in markdown.fenced(text)
    ]


def test_every_chinese_page_is_compared() -> None:
    found = {path.relative_to(ROOT).as_posix() for path in [*ROOT.glob("*.zh.md"), *ROOT.glob("docs/zh/*.md")]}
    assert found == set(ENGLISH)


@pairs
def test_the_same_headings(chinese: str, english: str) -> None:
    ours, theirs = markdown.headings(read(chinese)), markdown.headings(read(english))
    assert [heading.level for heading in ours] == [heading.level for heading in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert markdown.inline_code(one.text) == markdown.inline_code(other.text), (one.text, other.text)


@pairs
def test_the_same_commands(chinese: str, english: str) -> None:
    ours, theirs = code(read(chinese)), code(read(english))
    assert [language for language, _ in ours] == [language for language, _ in theirs]
    for (language, block), (_, other) in zip(ours, theirs, strict=True):
        if language in TRANSLATED_CODE:
            assert len(block) == len(other), block
        else:
            assert block == other


@pairs
def test_the_same_tables(chinese: str, english: str) -> None:
    ours, theirs = markdown.tables(read(chinese)), markdown.tables(read(english))
    assert [[len(row) for row in table] for table in ours] == [[len(row) for row in table] for table in theirs]
    for table, other in zip(ours, theirs, strict=True):
        for row, row_there in zip(table, other, strict=True):
            numbers, numbers_there = (
                re.findall(r"`[^`]*`|\d[\d.,]*", row[0]),
                re.findall(r"`[^`]*`|\d[\d.,]*", row_there[0]),
            )
            assert numbers == numbers_there


@pairs
def test_the_same_names(chinese: str, english: str) -> None:
    """Options, settings, fields and values that one page names and the other does not. Meanings in tables that are made
    from the code are the page's in Chinese and the service's in English, and choose their own words."""
    ours, theirs = (_MADE.sub("", read(name)) for name in (chinese, english))
    assert markdown.inline_code(ours) ^ markdown.inline_code(theirs) == set()


@pairs
def test_each_leads_to_the_other(chinese: str, english: str) -> None:
    for page, other, word in ((chinese, english, "English"), (english, chinese, "中文")):
        switches = re.findall(rf"^\[{word}\]\((.*)\)$", (ROOT / page).read_text(), re.MULTILINE)
        assert [((ROOT / page).parent / target).resolve() for target in switches] == [ROOT / other]


_OTHER_TERMS = {
    "问题文档": "错误", "答案": "结果", "裸音频流": "裸采样", "裸数据": "裸采样", "端点指向器": "端点检测",
    "片段": "语音段", "切分方式": "模式", "检测方式": "模式", "通道": "声道", "阈值": "门限",
    "置信度": "概率", "沉默": "静音",
}  # fmt: skip
"""Words that mean what the documents and the page call by another one."""


@pytest.mark.parametrize("page", ENGLISH)
def test_terms_are_those_of_the_field(page: str) -> None:
    text = read(page)
    assert [wrong for wrong in _OTHER_TERMS if wrong in text] == []


def test_the_page_s_terms_are_those_of_the_documents() -> None:
    texts = {path.name: path.read_text() for path in sorted((ROOT / "web" / "src").rglob("*.ts*"))}
    assert any("语音段" in text for text in texts.values())
    # `方式` is a word like any other in the documents; on the page it could only be the mode.
    found = [(name, wrong) for name, text in texts.items() for wrong in (*_OTHER_TERMS, "方式") if wrong in text]
    assert found == []
