"""What a format is, which there are, and which one an answer takes: by name, or by the `Accept` header.

A format has a name, a media type, and a renderer that turns one detection into bytes. A renderer is made for each
answer. One that streams is given segments, chunks and progress while the detection runs; every renderer is given the
report in the end and writes the rest. Doors go by a format's flags, never by its name.

A new format is a renderer, or a function among its like, and one line in `FORMATS`.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from app.formats import pipeline, texts
from app.formats.documents import ChunkDocument, SegmentDocument, funasr_documents, json_document
from app.formats.excerpts import (
    ExcerptOptions,
    SourceBlocks,
    clock_headers,
    stream_channel_wavs,
    stream_wav,
    stream_zip,
    wav_headers,
)
from app.formats.report import Piece, Report
from app.vad.chunks import Chunk
from app.vad.errors import InvalidOption, NothingAcceptable
from app.vad.segment import Segment

Lang = Literal["zh", "en"]
_WriteExcerpts = Callable[[Report, SourceBlocks, ExcerptOptions], Iterator[bytes]]
_ExcerptHeaders = Callable[[Report, ExcerptOptions], dict[str, str]]
_MAX_RANGES = 32
"""No client sends more media ranges; the rest of a longer header is ignored."""
_WEIGHT = re.compile(r"q=(0(\.[0-9]{0,3})?|1(\.0{0,3})?)")
_UNWANTED = (0.0, -3)
"""Below every (weight, exactness) that a media range can have."""


@dataclass(frozen=True, slots=True)
class RenderContext:
    """What renderers may use beside the report."""

    lang: Lang = "zh"
    blocks: SourceBlocks = lambda: ()
    """For formats that need the audio."""
    excerpts: ExcerptOptions = field(default_factory=ExcerptOptions)
    """For the same formats."""
    indent: int | None = None
    """Spaces that JSON is indented by, for people who read it at a terminal; None: compact."""


class Renderer:
    """Base of the renderers: writes nothing before the report."""

    def segment(self, segment: Segment, channel: int | None) -> bytes:
        """Write a segment, the moment it is complete."""
        return b""

    def chunk(self, chunk: Chunk, channel: int | None) -> bytes:
        """Write a chunk, the moment nothing can change it; the segments in it have been written."""
        return b""

    def progress(self, done_ms: int, expected_ms: int | None) -> bytes:
        """Write how much audio is done; `expected_ms` is the length by the file's header, if it has one."""
        return b""

    def finish(self, report: Report) -> Iterator[bytes]:
        """Write the answer, or what is left of it, in pieces that are not empty.

        Raises `InvalidOption` before the first piece if the format cannot hold the report.
        """
        raise NotImplementedError

    def headers(self, report: Report) -> dict[str, str]:
        """Return headers that say what the format has no room for."""
        return {}

    def failed(self, problem: Mapping[str, Any]) -> bytes:
        """Write what went wrong after pieces had been given; the last piece."""
        return b""


HEADING = "==> {} <==\n"
"""As `head` and `tail` print it."""


@dataclass(frozen=True, slots=True)
class Format:
    """One form of answer."""

    name: str
    media_type: str
    extension: str
    new: Callable[[RenderContext], Renderer]
    accepted: tuple[str, ...] = ()
    """Media types in `Accept` that choose it."""
    streams: bool = False
    """Whether pieces are given out while the detection runs."""
    needs_audio: bool = False
    """Whether the source is decoded again for it."""
    split: "Format | None" = None
    """What takes its place with `channel=split`, if it can hold only one channel."""
    entries: Callable[[Report], Sequence[Any]] | None = None
    """A report's entries in the one JSON array that answers several files. Formats whose own answer is an array of
    independent entries give all of them; others give one. None for formats that are not JSON."""
    together: Callable[[], texts.Together] | None = None
    """Makes one text of several files' answers. A format with neither `entries` nor `together` that needs no audio and
    does not stream answers several files with a zip of one file each."""
    heading: str = HEADING
    """What stands before a file's answer where several follow one another on a screen, with the file's name."""

    @property
    def takes_several(self) -> bool:
        """Whether it answers several files in one call."""
        return not self.streams and not self.needs_audio


class _Text(Renderer):
    def __init__(self, write: Callable[[Report], str]) -> None:
        self._write = write

    def finish(self, report: Report) -> Iterator[bytes]:
        # An empty piece would end an answer that is sent in pieces.
        if text := self._write(report):
            yield text.encode()


class _Json(Renderer):
    def __init__(self, document: Callable[[Report], Any], indent: int | None) -> None:
        self._document, self._indent = document, indent

    def finish(self, report: Report) -> Iterator[bytes]:
        yield json_bytes(self._document(report), self._indent)


class _Excerpts(Renderer):
    def __init__(self, context: RenderContext, write: _WriteExcerpts, headers: _ExcerptHeaders) -> None:
        self._blocks, self._options = context.blocks, context.excerpts
        self._write, self._headers = write, headers

    def finish(self, report: Report) -> Iterator[bytes]:
        return self._write(report, self._blocks, self._options)

    def headers(self, report: Report) -> dict[str, str]:
        return self._headers(report, self._options)


