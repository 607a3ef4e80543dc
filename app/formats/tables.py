"""Tables: CSV for programs and spreadsheets, Markdown for documents."""

import csv
import io
from collections.abc import Sequence
from typing import Any, Literal

from app.formats.report import Report

_HEADINGS = {
    "zh": ("片段序号", "开始时间", "结束时间", "时长", "声道", "类别"),
    "en": ("Segment", "Start", "End", "Duration", "Channel", "Label"),
}


def csv_text(report: Report) -> str:
    """One line a segment under a header line; `channel` is empty for the mix; `label` is there where it can differ."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(segment_columns(report))
    writer.writerows(segment_rows(report))
    return out.getvalue()


def csv_of_several(reports: Sequence[Report]) -> str:
    """The same of several files, with a column for each one's name before the others; `label` where any can differ."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    labelled = [report for report in reports if report.labels]
    columns = segment_columns((labelled or reports)[0]) if reports else []
    writer.writerow(["name", *columns])
    for report in reports:
        writer.writerows([report.name, *row] for row in segment_rows(report))
    return out.getvalue()


def segment_columns(report: Report) -> list[str]:
    """Names of the columns."""
    columns = ["index", "start_ms", "end_ms", "duration_ms", "forced_end", "speech_probability", "channel"]
    return [*columns, "label"] if report.labels else columns


def segment_rows(report: Report) -> list[list[Any]]:
    """The values of each segment, by start."""
    rows = []
    for index, (channel, segment) in enumerate(report.in_order(), 1):
        row: list[Any] = [index, segment.start_ms, segment.end_ms, segment.duration_ms, str(segment.forced_end).lower()]
        row += [f"{segment.speech_probability:.4f}", "" if channel is None else channel]
        rows.append([*row, segment.label] if report.labels else row)
    return rows


def markdown_text(report: Report, lang: Literal["zh", "en"]) -> str:
    """A table in seconds, `0.820s`; with a channel column when there are channels."""
    with_channel = any(entry.channel is not None for entry in report.channels)
    columns = [0, 1, 2, 3, *([4] if with_channel else []), *([5] if report.labels else [])]
    rows = [[_HEADINGS[lang][column] for column in columns], ["---:"] * len(columns)]
    for index, (channel, segment) in enumerate(report.in_order(), 1):
        times = (segment.start_ms, segment.end_ms, segment.duration_ms)
        row = [str(index), *(f"{time / 1000:.3f}s" for time in times), str(channel), str(segment.label)]
        rows.append([row[column] for column in columns])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
