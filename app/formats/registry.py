"""Which format an answer takes: by name, or by the `Accept` header."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from app.formats import annotations, subtitles, tables
from app.formats.report import Report
from app.vad.errors import InvalidOption

Lang = Literal["zh", "en"]
_MAX_RANGES = 32
_WEIGHT = re.compile(r"q=(0(\.[0-9]{0,3})?|1(\.0{0,3})?)")
_UNWANTED = (0.0, -3)


@dataclass(frozen=True, slots=True)
class Format:
    """One form of answer."""

    name: str
    media_type: str
    extension: str
    accepted: tuple[str, ...] = ()
    """Media types in `Accept` that choose it."""
    text: Callable[[Report, Lang], str] | None = None
    """Writes it whole; None for the structured, the streamed and the binary ones."""


def _plain(write: Callable[[Report], str]) -> Callable[[Report, Lang], str]:
    return lambda report, lang: write(report)


_ALL = (
    Format("json", "application/json", "json", ("application/json",)),
    Format("ndjson", "application/x-ndjson", "ndjson", ("application/x-ndjson", "application/ndjson")),
    Format("funasr", "application/json", "funasr.json"),
    Format("csv", "text/csv; charset=utf-8", "csv", ("text/csv",), _plain(tables.csv_text)),
    Format("audacity", "text/plain; charset=utf-8", "labels.txt", ("text/plain",), _plain(annotations.audacity_text)),
    Format("rttm", "text/x-rttm; charset=utf-8", "rttm", ("text/x-rttm",), _plain(annotations.rttm_text)),
    Format("srt", "application/x-subrip; charset=utf-8", "srt", ("application/x-subrip",), _plain(subtitles.srt_text)),
    Format("vtt", "text/vtt; charset=utf-8", "vtt", ("text/vtt",), _plain(subtitles.vtt_text)),
    Format(
        "textgrid", "text/x-textgrid; charset=utf-8", "TextGrid", ("text/x-textgrid",),
        _plain(annotations.textgrid_text),
    ),
    Format("md", "text/markdown; charset=utf-8", "md", ("text/markdown",), tables.markdown_text),
    Format("wav", "audio/wav", "speech.wav", ("audio/wav", "audio/x-wav")),
    Format("zip", "application/zip", "zip", ("application/zip",)),
)  # fmt: skip
FORMATS: Mapping[str, Format] = {form.name: form for form in _ALL}
"""By name, in the order they are told."""


def choose(name: str | None, accept: str | None) -> Format:
    """The format named, else the best that `accept` names, else JSON. Raises `InvalidOption` for an unknown name."""
    if name is not None:
        if name not in FORMATS:
            raise InvalidOption("format", f"there is no such format; there are: {', '.join(FORMATS)}")
        return FORMATS[name]
    ranges = _media_ranges(accept or "")
    best = max(_ALL, key=lambda form: _preference(form, ranges))
    return best if _preference(best, ranges) > _UNWANTED else FORMATS["json"]


def _preference(form: Format, ranges: Mapping[str, float]) -> tuple[float, int]:
    """(weight, exactness) of the most exact range that covers one of the form's types, as RFC 9110 has it."""
    found = []
    for media_type in form.accepted:
        covering = (media_type, f"{media_type.split('/')[0]}/*", "*/*")
        exact = next((at for at, covers in enumerate(covering) if covers in ranges), None)
        if exact is not None and ranges[covering[exact]] > 0:
            found.append((ranges[covering[exact]], -exact))
    return max(found, default=_UNWANTED)


def _media_ranges(accept: str) -> dict[str, float]:
    """Weight, 0 to 1, of each range in an Accept header; what cannot be read is as if it were not there."""
    ranges: dict[str, float] = {}
    for part in accept.split(",")[:_MAX_RANGES]:
        media_type, *parameters = (piece.strip().lower() for piece in part.split(";"))
        given = next((value for value in parameters if value.startswith("q=")), "q=1")
        if _WEIGHT.fullmatch(given):
            ranges.setdefault(media_type, float(given[2:]))
    return ranges
