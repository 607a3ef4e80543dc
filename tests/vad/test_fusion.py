"""A model made of models equals the mean of its members computed apart, however the audio is cut."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.audio.signal import Resampler
from app.vad.blocks import Block
from app.vad.errors import InvalidOption
from app.vad.grid import Grid
from app.vad.models.accuracy import measured
from app.vad.models.fsmn.network import FsmnScorer
from app.vad.models.fusion import Mixer, Term, are_the_same, common_grid, option_defaults, reduced, split_terms
from app.vad.models.registry import FAMILIES, Catalogue
from app.vad.posteriors import Posteriors, join_posteriors
from app.vad.segment import Event, segments_of
from app.vad.stream import FusedStream
from tests.segmentations import endpoint, segmentation, tight
from tests.silero import new_scorer
from tests.voice import voice

pytest.importorskip("silero_vad", reason="the package silero-vad is not installed")

RATE = 16_000
SAMPLES = voice(9.013, [(0.5, 1.5), (2.0, 2.4), (3.0, 6.6), (7.0, 9.0)], RATE)
RELAXED = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Recorder:
    """A `Segmenter` that keeps what it is given."""

    def __init__(self) -> None:
        self.pieces: list[Posteriors] = []

    def accept(self, posteriors: Posteriors, *, final: bool) -> list[Event]:
        self.pieces.append(posteriors)
        return []

    def reset(self) -> None:
        self.pieces.clear()


def resampler(source: int, target: int) -> Resampler:
    return Resampler(source, target, 1)


def posteriors_of(scorers: list[Any], chunks: list[np.ndarray]) -> Posteriors:
    recorder = Recorder()
    stream = FusedStream(scorers, lambda grid: recorder, resampler)
    for chunk in chunks:
        stream.accept_waveform(chunk)
    stream.flush()
    return join_posteriors(recorder.pieces)


def apart(scorer: Any, samples: np.ndarray) -> Posteriors:
    if scorer.grid.sample_rate != RATE:
        change = resampler(RATE, scorer.grid.sample_rate)
        samples = np.concatenate((change.process(samples[:, None]), change.flush()))[:, 0]
    return scorer.score([Block(samples, 0, True, None)])[0].posteriors  # type: ignore[no-any-return]


def mean_of(scorers: list[Any], samples: np.ndarray) -> np.ndarray:
    """By the law's words: each member's value where the frame's middle lies, past its end its last."""
    frames = len(samples) // 160
    values = np.zeros((len(scorers), frames))
    for row, scorer in zip(values, scorers, strict=True):
        speech = apart(scorer, samples).speech
        for frame in range(frames):
            place = min((10 * frame + 5) // scorer.grid.frame_ms, len(speech) - 1)
            row[frame] = speech[place] if len(speech) else 0.0
    return values.mean(axis=0)


@pytest.fixture(scope="module")
def members(small_scorer: FsmnScorer) -> dict[str, Any]:
    return {"fsmn": small_scorer, "silero": new_scorer("silero"), "silero-8k": new_scorer("silero-8k")}


SUMS = [("fsmn", "silero"), ("silero", "fsmn"), ("fsmn", "silero", "silero-8k"), ("silero", "silero-8k")]


@pytest.mark.parametrize("names", SUMS, ids="+".join)
def test_the_mean_of_its_members(members: dict[str, Any], names: tuple[str, ...]) -> None:
    scorers = [members[name] for name in names]
    for count in (len(SAMPLES), 40_000, 16_321, 8_000, 720, 401, 400, 399, 161, 160, 159, 1, 0):
        found = posteriors_of(scorers, [SAMPLES[:count]])
        assert len(found) == count // 160
        np.testing.assert_allclose(found.values, mean_of(scorers, SAMPLES[:count]), atol=1e-6)
        assert found.values.dtype == np.float64 or count < 160


@pytest.mark.parametrize("names", SUMS[:3], ids="+".join)
@given(data=st.data())
@RELAXED
def test_cutting_changes_nothing(members: dict[str, Any], names: tuple[str, ...], data: st.DataObject) -> None:
    scorers = [members[name] for name in names]
    end = data.draw(st.sampled_from([len(SAMPLES), 64_000, 30_001]))
    cuts = sorted(data.draw(st.lists(st.integers(0, end), max_size=20)))
    for chosen in (
        endpoint(speech_noise_thres=0.0),
        tight(threshold=0.4, neg_threshold=0.35),
        segmentation("smoothed"),
    ):
        whole = FusedStream(scorers, chosen.new_segmenter, resampler)
        expected = whole.accept_waveform(SAMPLES[:end]) + whole.flush()
        pieces = FusedStream(scorers, chosen.new_segmenter, resampler)
        events = [event for chunk in np.split(SAMPLES[:end], cuts) for event in pieces.accept_waveform(chunk)]
        events += pieces.flush()
        assert spans(events) == spans(expected) != []


def spans(events: list[Event]) -> list[tuple[int, int, bool]]:
    return [(segment.start_ms, segment.end_ms, segment.forced_end) for segment in segments_of(events)]


def test_members_are_kept_beside_the_mean(members: dict[str, Any]) -> None:
    scorers = [members["fsmn"], members["silero"]]
    found = posteriors_of(scorers, np.array_split(SAMPLES, 13))
    assert found.members is not None
    assert found.members.shape == (len(SAMPLES) // 160, 2)
    np.testing.assert_allclose(found.members.mean(axis=1), found.values, atol=1e-6)
    fsmn = apart(members["fsmn"], SAMPLES)
    np.testing.assert_allclose(found.members[: len(fsmn), 0], fsmn.speech, atol=1e-6)
    np.testing.assert_allclose(found.decibel[: len(fsmn)], fsmn.decibel, atol=1e-3)


def test_reset_begins_anew(members: dict[str, Any]) -> None:
    stream = FusedStream([members["fsmn"], members["silero-8k"]], endpoint().new_segmenter, resampler)
    first = stream.accept_waveform(SAMPLES) + stream.flush()
    stream.reset()
    assert spans(stream.accept_waveform(SAMPLES) + stream.flush()) == spans(first)


@given(
    steps=st.lists(st.sampled_from([10, 20, 30, 32, 40]), min_size=1, max_size=3),
    total=st.integers(0, 120),
    data=st.data(),
)
@settings(max_examples=200, deadline=None)
def test_whatever_the_members_frames_are(steps: list[int], total: int, data: st.DataObject) -> None:
    """The mixer alone, against the law's words, for any grouping into calls."""
    grids = [Grid(1_000, step, step, pads_last=True) for step in steps]
    speech = [np.random.default_rng(index).random(-(-total * 10 // step)) for index, step in enumerate(steps)]
    weights = [data.draw(st.integers(1, 9)) for _ in steps]
    mixer = Mixer(grids, weights)
    # A frame that is not whole is known at the end alone.
    whole = [total * 10 // step for step in steps]
    places = [sorted(data.draw(st.lists(st.integers(0, most), max_size=4))) for most in whole]
    found = []
    cuts = [[0, *place] for place in places]
    for turn in itertools.count():
        pieces = [
            values[cut[turn] : cut[turn + 1]] if turn + 1 < len(cut) else values[:0]
            for values, cut in zip(speech, cuts, strict=True)
        ]
        if all(turn + 1 >= len(cut) for cut in cuts):
            break
        found.append(mixer.accept([new_posteriors(piece) for piece in pieces], total=None))
    rest = [new_posteriors(values[cut[-1] :]) for values, cut in zip(speech, cuts, strict=True)]
    found.append(mixer.accept(rest, total=total))
    expected = [
        np.average(
            [
                values[min((10 * frame + 5) // step, len(values) - 1)]
                for values, step in zip(speech, steps, strict=True)
            ],
            weights=weights,
        )
        for frame in range(total)
    ]
    np.testing.assert_allclose(join_posteriors(found).values, expected, atol=1e-6)
    assert len(found[-1]) >= 1 or total == 0, "the end never comes without a frame"


def new_posteriors(speech: np.ndarray) -> Posteriors:
    values = speech.astype(np.float32)
    return Posteriors(values, np.zeros_like(values))


def test_defaults() -> None:
    one, other = {"threshold": 0.5, "neg_threshold": 0.35}, {"threshold": 0.35, "neg_threshold": 0.15}
    assert option_defaults(split_terms("silero+firered"), [one, other])["tight"]["threshold"] == 0.08
    assert measured("silero", "firered")
    untuned = option_defaults(split_terms("silero+mine"), [one, other])["tight"]
    assert (untuned["threshold"], untuned["neg_threshold"]) == (0.425, 0.25)
    assert measured("silero", "mine") is None
    heavier = option_defaults(split_terms("2*silero+mine"), [one, other])["tight"]
    assert (heavier["threshold"], heavier["neg_threshold"]) == (0.45, 0.283)
    best = option_defaults(split_terms("best"), [one, one, other])
    assert (best["tight"]["threshold"], best["tight"]["neg_threshold"]) == (0.45, 0.40)
    assert best["binarize"] == {"onset": 0.45}


@pytest.mark.parametrize("asked", ["a+2*b", "a 2*b", "a,2*b", "a + 2 * b", " a+2* b ", "1*a+2*b"])
def test_sums_are_written_in_many_ways(asked: str) -> None:
    assert split_terms(asked) == [Term("a"), Term("b", 2)]


@pytest.mark.parametrize(
    "asked", ["0*a", "10*a", "-1*a", "1.5*a", "*a", "2*", "a*2", "02*a", "2*3*a", "٢*a", "a+b*c", "2**a"]
)
def test_a_weight_is_a_whole_number_from_1_to_9(asked: str) -> None:
    with pytest.raises(InvalidOption, match="a weight is a whole number from 1 to 9, as in 2\\*pyannote"):
        split_terms(asked)


def test_the_best_sum_has_a_name() -> None:
    assert split_terms("best") == split_terms(" best ") == split_terms("silero+firered+2*pyannote")
    for asked in ("best+fsmn", "2*best", "fsmn best"):
        with pytest.raises(InvalidOption, match="best is a sum itself"):
            split_terms(asked)


def test_settings_and_commands_name_sums_alike() -> None:
    """`VAD_MODEL`, and `fsmn-vad model download`."""
    catalogue = Catalogue(FAMILIES)
    for asked in ("best", "silero+firered+2*pyannote"):
        specs = catalogue.resolve_all(asked)
        assert [(spec.name, spec.weight) for spec in specs] == [("silero", 1), ("firered", 1), ("pyannote", 2)]


def test_weights_in_smallest_terms() -> None:
    assert reduced([2, 4, 6]) == (1, 2, 3)
    assert reduced([3]) == (1,)
    assert are_the_same("2*a+2*b", "b+a")
    assert are_the_same("best", "4*pyannote+2*firered+2*silero")
    assert not are_the_same("a+2*b", "2*a+b")


def test_the_common_grid_says_how_far_it_is_behind(small_scorer: FsmnScorer) -> None:
    grid = common_grid([small_scorer.grid, new_scorer("silero").grid])
    assert (grid.sample_rate, grid.frame_ms) == (16_000, 10)
    stream = FusedStream([small_scorer, new_scorer("silero")], endpoint().new_segmenter, resampler)
    known = 0
    for first in range(0, 48_000, 160):
        stream.accept_waveform(SAMPLES[first : first + 160])
        known += len(stream.posteriors)
        assert known >= (first + 160) // 160 - grid.look_ahead_frames - 1


@pytest.mark.reference
def test_the_pair_that_is_recommended(reference: Path) -> None:
    from tests.vad.test_firered_golden import read, scorer_of

    samples = read(reference, "vad_example.wav")[: 20 * 16_000]
    scorers = [new_scorer("silero"), scorer_of(reference, "firered")]
    expected = mean_of(scorers, samples)
    for step in (len(samples), 16_000, 1_600, 9_999):
        found = posteriors_of(scorers, [samples[first : first + step] for first in range(0, len(samples), step)])
        np.testing.assert_allclose(found.values, expected, atol=2e-5)
