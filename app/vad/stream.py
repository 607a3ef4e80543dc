"""One stream of audio: samples in, speech events out.

The law, whatever the options: any cutting of the audio into chunks gives the same segments as feeding it whole.

A stream walks three steps: *cut* the samples into a block, *score* the block, *commit* what scoring gave. Scoring is
pure, so `accept_waveform` and `flush` may take all three at once, and whoever scores many streams together, or many
blocks of one stream side by side, takes them one by one. Cutting and committing must then be in order; scoring need not
be when the blocks are isolated, and of a chained stream at most one block may be under way.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from app.vad.blocks import Block, BlockCutter, Scored
from app.vad.grid import Grid
from app.vad.models.fusion import Mixer, common_grid
from app.vad.posteriors import NO_POSTERIORS, FloatArray, Posteriors, Segmenter, adjust, settled_ms
from app.vad.segment import Event
from app.vad.segmenters.options import SegmenterOptions

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


class VadStream:
    """All that changes while one stream is detected; weights are the scorer's."""

    def __init__(
        self, scorer: ScoresBlocks, new_segmenter: Callable[[Grid], Segmenter], *, isolated: bool = False
    ) -> None:
        """`new_segmenter`: makes the segmenter for posteriors on a grid. `isolated`: blocks may be scored out of order
        (see `app.vad.blocks`), if the scorer's memory allows it."""
        self.isolated = isolated and scorer.grid.warm_up_frames is not None
        self._scorer = scorer
        self._samples = 0
        self._segmenter = new_segmenter(scorer.grid)
        self.state: Any = None
        """What the next block starts from; a pool may move it elsewhere, and says so here."""
        self.heard: Posteriors = NO_POSTERIORS
        """What the last commit handed to the segmenter."""
        self._cutter = BlockCutter(scorer.grid, isolated=self.isolated)

    def accept_waveform(self, samples: FloatArray) -> list[Event]:
        """Events that `samples` decide: float32 [n] at the scorer's rate, in [-1, 1]; any n, 0 included."""
        return self._run(self.cut(samples))

    def flush(self) -> list[Event]:
        """The last events: the stream has ended. Call `reset` before feeding it again."""
        return self._run(self.cut(NO_SAMPLES, final=True))

    def reset(self) -> None:
        """Forget everything: the next sample is the first of a new stream."""
        self._segmenter.reset()
        self.state = None
        self._samples = 0
        self._cutter = BlockCutter(self._scorer.grid, isolated=self.isolated)

    def cut(self, samples: FloatArray, *, final: bool = False) -> Block[Any] | None:
        """Step 1: the block that `samples` complete, or None while they complete none."""
        self._samples += len(samples)
        return self._cutter.cut(samples, final=final, state=self.state)

    def commit(self, scored: Scored[Any] | None, *, final: bool) -> list[Event]:
        """Step 3: take over what scoring a block gave, and tell the events that it decides.

        `scored`: None where `cut` gave no block. `final`: as given to `cut`.
        """
        posteriors: Posteriors = NO_POSTERIORS
        if scored is not None:
            posteriors = scored.posteriors
            self.state = scored.state
        self.heard = replace(posteriors, short_ms=self._short_ms()) if final else posteriors
        return self._segmenter.accept(self.heard, final=final)

    def use_options(self, options: SegmenterOptions) -> None:
        """Decide the frames of the next `commit`, and all after them, by these options of the same mode. Raises
        `InvalidOption` for a segmenter that cannot change."""
        adjust(self._segmenter, options)

    @property
    def settled_ms(self) -> int:
        """No segment that has not been given out whole begins before this."""
        return settled_ms(self._segmenter)

    # The same for one member of many: what walks files and live streams need not know which of both it has.

    @property
    def members(self) -> "list[VadStream]":
        """The streams of single models, of which this consists."""
        return [self]

    def cut_blocks(self, samples: FloatArray, *, final: bool = False) -> list[Block[Any] | None]:
        """Step 1 for every member."""
        return [self.cut(samples, final=final)]

    def commit_scores(self, found: Sequence[Scored[Any] | None], *, final: bool) -> list[Event]:
        """Step 3 with what every member's block gave."""
        return self.commit(found[0], final=final)

    def _short_ms(self) -> float:
        return short_of_frames(self._scorer.grid, self._samples)

    def score(self, block: Block[Any]) -> Scored[Any]:
        """Step 2, for a block alone."""
        return self._scorer.score([block])[0]

    def _run(self, block: Block[Any] | None) -> list[Event]:
        return [] if block is None else self.commit(self.score(block), final=block.final)