class NdjsonRenderer(Renderer):
    """Newline-delimited JSON, written while the detection runs: a line the moment something is known.

    Lines have a `type`: `segment`, `chunk`, `progress`, then one `summary`; or an `error` in its place. A chunk comes
    after the last segment in it. Segments and chunks are numbered in the order they are found: with several channels,
    not quite by start.
    """

    def __init__(self, context: RenderContext) -> None:
        self._count = 0
        self._spoken: dict[int | None, list[int]] = {}  # by channel, the numbers of segments that chunks may hold
        self._chunks: dict[int | None, int] = {}  # by channel, how many chunks have been written

    def segment(self, segment: Segment, channel: int | None) -> bytes:
        self._count += 1
        if segment.is_speech:
            self._spoken.setdefault(channel, []).append(self._count)
        return _line("segment", SegmentDocument.numbered(self._count, segment, channel).dump())

    def chunk(self, chunk: Chunk, channel: int | None) -> bytes:
        index = sum(self._chunks.values()) + 1
        self._chunks[channel] = self._chunks.get(channel, 0) + 1
        numbers = tuple(self._spoken[channel][place] for place in chunk.segments)
        piece = Piece(index, channel, chunk.start_ms, chunk.end_ms, numbers)
        return _line("chunk", ChunkDocument.of(piece).dump())

    def progress(self, done_ms: int, expected_ms: int | None) -> bytes:
        return _line("progress", {"done_ms": done_ms, "expected_ms": expected_ms})

    def finish(self, report: Report) -> Iterator[bytes]:
        """Write segments and chunks that have not been written yet, then the JSON document without them."""
        if self._count == 0:
            yield from (self.segment(segment, channel) for channel, segment in report.in_order())
        for entry in report.channels:
            for chunk in (entry.chunks or ())[self._chunks.get(entry.channel, 0) :]:
                yield self.chunk(chunk, entry.channel)
        document = json_document(report)
        document["segment_count"] = len(document.pop("segments"))
        if "chunks" in document:
            document["chunk_count"] = len(document.pop("chunks"))
        yield _line("summary", document)

    def failed(self, problem: Mapping[str, Any]) -> bytes:
        """Write the problem document as the last line; its own `type` makes room for the line's."""
        return _line("error", {name: value for name, value in problem.items() if name != "type"})


def _line(kind: str, members: Mapping[str, Any]) -> bytes:
    return json_bytes({"type": kind, **members}) + b"\n"


_COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def json_bytes(value: Any, indent: int | None = None) -> bytes:
    encoder = _COMPACT if indent is None else json.JSONEncoder(ensure_ascii=False, indent=indent)
    return encoder.encode(value).encode()


def _text(write: Callable[[Report], str]) -> Callable[[RenderContext], Renderer]:
    return lambda context: _Text(write)


def _document(make: Callable[[Report], Any]) -> Callable[[RenderContext], Renderer]:
    return lambda context: _Json(make, context.indent)


def _excerpts(write: _WriteExcerpts, headers: _ExcerptHeaders) -> Callable[[RenderContext], Renderer]:
    return lambda context: _Excerpts(context, write, headers)


FORMATS: tuple[Format, ...] = (
    Format("json", "application/json", "json", _document(json_document), ("application/json",),
           entries=lambda report: [json_document(report)]),
    Format("ndjson", "application/x-ndjson", "ndjson", NdjsonRenderer, ("application/x-ndjson", "application/ndjson"),
           streams=True),
    Format("funasr", "application/json", "funasr.json", _document(funasr_documents), entries=funasr_documents),
    Format("csv", "text/csv; charset=utf-8", "csv", _text(texts.csv_text), ("text/csv",),
           together=texts.TogetherAsTable),
    Format("audacity", "text/plain; charset=utf-8", "labels.txt", _text(texts.audacity_text), ("text/plain",)),
    Format("rttm", "text/x-rttm; charset=utf-8", "rttm", _text(texts.rttm_text), ("text/x-rttm",),
           together=texts.Together),
    Format("srt", "application/x-subrip; charset=utf-8", "srt", _text(texts.srt_text), ("application/x-subrip",)),
    Format("vtt", "text/vtt; charset=utf-8", "vtt", _text(texts.vtt_text), ("text/vtt",)),
    Format("textgrid", "text/x-textgrid; charset=utf-8", "TextGrid", _text(texts.textgrid_text), ("text/x-textgrid",)),
    Format("clips", "application/json", "clips.json", _document(pipeline.clip_timestamps),
           entries=lambda report: [pipeline.clip_timestamps(report)]),
    Format("whisperx", "application/json", "whisperx.json", _document(pipeline.whisperx_chunks),
           entries=lambda report: [pipeline.whisperx_chunks(report)]),
    Format("kaldi", "text/plain; charset=utf-8", "segments", _text(pipeline.kaldi_text),
           together=texts.TogetherInOrder),
    Format("lhotse", "application/x-ndjson", "supervisions.jsonl", _text(pipeline.lhotse_lines),
           together=texts.Together),
    Format("labelstudio", "application/json", "labelstudio.json", _document(pipeline.labelstudio_tasks),
           entries=pipeline.labelstudio_tasks),
    Format("eaf", "application/xml; charset=utf-8", "eaf", _text(pipeline.eaf_text)),
    Format("md", "text/markdown; charset=utf-8", "md",
           lambda context: _Text(lambda report: texts.markdown_text(report, context.lang)), ("text/markdown",),
           heading="## {}\n\n"),
    Format("wav", "audio/wav", "speech.wav",
           _excerpts(lambda report, blocks, options: stream_wav(report, blocks(), options), wav_headers),
           ("audio/wav", "audio/x-wav"), needs_audio=True,
           split=Format("wav", "application/zip", "speech.zip", _excerpts(stream_channel_wavs, clock_headers),
                        needs_audio=True)),
    Format("zip", "application/zip", "zip", _excerpts(stream_zip, clock_headers), ("application/zip",),
           needs_audio=True),
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
            raise NothingAcceptable(f"no format matches the types in Accept; there are {there}; or set format=")
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
