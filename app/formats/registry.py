"""Which format an answer takes: by name, or by the `Accept` header."""

import re
from collections.abc import Iterator, Mapping, Sequence

from app.formats import annotations, pipeline, subtitles, tables
from app.formats.channel_wavs import ChannelWavsRenderer
from app.formats.excerpts import WavRenderer, ZipRenderer
from app.formats.ndjson import NdjsonRenderer
from app.formats.rendering import Format, document, joined, sorted_lines, text, text_in
from app.formats.structured import funasr_documents, json_document
from app.vad.errors import InvalidOption, NothingAcceptable

_MAX_RANGES = 32
"""More media ranges than any client sends; the rest of a longer header is not read."""
_WEIGHT = re.compile(r"q=(0(\.[0-9]{0,3})?|1(\.0{0,3})?)")
_UNWANTED = (0.0, -3)
"""Below any weight that a media range can have, and less specific than any."""

FORMATS: tuple[Format, ...] = (
    Format("json", "application/json", "json", document(json_document), ("application/json",), element=json_document),
    Format(
        "ndjson", "application/x-ndjson", "ndjson", NdjsonRenderer, ("application/x-ndjson", "application/ndjson"),
        streams=True,
    ),
    Format(
        "funasr", "application/json", "funasr.json", document(funasr_documents),
        element=lambda report: funasr_documents(report)[0],
    ),
    Format("csv", "text/csv; charset=utf-8", "csv", text(tables.csv_text), ("text/csv",),
           together=tables.csv_of_several),
    Format("audacity", "text/plain; charset=utf-8", "labels.txt", text(annotations.audacity_text), ("text/plain",)),
    Format("rttm", "text/x-rttm; charset=utf-8", "rttm", text(annotations.rttm_text), ("text/x-rttm",),
           together=joined(annotations.rttm_text)),
    Format("srt", "application/x-subrip; charset=utf-8", "srt", text(subtitles.srt_text), ("application/x-subrip",)),
    Format("vtt", "text/vtt; charset=utf-8", "vtt", text(subtitles.vtt_text), ("text/vtt",)),
    Format(
        "textgrid", "text/x-textgrid; charset=utf-8", "TextGrid", text(annotations.textgrid_text),
        ("text/x-textgrid",),
    ),
    Format("clips", "application/json", "clips.json", document(pipeline.clip_timestamps),
           element=pipeline.clip_timestamps),
    Format("whisperx", "application/json", "whisperx.json", document(pipeline.whisperx_chunks),
           element=pipeline.whisperx_chunks),
    Format("kaldi", "text/plain; charset=utf-8", "segments", text(pipeline.kaldi_text),
           together=sorted_lines(pipeline.kaldi_text)),
    Format("lhotse", "application/x-ndjson", "supervisions.jsonl", text(pipeline.lhotse_lines),
           together=joined(pipeline.lhotse_lines)),
    Format("labelstudio", "application/json", "labelstudio.json", document(pipeline.labelstudio_task),
           element=lambda report: pipeline.labelstudio_task(report)[0]),
    Format("eaf", "application/xml; charset=utf-8", "eaf", text(pipeline.eaf_text)),
    Format("md", "text/markdown; charset=utf-8", "md", text_in(tables.markdown_text), ("text/markdown",)),
    Format("wav", "audio/wav", "speech.wav", WavRenderer, ("audio/wav", "audio/x-wav"), needs_audio=True,
           split=Format("wav", "application/zip", "speech.zip", ChannelWavsRenderer, needs_audio=True)),
    Format("zip", "application/zip", "zip", ZipRenderer, ("application/zip",), needs_audio=True),
)  # fmt: skip
"""In the order they are told; the first one answers where none is asked for."""


class Formats:
    """Every form of answer there is."""

    def __init__(self, formats: Sequence[Format] = FORMATS) -> None:
        self._formats = {form.name: form for form in formats}

    def __iter__(self) -> Iterator[Format]:
        return iter(self._formats.values())

    def __getitem__(self, name: str) -> Format:
        """One of them. Raises `InvalidOption`."""
        if name not in self._formats:
            raise InvalidOption("format", f"there is no such format; there are: {', '.join(self._formats)}")
        return self._formats[name]

    @property
    def names(self) -> list[str]:
        """Names of all formats, in the order they are told."""
        return list(self._formats)

    @property
    def for_several_files(self) -> list[str]:
        """Those that answer several files at once."""
        return [form.name for form in self if form.takes_several]

    def choose(self, name: str | None, accept: str | None) -> Format:
        """The format named, else the best that `accept` names, else the first. Raises `InvalidOption` for an unknown
        name, `NothingAcceptable` where `accept` names types and none of them is here."""
        if name is not None:
            return self[name]
        ranges = _media_ranges(accept or "")
        best = max(self, key=lambda form: _preference(form, ranges))
        if _preference(best, ranges) > _UNWANTED:
            return best
        if ranges:
            there = ", ".join(dict.fromkeys(media_type for form in self for media_type in form.accepted))
            raise NothingAcceptable(f"no answer is of the types in Accept; there are {there}; or name a format=")
        return next(iter(self))


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
        if "/" in media_type and _WEIGHT.fullmatch(given):
            ranges.setdefault(media_type, float(given[2:]))
    return ranges
