"""What a format is: a name, a media type, and a renderer that turns one detection into bytes.

A renderer is made for each answer. One that streams is told of segments and progress while the detection runs; every
one is told the report in the end, and gives the rest. So the doors know what a format needs (its flags), not which one
it is.
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
"""Begins a fresh pass over the decoded source, at the rate of the excerpts: float32 [n, channels]."""


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
class Answering:
    """What renderers may use beside the report."""

    lang: Lang = "zh"
    blocks: SourceBlocks = lambda: ()
    """Given to formats that need the audio."""
    excerpts: ExcerptOptions = field(default_factory=ExcerptOptions)
    """For the same."""
    indent: int | None = None
    """For people who read JSON at a terminal."""


class Renderer:
    """Base: nothing is told before the report."""

    def segment(self, segment: Segment, channel: int | None) -> bytes:
        """Bytes for a segment, the moment it is complete."""
        return b""

    def chunk(self, chunk: Chunk, channel: int | None) -> bytes:
        """A chunk, complete, after the segments in it."""
        return b""

    def progress(self, done_ms: int, expected_ms: int | None) -> bytes:
        """How much audio has been looked at; `expected_ms` is what the file's header says, if it says."""
        return b""

    def finish(self, report: Report) -> Iterator[bytes]:
        """The answer, or what is left of it. Raises `InvalidOption` before the first piece."""
        raise NotImplementedError

    def headers(self, report: Report) -> dict[str, str]:
        """What the answer's head says beside the format."""
        return {}

    def failed(self, problem: Mapping[str, Any]) -> bytes:
        """What went wrong after pieces had been given; the last piece."""
        return b""


@dataclass(frozen=True, slots=True)
class Format:
    """One form of answer."""

    name: str
    media_type: str
    extension: str
    new: Callable[[Answering], Renderer]
    accepted: tuple[str, ...] = ()
    """Media types in `Accept` that choose it."""
    streams: bool = False
    """Whether pieces are given out while the detection runs."""
    needs_audio: bool = False
    """Whether the source is decoded again for it."""
    split: "Format | None" = None
    """What takes its place with `channel=split`, where it holds one channel."""
    element: Callable[[Report], Any] | None = None
    """A report's entry in the JSON array that answers several files; None for formats that are no JSON."""
    together: Callable[[Sequence[Report]], str] | None = None
    """Several reports as one text. Formats without it and without `element` that need no audio and do not stream answer
    several files with a zip of one each."""

    @property
    def takes_several(self) -> bool:
        """Whether it answers several files in one call."""
        return not self.streams and not self.needs_audio


class _Text(Renderer):
    def __init__(self, write: Callable[[Report, Lang], str], lang: Lang) -> None:
        self._write, self._lang = write, lang

    def finish(self, report: Report) -> Iterator[bytes]:
        yield self._write(report, self._lang).encode()


class _Json(Renderer):
    def __init__(self, document: Callable[[Report], Any], indent: int | None) -> None:
        self._document, self._indent = document, indent

    def finish(self, report: Report) -> Iterator[bytes]:
        yield json_bytes(self._document(report), self._indent)


def text(write: Callable[[Report], str]) -> Callable[[Answering], Renderer]:
    """The renderer of a format that is written whole, in any language."""
    return lambda answering: _Text(lambda report, lang: write(report), answering.lang)


def text_in(write: Callable[[Report, Lang], str]) -> Callable[[Answering], Renderer]:
    """The same for one that speaks a language."""
    return lambda answering: _Text(write, answering.lang)


def document(make: Callable[[Report], Any]) -> Callable[[Answering], Renderer]:
    """The renderer of a JSON document."""
    return lambda answering: _Json(make, answering.indent)


def json_bytes(value: Any, indent: int | None = None) -> bytes:
    """Compact, unless it is for people; UTF-8."""
    separators = (",", ":") if indent is None else None
    return json.dumps(value, ensure_ascii=False, indent=indent, separators=separators).encode()


def joined(write: Callable[[Report], str]) -> Callable[[Sequence[Report]], str]:
    """Several reports, one after the other: for formats whose every line says which file it is about."""
    return lambda reports: "".join(map(write, reports))


def sorted_lines(write: Callable[[Report], str]) -> Callable[[Sequence[Report]], str]:
    """The same for formats that want their lines sorted."""
    return lambda reports: "".join(sorted(line for each in reports for line in write(each).splitlines(keepends=True)))
