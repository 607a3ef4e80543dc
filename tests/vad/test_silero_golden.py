"""Silero VAD's own package says the same: probabilities within rounding, tight segments to the millisecond."""

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from app.vad.blocks import Block
from app.vad.models.silero.network import SileroScorer
from app.vad.posteriors import Posteriors
from app.vad.segment import segments_of
from app.vad.segmenters.hysteresis import Hysteresis, TightOptions, new_hysteresis
from app.vad.stream import short_of_frames
from tests.silero import new_scorer, own_options
from tests.vad.silero_peer import (
    FRAMES,
    in_ms,
    package_model,
    package_options,
    package_probabilities,
    package_segments,
    silero_vad,
)
from tests.voice import voice

RATES = {"silero": 16_000, "silero-8k": 8_000}
REFERENCE_AUDIO = ["vad_example.wav", "asr_example.wav", "silero_test.wav"]
GRID = list(
    itertools.product((0.3, 0.5, 0.7), (0, 100, 250, 320), (0, 32, 100, 500), (0, 30, 200), (math.inf, 1, 2.5, 6))
)


@pytest.fixture(scope="module")
def peer() -> Any:
    return package_model()


@pytest.fixture(scope="module", params=RATES)
def scorer(request: pytest.FixtureRequest) -> SileroScorer:
    return new_scorer(request.param)


def tight(threshold: float, min_speech: int, min_silence: int, pad: int, longest: float) -> TightOptions:
    return TightOptions(
        threshold=threshold, neg_threshold=max(threshold - 0.15, 0.01),
        min_speech_duration_ms=min_speech, min_silence_duration_ms=min_silence, speech_pad_ms=pad,
        max_speech_duration_s=longest,
    )  # fmt: skip


def score(scorer: SileroScorer, samples: np.ndarray) -> Posteriors:
    found = scorer.score([Block(samples, 0, True, None)])[0].posteriors
    return replace(found, short_ms=short_of_frames(scorer.grid, len(samples)))


def ours(scorer: SileroScorer, scores: Posteriors, options: TightOptions) -> list[tuple[int, int]]:
    found = segments_of(new_hysteresis(options, scorer.grid).accept(scores, final=True))
    return [(segment.start_ms, segment.end_ms) for segment in found]


def every_option(peer: Any, scorer: SileroScorer, samples: np.ndarray) -> int:
    """Compare under all of `GRID`; how many different answers there were."""
    rate = scorer.grid.sample_rate
    probabilities = package_probabilities(peer, samples, rate)
    scores = score(scorer, samples)
    assert len(scores) == len(probabilities)
    assert np.abs(scores.speech - probabilities).max() < 1e-5
    answers = set()
    for choice in GRID:
        options = tight(*choice)
        expected = package_segments(probabilities, len(samples), rate, options)
        assert ours(scorer, scores, options) == expected, choice
        answers.add(str(expected))
    return len(answers)


def test_a_synthetic_voice(peer: Any, scorer: SileroScorer) -> None:
    rate = scorer.grid.sample_rate
    samples = voice(17.013, [(0.5, 1.5), (2.0, 2.4), (2.6, 2.7), (3.0, 10.6), (11.0, 11.2), (14.0, 17.013)], rate)
    assert every_option(peer, scorer, samples) > 50


