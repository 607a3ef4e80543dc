"""The ladder of memory: whatever rung helps, for every family and type, no stream moves twice and none is lost.

A device that runs out of memory is rebuilt on the CPU by injection: its scorer fails by a rule before, in the middle
of, or after its work. What comes out must be what comes out without it.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from app.engine.backend import Cost
from app.engine.device import Ladder
from app.engine.engine import Engine
from app.observe import Observer
from app.vad.blocks import Block, Scored
from app.vad.errors import ModelNotFound
from app.vad.models.family import Scorer
from app.vad.models.fsmn.checkpoint import read_checkpoint
from app.vad.models.fsmn.family import FsmnFamily
from app.vad.models.fsmn.network import FsmnScorer
from app.vad.models.hub import ModelPlace
from app.vad.models.registry import FAMILIES, Catalogue
from app.vad.stream import VadStream
from tests import silero
from tests.engine.sources import Source, detect, expected, spans
from tests.engines import ScorerAround, loaded, model_on
from tests.segmentations import endpoint, tight
from tests.signals import bursts
from tests.small_firered import write_small_firered
from tests.small_pyannote import write_small_pyannote
from tests.voice import voice

SAMPLES = bursts(30.0, [(1, 3), (6, 9), (12, 22), (25, 25.4), (27, 30)])
Rule = Callable[[int, int], bool]
"""Whether the device is out of memory at a call, by its number and the size of its batch."""


class Rungs(Observer):
    """Remembers the rungs that were taken."""

    def __init__(self) -> None:
        self.taken: list[str] = []

    def rung_taken(self, action: str) -> None:
        self.taken.append(action)


class Device(ScorerAround):
    """Scores like the real one until asked to run out of memory; a part of the batch has been scored by then."""

    def __init__(self, inner: Scorer[Any], fails: Rule, *, halfway: bool = False) -> None:
        super().__init__(inner, self._score_or_fail)
        self._fails, self._halfway = fails, halfway
        self.calls = 0

    def _score_or_fail(self, blocks: Sequence[Block[Any]]) -> Sequence[Scored[Any]]:
        self.calls += 1
        if self._fails(self.calls, len(blocks)):
            if self._halfway:
                self.inner.score(blocks[: max(1, len(blocks) // 2)])
            raise torch.OutOfMemoryError("out of memory")
        return self.inner.score(blocks)


@lru_cache
def published(family: str, dtype: str) -> tuple[Scorer[Any], Scorer[Any]]:
    """A family's scorer in a type, and the one that stands in for it on the CPU."""
    place = _PLACES[family]
    found = Catalogue(FAMILIES).family(family)
    weights = found.read(place)
    return found.place(weights, device="cpu", dtype=dtype), found.place(weights, device="cpu", dtype="float32")  # type: ignore[arg-type]


_PLACES: dict[str, ModelPlace] = {}
FAMILY_TYPES = [
    ("fsmn", "float32"),
    ("fsmn", "bfloat16"),
    ("silero", "float32"),
    ("firered", "float32"),
    ("firered", "bfloat16"),
    ("pyannote", "float32"),
]


