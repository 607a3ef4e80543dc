"""What a format is: a name, a media type, and a renderer that turns one detection into bytes.

A renderer is made for each answer. One that streams is given segments, chunks and progress while the detection runs;
every renderer is given the report in the end and writes the rest. Doors go by a format's flags, never by its name.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from app.formats.report import Report
from app.vad.chunks import Chunk
from app.vad.options import Options
from app.vad.segment import Segment

Lang = Literal["zh", "en"]
SourceBlocks = Callable[[], Iterable[NDArray[np.float32]]]
"""Begins a fresh pass over the decoded source: float32 [n, channels], at `excerpt_rate` if set."""


class ExcerptOptions(Options):
    """How `format=wav` and `format=zip` cut the audio."""

    silence: Literal["cut", "zero"] = Field(
        "cut",
        description="`format=wav`. `cut`: speech alone, piece after piece. `zero`: as long as the source, with zeros "
        "where nobody speaks.",
    )
    time_map: bool = Field(
        False,
        description="Tells where the WAV's time comes from: `X-VAD-Time-Map` (`start,source,duration;…`, ms) with "
        "`format=wav`, a column of the manifest with `format=zip`, `time_map` in `format=json`.",
    )
    excerpt_rate: int | None = Field(
        None,
        ge=8_000,
        le=48_000,
        description="Sample rate of `format=wav` and `format=zip`; without it the source's.",
        json_schema_extra={"unit": "Hz"},
    )
    excerpt_channels: int | None = Field(
        None, ge=1, le=1, description="1: the mean of the source's channels; without it all of them."
    )
    min_excerpt_s: float = Field(
        0.0,
        ge=0,
        le=600,
        allow_inf_nan=False,
        description="Shorter pieces are left out of `format=wav` and `format=zip`.",
        json_schema_extra={"unit": "s"},
    )


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
    together: Callable[[Sequence[Report]], str] | None = None
    """Several reports as one text. A format with neither `entries` nor `together` that needs no audio and does not
    stream answers several files with a zip of one file each."""

    @property
    def takes_several(self) -> bool:
        """Whether it answers several files in one call."""
        return not self.streams and not self.needs_audio


class _Text(Renderer):
    def __init__(self, write: Callable[[Report, Lang], str], lang: Lang) -> None:
        self._write, self._lang = write, lang

    def finish(self, report: Report) -> Iterator[bytes]:
        # An empty piece would end an answer that is sent in pieces.
        if text := self._write(report, self._lang):
            yield text.encode()


class _Json(Renderer):
    def __init__(self, document: Callable[[Report], Any], indent: int | None) -> None:
        self._document, self._indent = document, indent

    def finish(self, report: Report) -> Iterator[bytes]:
        yield json_bytes(self._document(report), self._indent)


def text(write: Callable[[Report], str]) -> Callable[[RenderContext], Renderer]:
    """Make the renderer of a text that is the same in every language."""
    return lambda context: _Text(lambda report, lang: write(report), context.lang)


def text_in(write: Callable[[Report, Lang], str]) -> Callable[[RenderContext], Renderer]:
    """Make the renderer of a text with words in the context's language."""
    return lambda context: _Text(write, context.lang)


def document(make: Callable[[Report], Any]) -> Callable[[RenderContext], Renderer]:
    """Make the renderer of a JSON document."""
    return lambda context: _Json(make, context.indent)


def json_bytes(value: Any, indent: int | None = None) -> bytes:
    separators = (",", ":") if indent is None else None
    return json.dumps(value, ensure_ascii=False, indent=indent, separators=separators).encode()


def joined(write: Callable[[Report], str]) -> Callable[[Sequence[Report]], str]:
    """Write several reports one after the other, for formats whose every line names its file."""
    return lambda reports: "".join(map(write, reports))


def sorted_lines(write: Callable[[Report], str]) -> Callable[[Sequence[Report]], str]:
    """Write several reports as `joined` does, with all lines sorted."""
    return lambda reports: "".join(sorted(line for each in reports for line in write(each).splitlines(keepends=True)))
