"""Samples as files have them, in blocks, and a file's way through an engine."""

from collections.abc import Iterator

from app.engine.backend import Cost
from app.engine.walk import walk
from app.models import Model
from app.vad.errors import InvalidAudio
from app.vad.models.family import Scorer
from app.vad.posteriors import FloatArray
from app.vad.segment import Event, segments_of
from app.vad.segmenters.registry import Segmentation
from app.vad.stream import VadStream
from tests.segmentations import endpoint

Spans = list[tuple[int, int]]


class Source:
    """Rows of samples in blocks; says whether it was closed."""

    def __init__(self, samples: FloatArray, block: int = 32_000, fail_after: int | None = None) -> None:
        """`samples`: [n], or [rows, n]."""
        self._rows = samples if samples.ndim == 2 else samples[None]
        self._block, self._fail_after = block, fail_after
        self.closed = False
        self.read = 0

    def __iter__(self) -> Iterator[FloatArray]:
        for first in range(0, self._rows.shape[1], self._block):
            if self._fail_after is not None and self.read >= self._fail_after:
                raise InvalidAudio("damaged")
            self.read += 1
            yield self._rows[:, first : first + self._block]

    def close(self) -> None:
        self.closed = True


def spans(events: list[Event]) -> Spans:
    return [(segment.start_ms, segment.end_ms) for segment in segments_of(events)]


async def detect(
    model: Model, source: Source, segmentation: Segmentation | None = None, cost: Cost | None = None
) -> Spans:
    """A file's segments, all rows' in one list."""
    chosen = segmentation or endpoint()
    events: list[Event] = []
    async for found in walk(model.backends, source, lambda: model.new_stream(chosen, isolated=True), cost or Cost()):
        events += found.events
    return spans(events)


def expected(scorer: Scorer[object], samples: FloatArray, segmentation: Segmentation | None = None) -> Spans:
    """The same through a stream of its own, fed whole."""
    stream = VadStream(scorer, (segmentation or endpoint()).new_segmenter)
    return spans(stream.accept_waveform(samples) + stream.flush())
