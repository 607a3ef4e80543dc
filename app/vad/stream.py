"""One stream of audio: samples in, speech events out.

The law, whatever the options: any cutting of the audio into chunks gives the same segments as feeding it whole.

A stream walks three steps: *cut* the samples into a block, *score* the block, *commit* what scoring gave. Scoring is
pure, so `accept_waveform` and `flush` may take all three at once, and whoever scores many streams together, or many
blocks of one stream side by side, takes them one by one. Cutting and committing must then be in order; scoring need not
be when the blocks are isolated, and of a chained stream at most one block may be under way.

A model made of models has a block for each member (`cut_blocks`, `commit_scores`); a single model is its own only one.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from app.vad.blocks import Block, BlockCutter, Scored
from app.vad.grid import Grid
from app.vad.models.fusion import Mixer, common_grid
from app.vad.posteriors import NO_POSTERIORS, FloatArray, Posteriors, Segmenter, adjust, final_ms
from app.vad.segment import Event
from app.vad.segmenters.options import SegmenterOptions
from app.vad.windows import WindowCutter, WindowMixer

NO_SAMPLES: FloatArray = np.zeros(0, dtype=np.float32)


class ScoresBlocks(Protocol):
    """As much of a `Scorer` as a stream needs."""

    @property
    def grid(self) -> Grid:
        """How frames lie over samples."""
        ...

    def score(self, blocks: Sequence[Block[Any]]) -> Sequence[Scored[Any]]:
        """What each block gives."""
        ...


class Stream(ABC):
    """All that changes while one stream is detected; weights are the scorers'."""

    isolated: bool
    """Whether its blocks may be scored out of order."""

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter
        self._samples = 0
        self.posteriors: Posteriors = NO_POSTERIORS
        """What the last commit handed to the segmenter."""

    @property
    @abstractmethod
    def members(self) -> "Sequence[VadStream]":
        """The streams of single models that this consists of."""

    @abstractmethod
    def reset(self) -> None:
        """Forget everything: the next sample is the first of a new stream."""

    @abstractmethod
    def cut_blocks(self, samples: FloatArray, *, final: bool = False) -> list[Block[Any] | None]:
        """Step 1: each member's block that `samples` complete, or None where they complete none."""

    @abstractmethod
    def commit_scores(self, scored: Sequence[Scored[Any] | None], *, final: bool) -> list[Event]:
        """Step 3: take over what scoring each member's block gave, and return the events that it decides.

        `scored`: None where `cut_blocks` gave no block. `final`: as given to `cut_blocks`.
        """

    def accept_waveform(self, samples: FloatArray) -> list[Event]:
        """Events that `samples` decide: float32 [n] at the model's rate, in [-1, 1]; any n, 0 included."""
        return self._run(samples, final=False)

    def flush(self) -> list[Event]:
        """The last events: the stream has ended. Call `reset` before feeding it again."""
        return self._run(NO_SAMPLES, final=True)

    def use_options(self, options: SegmenterOptions) -> None:
        """Decide the frames of the next commit, and all after them, by these options of the same mode. Raises
        `InvalidOption` for a segmenter that cannot change."""
        adjust(self._segmenter, options)

    @property
    def final_ms(self) -> int:
        """No segment that has not been given out whole begins before this."""
        return final_ms(self._segmenter)

    def _run(self, samples: FloatArray, *, final: bool) -> list[Event]:
        blocks = self.cut_blocks(samples, final=final)
        scored = [
            None if block is None else member.score(block) for member, block in zip(self.members, blocks, strict=True)
        ]
        return self.commit_scores(scored, final=final)


class VadStream(Stream):
    """A stream of a single model."""

    def __init__(
        self, scorer: ScoresBlocks, new_segmenter: Callable[[Grid], Segmenter], *, isolated: bool = False
    ) -> None:
        """`new_segmenter`: makes the segmenter for posteriors on a grid. `isolated`: blocks may be scored out of order
        (see `app.vad.blocks`), if the scorer's memory allows it."""
        super().__init__(new_segmenter(scorer.grid))
        self.isolated = isolated and scorer.grid.warm_up_frames is not None
        self.state: Any = None
        """What the next block starts from; a pool may move it elsewhere, and says so here."""
        self._scorer = scorer
        self._begin()

    @property
    def members(self) -> "Sequence[VadStream]":
        """Itself."""
        return (self,)

    def reset(self) -> None:
        """As `Stream`."""
        self._segmenter.reset()
        self.state = None
        self._samples = 0
        self._begin()

    def _begin(self) -> None:
        grid = self._scorer.grid
        self._windows = None if grid.windows is None else WindowCutter(grid.windows, grid.span(1))
        self._mixer = None if grid.windows is None else WindowMixer(grid.windows)
        self._cutter = BlockCutter(grid, isolated=self.isolated)

    def cut(self, samples: FloatArray, *, final: bool = False) -> Block[Any] | None:
        """Step 1, for a single model."""
        self._samples += len(samples)
        if self._windows is not None:
            return self._windows.cut(samples, final=final)
        return self._cutter.cut(samples, final=final, state=self.state)

    def score(self, block: Block[Any]) -> Scored[Any]:
        """Step 2, for a block alone."""
        return self._scorer.score([block])[0]

    def commit(self, scored: Scored[Any] | None, *, final: bool) -> list[Event]:
        """Step 3, for a single model."""
        posteriors = NO_POSTERIORS
        if scored is not None:
            posteriors = scored.posteriors
            self.state = scored.state
        if self._mixer is not None:
            posteriors = self._mixer.accept(posteriors, self._samples, final=final)
        if final:
            posteriors = replace(posteriors, short_ms=short_of_frames(self._scorer.grid, self._samples))
        self.posteriors = posteriors
        return self._segmenter.accept(posteriors, final=final)

    def cut_blocks(self, samples: FloatArray, *, final: bool = False) -> list[Block[Any] | None]:
        """As `Stream`."""
        return [self.cut(samples, final=final)]

    def commit_scores(self, scored: Sequence[Scored[Any] | None], *, final: bool) -> list[Event]:
        """As `Stream`."""
        return self.commit(scored[0], final=final)


