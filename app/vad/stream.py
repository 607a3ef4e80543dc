"""One stream of audio: samples in, speech events out.

The law, whatever the options: any cutting of the audio into chunks gives the same segments as feeding it whole.

A stream walks three steps: *cut* the samples into a block, *score* the block, *segment* the scores. `accept_waveform`
and `flush` take all three at once. Who scores many streams together, or many blocks of one stream side by side, takes
them one by one; cutting and segmenting must then be in order, scoring need not be when the blocks are isolated.
"""

from typing import Any

import numpy as np

from app.vad.blocks import BankedState, Block, BlockCutter, BlockScorer, FrameGrid
from app.vad.posteriors import FloatArray, FrameScores, Segmenter
from app.vad.segment import Event
from app.vad.segmenters.endpoint import EndPointer
from app.vad.segmenters.hysteresis import Hysteresis
from app.vad.segmenters.options import FRAME_MS, VadOptions
from app.vad.segmenters.regrid import OnTenMs

NO_SAMPLES: FloatArray = np.zeros(0, dtype=np.float32)


def new_segmenter(options: VadOptions, grid: FrameGrid) -> Segmenter:
    """The segmenter that `options.mode` asks for, for scores on `grid`."""
    if options.mode == "tight":
        return Hysteresis(options, frame_ms=grid.frame_ms, cut_in_longest_silence=grid.cuts_in_longest_silence)
    machine = EndPointer(options)
    return machine if grid.frame_ms == FRAME_MS else OnTenMs(machine, grid.frame_ms)


class VadStream:
    """All that changes while one stream is detected; weights are the scorer's."""

    def __init__(
        self, scorer: BlockScorer, options: VadOptions, *, isolated: bool = False, state: BankedState | None = None
    ) -> None:
        """`isolated`: blocks may be scored out of order (see `app.vad.blocks`), if the scorer's memory allows it.
        `state`: the stream's room in a bank, for one that is scored together with others."""
        self.isolated = isolated and scorer.grid.warm_up_frames is not None
        self._scorer, self._state = scorer, state
        self._segmenter = new_segmenter(options, scorer.grid)
        self._new_cutter()

    def accept_waveform(self, samples: FloatArray) -> list[Event]:
        """Events that `samples` decide: float32 [n] at the scorer's rate, in [-1, 1]; any n, 0 included."""
        return self._run(self.cut(samples))

    def flush(self) -> list[Event]:
        """The last events: the stream has ended. Call `reset` before feeding it again."""
        return self._run(self.cut(NO_SAMPLES, final=True))

    def reset(self) -> None:
        """Forget everything: the next sample is the first of a new stream."""
        self._segmenter.reset()
        self._new_cutter()

    def cut(self, samples: FloatArray, *, final: bool = False) -> Block | None:
        """Step 1: the block that `samples` complete, or None while they complete none."""
        return self._cutter.cut(samples, final=final)

    def segment(self, scores: FrameScores, *, final: bool) -> list[Event]:
        """Step 3: events that a block's scores decide; `final` as in the block."""
        return self._segmenter.accept(scores, final=final)

    def _run(self, block: Block | None) -> list[Event]:
        if block is None:
            return []
        return self.segment(self._scorer.score([block])[0], final=block.final)

    def _new_cutter(self) -> None:
        self._cutter = BlockCutter(self._scorer.grid, None if self.isolated else self._new_state())

    def _new_state(self) -> Any:
        return self._scorer.new_state() if self._state is None else self._state.restart()
