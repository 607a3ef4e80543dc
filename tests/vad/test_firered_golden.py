"""FireRedVAD's own package says the same, to the millisecond, however the audio is cut: all three networks."""

import json
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from app.vad.models.firered.family import FireredFamily
from app.vad.models.firered.network import FireredScorer
from app.vad.models.hub import ModelHub
from app.vad.models.registry import FAMILIES, Catalogue
from app.vad.posteriors import Posteriors, join_posteriors
from app.vad.segment import Event, SpeechEnd, SpeechStart, segments_of
from app.vad.segmenters.registry import SEGMENTERS, Segmentation, Segmenters, Use
from app.vad.stream import VadStream

pytestmark = pytest.mark.reference
CUTTINGS = [
    (None, True),
    (None, False),
    (16_000, True),
    (50_000, True),
    (160_000, True),
    (3_200, False),
    (9_999, False),
]
IDS = [f"{step or 'whole'}-{'isolated' if isolated else 'chained'}" for step, isolated in CUTTINGS]


@lru_cache
def scorer_of(reference: Path, name: str) -> FireredScorer:
    spec = Catalogue(FAMILIES).find_known(name)
    assert spec is not None
    family = FireredFamily()
    place = family.find(spec, ModelHub(reference / "modelscope", allow_download=False))
    weights = family.read(place)
    assert spec.known is not None
    assert weights.fingerprint == spec.known.fingerprint
    return family.place(weights, device="cpu", dtype="float32")


@lru_cache
def read(reference: Path, name: str) -> np.ndarray:
    samples, rate = soundfile.read(reference / "audio" / name, dtype="float32")
    assert rate == 16_000
    return samples


class Recorder:
    """A `Segmenter` that keeps the posteriors as they came."""

    def __init__(self) -> None:
        self.pieces: list[tuple[Posteriors, bool]] = []

    def accept(self, posteriors: Posteriors, *, final: bool) -> list[Event]:
        self.pieces.append((posteriors, final))
        return []

    def reset(self) -> None: ...


@cache
def pieces_of(
    reference: Path, model: str, name: str, step: int | None, isolated: bool
) -> list[tuple[Posteriors, bool]]:
    samples, recorder = read(reference, name), Recorder()
    stream = VadStream(scorer_of(reference, model), lambda grid: recorder, isolated=isolated)
    for first in range(0, len(samples), step or len(samples)):
        stream.accept_waveform(samples[first : first + (step or len(samples))])
    stream.flush()
    return recorder.pieces


def options(use: Use, given: dict[str, Any]) -> Segmentation:
    return Segmenters(SEGMENTERS).resolve(
        given, default_mode="smoothed", model_defaults={}, server_defaults={}, use=use
    )


def cases(reference: Path, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((reference / "golden" / name).read_text())
    return found


def segmented(scorer: FireredScorer, chosen: Segmentation, pieces: list[tuple[Posteriors, bool]]) -> list[Event]:
    segmenter = chosen.new_segmenter(scorer.grid)
    return [event for posteriors, final in pieces for event in segmenter.accept(posteriors, final=final)]


@pytest.mark.parametrize(("step", "isolated"), CUTTINGS, ids=IDS)
def test_whole_audio(reference: Path, step: int | None, isolated: bool) -> None:
    golden = cases(reference, "firered_offline.json")
    assert len(golden) == 61
    for case in golden:
        pieces = pieces_of(reference, "firered", case["audio"], step, isolated)
        events = segmented(scorer_of(reference, "firered"), options("file", case["options"]), pieces)
        found = [[segment.start_ms, segment.end_ms] for segment in segments_of(events)]
        assert found == case["segments_ms"], (case["audio"], case["options"])


@pytest.mark.parametrize(("step", "isolated"), CUTTINGS, ids=IDS)
def test_streams(reference: Path, step: int | None, isolated: bool) -> None:
    golden = cases(reference, "firered_stream.json")
    assert len(golden) == 27
    for case in golden:
        pieces = pieces_of(reference, "firered-stream", case["audio"], step, isolated)
        events = segmented(scorer_of(reference, "firered-stream"), options("live", case["options"]), pieces)
        found = [[segment.start_ms, segment.end_ms] for segment in segments_of(events)]
        assert found == case["segments_ms"], (case["audio"], case["options"])
        told = [(event.at_ms // 10, *given(event)) for event in events]
        expected = [(known, kind, frame) for kind, known, frame in case["events"]]
        if expected and expected[-1][1] == "start" and len(told) == len(expected) + 1:
            told.pop()  # what is open at the end
        assert [event[1:] for event in told] == [event[1:] for event in expected], (case["audio"], case["options"])
        assert all(mine[0] <= theirs[0] for mine, theirs in zip(told, expected, strict=True))


def given(event: Event) -> tuple[str, int]:
    """As the package names it: frames from 1."""
    if isinstance(event, SpeechStart):
        return "start", event.start_ms // 10 + 1
    assert isinstance(event, SpeechEnd)
    return "end", event.segment.end_ms // 10 + 1


@pytest.mark.parametrize(("step", "isolated"), CUTTINGS, ids=IDS)
def test_events(reference: Path, step: int | None, isolated: bool) -> None:
    golden = cases(reference, "firered_aed.json")
    assert len(golden) == 15
    for case in golden:
        scorer = scorer_of(reference, "firered-aed")
        pieces = pieces_of(reference, "firered-aed", case["audio"], step, isolated)
        segments = segments_of(segmented(scorer, options("labelled", case["options"]), pieces))
        for label, expected in case["timestamps_ms"].items():
            found = [[each.start_ms, each.end_ms] for each in segments if each.label == label]
            assert found == expected, (case["audio"], case["options"], label)


@pytest.mark.parametrize(
    ("model", "file", "audio"),
    [
        ("firered", "firered_vad_example.offline_posterior.npy", "vad_example.wav"),
        ("firered", "firered_event.offline_posterior.npy", "firered_event.wav"),
        ("firered-stream", "firered_vad_example.stream_posterior.npy", "vad_example.wav"),
        ("firered-aed", "firered_event.aed_posterior.npy", "firered_event.wav"),
    ],
)
def test_posteriors_within_tolerance(reference: Path, model: str, file: str, audio: str) -> None:
    expected = np.load(reference / "golden" / file)
    for step, isolated in CUTTINGS:
        pieces = pieces_of(reference, model, audio, step, isolated)
        found = join_posteriors([posteriors for posteriors, _ in pieces]).values
        assert found.shape == expected.squeeze().shape
        assert np.abs(found - expected.squeeze()).max() < 2e-5, (step, isolated)
