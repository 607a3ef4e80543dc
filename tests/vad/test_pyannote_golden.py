"""pyannote.audio says the same: the network's posteriors, the law's scores, and segments to the millisecond."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from app.vad.blocks import Block
from app.vad.grid import Windows
from app.vad.models.hub import ModelHub
from app.vad.models.pyannote.family import PyannoteFamily
from app.vad.models.pyannote.network import PyannoteScorer
from app.vad.models.registry import FAMILIES, Catalogue
from app.vad.posteriors import Posteriors, Segmenter, join_posteriors
from app.vad.segment import Event, segments_of
from app.vad.segmenters.binarize import Binarize, BinarizeOptions, on_own_frames
from app.vad.stream import VadStream

pytestmark = pytest.mark.reference
SOUNDS = ["vad_example", "silero_test", "firered_event", "funasr_long"]
SCORES = {
    "peer_soft_speech": ("peer", 0), "peer_soft_overlap": ("peer", 1), "peer_hard_speech": ("peer", 2),
    "law_speech": ("law", 0), "law_overlap": ("law", 1),
}  # fmt: skip
"""By their names in the cases: file and column."""
TOLERANCE, QUIET_TOLERANCE = 1e-4, 1e-3
"""Other processors' arithmetic; where the level is -60 dB under the usual one, it counts for more."""


@lru_cache
def scorer_of(reference: Path) -> PyannoteScorer:
    spec, family = Catalogue(FAMILIES).find_known("pyannote"), PyannoteFamily()
    assert spec is not None
    assert spec.known is not None
    weights = family.read(family.find(spec, ModelHub(reference / "modelscope", allow_download=False)))
    assert weights.fingerprint == spec.known.fingerprint
    return family.place(weights, device="cpu", dtype="float32")


@lru_cache
def read(reference: Path, name: str) -> np.ndarray:
    samples, rate = soundfile.read(reference / "audio" / name, dtype="float32")
    assert rate == 16_000
    return samples


def windows() -> Windows:
    assert PyannoteScorer.grid.windows is not None
    return PyannoteScorer.grid.windows


@lru_cache
def scores(reference: Path, name: str, kind: str) -> np.ndarray:
    found: np.ndarray = np.load(reference / "golden" / f"pyannote_scores_{name}.{kind}.npy")
    return found


class Recorder:
    """A `Segmenter` that keeps the posteriors."""

    def __init__(self) -> None:
        self.pieces: list[Posteriors] = []

    def accept(self, posteriors: Posteriors, *, final: bool) -> list[Event]:
        self.pieces.append(posteriors)
        return []

    def reset(self) -> None: ...


def test_windows(reference: Path) -> None:
    golden = np.load(reference / "golden" / "pyannote_windows.npy")
    cases = json.loads((reference / "golden" / "pyannote_windows.json").read_text())
    assert len(cases) == len(golden) == 26
    for case, expected in zip(cases, golden, strict=True):
        window = np.zeros(160_000, np.float32)
        taken = read(reference, case["audio"])[case["start"] : case["start"] + case["length"]]
        window[: len(taken)] = taken * np.float32(case["gain"])
        found = scorer_of(reference).score([Block(window, 0, True, None)])[0].posteriors
        assert found.overlap is not None
        tolerance = QUIET_TOLERANCE if case["gain"] < 0.01 else TOLERANCE
        assert np.abs(found.speech - (1 - expected[:, 0])).max() < tolerance
        assert np.abs(found.overlap - expected[:, 4:].sum(axis=1)).max() < tolerance


@pytest.mark.parametrize("step", [None, 160_000, 7_777])
@pytest.mark.parametrize("name", SOUNDS)
def test_scores(reference: Path, name: str, step: int | None) -> None:
    samples, recorder = read(reference, f"{name}.wav"), Recorder()
    stream = VadStream(scorer_of(reference), lambda grid: recorder, isolated=True)
    for first in range(0, len(samples), step or len(samples)):
        stream.accept_waveform(samples[first : first + (step or len(samples))])
    stream.flush()
    found, expected = join_posteriors(recorder.pieces), scores(reference, name, "law")
    nearest = ((320 * np.arange(len(samples) // 160) - 561) // 540).clip(0, len(expected) - 1)
    assert found.overlap is not None
    assert np.abs(found.values - expected[nearest, 0]).max() < TOLERANCE
    assert np.abs(found.overlap - expected[nearest, 1]).max() < TOLERANCE


def segmented(segmenter: Segmenter, values: np.ndarray, step: int, short_ms: float) -> list[list[int]]:
    events: list[Event] = []
    for first in range(0, len(values), step):
        part, final = values[first : first + step], first + step >= len(values)
        given = Posteriors(part, part, short_ms=short_ms if final else 0.0)
        events += segmenter.accept(given, final=final)
    return [[segment.start_ms, segment.end_ms] for segment in segments_of(events)]


@pytest.mark.parametrize("step", [1, 50, 100_000])
def test_segments(reference: Path, step: int) -> None:
    """On the scores that are stored, so that no last bit decides; those of the law as they come on 10 ms frames, too.

    Cases in which the package takes an `offset` of 0 for none are asked for without it.
    """
    cases: list[dict[str, Any]] = json.loads((reference / "golden" / "pyannote_segments.json").read_text())
    assert len(cases) == 156
    for case in cases[:: 4 if step == 1 else 1]:
        kind, column = SCORES[case["scores"]]
        values = scores(reference, case["audio"].removesuffix(".wav"), kind)[:, column]
        given = {name: value for name, value in case["options"].items() if (name, value) != ("offset", 0)}
        options = BinarizeOptions.parse(given=given)
        # The package's own have frames past the audio's end; what is clipped there is not their matter.
        machine = Binarize(options, windows().time_s, 16.875)
        expected = [[max(0, start), end] for start, end in case["segments_ms"]]
        assert segmented(machine, values, step, -10_000.0) == expected, case
        if kind == "law":
            samples = len(read(reference, case["audio"]))
            nearest = windows().nearest(np.arange(samples // 160)).clip(0, len(values) - 1)
            short_ms = len(nearest) * 10 - samples / 16
            found = segmented(on_own_frames(options, windows()), values[nearest], step, short_ms)
            assert found == [[start, min(end, samples // 16)] for start, end in expected], case
