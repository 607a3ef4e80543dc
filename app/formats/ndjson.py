"""Newline-delimited JSON, written while the detection runs: a line the moment something is known.

Lines have a `type`: `segment`, `progress`, then one `summary`; or an `error` in its place.
"""

import json
from collections.abc import Mapping
from typing import Any

from app.formats.report import Report
from app.formats.structured import json_document, segment_document
from app.vad.segment import Segment

MEDIA_TYPE = "application/x-ndjson"


class NdjsonWriter:
    """Numbers the segments of one answer in the order they are told: of several channels, not quite by start."""

    def __init__(self) -> None:
        self._count = 0

    def segment(self, segment: Segment, channel: int | None) -> bytes:
        """A segment, complete."""
        self._count += 1
        return _line("segment", segment_document(self._count, segment, channel))

    def progress(self, done_ms: int, expected_ms: int | None) -> bytes:
        """How much audio has been looked at; `expected_ms` is what the file's header says, if it says."""
        return _line("progress", {"done_ms": done_ms, "expected_ms": expected_ms})

    def summary(self, report: Report, **members: Any) -> bytes:
        """The JSON document without the segments, which have been told; `members` come on top."""
        document = json_document(report)
        document["segment_count"] = len(document.pop("segments"))
        return _line("summary", {**document, **members})

    def problem(self, problem: Mapping[str, Any]) -> bytes:
        """What went wrong, as its problem document has it but for the `type`; the last line."""
        return _line("error", {name: value for name, value in problem.items() if name != "type"})


def _line(kind: str, members: Mapping[str, Any]) -> bytes:
    return json.dumps({"type": kind, **members}, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
