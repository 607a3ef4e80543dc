"""Subtitles: SubRip and WebVTT, one numbered cue a segment."""

from app.formats.report import Report
from app.vad.segment import SPEECH


def srt_text(report: Report) -> str:
    """SubRip, with times such as `00:01:02,345`."""
    cues = (
        f"{index}\n{_clock(segment.start_ms, ',')} --> {_clock(segment.end_ms, ',')}\n{_text(channel, segment.label)}\n"
        for index, (channel, segment) in enumerate(report.in_order(), 1)
    )
    return "\n".join(cues)


def vtt_text(report: Report) -> str:
    """WebVTT, with times such as `00:01:02.345`."""
    cues = (
        f"\n{index}\n{_clock(segment.start_ms, '.')} --> {_clock(segment.end_ms, '.')}\n"
        f"{_text(channel, segment.label)}\n"
        for index, (channel, segment) in enumerate(report.in_order(), 1)
    )
    return "WEBVTT\n" + "".join(cues)


def _clock(time_ms: int, separator: str) -> str:
    seconds, milliseconds = divmod(time_ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{separator}{milliseconds:03d}"


def _text(channel: int | None, label: str | None) -> str:
    what = label or SPEECH
    return what if channel is None else f"{what} (channel {channel})"
