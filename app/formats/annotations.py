"""Annotations for audio tools: Audacity labels, RTTM, Praat's TextGrid."""

from app.formats.report import Report, Track, track_name
from app.vad.segment import SPEECH

_MIN_TEXTGRID_MS = 1
"""Praat knows no interval without length, even for a file of a few samples."""


def audacity_text(report: Report) -> str:
    """Audacity's label track: start, end (s), label, with tabs between."""
    return "".join(
        f"{segment.start_ms / 1000:.6f}\t{segment.end_ms / 1000:.6f}\t{track_name(channel, segment.label)}\n"
        for channel, segment in report.in_order()
    )


def rttm_text(report: Report) -> str:
    """NIST's RTTM, one SPEAKER line a segment; the channel counts from 1."""
    return "".join(
        f"SPEAKER {report.name} {1 if channel is None else channel + 1} {segment.start_ms / 1000:.3f} "
        f"{segment.duration_ms / 1000:.3f} <NA> <NA> {track_name(channel, segment.label)} <NA> <NA>\n"
        for channel, segment in report.in_order()
    )


def textgrid_text(report: Report) -> str:
    """Praat's long TextGrid: an interval tier for each channel and label; all cover the whole duration, and speech
    beyond it."""
    end = max([_MIN_TEXTGRID_MS, report.audio.duration_ms, *(segment.end_ms for _, segment in report.in_order())])
    tracks = list(report.tracks())
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {_seconds(end)}"]
    lines += ["tiers? <exists>", f"size = {len(tracks)}", "item []:"]
    for number, track in enumerate(tracks, 1):
        lines += _tier(number, track, end)
    return "\n".join(lines) + "\n"


def _tier(number: int, track: Track, end: int) -> list[str]:
    intervals = _intervals(track, end)
    lines = [
        f"    item [{number}]:",
        '        class = "IntervalTier"',
        f'        name = "{track.name}"',
        "        xmin = 0",
        f"        xmax = {_seconds(end)}",
        f"        intervals: size = {len(intervals)}",
    ]
    for index, (start, stop, text) in enumerate(intervals, 1):
        lines += [
            f"        intervals [{index}]:",
            f"            xmin = {_seconds(start)}",
            f"            xmax = {_seconds(stop)}",
            f'            text = "{text}"',
        ]
    return lines


def _intervals(track: Track, end: int) -> list[tuple[int, int, str]]:
    """(start, stop, text) without gaps over [0, end]; silence has no text."""
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


def _seconds(time_ms: int) -> str:
    return "0" if time_ms == 0 else f"{time_ms / 1000:.3f}".rstrip("0").rstrip(".")
