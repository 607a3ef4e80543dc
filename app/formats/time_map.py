"""Where an excerpt's time comes from: stretches (its own start, the source's start, length), in ms, in order, without
gaps in the excerpt's time.

Starts are those of samples, so they do not drift however many stretches there are.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from app.formats.rendering import ExcerptOptions
from app.formats.report import Piece, Report

AS_THEY_ARE = ExcerptOptions()
TIME_MAP, TIME_MAP_COUNT = "X-VAD-Time-Map", "X-VAD-Time-Map-Stretches"
"""Headers of the map, where it fits into one, and of how many stretches it has."""
CLOCK_MAP = "X-VAD-Clock-Map"
"""Header of how the source's two clocks lie, where they part."""


class Stretch(Protocol):
    """Of the source's time: a segment or a chunk."""

    @property
    def start_ms(self) -> int: ...

    @property
    def end_ms(self) -> int: ...

    @property
    def duration_ms(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Mapped:
    """A stretch of a time map; ms."""

    start_ms: float
    """In the WAV."""
    source_ms: float
    """The same moment in the source."""
    duration_ms: float


def kept(pieces: Iterable[Piece], options: ExcerptOptions) -> list[Piece]:
    """Those that are long enough."""
    return [piece for piece in pieces if is_kept(piece, options)]


def is_kept(stretch: Stretch, options: ExcerptOptions) -> bool:
    return stretch.duration_ms >= options.min_excerpt_s * 1000


def time_map(report: Report, options: ExcerptOptions = AS_THEY_ARE) -> list[Mapped]:
    """Of `format=wav` under these options."""
    if options.silence == "zero":
        return [Mapped(0.0, 0.0, float(report.audio.duration_ms))]
    rate = options.excerpt_rate or report.audio.sample_rate
    mapped, at = [], 0
    for piece in kept(report.pieces(), options):
        first, frames = piece.start_ms * rate // 1000, length(piece, rate)
        mapped.append(Mapped(ms_of(at, rate), ms_of(first, rate), ms_of(frames, rate)))
        at += frames
    return mapped


def ms_of(frames: int, rate: int) -> float:
    return round(frames * 1000 / rate, 3)


def with_time_map(report: Report, options: ExcerptOptions) -> Report:
    """With what its WAV would be made of, if that was asked for."""
    if not options.time_map or len(report.channels) > 1:
        return report  # no WAV holds several channels' speech
    mapped = [(each.start_ms, each.source_ms, each.duration_ms) for each in time_map(report, options)]
    return replace(report, extras={**report.extras, "time_map": mapped})


def length(stretch: Stretch, rate: int) -> int:
    """Samples of a stretch."""
    return stretch.end_ms * rate // 1000 - stretch.start_ms * rate // 1000
