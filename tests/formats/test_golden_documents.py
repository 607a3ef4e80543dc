"""The structured formats, member for member and in their order, on the reports of the golden texts."""

import json
from collections.abc import Callable

import pytest

from app.formats.ndjson import NdjsonWriter
from app.formats.registry import FORMATS
from app.formats.report import Report
from app.formats.structured import funasr_documents, json_document
from tests.formats.test_golden_texts import GOLDEN, REPORTS


def laid_out(document: object) -> str:
    return json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def ndjson_lines(report: Report) -> str:
    writer = NdjsonWriter()
    lines = [writer.segment(segment, channel) for channel, segment in report.in_order()]
    lines.insert(1, writer.progress(2500, report.audio.duration_ms))
    return b"".join([*lines, writer.summary(report)]).decode()


WRITERS: dict[str, Callable[[Report], str]] = {
    "json": lambda report: laid_out(json_document(report)),
    "funasr": lambda report: laid_out(funasr_documents(report)),
    "ndjson": ndjson_lines,
}


@pytest.mark.parametrize("report", REPORTS)
@pytest.mark.parametrize("name", WRITERS)
def test_document_is_the_golden_file(name: str, report: str) -> None:
    golden = GOLDEN / f"{report}.{FORMATS[name].extension}"
    assert WRITERS[name](REPORTS[report]) == golden.read_text("utf-8")
