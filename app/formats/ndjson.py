"""Newline-delimited JSON, written while the detection runs: a line the moment something is known.

Lines have a `type`: `segment`, `progress`, then one `summary`; or an `error` in its place.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from app.formats.documents import SegmentDocument, problem_members
from app.formats.rendering import Answering, Renderer, json_bytes
from app.formats.report import Report
from app.formats.structured import json_document
from app.vad.segment import Segment


class NdjsonRenderer(Renderer):
    """Numbers the segments of one answer in the order they are told: of several channels, not quite by start."""

    def __init__(self, answering: Answering) -> None:
        self._count = 0

    def segment(self, segment: Segment, channel: int | None) -> bytes:
        """A line for a segment."""
        self._count += 1
        return _line("segment", SegmentDocument.numbered(self._count, segment, channel).dump())

    def progress(self, done_ms: int, expected_ms: int | None) -> bytes:
        """A line for how far it is."""
        return _line("progress", {"done_ms": done_ms, "expected_ms": expected_ms})

    def finish(self, report: Report) -> Iterator[bytes]:
        """The JSON document without the segments; those too, where none has been told yet."""
        if self._count == 0:
            yield from (self.segment(segment, channel) for channel, segment in report.in_order())
        document = json_document(report)
        document["segment_count"] = len(document.pop("segments"))
        yield _line("summary", document)

    def failed(self, problem: Mapping[str, Any]) -> bytes:
        """What went wrong, as its problem document has it but for the `type`; the last line."""
        return _line("error", problem_members(problem))


def _line(kind: str, members: Mapping[str, Any]) -> bytes:
    return json_bytes({"type": kind, **members}) + b"\n"
