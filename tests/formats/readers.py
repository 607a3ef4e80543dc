"""Public readers of each text format, brought to one shape: (start ms, end ms, label) of each segment."""

import csv
import io
import re
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import rttm_manager
import srt
import webvtt
from markdown_it import MarkdownIt
from praatio import textgrid as praat

# Audacity's manual: a line is start, tab, end, tab, label; times in seconds with a decimal point.
AUDACITY_LINE = re.compile(r"(\d+\.\d+)\t(\d+\.\d+)\t([^\t\r\n]+)")
Found = list[tuple[int, int, str]]


def ms(seconds: float) -> int:
    return round(seconds * 1000)


def read_csv(text: str) -> Found:
    rows = list(csv.DictReader(io.StringIO(text), strict=True))
    assert [row["index"] for row in rows] == [str(index) for index in range(1, len(rows) + 1)]
    assert all(int(row["end_ms"]) - int(row["start_ms"]) == int(row["duration_ms"]) for row in rows)
    return [(int(row["start_ms"]), int(row["end_ms"]), row["channel"]) for row in rows]


def read_audacity(text: str) -> Found:
    matches = [AUDACITY_LINE.fullmatch(line) for line in text.splitlines()]
    assert all(matches)
    return [(ms(float(match[1])), ms(float(match[2])), match[3]) for match in matches if match]


def read_srt(text: str) -> Found:
    cues = list(srt.parse(text))  # raises where anything between two cues is not understood
    assert [cue.index for cue in cues] == list(range(1, len(cues) + 1))
    unit = timedelta(milliseconds=1)
    return [(cue.start // unit, cue.end // unit, cue.content) for cue in cues]


def clock_ms(clock: str) -> int:
    hours, minutes, seconds = clock.split(":")
    return ms(int(hours) * 3600 + int(minutes) * 60 + float(seconds))


def read_vtt(text: str) -> Found:
    cues = webvtt.from_buffer(io.StringIO(text))
    assert [cue.identifier for cue in cues] == [str(index) for index in range(1, len(cues) + 1)]
    return [(clock_ms(cue.start), clock_ms(cue.end), cue.text) for cue in cues]


def read_markdown(text: str) -> Found:
    cells = [token.content for token in MarkdownIt().enable("table").parse(text) if token.type == "inline"]
    width = 5 if cells[4:5] in (["Channel"], ["声道"]) else 4
    rows = [cells[at : at + width] for at in range(width, len(cells), width)]
    assert all(ms(float(row[2][:-1])) - ms(float(row[1][:-1])) == ms(float(row[3][:-1])) for row in rows)
    return [(ms(float(row[1].rstrip("s"))), ms(float(row[2].rstrip("s"))), "".join(row[4:])) for row in rows]


def read_rttm(text: str) -> Found:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.rttm")
        path.write_text(text, "utf-8")
        turns = rttm_manager.import_rttm(str(path))
    assert {turn.type for turn in turns} <= {"SPEAKER"}
    return [(ms(turn.turn_onset), ms(turn.turn_onset + turn.turn_duration), turn.speaker_name) for turn in turns]


def open_textgrid(text: str) -> praat.Textgrid:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.TextGrid")
        path.write_text(text, "utf-8")
        return praat.openTextgrid(str(path), includeEmptyIntervals=True, reportingMode="error")


def read_textgrid(text: str) -> Found:
    tiers = open_textgrid(text).tiers
    found = [(ms(e.start), ms(e.end), tier.name) for tier in tiers for e in tier.entries if e.label == "speech"]
    return sorted(found, key=lambda item: (item[0], item[2]))


READERS: dict[str, Callable[[str], Found]] = {
    "csv": read_csv,
    "audacity": read_audacity,
    "rttm": read_rttm,
    "srt": read_srt,
    "vtt": read_vtt,
    "textgrid": read_textgrid,
    "md": read_markdown,
}
LABELS: dict[str, tuple[str, str]] = {
    "csv": ("", "{}"),
    "audacity": ("speech", "speech_ch{}"),
    "rttm": ("speech", "speech_ch{}"),
    "srt": ("speech", "speech (channel {})"),
    "vtt": ("speech", "speech (channel {})"),
    "textgrid": ("speech", "speech_ch{}"),
    "md": ("", "{}"),
}
"""What a segment is called: of the mix, and of a channel."""