@pytest.fixture(scope="module", autouse=True)
def _places(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    _PLACES["fsmn"] = ModelPlace(small_model, "small", None, "directory")
    firered = write_small_firered(tmp_path_factory.mktemp("firered"))
    _PLACES["firered"] = ModelPlace(firered, "firered", None, "directory")
    pyannote = write_small_pyannote(tmp_path_factory.mktemp("pyannote"))
    _PLACES["pyannote"] = ModelPlace(pyannote, "pyannote", None, "directory")
    with contextlib.suppress(ModelNotFound):  # then its cases skip
        _PLACES["silero"] = silero.find("silero")


# pyannote's network has one size, and takes seconds for a case.
@pytest.fixture(
    params=[
        pytest.param(each, id="-".join(each), marks=[pytest.mark.full] if each[0] == "pyannote" else [])
        for each in FAMILY_TYPES
    ]
)
def pair(request: pytest.FixtureRequest) -> tuple[Scorer[Any], Scorer[Any]]:
    family, dtype = request.param
    if family not in _PLACES:
        pytest.skip("the package silero-vad is not installed")
    return published(family, dtype)


RULES: dict[str, tuple[Rule, set[str], bool]] = {
    "never": (lambda call, batch: False, set(), False),
    "once": (lambda call, batch: call == 1, {"free"}, False),
    "over two": (lambda call, batch: batch > 2, {"free", "halve"}, False),
    "all but single ones": (lambda call, batch: batch > 1, {"free", "halve"}, False),
    "the second half": (lambda call, batch: call in (1, 2, 4, 5), {"free", "halve"}, False),
    "always": (lambda call, batch: True, {"free", "halve", "cpu"}, True),
}


@pytest.mark.parametrize(
    ("rule", "halfway"),
    [
        pytest.param(rule, halfway, id=f"{'halfway' if halfway else 'before'}-{rule.replace(' ', '-')}")
        for halfway in (False, True)
        for rule in RULES
        if not (halfway and rule == "never")
    ],
)
def test_chained_streams_give_the_same_whatever_rung_helps(
    pair: tuple[Scorer[Any], Scorer[Any]], rule: str, halfway: bool, request: pytest.FixtureRequest
) -> None:
    """Eight live streams in batches, the device failing by the rule at every turn; a stream that moved on twice, or
    whose state stayed on another rung's device or type, would give other probabilities from then on."""
    scorer, cpu = pair
    fails, rungs, degrades = RULES[rule]
    sounds, right = undisturbed(scorer)
    rungs_taken = Rungs()
    device = Device(scorer, fails, halfway=halfway)
    ladder = Ladder(device, lambda: cpu, "cpu", rungs_taken)
    found = run_turns(sounds, scorer, ladder.score, device)
    # bfloat16 keeps three digits; where the CPU did the work instead, it was more exact than the device.
    exactness = 0.05 if "bfloat16" in request.node.name else 1e-5
    for mine, theirs in zip(found[0], right, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=exactness)
    assert set(rungs_taken.taken) == rungs
    assert found[1] == degrades


@lru_cache
def undisturbed(scorer: Scorer[Any]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """What eight streams hear, and their probabilities where nothing fails."""
    rate = scorer.grid.sample_rate
    sounds = [voice(1.6, [(0.2 + number / 20, 0.8), (1.0, 1.5 - number / 40)], rate) for number in range(8)]
    return sounds, run_turns(sounds, scorer, lambda blocks: (list(scorer.score(blocks)), False), None)[0]


def run_turns(
    sounds: list[np.ndarray],
    scorer: Scorer[Any],
    score: Callable[[Sequence[Block[Any]]], tuple[list[Scored[Any]], bool]],
    device: Device | None,
) -> tuple[list[np.ndarray], bool]:
    """Every stream's speech probabilities, and whether the CPU ever stood in."""
    streams = [VadStream(scorer, endpoint().new_segmenter) for _ in sounds]
    values_of: list[list[np.ndarray]] = [[] for _ in sounds]
    degraded = False
    step = scorer.grid.sample_rate // 5
    pool = scorer.new_pool(len(sounds))
    rows = [pool.open() for _ in sounds] if pool is not None else []
    for first in range(0, len(sounds[0]), step):
        if device is not None:
            device.calls = 0
        final = first + step >= len(sounds[0])
        blocks = [
            stream.cut(sound[first : first + step], final=final) for stream, sound in zip(streams, sounds, strict=True)
        ]
        if not any(blocks) and not final:
            continue  # pyannote's windows are long
        assert all(block is not None for block in blocks)
        found, on_cpu = score([block for block in blocks if block is not None])
        degraded |= on_cpu
        states = [scored.state for scored in found]
        if pool is not None and not final:
            states = list(pool.store(rows, states))
        for stream, scored, state, values in zip(streams, found, states, values_of, strict=True):
            stream.commit(Scored(scored.posteriors, state), final=final)
            values.append(scored.posteriors.speech)
    return [np.concatenate(values) for values in values_of], degraded


def test_rungs_are_taken_in_order(small_scorer: FsmnScorer) -> None:
    rungs_taken = Rungs()
    ladder = Ladder(Device(small_scorer, lambda call, batch: True), lambda: small_scorer, "cpu", rungs_taken)
    blocks = [Block(SAMPLES[i * 9_000 : i * 9_000 + 40_000], 0, False, None) for i in range(4)]
    found, degraded = ladder.score(blocks)
    assert rungs_taken.taken == ["free", "halve", "halve", "cpu", "cpu", "halve", "cpu", "cpu"]
    assert degraded
    for mine, right in zip(found, small_scorer.score(blocks), strict=True):
        np.testing.assert_allclose(mine.posteriors.values, right.posteriors.values, atol=1e-6)


def test_scoring_changes_nothing_that_it_was_given(pair: tuple[Scorer[Any], Scorer[Any]]) -> None:
    scorer, _ = pair
    stream = VadStream(scorer, endpoint().new_segmenter)
    # The first pieces that make a block; pyannote's windows are long.
    sound = np.tile(SAMPLES, 3)
    sizes = (16_000, 640_000)
    size = next(size for size in sizes if VadStream(scorer, endpoint().new_segmenter).cut(sound[:size]) is not None)
    first = stream.cut(sound[:size])
    assert first is not None
    stream.commit(scorer.score([first])[0], final=False)
    block = stream.cut(sound[size : size + max(24_000, size)])
    assert block is not None
    # Windows that stand alone carry no state.
    table = None if block.state is None else block.state.table.clone()
    once, again = scorer.score([block])[0], scorer.score([block])[0]
    np.testing.assert_array_equal(once.posteriors.values, again.posteriors.values)
    if table is not None:
        assert torch.equal(block.state.table, table)
        assert torch.equal(once.state.table, again.state.table)


def test_the_scorer_on_the_cpu_is_made_once(small_scorer: FsmnScorer) -> None:
    """By many threads that need it at the same moment."""
    made: list[int] = []
    gate = threading.Barrier(8)

    def make() -> FsmnScorer:
        made.append(1)
        return small_scorer

    ladder = Ladder(Device(small_scorer, lambda call, batch: True), make, "cpu")

    def score() -> None:
        gate.wait(20)
        ladder.score([Block(SAMPLES[:20_000], 0, True, None)])

    threads = [threading.Thread(target=score) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [1]


def test_another_error_than_memory_is_nobody_elses_business(small_scorer: FsmnScorer) -> None:
    def broken(blocks: Sequence[Block[Any]]) -> Sequence[Scored[Any]]:
        raise ValueError("broken")

    rungs_taken = Rungs()
    with pytest.raises(ValueError, match="broken"):
        Ladder(ScorerAround(small_scorer, broken), lambda: small_scorer, "cpu", rungs_taken).score(
            [Block(SAMPLES[:20_000], 0, True, None)]
        )
    assert rungs_taken.taken == []


_KEPT: dict[str, FsmnScorer] = {}


@pytest.fixture(autouse=True)
def _keep(small_scorer: FsmnScorer) -> None:
    _KEPT["scorer"] = small_scorer


@settings(max_examples=15, deadline=None)
@given(rule=st.integers(0, 7), halfway=st.booleans(), batch=st.sampled_from([1, 4]))
def test_a_whole_file_is_right_whatever_runs_out(rule: int, halfway: bool, batch: int) -> None:
    scorer = _KEPT["scorer"]

    async def run() -> tuple[list[tuple[int, int]], Cost]:
        device = Device(scorer, lambda call, size: bool(call * 2654435761 >> 7 & rule), halfway=halfway)
        engine, cost = Engine(workers=2), Cost()
        model = model_on(engine, loaded(device, on_cpu=lambda: scorer, batch=batch))
        found = await detect(model, Source(SAMPLES), cost=cost)
        engine.close()
        return found, cost

    found, cost = asyncio.run(run())
    assert found == expected(scorer, SAMPLES)
    assert cost.inference_s > 0


@pytest.mark.gpu
def test_gpu_segments_equal_the_cpus(small_model: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU here")
    checkpoint = read_checkpoint(small_model)
    gpu, cpu = FsmnScorer(checkpoint, torch.device("cuda")), FsmnScorer(checkpoint, torch.device("cpu"))
    assert expected(gpu, SAMPLES) == expected(cpu, SAMPLES)


def test_families_under_test_are_all_there_are() -> None:
    """A family that is added is added here too."""
    assert {family for family, _ in FAMILY_TYPES} == {family.name for family in FAMILIES}
    assert isinstance(FAMILIES[0], FsmnFamily)


def test_modes_see_the_same_stream_on_every_rung(small_scorer: FsmnScorer) -> None:
    for chosen in (endpoint(), tight(threshold=0.7, neg_threshold=0.5)):
        stream = VadStream(
            ScorerAround(
                small_scorer,
                lambda blocks: Ladder(
                    Device(small_scorer, lambda call, batch: True), lambda: small_scorer, "cpu"
                ).score(blocks)[0],
            ),
            chosen.new_segmenter,
        )
        events = [event for chunk in np.array_split(SAMPLES, 37) for event in stream.accept_waveform(chunk)]
        assert spans(events + stream.flush()) == expected(small_scorer, SAMPLES, chosen) != []
