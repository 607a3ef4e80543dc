"""The structured formats, member for member and in their order, on the reports of the golden texts."""

from collections.abc import Callable

import pytest

from app.formats.registry import RenderContext
from app.formats.report import Report
from tests.formats.reports import FORMATS
from tests.formats.test_golden_texts import GOLDEN, REPORTS


def laid_out(name: str, report: Report) -> str:
    return b"".join(FORMATS[name].new(RenderContext(indent=1)).finish(report)).decode() + "\n"


def ndjson_lines(report: Report) -> str:
    renderer = FORMATS["ndjson"].new(RenderContext())
    lines = [renderer.segment(segment, channel) for channel, segment in report.in_order()]
    lines.insert(1, renderer.progress(2500, report.audio.duration_ms))
    return b"".join([*lines, *renderer.finish(report)]).decode()


WRITERS: dict[str, Callable[[Report], str]] = {
    "json": lambda report: laid_out("json", report),
    "funasr": lambda report: laid_out("funasr", report),
    "ndjson": ndjson_lines,
}


@pytest.mark.parametrize("report", REPORTS)
@pytest.mark.parametrize("name", WRITERS)
def test_document_is_the_golden_file(name: str, report: str) -> None:
    golden = GOLDEN / f"{report}.{FORMATS[name].extension}"
    assert WRITERS[name](REPORTS[report]) == golden.read_text("utf-8")
