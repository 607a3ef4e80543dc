"""Kept analyses: a file's posteriors, for a short time, so that other options need no second upload.

Bounded in number, bytes and time; the least recently used goes first. Whoever made one can use it, nobody else.
"""

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from app.formats.report import ChannelSegments, Report, Timing, forced_cuts
from app.serving import Model
from app.vad.chunks import Chunk, new_chunker
from app.vad.errors import VadError
from app.vad.posteriors import Posteriors
from app.vad.segment import Segment, segments_of
from app.vad.segmenters.registry import Segmentation


class NoSuchAnalysis(VadError):
    """There is none of this id, or not any more."""

    code = "no_such_analysis"


@dataclass(frozen=True, slots=True)
class Analysis:
    """One file's posteriors and first report, kept so that other options can be tried without a second upload."""

    report: Report
    """As first answered."""
    rows: tuple[tuple[int | None, Posteriors], ...]
    """(channel, posteriors)."""
    model: Model
    """That gave them."""

    @property
    def size_bytes(self) -> int:
        """Memory that the posteriors take."""
        return sum(posteriors.nbytes for _, posteriors in self.rows)

    def segment(self, segmentation: Segmentation, request_id: str, identifier: str) -> Report:
        """The report that these options would have given. Pure computation, ~0.2 s an hour of audio."""
        started = time.perf_counter()
        channels = tuple(self._channel(channel, posteriors, segmentation) for channel, posteriors in self.rows)
        took = round((time.perf_counter() - started) * 1000)
        return replace(
            self.report,
            request_id=request_id,
            channels=channels,
            options=segmentation.document(),
            extras={"analysis_id": identifier},
            # What is odd about the audio stays so; which segments were cut does not.
            warnings=(*(each for each in self.report.warnings if each.code != "forced_cuts"), *forced_cuts(channels)),
            timing=Timing(queue_ms=0, decode_ms=0, inference_ms=0, total_ms=took),
        )

    def _channel(self, channel: int | None, posteriors: Posteriors, segmentation: Segmentation) -> ChannelSegments:
        grid = self.model.grid
        found = segments_of(segmentation.new_segmenter(grid).accept(posteriors, final=True))
        ratios = {
            label: round(float(np.mean(posteriors.column(index).speech >= segmentation.threshold(label))), 3)
            for index, label in enumerate(grid.labels)
            if len(posteriors)
        }
        in_order = tuple(sorted(found, key=lambda segment: segment.start_ms))
        chunks = self._chunks(in_order, posteriors, segmentation)
        return ChannelSegments(channel, in_order, ratios=ratios if grid.labels else None, chunks=chunks)

    def _chunks(
        self, segments: tuple[Segment, ...], posteriors: Posteriors, segmentation: Segmentation
    ) -> tuple[Chunk, ...] | None:
        chunker = new_chunker(segmentation.chunks, self.model.grid.frame_ms)
        if chunker is None:
            return None
        spoken = [segment for segment in segments if segment.is_speech]
        decided = chunker.accept(spoken, posteriors.speech, settled_ms=0)
        return (*decided, *chunker.finish(self.report.audio.duration_ms))

    def curve(self, start_ms: int, end_ms: int, points: int) -> "Curve":
        """Speech probability (mean over channels and frames) and amplitude of a stretch, in `points` steps or fewer."""
        grid = self.model.grid
        stretch = slice(start_ms // grid.frame_ms, -(-end_ms // grid.frame_ms))
        speech = np.mean([posteriors.take(stretch).speech for _, posteriors in self.rows], axis=0)
        level = np.max([posteriors.decibel[stretch] for _, posteriors in self.rows], axis=0)
        # The root of the mean square, times a sine's ratio of peak to that.
        amplitude = np.sqrt(10.0 ** (level / 10) / grid.frame_samples * 2)
        return Curve(
            probabilities=np.round(_steps(speech, points, np.mean), 4).tolist(),
            peaks=np.round(np.minimum(1.0, _steps(amplitude, points, np.max)), 4).tolist(),
        )


@dataclass(frozen=True, slots=True)
class Curve:
    """What a picture of an analysis needs; both lists are of equal length."""

    probabilities: list[float]
    peaks: list[float]


def _steps(
    values: NDArray[np.float32], points: int, reduce: Callable[[NDArray[np.float32]], np.floating]
) -> NDArray[np.float64]:
    if len(values) <= points:
        return values.astype(np.float64)
    return np.array([reduce(part) for part in np.array_split(values, points)], dtype=np.float64)


class AnalysisStore:
    """To be used from the event loop alone."""

    def __init__(
        self, max_count: int, max_bytes: int, ttl_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_count, self._max_bytes, self._ttl_s, self._clock = max_count, max_bytes, ttl_s, clock
        self._kept: OrderedDict[str, tuple[str, float, Analysis]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def size_bytes(self) -> int:
        """Memory that all posteriors take."""
        return sum(analysis.size_bytes for _, _, analysis in self._kept.values())

    def keep(self, analysis: Analysis, owner: str) -> str | None:
        """The new analysis's id, or None when it alone is larger than all may be."""
        if analysis.size_bytes > self._max_bytes:
            return None
        self._drop_old()
        identifier = secrets.token_urlsafe(16)
        self._kept[identifier] = (owner, self._clock() + self._ttl_s, analysis)
        while len(self._kept) > self._max_count or self.size_bytes > self._max_bytes:
            self._kept.popitem(last=False)
        return identifier

    def get(self, identifier: str, owner: str) -> Analysis:
        """The analysis; its time begins anew. Raises `NoSuchAnalysis`, for somebody else's too."""
        self._drop_old()
        entry = self._kept.get(identifier)
        if entry is None or entry[0] != owner:
            raise NoSuchAnalysis("there is no such analysis, or not any more; please send the file again")
        self._kept[identifier] = (owner, self._clock() + self._ttl_s, entry[2])
        self._kept.move_to_end(identifier)
        return entry[2]

    def _drop_old(self) -> None:
        now = self._clock()
        for identifier in [key for key, (_, until, _) in self._kept.items() if until <= now]:
            del self._kept[identifier]
