"""The reference implementation's segments, to the millisecond, however the audio is cut."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from app.vad.models.fsmn.checkpoint import Checkpoint
from app.vad.models.fsmn.scorer import FsmnScorer
from app.vad.segment import SpeechEnd, SpeechStart, segments_of
from app.vad.segmenters.options import VadOptions
from app.vad.stream import VadStream

pytestmark = pytest.mark.reference


def read(reference: Path, name: str) -> np.ndarray:
    samples, rate = soundfile.read(reference / "audio" / name, dtype="float32")
    assert rate == 16_000
    return samples


def pairs(stream_events: list[Any]) -> list[list[int]]:
    return [[segment.start_ms, segment.end_ms] for segment in segments_of(stream_events)]


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
    for case in golden_cases:
        samples = read(reference, case["audio"])
        options = VadOptions.parse(published_checkpoint.config.options, case["options"])
        stream = VadStream(published_scorer, options, isolated=isolated)
        step = chunk or len(samples)
        events = [
            event
            for first in range(0, len(samples), step)
            for event in stream.accept_waveform(samples[first : first + step])
        ]
        events += stream.flush()
        assert pairs(events) == case["segments_ms"], (case["audio"], case["options"])


def test_posterior_within_tolerance(reference: Path, published_scorer: FsmnScorer) -> None:
    expected = np.load(reference / "golden" / "vad_example.silence_posterior.npy")
    stream = VadStream(published_scorer, VadOptions(), isolated=True)
    block = stream.cut(read(reference, "vad_example.wav"), final=True)
    assert block is not None
    silence = published_scorer.score([block])[0].silence
    assert silence.shape == expected.shape
    assert np.abs(silence - expected).max() < 1e-4


def test_live_events_are_never_later_than_the_reference(reference: Path, published_scorer: FsmnScorer) -> None:
    for case in json.loads((reference / "golden" / "streaming.json").read_text()):
        samples = read(reference, case["audio"])
        expected = [(fed, pair) for fed, found in case["events"] for pair in found]
        stream = VadStream(published_scorer, VadOptions())
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
