"""Formats that are plain text, written whole from a report: tables (CSV, Markdown), subtitles (SubRip, WebVTT) and
annotations for audio tools (Audacity labels, RTTM, Praat's TextGrid).

A file's name is a `safe_name`, without spaces, quotes or tabs. A label is one line of any text: each form writes what
would break out of its field in the way that the form has for it.
"""

import csv
import io
from typing import Any, Literal
from xml.sax.saxutils import escape

from app.formats.report import Report, SegmentTrack, track_name
from app.vad.segment import SPEECH

_HEADINGS = {
    "zh": ("片段序号", "开始时间", "结束时间", "时长", "声道", "类别"),
    "en": ("Segment", "Start", "End", "Duration", "Channel", "Label"),
}
_MIN_TEXTGRID_MS = 1
"""Praat knows no interval without length, even for a file of a few samples."""


def csv_text(report: Report) -> str:
    """Write one line a segment under a header line; `channel` is empty for the mix, `label` there if labels are."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(segment_columns(report))
    writer.writerows(segment_rows(report))
    return out.getvalue()


class Together:
    """Several files' answers as one text, for forms whose every line names its file. Each is given the next answer, and
    gives out as much of the text as is certain."""

    def add(self, name: str, text: str) -> str:
        """`name`: a `safe_name` that no other of the files has, and that the answer itself was written with."""
        return text

    def finish(self) -> str:
        return ""


class TogetherInOrder(Together):
    """Lines sorted over all files, as Kaldi wants them."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(self, name: str, text: str) -> str:
        self._lines += text.splitlines(keepends=True)
        return ""

    def finish(self) -> str:
        return "".join(sorted(self._lines))


class TogetherAsTable(Together):
    """One header line, and the file's name before each row. All answers have the same columns."""

    _header = ""

    def add(self, name: str, text: str) -> str:
        header, *rows = text.splitlines(keepends=True)
        begins, self._header = not self._header, header
        return (f"name,{header}" if begins else "") + "".join(f"{name},{row}" for row in rows)

    def finish(self) -> str:
        return "" if self._header else "name\n"


def segment_columns(report: Report) -> list[str]:
    columns = ["index", "start_ms", "end_ms", "duration_ms", "forced_end", "speech_probability", "channel"]
    return [*columns, "label"] if report.labels else columns


def segment_rows(report: Report) -> list[list[Any]]:
    """Return the values of `segment_columns` for each segment, by start."""
    rows = []
    for index, (channel, segment) in enumerate(report.in_order(), 1):
        row: list[Any] = [index, segment.start_ms, segment.end_ms, segment.duration_ms, str(segment.forced_end).lower()]
        row += [f"{segment.speech_probability:.4f}", "" if channel is None else channel]
        rows.append([*row, segment.label] if report.labels else row)
    return rows


def markdown_text(report: Report, lang: Literal["zh", "en"]) -> str:
    """Write a table in seconds, `0.820s`; it has columns for channel and label if there are any."""
    with_channel = any(entry.channel is not None for entry in report.channels)
    columns = [0, 1, 2, 3, *([4] if with_channel else []), *([5] if report.labels else [])]
    rows = [[_HEADINGS[lang][column] for column in columns], ["---:"] * len(columns)]
    for index, (channel, segment) in enumerate(report.in_order(), 1):
        times = (segment.start_ms, segment.end_ms, segment.duration_ms)
        row = [
            str(index),
            *(f"{time / 1000:.3f}s" for time in times),
            str(channel),
            str(segment.label).replace("|", "\\|"),
        ]
        rows.append([row[column] for column in columns])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def srt_text(report: Report) -> str:
    """Write SubRip: one numbered cue a segment, with times such as `00:01:02,345`."""
    cues = (
        f"{index}\n{_clock(segment.start_ms, ',')} --> {_clock(segment.end_ms, ',')}\n"
        f"{_cue_text(channel, segment.label).replace('-->', '->')}\n"
        for index, (channel, segment) in enumerate(report.in_order(), 1)
    )
    return "\n".join(cues)


def vtt_text(report: Report) -> str:
    """Write WebVTT: one numbered cue a segment, with times such as `00:01:02.345`."""
    cues = (
        f"\n{index}\n{_clock(segment.start_ms, '.')} --> {_clock(segment.end_ms, '.')}\n"
        f"{escape(_cue_text(channel, segment.label))}\n"
        for index, (channel, segment) in enumerate(report.in_order(), 1)
    )
    return "WEBVTT\n" + "".join(cues)


def audacity_text(report: Report) -> str:
    """Write Audacity's label track: start and end in seconds, and the label, with tabs between."""
    return "".join(
        f"{segment.start_ms / 1000:.6f}\t{segment.end_ms / 1000:.6f}\t{track_name(channel, segment.label)}\n"
        for channel, segment in report.in_order()
    )


def rttm_text(report: Report) -> str:
    """Write NIST's RTTM: one SPEAKER line a segment; its channels count from 1."""
    return "".join(
        f"SPEAKER {report.name} {1 if channel is None else channel + 1} {segment.start_ms / 1000:.3f} "
        f"{segment.duration_ms / 1000:.3f} <NA> <NA> {'_'.join(track_name(channel, segment.label).split())} <NA> <NA>\n"
        for channel, segment in report.in_order()
    )


def textgrid_text(report: Report) -> str:
    """Write Praat's long TextGrid: an interval tier for each channel and label.

    All tiers cover the whole duration, or up to the last segment where rounding puts its end behind the last sample.
    """
    end = max([_MIN_TEXTGRID_MS, report.audio.duration_ms, *(segment.end_ms for _, segment in report.in_order())])
    tracks = list(report.tracks())
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {_seconds(end)}"]
    lines += ["tiers? <exists>", f"size = {len(tracks)}", "item []:"]
    for number, track in enumerate(tracks, 1):
        intervals = _intervals(track, end)
        lines += [
            f"    item [{number}]:",
            '        class = "IntervalTier"',
            f"        name = {_quoted(track.name)}",
            "        xmin = 0",
            f"        xmax = {_seconds(end)}",
            f"        intervals: size = {len(intervals)}",
        ]
        for index, (start, stop, text) in enumerate(intervals, 1):
            lines += [
                f"        intervals [{index}]:",
                f"            xmin = {_seconds(start)}",
                f"            xmax = {_seconds(stop)}",
                f"            text = {_quoted(text)}",
            ]
    return "\n".join(lines) + "\n"


def _intervals(track: SegmentTrack, end: int) -> list[tuple[int, int, str]]:
    """Return (start, stop, text) without gaps over [0, end]; silence has no text."""
    intervals = []
    reached = 0
    for segment in track.segments:
        if segment.start_ms > reached:
            intervals.append((reached, segment.start_ms, ""))
        intervals.append((segment.start_ms, segment.end_ms, track.label or SPEECH))
        reached = segment.end_ms
    if reached < end or not intervals:
        intervals.append((reached, end, ""))
    return intervals


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _seconds(time_ms: int) -> str:
    return "0" if time_ms == 0 else f"{time_ms / 1000:.3f}".rstrip("0").rstrip(".")


def _clock(time_ms: int, separator: str) -> str:
    seconds, milliseconds = divmod(time_ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{separator}{milliseconds:03d}"


def _cue_text(channel: int | None, label: str | None) -> str:
    what = label or SPEECH
    return what if channel is None else f"{what} (channel {channel})"
