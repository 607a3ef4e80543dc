"""For programs: the full JSON document, and FunASR's."""

from typing import Any

from app.formats.documents import DetectionDocument, FunasrDocument
from app.formats.report import Report


def json_document(report: Report) -> dict[str, Any]:
    """Everything known about a detection."""
    return DetectionDocument.of(report).dump()


def funasr_documents(report: Report) -> list[dict[str, Any]]:
    """FunASR's list of `{"key", "value": [[start_ms, end_ms], ...]}`, one entry for each channel."""
    return [document.dump() for document in FunasrDocument.all_of(report)]
