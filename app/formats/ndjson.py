"""Newline-delimited JSON, written while the detection runs: a line the moment something is known.

Lines have a `type`: `segment`, `chunk`, `progress`, then one `summary`; or an `error` in its place. A chunk comes after
the last segment in it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from app.formats.documents import ChunkDocument, SegmentDocument, json_document
from app.formats.rendering import RenderContext, Renderer, json_bytes
from app.formats.report import Piece, Report
from app.vad.chunks import Chunk
from app.vad.segment import Segment


class NdjsonRenderer(Renderer):
    """Numbers segments and chunks in the order they are found: with several channels, not quite by start."""

    def __init__(self, context: RenderContext) -> None:
        self._count = 0
        self._spoken: dict[int | None, list[int]] = {}  # by channel, the numbers of segments that chunks may hold
        self._chunks: dict[int | None, int] = {}  # by channel, how many chunks have been written

    def segment(self, segment: Segment, channel: int | None) -> bytes:
        self._count += 1
        if segment.is_speech:
            self._spoken.setdefault(channel, []).append(self._count)
        return _line("segment", SegmentDocument.numbered(self._count, segment, channel).dump())

    def chunk(self, chunk: Chunk, channel: int | None) -> bytes:
        index = sum(self._chunks.values()) + 1
        self._chunks[channel] = self._chunks.get(channel, 0) + 1
        numbers = tuple(self._spoken[channel][place] for place in chunk.segments)
        piece = Piece(index, channel, chunk.start_ms, chunk.end_ms, numbers)
        return _line("chunk", ChunkDocument.of(piece).dump())

    def progress(self, done_ms: int, expected_ms: int | None) -> bytes:
        return _line("progress", {"done_ms": done_ms, "expected_ms": expected_ms})

    def finish(self, report: Report) -> Iterator[bytes]:
        """Write segments and chunks that have not been written yet, then the JSON document without them."""
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
        """Write the problem document as the last line; its own `type` makes room for the line's."""
        return _line("error", {name: value for name, value in problem.items() if name != "type"})


def _line(kind: str, members: Mapping[str, Any]) -> bytes:
    return json_bytes({"type": kind, **members}) + b"\n"