class Resampler(Protocol):
    """From the rate of a sum to that of a member; float32 [n, 1]."""

    def process(self, block: FloatArray) -> FloatArray: ...
    def flush(self) -> FloatArray: ...


class FusedStream(Stream):
    """A stream of a model made of models: its members get the same samples, are scored apart, and meet before the
    segmenter. Samples come at the rate of the common grid."""

    def __init__(
        self,
        scorers: Sequence[ScoresBlocks],
        new_segmenter: Callable[[Grid], Segmenter],
        new_resampler: Callable[[int, int], Resampler],
        weights: Sequence[int] | None = None,
    ) -> None:
        """`new_resampler`: from and to Hz. `weights`: how often each member counts; None: all alike. The members'
        blocks are chained: they have to keep in step."""
        self._grids = [scorer.grid for scorer in scorers]
        self._grid = common_grid(self._grids)
        super().__init__(new_segmenter(self._grid))
        self.isolated = False
        self._members = [VadStream(scorer, lambda grid: _NoSegmenter()) for scorer in scorers]
        self._mixer = Mixer(self._grids, weights or [1] * len(scorers))
        self._new_resampler = new_resampler
        self._resamplers = self._new_resamplers()

    @property
    def members(self) -> Sequence[VadStream]:
        """As `Stream`."""
        return self._members

    def reset(self) -> None:
        """As `Stream`."""
        self._segmenter.reset()
        self._mixer.reset()
        for member in self._members:
            member.reset()
        self._samples = 0
        self._resamplers = self._new_resamplers()

    def cut_blocks(self, samples: FloatArray, *, final: bool = False) -> list[Block[Any] | None]:
        """As `Stream`."""
        self._samples += len(samples)
        blocks = []
        for member, resampler in zip(self._members, self._resamplers, strict=True):
            at_rate = samples
            if resampler is not None:
                pieces = [resampler.process(samples[:, None]), *([resampler.flush()] if final else [])]
                at_rate = np.concatenate(pieces)[:, 0]
            blocks.append(member.cut(at_rate, final=final))
        return blocks

    def commit_scores(self, scored: Sequence[Scored[Any] | None], *, final: bool) -> list[Event]:
        """As `Stream`."""
        for member, each in zip(self._members, scored, strict=True):
            member.commit(each, final=final)
        total = self._grid.frames(self._samples, final=True) if final else None
        mean = self._mixer.accept([member.posteriors for member in self._members], total=total)
        self.posteriors = replace(mean, short_ms=short_of_frames(self._grid, self._samples)) if final else mean
        return self._segmenter.accept(self.posteriors, final=final)

    def mix(self, posteriors: Sequence[Posteriors], samples: int) -> Posteriors:
        """A whole audio's posteriors, from those that its members gave for it elsewhere. `samples`: at the rate of the
        common grid. The stream must be a fresh one."""
        mean = self._mixer.accept(posteriors, total=self._grid.frames(samples, final=True))
        return replace(mean, short_ms=short_of_frames(self._grid, samples))

    def _new_resamplers(self) -> list[Resampler | None]:
        rate = self._grid.sample_rate
        return [
            None if grid.sample_rate == rate else self._new_resampler(rate, grid.sample_rate) for grid in self._grids
        ]


class _NoSegmenter:
    """For a member, whose posteriors are segmented together with the others'."""

    def accept(self, posteriors: Posteriors, *, final: bool) -> list[Event]:
        return []

    def reset(self) -> None: ...


def short_of_frames(grid: Grid, samples: int) -> float:
    """How much of the last frame's step lies after the end of so many samples, ms; below 0: how much lies after it."""
    return grid.frames(samples, final=True) * grid.frame_ms - samples * 1000 / grid.sample_rate
