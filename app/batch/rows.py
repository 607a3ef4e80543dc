"""A file's row: what was found in it, or what is wrong with it; the same whenever and wherever it is made."""

from dataclasses import dataclass
from typing import Any

from app.batch.listing import Entry
from app.batch.problems import reason_of
from app.formats.documents import ChunkDocument, SegmentDocument, WarningDocument
from app.formats.report import Report
from app.vad.errors import AudioError, InvalidOption

UNREADABLE, FAILED = "unreadable", "failed"
"""The file could not be fetched; something unforeseen happened. Both may be otherwise at another time."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the output."""

    id: str
    path: str
    size_bytes: int
    error: str | None = None
    """What is wrong with the file, in words; None: nothing."""
    error_code: str | None = None
    """As the service's problem documents have it; `unreadable` and `failed` beside them."""
    model: str | None = None
    """The name of the one that found the segments."""
    duration_ms: int | None = None
    sample_rate: int | None = None
    """Hz, of the file."""
    channels: int | None = None
    format: str | None = None
    truncated: bool | None = None
    speech_ms: int | None = None
    warnings: tuple[dict[str, Any], ...] = ()
    """What was odd, `code` and `detail` of each."""
    segments: tuple[dict[str, Any], ...] = ()
    chunks: tuple[dict[str, Any], ...] = ()
    """With `max_chunk_s`."""

    @property
    def may_succeed_later(self) -> bool:
        """Whether the fault may lie outside the file."""
        return self.error_code in (UNREADABLE, FAILED)

    def document(self) -> dict[str, Any]:
        """For JSON and Parquet; every member is always there."""
        members = {name: getattr(self, name) for name in self.__slots__}
        lists = {name: list(getattr(self, name)) for name in ("warnings", "segments", "chunks")}
        return {**members, **lists}


def found_row(entry: Entry, report: Report) -> Row:
    """The row of a file that was read."""
    audio = report.audio
    return Row(
        id=entry.row_id,
        path=entry.shown,
        size_bytes=entry.size_bytes,
        model=report.model.name,
        duration_ms=audio.duration_ms,
        sample_rate=audio.sample_rate,
        channels=audio.channels,
        format=audio.format,
        truncated=audio.truncated,
        speech_ms=report.speech_ms,
        warnings=tuple(warning.dump() for warning in WarningDocument.all_of(report.warnings)),
        # Unlike in an answer, members that were not set are there too: a table has the same columns in every row.
        segments=tuple(
            SegmentDocument.numbered(index, segment, channel).model_dump(mode="json")
            for index, (channel, segment) in enumerate(report.in_order(), 1)
        ),
        chunks=tuple(ChunkDocument.of(piece).model_dump(mode="json") for piece in report.chunks()),
    )


def failed_row(entry: Entry, code: str, reason: str) -> Row:
    """The row of a file that was not."""
    return Row(entry.row_id, entry.shown, entry.size_bytes, error=reason, error_code=code)


def row_of_error(entry: Entry, error: Exception) -> Row:
    """The row of a file whose detection raised this; what is not the file's own fault is `unreadable` or `failed`."""
    if isinstance(error, AudioError | InvalidOption):
        code = error.code
    else:
        code = UNREADABLE if isinstance(error, OSError) else FAILED
    return failed_row(entry, code, reason_of(error))