class Resampler(Protocol):
    """From the rate of a sum to that of a member; float32 [n, 1]."""

    def process(self, block: FloatArray) -> FloatArray: ...
    def flush(self) -> FloatArray: ...


class FusedStream:
    """A stream of a model made of models: its members hear the same samples, are scored apart, and meet before the
    segmenter. Otherwise as `VadStream`."""

    def __init__(
        self,
        scorers: Sequence[ScoresBlocks],
        new_segmenter: Callable[[Grid], Segmenter],
        new_resampler: Callable[[int, int], Resampler],
    ) -> None:
        """`new_resampler`: from and to Hz. The members' blocks are chained: they have to keep in step."""
        self.isolated = False
        self.members = [VadStream(scorer, lambda grid: _NoSegmenter()) for scorer in scorers]
        grids = [scorer.grid for scorer in scorers]
        self._grids, self._grid = grids, common_grid(grids)
        self._mixer = Mixer(grids)
        self._segmenter = new_segmenter(self._grid)
        self._new_resampler = new_resampler
        self.heard: Posteriors = NO_POSTERIORS
        self._begin()

    def reset(self) -> None:
        """Forget everything: the next sample is the first of a new stream."""
        self._segmenter.reset()
        self._mixer.reset()
        for member in self.members:
            member.reset()
        self._begin()

    def use_options(self, options: SegmenterOptions) -> None:
        """Go on with other options from the next frame on, as `VadStream.use_options`."""
        adjust(self._segmenter, options)

    @property
    def settled_ms(self) -> int:
        """How far no later sample can change what was said, ms (`VadStream.settled_ms`)."""
        return settled_ms(self._segmenter)

    def accept_waveform(self, samples: FloatArray) -> list[Event]:
        """As `VadStream.accept_waveform`, at the rate of the common grid."""
        return self._run(samples, final=False)

    def flush(self) -> list[Event]:
        """Events that the end of the utterance decides, as `VadStream.flush`."""
        return self._run(NO_SAMPLES, final=True)

    def cut_blocks(self, samples: FloatArray, *, final: bool = False) -> list[Block[Any] | None]:
        """Step 1 for every member."""
        self._samples += len(samples)
        return [
            member.cut(self._at_rate(resampler, samples, final=final), final=final)
            for member, resampler in zip(self.members, self._resamplers, strict=True)
        ]

    def commit_scores(self, found: Sequence[Scored[Any] | None], *, final: bool) -> list[Event]:
        """Step 3 with what every member's block gave."""
        for member, scored in zip(self.members, found, strict=True):
            member.commit(scored, final=final)
        total = self._grid.frames(self._samples, final=True) if final else None
        mean = self._mixer.accept([member.heard for member in self.members], total=total)
        self.heard = replace(mean, short_ms=short_of_frames(self._grid, self._samples)) if final else mean
        return self._segmenter.accept(self.heard, final=final)

    def _begin(self) -> None:
        self._samples = 0
        rate = self._grid.sample_rate
        self._resamplers = [
            None if grid.sample_rate == rate else self._new_resampler(rate, grid.sample_rate) for grid in self._grids
        ]

    def _at_rate(self, resampler: Resampler | None, samples: FloatArray, *, final: bool) -> FloatArray:
        if resampler is None:
            return samples
        found = resampler.process(samples[:, None])
        return (np.concatenate((found, resampler.flush())) if final else found)[:, 0]

    def _run(self, samples: FloatArray, *, final: bool) -> list[Event]:
        blocks = self.cut_blocks(samples, final=final)
        found = [
            None if block is None else member.score(block) for member, block in zip(self.members, blocks, strict=True)
        ]
        return self.commit_scores(found, final=final)


class _NoSegmenter:
    """For a member, whose posteriors are segmented together with the others'."""

    def accept(self, posteriors: Posteriors, *, final: bool) -> list[Event]:
        return []

    def reset(self) -> None: ...


Stream = VadStream | FusedStream


def short_of_frames(grid: Grid, samples: int) -> float:
    """How much of the last frame's step lies after the end of so many samples, ms; below 0: how much lies after it."""
    return grid.frames(samples, final=True) * grid.frame_ms - samples * 1000 / grid.sample_rate
