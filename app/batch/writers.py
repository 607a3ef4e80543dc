"""Rows to the bytes of one output file."""

import io
import json
from collections.abc import Callable, Mapping, Sequence

from app.batch.rows import Row

Encode = Callable[[Sequence[Row]], bytes]


def jsonl(rows: Sequence[Row]) -> bytes:
    """A line of JSON for each row."""
    lines = (json.dumps(row.document(), ensure_ascii=False, separators=(",", ":")) for row in rows)
    return "".join(f"{line}\n" for line in lines).encode()


def parquet(rows: Sequence[Row]) -> bytes:
    """A Parquet file, zstd; `segments` is a list of structures. Raises ImportError without pyarrow."""
    import pyarrow as pa  # noqa: PLC0415 - of the extra [batch]; JSONL does without
    import pyarrow.parquet as pq  # noqa: PLC0415

    segment = pa.struct(
        [
            pa.field("channel", pa.int32()),
            pa.field("index", pa.int32(), nullable=False),
            pa.field("start_ms", pa.int64(), nullable=False),
            pa.field("end_ms", pa.int64(), nullable=False),
            pa.field("duration_ms", pa.int64(), nullable=False),
            pa.field("forced_end", pa.bool_(), nullable=False),
            pa.field("speech_probability", pa.float64(), nullable=False),
        ]
    )
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
            pa.field("segments", pa.list_(segment), nullable=False),
        ]
    )
    written = io.BytesIO()
    table = pa.Table.from_pylist([row.document() for row in rows], schema=schema)
    pq.write_table(table, written, compression="zstd")
    return written.getvalue()


FORMATS: Mapping[str, Encode] = {"jsonl": jsonl, "parquet": parquet}
