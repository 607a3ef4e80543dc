"""The command line with a scorer that fails now and then: `python -m tests.soak.faulty serve`."""

import itertools

from app.cli import main
from app.vad.blocks import Block
from app.vad.models.fsmn.scorer import FsmnScorer
from app.vad.posteriors import FrameScores

FAIL_EVERY = 200

_score, _calls = FsmnScorer.score, itertools.count(1)


def _fail_now_and_then(self: FsmnScorer, blocks: list[Block]) -> list[FrameScores]:
    if next(_calls) % FAIL_EVERY == 0:
        raise RuntimeError("a fault that was put in")
    return _score(self, blocks)


if __name__ == "__main__":
    FsmnScorer.score = _fail_now_and_then  # type: ignore[method-assign]
    main()
