"""Rows to the bytes of one output file."""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, get_args

from app.batch.rows import Row
from app.formats.documents import ChunkDocument, Document, SegmentDocument, WarningDocument

Encode = Callable[[Sequence[Row]], bytes]


def jsonl(rows: Sequence[Row]) -> bytes:
    """A line of JSON for each row."""
    lines = (json.dumps(row.document(), ensure_ascii=False, separators=(",", ":")) for row in rows)
    return "".join(f"{line}\n" for line in lines).encode()


def columns_of(document: type[Document]) -> dict[str, tuple[Any, bool]]:
    """Name of each member of a wire model, with its type and whether it may be null."""
    columns: dict[str, tuple[Any, bool]] = {}
    for name, field in document.model_fields.items():
        union = isinstance(field.annotation, UnionType)
        kinds = get_args(field.annotation) if union else (field.annotation,)
        [kind] = [each for each in kinds if each is not NoneType]
        columns[name] = (kind, NoneType in kinds)
    return columns


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


FORMATS: Mapping[str, Encode] = {"jsonl": jsonl, "parquet": parquet}
