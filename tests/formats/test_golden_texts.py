"""Every text format, byte for byte, on the published example and on two channels of one call."""

from pathlib import Path

import pytest

from app.formats.registry import Lang
from tests.formats.readers import READERS
from tests.formats.reports import EXAMPLE, FORMATS, rendered, report_of

GOLDEN = Path(__file__).parent / "golden"
REPORTS = {
    "example": report_of(EXAMPLE),
    "split": report_of([(70, 2340), (3000, 4010)], [(2000, 2620)], split=True, name="call", duration_ms=5000),
}
TEXTS = [name for name in READERS if name != "md"]


@pytest.mark.parametrize("report", REPORTS)
@pytest.mark.parametrize("name", TEXTS)
def test_text_is_the_golden_file(name: str, report: str) -> None:
    golden = GOLDEN / f"{report}.{FORMATS[name].extension}"
    assert rendered(name, REPORTS[report]) == golden.read_bytes()


@pytest.mark.parametrize("report", REPORTS)
@pytest.mark.parametrize("lang", ["zh", "en"])
def test_markdown_is_the_golden_file(lang: Lang, report: str) -> None:
    assert rendered("md", REPORTS[report], lang) == (GOLDEN / f"{report}.{lang}.md").read_bytes()


def test_every_golden_file_belongs_to_a_format() -> None:
    documents = {FORMATS[name].extension for name in ("json", "funasr", "ndjson")}
    extensions = {FORMATS[name].extension for name in TEXTS} | {"zh.md", "en.md"} | documents
    assert {path.name for path in GOLDEN.iterdir()} == {f"{stem}.{end}" for stem in REPORTS for end in extensions}
