"""Long silence is scored once, where a model's memory has an end: the answer is that of scoring all of it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from app.engine import backend
from app.engine.backend import Cost
from app.engine.engine import Engine
from app.engine.walk import walk
from app.vad.blocks import Block, Scored
from app.vad.models.family import Scorer
from app.vad.models.firered.family import FireredFamily
from app.vad.models.hub import ModelPlace
from app.vad.posteriors import Posteriors, join_posteriors
from tests.engine.sources import Source
from tests.engines import ScorerAround, loaded, model_on
from tests.segmentations import endpoint, tight
from tests.signals import bursts
from tests.silero import new_scorer
from tests.small_firered import write_small_firered

RATE = 16_000
PAUSE_S = 60
SPEECH = bursts(6.0, [(1.0, 2.0), (3.5, 5.2)])
SAMPLES = np.concatenate([SPEECH, np.zeros(PAUSE_S * RATE, np.float32), SPEECH[:-5_321]])


class Counting(ScorerAround):
    """Counts blocks."""

    def __init__(self, scorer: Scorer[Any]) -> None:
        super().__init__(scorer, self._count)
        self.blocks = 0

    def _count(self, blocks: Sequence[Block[Any]]) -> Sequence[Scored[Any]]:
        self.blocks += len(blocks)
        return self.inner.score(blocks)


async def walked(scorer: Scorer[Any], *, isolated: bool, batch: int = 1) -> tuple[Posteriors, list[Any], int]:
    """Posteriors and events of the whole, and how many blocks were scored for them."""
    counting = Counting(scorer)
    model = model_on(Engine(workers=2), loaded(counting, batch=batch))
    parts, events = [], list[Any]()
    source = Source(SAMPLES, RATE)
    segmentation = endpoint() if scorer.grid.frame_ms == 10 else tight()
    async for found in walk(model.backends, source, lambda: model.new_stream(segmentation, isolated=isolated), Cost()):
        parts.append(found.posteriors)
        events += found.events
    model.backend.engine.close()
    return join_posteriors(parts), events, counting.blocks


@pytest.fixture(scope="module")
def scorers(small_scorer: Scorer[Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    def firered(ahead: int) -> Scorer[Any]:
        folder = write_small_firered(tmp_path_factory.mktemp("firered"), ahead=ahead)
        weights = FireredFamily().read(ModelPlace(folder, "firered", None, "directory"))
        return FireredFamily().place(weights, device="cpu", dtype="float32")

    return {"fsmn": lambda: small_scorer, "firered": lambda: firered(3), "firered-stream": lambda: firered(0)}


def assert_equal(found: Posteriors, expected: Posteriors) -> None:
    """To the last bit."""
    np.testing.assert_array_equal(found.values, expected.values)
    np.testing.assert_array_equal(found.decibel, expected.decibel)
    assert found.short_ms == expected.short_ms


@pytest.mark.parametrize("isolated", [True, False], ids=["side by side", "one after the other"])
@pytest.mark.parametrize("name", ["fsmn", "firered", "firered-stream"])
async def test_a_pause_is_scored_once(
    name: str, scorers: dict[str, Any], monkeypatch: pytest.MonkeyPatch, *, isolated: bool
) -> None:
    scorer = scorers[name]()
    posteriors, events, blocks = await walked(scorer, isolated=isolated)
    with monkeypatch.context() as patch:
        patch.setattr(backend, "_is_silent", lambda samples: False)
        plain, plain_events, all_blocks = await walked(scorer, isolated=isolated)
    assert_equal(posteriors, plain)
    assert events == plain_events
    assert all_blocks >= 70
    assert blocks < 24, "what is left is sound, and silence until it has settled"


async def test_a_batch_is_filled_with_sound_alone(scorers: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    posteriors, events, blocks = await walked(scorers["fsmn"](), isolated=True, batch=4)
    with monkeypatch.context() as patch:
        patch.setattr(backend, "_is_silent", lambda samples: False)
        plain, plain_events, _ = await walked(scorers["fsmn"](), isolated=True, batch=4)
    assert_equal(posteriors, plain)
    assert events == plain_events
    assert blocks < 24


async def test_a_memory_without_an_end_is_scored_throughout() -> None:
    """Silero's state never settles."""
    pytest.importorskip("silero_vad", reason="the package silero-vad is not installed")
    _, _, blocks = await walked(new_scorer("silero"), isolated=True)
    assert blocks >= 70


async def test_states_of_any_kind_are_compared() -> None:
    """Those of other people's scorers are what they like."""
    memory, silence = backend.SilenceMemory(), np.zeros(RATE, np.float32)
    scored = Scored(Posteriors(np.zeros(3, np.float32), np.zeros(3, np.float32)), 1.0)
    memory.add(Block(silence, 0, False, 0.5), scored)
    assert memory.find(Block(silence, 0, False, 0.5)) is scored
    assert memory.find(Block(silence, 0, False, 0.25)) is None
    assert memory.find(Block(silence, 0, True, 0.5)) is None
    assert memory.find(Block(silence, 1, False, 0.5)) is None
    memory.add(Block(silence, 0, False, np.ones(3)), scored)
    assert memory.find(Block(silence, 0, False, np.ones(3))) is None
