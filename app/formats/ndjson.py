"""Newline-delimited JSON, written while the detection runs: a line the moment something is known.

Lines have a `type`: `segment`, `chunk`, `progress`, then one `summary`; or an `error` in its place. A chunk comes after
the last segment in it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from app.formats.documents import ChunkDocument, SegmentDocument, problem_members
from app.formats.rendering import Answering, Renderer, json_bytes
from app.formats.report import Piece, Report
from app.formats.structured import json_document
from app.vad.chunks import Chunk
from app.vad.segment import Segment


class NdjsonRenderer(Renderer):
    """Numbers the segments and chunks of one answer in the order they are told: of several channels, not quite by
    start."""

    def __init__(self, answering: Answering) -> None:
        self._count = 0
        self._spoken: dict[int | None, list[int]] = {}
        """By channel, the numbers of the segments that chunks may hold."""
        self._chunks: dict[int | None, int] = {}
        """By channel, how many chunks have been told."""

    def segment(self, segment: Segment, channel: int | None) -> bytes:
        """A line for a segment."""
        self._count += 1
        if segment.is_speech:
            self._spoken.setdefault(channel, []).append(self._count)
        return _line("segment", SegmentDocument.numbered(self._count, segment, channel).dump())

    def chunk(self, chunk: Chunk, channel: int | None) -> bytes:
        """A line for a chunk."""
        index = sum(self._chunks.values()) + 1
        self._chunks[channel] = self._chunks.get(channel, 0) + 1
        numbers = tuple(self._spoken[channel][place] for place in chunk.segments)
        piece = Piece(index, channel, chunk.start_ms, chunk.end_ms, numbers)
        return _line("chunk", ChunkDocument.of(piece).dump())

    def progress(self, done_ms: int, expected_ms: int | None) -> bytes:
        """A line for how far it is."""
        return _line("progress", {"done_ms": done_ms, "expected_ms": expected_ms})

    def finish(self, report: Report) -> Iterator[bytes]:
        """The JSON document without the segments and chunks; those too, where they have not been told yet."""
        if self._count == 0:
            yield from (self.segment(segment, channel) for channel, segment in report.in_order())
        for entry in report.channels:
            for chunk in (entry.chunks or ())[self._chunks.get(entry.channel, 0) :]:
                yield self.chunk(chunk, entry.channel)
        document = json_document(report)
        document["segment_count"] = len(document.pop("segments"))
        if "chunks" in document:
            document["chunk_count"] = len(document.pop("chunks"))
        yield _line("summary", document)

    def failed(self, problem: Mapping[str, Any]) -> bytes:
        """What went wrong, as its problem document has it but for the `type`; the last line."""
        return _line("error", problem_members(problem))


def _line(kind: str, members: Mapping[str, Any]) -> bytes:
    return json_bytes({"type": kind, **members}) + b"\n"
