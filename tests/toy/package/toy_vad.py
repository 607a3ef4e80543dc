"""A plug-in for the service, made outside it: a model family, a segmenter and a format, each as small as can be.

The model hears loudness, in frames of 20 ms at 8 kHz, without torch. The segmenter takes runs of frames over a level.
The format is a line for each segment.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field

from app.formats.registry import Format, RenderContext, Renderer
from app.formats.report import Report
from app.registry import Plugin
from app.vad.blocks import Block, Scored
from app.vad.grid import Grid
from app.vad.models.family import DType, KnownModel, ModelSpec, Weights
from app.vad.models.hub import ModelHub, ModelPlace
from app.vad.posteriors import Posteriors
from app.vad.segment import Event, Segment, SpeechEnd, SpeechStart
from app.vad.segmenters.options import SegmenterOptions
from app.vad.segmenters.registry import SegmenterKind


class ToyScorer:
    """A `Scorer`: the root of a frame's mean square, up to 1, is its speech probability."""

    grid = Grid(sample_rate=8_000, frame_samples=160, shift_samples=160, pads_last=True)
    tile_frames = 100

    def score(self, blocks: Sequence[Block[float]]) -> list[Scored[float]]:
        return [self._score(block) for block in blocks]

    def new_pool(self, capacity: int) -> None:
        return None

    def _score(self, block: Block[float]) -> Scored[float]:
        """The state is the loudest frame so far: something for the next block to go on from."""
        frames = self.grid.frames(len(block.samples), final=block.final)
        padded = np.zeros(frames * 160, np.float32)
        padded[: len(block.samples)] = block.samples
        square = np.square(padded.reshape(-1, 160)).mean(axis=1)
        loudness = np.minimum(1, 10 * np.sqrt(square)).astype(np.float32)
        loudest = max(block.state or 0.0, float(loudness.max(initial=0)))
        decibel = (10 * np.log10(square * 160 + 1e-6)).astype(np.float32)
        return Scored(Posteriors(loudness, decibel), None if block.final else loudest)


class ToyFamily:
    """A `ModelFamily`."""

    name = "toy"
    default_mode = "runs"
    known = (KnownModel("toy", "toy", "Loudness", "CC0", 8_000, autoload=True),)

    def recognises(self, directory: Path) -> bool:
        return False

    def find(self, spec: ModelSpec, hub: ModelHub) -> ModelPlace:
        return ModelPlace(Path(__file__), "toy", "1.0", "package")

    def read(self, place: ModelPlace, *, fingerprint: str | None = None) -> Weights:
        return Weights(place, "0" * 64, None, {"runs": {"level": 0.25}, "tight": {"threshold": 0.3}})

    def place(self, weights: Weights, *, device: str, dtype: DType) -> ToyScorer:
        return ToyScorer()

    def files(self, place: ModelPlace) -> Sequence[Path]:
        return ()


class RunsOptions(SegmenterOptions):
    """Of `mode=runs`."""

    mode: ClassVar[str] = "runs"
    level: float = Field(0.5, ge=0, le=1, description="Frames of at least this probability are speech.")


class Runs:
    """A `Segmenter`: a segment is a run of frames over the level."""

    def __init__(self, options: RunsOptions, grid: Grid) -> None:
        self._level, self._frame_ms = options.level, grid.frame_ms
        self.reset()

    def reset(self) -> None:
        self._frame, self._start = 0, -1

    def accept(self, posteriors: Posteriors, *, final: bool) -> list[Event]:
        events: list[Event] = []
        for probability in posteriors.speech.tolist():
            if probability >= self._level and self._start < 0:
                self._start = self._frame
                events.append(SpeechStart(self._frame * self._frame_ms, (self._frame + 1) * self._frame_ms))
            elif probability < self._level and self._start >= 0:
                events.append(self._end())
            self._frame += 1
        if final and self._start >= 0:
            events.append(self._end())
        return events

    def _end(self) -> SpeechEnd:
        segment = Segment(self._start * self._frame_ms, self._frame * self._frame_ms, False, 1.0)
        self._start = -1
        return SpeechEnd(segment, segment.end_ms)


class LinesRenderer(Renderer):
    """`format=lines`."""

    def __init__(self, context: RenderContext) -> None: ...

    def finish(self, report: Report) -> Iterator[bytes]:
        for _, segment in report.in_order():
            yield f"{segment.start_ms} to {segment.end_ms}\n".encode()


PLUGIN = Plugin(
    families=[ToyFamily()],
    segmenters=[SegmenterKind(RunsOptions, Runs, "Runs of loud frames.")],
    formats=[Format("lines", "text/x-lines; charset=utf-8", "lines.txt", LinesRenderer, ("text/x-lines",))],
)
