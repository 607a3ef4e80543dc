"""All formats, and which one an answer takes: by name, or by the `Accept` header.

A new format is a renderer in a file of its own, or a function among its like, and one line in `FORMATS`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from app.formats import pipeline, texts
from app.formats.documents import funasr_documents, json_document
from app.formats.excerpts import ChannelWavsRenderer, WavRenderer, ZipRenderer
from app.formats.ndjson import NdjsonRenderer
from app.formats.rendering import Format, document, joined, sorted_lines, text, text_in
from app.vad.errors import InvalidOption, NothingAcceptable

_MAX_RANGES = 32
"""No client sends more media ranges; the rest of a longer header is ignored."""
_WEIGHT = re.compile(r"q=(0(\.[0-9]{0,3})?|1(\.0{0,3})?)")
_UNWANTED = (0.0, -3)
"""Below every (weight, exactness) that a media range can have."""

FORMATS: tuple[Format, ...] = (
    Format("json", "application/json", "json", document(json_document), ("application/json",),
           entries=lambda report: [json_document(report)]),
    Format("ndjson", "application/x-ndjson", "ndjson", NdjsonRenderer, ("application/x-ndjson", "application/ndjson"),
           streams=True),
    Format("funasr", "application/json", "funasr.json", document(funasr_documents), entries=funasr_documents),
    Format("csv", "text/csv; charset=utf-8", "csv", text(texts.csv_text), ("text/csv",),
           together=texts.csv_of_several),
    Format("audacity", "text/plain; charset=utf-8", "labels.txt", text(texts.audacity_text), ("text/plain",)),
    Format("rttm", "text/x-rttm; charset=utf-8", "rttm", text(texts.rttm_text), ("text/x-rttm",),
           together=joined(texts.rttm_text)),
    Format("srt", "application/x-subrip; charset=utf-8", "srt", text(texts.srt_text), ("application/x-subrip",)),
    Format("vtt", "text/vtt; charset=utf-8", "vtt", text(texts.vtt_text), ("text/vtt",)),
    Format("textgrid", "text/x-textgrid; charset=utf-8", "TextGrid", text(texts.textgrid_text), ("text/x-textgrid",)),
    Format("clips", "application/json", "clips.json", document(pipeline.clip_timestamps),
           entries=lambda report: [pipeline.clip_timestamps(report)]),
    Format("whisperx", "application/json", "whisperx.json", document(pipeline.whisperx_chunks),
           entries=lambda report: [pipeline.whisperx_chunks(report)]),
    Format("kaldi", "text/plain; charset=utf-8", "segments", text(pipeline.kaldi_text),
           together=sorted_lines(pipeline.kaldi_text)),
    Format("lhotse", "application/x-ndjson", "supervisions.jsonl", text(pipeline.lhotse_lines),
           together=joined(pipeline.lhotse_lines)),
    Format("labelstudio", "application/json", "labelstudio.json", document(pipeline.labelstudio_tasks),
           entries=pipeline.labelstudio_tasks),
    Format("eaf", "application/xml; charset=utf-8", "eaf", text(pipeline.eaf_text)),
    Format("md", "text/markdown; charset=utf-8", "md", text_in(texts.markdown_text), ("text/markdown",)),
    Format("wav", "audio/wav", "speech.wav", WavRenderer, ("audio/wav", "audio/x-wav"), needs_audio=True,
           split=Format("wav", "application/zip", "speech.zip", ChannelWavsRenderer, needs_audio=True)),
    Format("zip", "application/zip", "zip", ZipRenderer, ("application/zip",), needs_audio=True),
)  # fmt: skip
"""In the order in which they are listed; the first one answers requests that ask for none."""


class Formats:
    """The formats that can be asked for; of two of one name the later is taken."""

    def __init__(self, formats: Sequence[Format] = FORMATS) -> None:
        self._formats = {form.name: form for form in formats}

    def __iter__(self) -> Iterator[Format]:
        return iter(self._formats.values())

    def __getitem__(self, name: str) -> Format:
        """Return the format of this name. Raises `InvalidOption`."""
        if name not in self._formats:
            raise InvalidOption("format", f"there is no such format; there are: {', '.join(self._formats)}")
        return self._formats[name]

    @property
    def names(self) -> list[str]:
        return list(self._formats)

    @property
    def for_several_files(self) -> list[str]:
        """Names of those that answer several files in one call."""
        return [form.name for form in self if form.takes_several]

    def choose(self, name: str | None, accept: str | None) -> Format:
        """Return the format of this name, else the best one that `accept` allows, else the first.

        Raises `InvalidOption` for an unknown name, `NothingAcceptable` if `accept` names types and none is here.
        """
        if name is not None:
            return self[name]
        if not accept or accept == "*/*":
            return next(iter(self))
        ranges = _media_ranges(accept)
        best = max(self, key=lambda form: _preference(form, ranges))
        if _preference(best, ranges) > _UNWANTED:
            return best
        if ranges:
            there = ", ".join(dict.fromkeys(media_type for form in self for media_type in form.accepted))
            raise NothingAcceptable(f"no answer is of the types in Accept; there are {there}; or name a format=")
        return next(iter(self))


def _preference(form: Format, ranges: Mapping[str, float]) -> tuple[float, int]:
    """Return (weight, exactness) of the most exact range that covers one of the form's types (RFC 9110, 12.5.1)."""
    found = []
    for media_type in form.accepted:
        covering = (media_type, f"{media_type.split('/')[0]}/*", "*/*")
        exact = next((at for at, covers in enumerate(covering) if covers in ranges), None)
        if exact is not None and ranges[covering[exact]] > 0:
            found.append((ranges[covering[exact]], -exact))
    return max(found, default=_UNWANTED)


def _media_ranges(accept: str) -> dict[str, float]:
    """Return the weight, 0 to 1, of each range in an Accept header; unreadable ones are left out."""
    ranges: dict[str, float] = {}
    for part in accept.split(",")[:_MAX_RANGES]:
        media_type, *parameters = (piece.strip().lower() for piece in part.split(";"))
        given = next((value for value in parameters if value.startswith("q=")), "q=1")
        if "/" in media_type and _WEIGHT.fullmatch(given):
            ranges.setdefault(media_type, float(given[2:]))
    return ranges