@pytest.mark.reference
@pytest.mark.parametrize("name", REFERENCE_AUDIO)
@pytest.mark.parametrize("dropped", [0, 77])
def test_recordings(peer: Any, scorer: SileroScorer, reference: Path, name: str, dropped: int) -> None:
    samples, rate = soundfile.read(reference / "audio" / name, dtype="float32")
    samples = samples[:: rate // scorer.grid.sample_rate]
    assert every_option(peer, scorer, samples[: len(samples) - dropped].copy()) > 10


@pytest.mark.reference
@pytest.mark.parametrize("name", REFERENCE_AUDIO)
def test_the_packages_own_function_from_the_audio(peer: Any, scorer: SileroScorer, reference: Path, name: str) -> None:
    samples, rate = soundfile.read(reference / "audio" / name, dtype="float32")
    rate, samples = scorer.grid.sample_rate, samples[:: rate // scorer.grid.sample_rate].copy()
    defaults = own_options()
    for options in (defaults, tight(0.3, 250, 100, 30, 6), tight(0.7, 100, 500, 200, 2.5)):
        found = silero_vad.get_speech_timestamps(
            torch.from_numpy(samples), peer, sampling_rate=rate, **package_options(options)
        )
        assert ours(scorer, score(scorer, samples), options) == in_ms(found, rate)


@pytest.mark.reference
def test_golden_files(reference: Path) -> None:
    """Those of `make golden`, in which the package was installed apart from this project."""
    golden = reference / "golden" / "silero.json"
    if not golden.is_file():
        pytest.skip("the reference data have no golden files of Silero VAD (make golden makes them)")
    scorer, cases = new_scorer("silero"), json.loads(golden.read_text())
    assert len(cases) == 21
    for case in cases:
        samples, _ = soundfile.read(reference / "audio" / case["audio"], dtype="float32")
        # Where it is not given, the package takes this for the lower threshold.
        given = {"neg_threshold": case["options"].get("threshold", 0.5) - 0.15, **case["options"]}
        options = own_options().model_copy(update=given)
        found = ours(scorer, score(scorer, samples), options)
        assert found == [tuple(span) for span in case["segments_ms"]], case
    posterior = np.load(reference / "golden" / "silero_vad_example.posterior.npy")
    samples, _ = soundfile.read(reference / "audio" / "vad_example.wav", dtype="float32")
    assert np.abs(score(scorer, samples).speech - posterior).max() < 1e-5


def test_defaults_are_the_packages(peer: Any) -> None:
    samples = voice(9.0, [(0.5, 1.5), (2.0, 2.4), (3.0, 6.6), (7.0, 9.0)])
    scorer = new_scorer("silero")
    found = silero_vad.get_speech_timestamps(torch.from_numpy(samples), peer)
    assert ours(scorer, score(scorer, samples), own_options()) == in_ms(found, 16_000)
    assert len(found) > 2


PROBABILITY = st.one_of(st.sampled_from([0.0, 0.2, 0.34, 0.35, 0.4, 0.5, 0.51, 0.9, 1.0]), st.floats(0, 1, width=32))
RUNS = st.lists(st.tuples(PROBABILITY, st.integers(1, 30)), max_size=30)


@given(
    runs=RUNS,
    lacking=st.integers(0, 511),
    cuts=st.lists(st.integers(0, 900), max_size=6),
    threshold=st.sampled_from([0.3, 0.5, 0.7, 0.9]),
    hysteresis=st.sampled_from([0.0, 0.15, 0.3]),
    min_speech=st.sampled_from([0, 32, 64, 100, 250, 960]),
    min_silence=st.sampled_from([0, 31, 32, 96, 100, 500, 2000]),
    pad=st.sampled_from([0, 15, 30, 100, 250]),
    longest=st.sampled_from([math.inf, 1.1, 1.6, 3.0, 7.5]),
)
@settings(max_examples=600, deadline=None)
def test_any_probabilities(
    runs: list[tuple[float, int]], lacking: int, cuts: list[int], threshold: float, hysteresis: float,
    min_speech: int, min_silence: int, pad: int, longest: float,
) -> None:  # fmt: skip
    options = tight(threshold, min_speech, min_silence, pad, longest).model_copy(
        update={"neg_threshold": max(0.01, threshold - hysteresis)}
    )
    speech = np.repeat(np.array([value for value, _ in runs], np.float32), [count for _, count in runs])
    lacking = lacking if len(speech) else 0
    expected = package_segments(speech.astype(np.float64).tolist(), 512 * len(speech) - lacking, 16_000, options)
    segmenter = Hysteresis(options, frame_ms=32, cut_in_longest_silence=True)
    parts = [Posteriors(part, np.zeros_like(part)) for part in np.split(speech, sorted(cuts))]
    # The last frame that is there comes with the end of the stream, if it is a short one.
    last = Posteriors(speech[-1:], np.zeros_like(speech[-1:]), short_ms=lacking / 16)
    if lacking:
        parts = [Posteriors(part, np.zeros_like(part)) for part in np.split(speech[:-1], sorted(cuts))] + [last]
    events = [
        event for index, part in enumerate(parts) for event in segmenter.accept(part, final=index == len(parts) - 1)
    ]
    assert [(found.start_ms, found.end_ms) for found in segments_of(events)] == expected
    assert all(0 <= found.speech_probability <= 1 for found in segments_of(events))


def test_frames_are_the_packages() -> None:
    for name, rate in RATES.items():
        grid = new_scorer(name).grid
        assert (grid.sample_rate, grid.frame_samples, grid.frame_ms) == (rate, FRAMES[rate], 32)


def test_of_equally_long_silences_the_first_is_cut_in() -> None:
    speech = np.repeat(np.array([0.9, 0.1, 0.9, 0.1, 0.9, 0.1], np.float32), [10, 5, 10, 5, 60, 40])
    options = tight(0.5, 100, 500, 30, 2.5)
    scores = Posteriors(speech, np.zeros_like(speech))
    segmenter = Hysteresis(options, frame_ms=32, cut_in_longest_silence=True)
    found = segments_of(segmenter.accept(scores, final=True))
    expected = package_segments(speech.tolist(), 512 * len(speech), 16_000, options)
    assert [(segment.start_ms, segment.end_ms) for segment in found] == expected
    assert (found[0].end_ms, found[0].forced_end) == (10 * 32 + 30, True)


def test_an_end_that_is_known_late_has_its_own_mean() -> None:
    speech = np.repeat(np.array([0.9, 0.1, 0.4, 0.1], np.float32), [20, 1, 300, 10])
    options = tight(0.5, 100, 100, 0, math.inf)
    segmenter = Hysteresis(options, frame_ms=32, cut_in_longest_silence=True)
    parts = [Posteriors(part, np.zeros_like(part)) for part in np.split(speech, len(speech))]
    [found] = segments_of([event for part in parts for event in segmenter.accept(part, final=False)])
    assert (found.start_ms, found.end_ms) == package_segments(speech.tolist(), 512 * len(speech), 16_000, options)[0]
    assert found.speech_probability == pytest.approx(0.9)
