"""A file's row: what was found in it, or what is wrong with it, the same whenever and wherever it is made; and rows as
the bytes of one output file."""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any, get_args

from app.batch import reason_of
from app.batch.collection import Entry
from app.formats.documents import ChunkDocument, Document, SegmentDocument, WarningDocument
from app.formats.report import Report
from app.vad.errors import AudioError, InvalidOption

UNREADABLE, FAILED = "unreadable", "failed"
"""The file could not be fetched; something unforeseen happened. Both may go otherwise at another time."""


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
    """`code` and `detail` of each."""
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
        segments=tuple(
            _all_members(SegmentDocument.numbered(index, segment, channel))
            for index, (channel, segment) in enumerate(report.in_order(), 1)
        ),
        chunks=tuple(_all_members(ChunkDocument.of(piece)) for piece in report.chunks()),
    )


def _all_members(document: Document) -> dict[str, Any]:
    # Unlike in an answer, members that were not set are there too: a table has the same columns in every row.
    return {**dict.fromkeys(type(document).model_fields), **document.dump()}


def failed_row(entry: Entry, code: str, reason: str) -> Row:
    """The row of a file that was not."""
    return Row(entry.row_id, entry.shown, entry.size_bytes, error=reason, error_code=code)


def row_of_error(entry: Entry, error: Exception) -> Row:
    """The row of a file whose detection raised this: `unreadable` or `failed` if it is not the file's own fault."""
    if isinstance(error, AudioError | InvalidOption):
        code = error.code
    else:
        code = UNREADABLE if isinstance(error, OSError) else FAILED
    return failed_row(entry, code, reason_of(error))


def jsonl(rows: Sequence[Row]) -> bytes:
    """A line of JSON for each row."""
    lines = (json.dumps(row.document(), ensure_ascii=False, separators=(",", ":")) for row in rows)
    return "".join(f"{line}\n" for line in lines).encode()


def parquet(rows: Sequence[Row]) -> bytes:
    """A Parquet file, zstd; `segments` is a list of structures. Raises ImportError without pyarrow."""
    import pyarrow as pa  # noqa: PLC0415 - of the extra [batch]; JSONL does without
    import pyarrow.parquet as pq  # noqa: PLC0415

    types = {
        int: pa.int64(), float: pa.float64(), bool: pa.bool_(), str: pa.string(), list[int]: pa.list_(pa.int64()),
    }  # fmt: skip

    def struct(document: type[Document]) -> Any:
        columns = columns_of(document).items()
        return pa.struct([pa.field(name, types[kind], nullable=nullable) for name, (kind, nullable) in columns])

    schema = pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("path", pa.string(), nullable=False),
            pa.field("size_bytes", pa.int64(), nullable=False),
            pa.field("error", pa.string()),
            pa.field("error_code", pa.string()),
            pa.field("model", pa.string()),
            pa.field("duration_ms", pa.int64()),
            pa.field("sample_rate", pa.int32()),
            pa.field("channels", pa.int32()),
            pa.field("format", pa.string()),
            pa.field("truncated", pa.bool_()),
            pa.field("speech_ms", pa.int64()),
            pa.field("warnings", pa.list_(struct(WarningDocument)), nullable=False),
            pa.field("segments", pa.list_(struct(SegmentDocument)), nullable=False),
            pa.field("chunks", pa.list_(struct(ChunkDocument)), nullable=False),
        ]
    )
    written = io.BytesIO()
    table = pa.Table.from_pylist([row.document() for row in rows], schema=schema)
    pq.write_table(table, written, compression="zstd")
    return written.getvalue()


def columns_of(document: type[Document]) -> dict[str, tuple[Any, bool]]:
    """Name of each member of a wire model, with its type and whether it may be null."""
    columns: dict[str, tuple[Any, bool]] = {}
    for name, field in document.model_fields.items():
        union = isinstance(field.annotation, UnionType)
        kinds = get_args(field.annotation) if union else (field.annotation,)
        [kind] = [each for each in kinds if each is not NoneType]
        columns[name] = (kind, NoneType in kinds)
    return columns


ROW_FORMATS: Mapping[str, Callable[[Sequence[Row]], bytes]] = {"jsonl": jsonl, "parquet": parquet}
