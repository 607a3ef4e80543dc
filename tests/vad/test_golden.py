"""The reference implementation's segments, to the millisecond, however the audio is cut."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from app.vad.models.fsmn.checkpoint import Checkpoint
from app.vad.models.fsmn.network import FsmnScorer
from app.vad.posteriors import Posteriors
from app.vad.segment import Event, SpeechEnd, SpeechStart, segments_of
from app.vad.segmenters.endpoint import EndpointOptions, new_end_pointer
from app.vad.stream import VadStream
from tests.segmentations import endpoint

pytestmark = pytest.mark.reference


@lru_cache
def read(reference: Path, name: str) -> np.ndarray:
    samples, rate = soundfile.read(reference / "audio" / name, dtype="float32")
    assert rate == 16_000
    return samples


class Recorder:
    """A `Segmenter` that keeps the posteriors as they came: scored once, they serve every option set."""

    def __init__(self) -> None:
        self.pieces: list[tuple[Posteriors, bool]] = []

    def accept(self, posteriors: Posteriors, *, final: bool) -> list[Event]:
        self.pieces.append((posteriors, final))
        return []

    def reset(self) -> None: ...


def pieces_of(scorer: FsmnScorer, samples: np.ndarray, step: int, *, isolated: bool) -> list[tuple[Posteriors, bool]]:
    recorder = Recorder()
    stream = VadStream(scorer, lambda grid: recorder, isolated=isolated)
    for first in range(0, len(samples), step):
        stream.accept_waveform(samples[first : first + step])
    stream.flush()
    return recorder.pieces


@pytest.mark.parametrize("isolated", [False, True], ids=["chained", "isolated"])
@pytest.mark.parametrize("chunk", [None, 1_600, 9_999], ids=["whole", "100ms", "odd"])
def test_every_golden_case(
    reference: Path,
    published_checkpoint: Checkpoint,
    published_scorer: FsmnScorer,
    golden_cases: list[dict[str, Any]],
    isolated: bool,
    chunk: int | None,
) -> None:
    assert len(golden_cases) == 80
    defaults = {
        name: value
        for name, value in published_checkpoint.config.options.items()
        if name in EndpointOptions.model_fields
    }
    for name in sorted({case["audio"] for case in golden_cases}):
        samples = read(reference, name)
        pieces = pieces_of(published_scorer, samples, chunk or len(samples), isolated=isolated)
        for case in (case for case in golden_cases if case["audio"] == name):
            options = EndpointOptions.parse(defaults, given=case["options"])
            segmenter = new_end_pointer(options, published_scorer.grid)
            events = [event for posteriors, final in pieces for event in segmenter.accept(posteriors, final=final)]
            found = [[segment.start_ms, segment.end_ms] for segment in segments_of(events)]
            assert found == case["segments_ms"], (name, case["options"])


def test_posterior_within_tolerance(reference: Path, published_scorer: FsmnScorer) -> None:
    expected = np.load(reference / "golden" / "vad_example.silence_posterior.npy")
    samples = read(reference, "vad_example.wav")
    pieces = pieces_of(published_scorer, samples, len(samples), isolated=True)
    assert {posteriors.of for posteriors, _ in pieces} == {"silence"}
    found = np.concatenate([posteriors.values for posteriors, _ in pieces])
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-4


def test_live_events_are_never_later_than_the_reference(reference: Path, published_scorer: FsmnScorer) -> None:
    for case in json.loads((reference / "golden" / "streaming.json").read_text()):
        samples = read(reference, case["audio"])
        expected = [(fed, pair) for fed, found in case["events"] for pair in found]
        stream = VadStream(published_scorer, endpoint().new_segmenter)
        step = case["chunk_ms"] * 16
        seen: list[tuple[int, list[int]]] = []
        for first in range(0, len(samples), step):
            chunk = samples[first : first + step]
            last = first + step >= len(samples)
            events = stream.accept_waveform(chunk) + (stream.flush() if last else [])
            fed = (first + len(chunk)) // 16
            for event in events:
                if isinstance(event, SpeechStart):
                    seen.append((fed, [event.start_ms, -1]))
                elif isinstance(event, SpeechEnd):
                    seen.append((fed, [-1, event.segment.end_ms]))
        assert [pair for _, pair in seen] == [pair for _, pair in expected]
        assert all(mine <= theirs for (mine, _), (theirs, _) in zip(seen, expected, strict=True))
