"""pyannote's network behind windows: any cutting, the law's words, very short audio, and files that are wrong."""

import math
import os
import shutil
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.vad.blocks import Block
from app.vad.errors import InvalidModel, ModelNotFound
from app.vad.grid import Windows
from app.vad.models.family import ModelSpec
from app.vad.models.fsmn.network import FsmnScorer
from app.vad.models.hub import ModelHub, ModelPlace
from app.vad.models.pyannote.family import FILES, PyannoteFamily
from app.vad.models.pyannote.network import PyannoteScorer
from app.vad.models.registry import FAMILIES, Catalogue
from app.vad.posteriors import Posteriors, join_posteriors
from app.vad.segment import Event, segments_of
from app.vad.segmenters.binarize import BinarizeOptions, on_own_frames
from app.vad.stream import FusedStream, VadStream
from tests.hub_server import running_hub
from tests.segmentations import endpoint, segmentation, tight
from tests.signals import bursts
from tests.small_pyannote import Document, write_small_pyannote

LOUD = [(0.0, 0.4), (1.0, 1.2), (2.0, 4.6), (9.3, 12.9), (17.0, 17.2), (21.0, 28.0)]
SAMPLES = bursts(28.0, LOUD)[: 28 * 16_000 - 77]
OPTIONS = [tight(), tight(speech_pad_ms=0, min_speech_duration_ms=0, min_silence_duration_ms=0), endpoint()]
OPTIONS += [segmentation("binarize"), segmentation("binarize", min_duration_on=0.1, min_duration_off=0.3)]
OPTIONS += [segmentation("smoothed", speech_threshold=0.5), segmentation("binarize", merge_gap_ms=400)]
RELAXED = settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Recorder:
    """A `Segmenter` that keeps the posteriors."""

    def __init__(self) -> None:
        self.pieces: list[Posteriors] = []

    def accept(self, posteriors: Posteriors, *, final: bool) -> list[Event]:
        self.pieces.append(posteriors)
        return []

    def reset(self) -> None:
        self.pieces.clear()


def load(directory: Path) -> PyannoteScorer:
    family = PyannoteFamily()
    return family.place(family.read(place(directory)), device="cpu", dtype="float32")


def place(directory: Path) -> ModelPlace:
    return ModelPlace(directory, directory.name, None, "directory")


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> PyannoteScorer:
    return load(write_small_pyannote(tmp_path_factory.mktemp("pyannote")))


@lru_cache
def posteriors_of(scorer: PyannoteScorer, samples: int, step: int) -> Posteriors:
    recorder = Recorder()
    stream = VadStream(scorer, lambda grid: recorder, isolated=True)
    run(stream, [SAMPLES[at : min(samples, at + step)] for at in range(0, samples, step)])
    return join_posteriors(recorder.pieces)


def run(stream: VadStream, chunks: list[np.ndarray]) -> list[Event]:
    return [event for chunk in chunks for event in stream.accept_waveform(chunk)] + stream.flush()


def by_the_laws_words(scorer: PyannoteScorer, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Speech and overlap on frames of 10 ms, window after window, each scored alone."""
    count = len(samples)
    starts = list(range(0, max(1, count - 159_999), 79_920))
    starts += [tail] if (tail := max(0, count - 160_000) // 270 * 270) > starts[-1] else []
    frames = 589 + (count - 160_000) // 270 if count >= 160_000 else 1 + (max(count, 991) - 991) // 270
    mirrored = np.array([samples[m] if (m := i % (2 * count)) < count else samples[2 * count - 1 - m]
                         for i in range(160_000)] if count < 160_000 else samples)  # fmt: skip
    sums, weights, hamming = np.zeros((max(frames, 589), 2)), np.zeros(max(frames, 589)), np.hamming(589)
    for start in starts:
        found = scorer.score([Block(mirrored[start : start + 160_000], 0, True, None)])[0].posteriors
        assert found.overlap is not None
        at = slice(start // 270, start // 270 + 589)
        sums[at] += hamming[:, None] * np.stack([found.speech, found.overlap.astype(np.float64)], axis=1)
        weights[at] += hamming
    values = (sums / np.maximum(weights, 1e-12)[:, None])[:frames]
    nearest = [min(max((320 * t - 561) // 540, 0), frames - 1) for t in range(count // 160)]
    return values[nearest, 0], values[nearest, 1]


@pytest.mark.parametrize("count", [160, 990, 1_261, 30_000, 159_999, 160_000, 160_269, 239_921, 400_000, len(SAMPLES)])
def test_windows_lie_as_the_law_says(scorer: PyannoteScorer, count: int) -> None:
    speech, overlap = by_the_laws_words(scorer, SAMPLES[:count])
    found = posteriors_of(scorer, count, count)
    assert found.overlap is not None
    assert len(found) == len(speech) == count // 160
    # In groups of four windows the last digits are others than in one alone, and the small network is steep.
    assert np.abs(found.speech - speech).max(initial=0) < 2e-5
    assert np.abs(found.overlap - overlap).max(initial=0) < 2e-5


@pytest.mark.parametrize("isolated", [False, True], ids=["chained", "isolated"])
@given(cuts=st.lists(st.integers(0, len(SAMPLES)), max_size=12))
@RELAXED
def test_cutting_changes_no_bit(scorer: PyannoteScorer, isolated: bool, cuts: list[int]) -> None:
    whole, recorder = posteriors_of(scorer, len(SAMPLES), len(SAMPLES)), Recorder()
    run(VadStream(scorer, lambda grid: recorder, isolated=isolated), np.split(SAMPLES, sorted(cuts)))
    pieces = join_posteriors(recorder.pieces)
    assert pieces.overlap is not None
    assert whole.overlap is not None
    assert np.array_equal(pieces.values, whole.values)
    assert np.array_equal(pieces.overlap, whole.overlap)
    assert np.array_equal(pieces.decibel, whole.decibel)


@pytest.mark.parametrize("options", OPTIONS, ids=range(len(OPTIONS)))
@given(cuts=st.lists(st.integers(0, 2_800), max_size=30))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_segments_do_not_depend_on_how_frames_come(scorer: PyannoteScorer, options: Any, cuts: list[int]) -> None:
    known = posteriors_of(scorer, len(SAMPLES), len(SAMPLES))
    short_ms = known.short_ms
    whole = options.new_segmenter(scorer.grid).accept(known, final=True)
    segmenter, events = options.new_segmenter(scorer.grid), list[Event]()
    edges = [0, *sorted(cut % len(known) for cut in cuts), len(known)]
    for start, stop in pairwise(edges):
        final = stop == len(known)
        part = known.take(slice(start, stop))
        events += segmenter.accept(part if not final else join_posteriors([part, end(short_ms)]), final=final)
    assert events == whole
    assert len(segments_of(whole)) > 2


def end(short_ms: float) -> Posteriors:
    return Posteriors(np.zeros(0, np.float32), np.zeros(0, np.float32), short_ms=short_ms)


def test_one_sample_at_a_time(scorer: PyannoteScorer) -> None:
    """Where a window ends, and where the tail takes its place."""
    short, recorder = 162_000, Recorder()
    singles = [SAMPLES[at : at + 1] for at in range(159_000, short)]
    run(VadStream(scorer, lambda grid: recorder), [SAMPLES[:159_000], *singles])
    found = join_posteriors(recorder.pieces)
    assert np.array_equal(found.values, posteriors_of(scorer, short, short).values)


def test_blocks_in_any_order_and_company(scorer: PyannoteScorer) -> None:
    """What a block gives does not depend on the blocks it is scored with."""
    stream = VadStream(scorer, lambda grid: Recorder(), isolated=True)
    blocks = [block for part in (SAMPLES, SAMPLES[::-1]) if (block := stream.cut(part)) is not None]
    blocks.append(Block(SAMPLES[:50_000], 0, True, None))
    together = scorer.score(blocks[::-1])[::-1]
    for block, found in zip(blocks, together, strict=True):
        alone = scorer.score([block])[0]
        assert np.array_equal(found.posteriors.values, alone.posteriors.values)
        assert found.state is None


@pytest.mark.parametrize("count", [0, 1, 159, 160, 161, 495, 990, 991, 1_261, 5_000])
def test_very_short_audio_is_no_error(scorer: PyannoteScorer, count: int) -> None:
    for samples in (SAMPLES[:count], SAMPLES[12_000 : 12_000 + count]):
        recorder = Recorder()
        stream = VadStream(scorer, lambda grid: recorder)  # noqa: B023 - used in this turn alone
        run(stream, [samples])
        known = join_posteriors(recorder.pieces)
        assert len(known) == count // 160
        for options in (*OPTIONS, segmentation("binarize", pad_onset=0.5, pad_offset=0.5)):
            events = options.new_segmenter(scorer.grid).accept(known, final=True)
            found = segments_of(events)
            assert all(0 <= each.start_ms < each.end_ms <= count / 16 for each in found)
            assert len(events) == 2 * len(found)


def test_a_stream_begins_anew(scorer: PyannoteScorer) -> None:
    stream = VadStream(scorer, tight().new_segmenter)
    first = run(stream, [SAMPLES[:200_000]])
    stream.reset()
    assert run(stream, [SAMPLES[:200_000]]) == first != []


def test_what_is_held_does_not_grow(scorer: PyannoteScorer) -> None:
    """Of samples, sums and values, whatever the length: a few windows' worth. The network is left out."""

    class Silent(PyannoteScorer):
        def score(self, blocks: Any) -> Any:
            counts = [1 + max(0, len(block.samples) - 160_000) // 79_920 for block in blocks]
            frames = [np.zeros(589 * count, np.float32) for count in counts]
            return [type(silence)(Posteriors(each, each, overlap=each), None) for each in frames]

    silence = scorer.score([Block(SAMPLES[:10], 0, True, None)])[0]
    silent = Silent.__new__(Silent)
    stream = VadStream(silent, lambda grid: Recorder(), isolated=True)
    held = []
    for _ in range(60):
        stream.accept_waveform(np.zeros(160_000, np.float32))
        cutter, mixer = stream._windows, stream._mixer
        assert cutter is not None
        assert mixer is not None
        samples = sum(map(len, cutter._pieces))
        held.append((samples, len(mixer._sums), len(mixer._settled)))
    # A group, what a tail may need of the past, and what came last.
    assert max(samples for samples, _, _ in held) <= 160_000 + 3 * 79_920 + 160_000
    assert max(frames for _, frames, _ in held) <= 2 * 589
    assert max(settled for _, _, settled in held) <= 2


# ---- sums


@pytest.mark.parametrize("weights", [(1, 1), (1, 2), (3, 1)], ids=str)
def test_a_sum_with_weights(scorer: PyannoteScorer, small_scorer: FsmnScorer, weights: tuple[int, int]) -> None:
    """Frames of 10 ms meet those of 16.875 ms; members that know more wait for the windows."""
    expected, recorder = posteriors_of(scorer, len(SAMPLES), len(SAMPLES)), Recorder()
    other = small_scorer.score([Block(SAMPLES, 0, True, None)])[0].posteriors.speech
    other = np.concatenate((other, np.repeat(other[-1:], len(expected) - len(other))))
    mean = (weights[0] * other + weights[1] * expected.speech) / sum(weights)
    found: list[Posteriors] = []
    for step in (len(SAMPLES), 160_000, 31_111):
        recorder.reset()
        stream = FusedStream([small_scorer, scorer], lambda grid: recorder, no_resampler, weights)
        for at in range(0, len(SAMPLES), step):
            stream.accept_waveform(SAMPLES[at : at + step])
        stream.flush()
        found.append(join_posteriors(recorder.pieces))
        np.testing.assert_allclose(found[-1].speech, mean, atol=1e-6)
        assert np.array_equal(found[-1].overlap, expected.overlap)
        assert stream.posteriors.short_ms == expected.short_ms


def no_resampler(source: int, target: int) -> Any:
    raise AssertionError(f"from {source} to {target} Hz")


# ---- files


def test_a_directory_is_recognised_whatever_it_is_called(tmp_path: Path) -> None:
    directory = write_small_pyannote(tmp_path / "any name")
    catalogue = Catalogue(FAMILIES)
    assert catalogue.resolve(str(directory)).family == "pyannote"
    found = PyannoteFamily().find(ModelSpec("pyannote", str(directory)), ModelHub(tmp_path / "none"))
    assert (found.path, found.origin) == (directory, "directory")


def test_the_hub_is_asked_for_the_checkpoint_alone(tmp_path: Path) -> None:
    spec = Catalogue(FAMILIES).find_known("pyannote")
    assert spec is not None
    directory = write_small_pyannote(tmp_path / "there")
    with running_hub(directory) as hub:
        found = PyannoteFamily().find(spec, ModelHub(tmp_path / "cache", endpoint=hub.url))
    assert found.origin == "download"
    assert PyannoteFamily().read(found).fingerprint == PyannoteFamily().read(place(directory)).fingerprint


def test_what_comes_broken_is_not_kept(tmp_path: Path) -> None:
    spec = Catalogue(FAMILIES).find_known("pyannote")
    assert spec is not None
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / FILES[0]).write_bytes(b"broken")
    with running_hub(tmp_path / "there") as hub, pytest.raises(ModelNotFound, match="the downloaded files are broken"):
        PyannoteFamily().find(spec, ModelHub(tmp_path / "cache", endpoint=hub.url))
    assert not list((tmp_path / "cache").rglob(FILES[0]))


def other(**members: Any) -> Callable[[Document], object]:
    """Change hyperparameters, by their path."""

    def change(document: Document) -> None:
        for name, value in members.items():
            where, keys = document["hyper_parameters"], name.split("__")
            for key in keys[:-1]:
                where = where[key]
            where[keys[-1]] = value

    return change


def specified(**members: Any) -> Callable[[Document], object]:
    return lambda document: document["pyannote.audio"]["specifications"].__dict__.update(members)


def architecture(name: str) -> Callable[[Document], object]:
    return lambda document: document["pyannote.audio"]["architecture"].update({"class": name})


def tensor(name: str, value: Any) -> Callable[[Document], object]:
    return lambda document: document["state_dict"].__setitem__(name, value)


class Evil:
    """What a pickle can do to whoever opens it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.path),))


WRONG: list[tuple[Callable[[Document], object], str]] = [
    (other(sample_rate=8_000), "hyper_parameters.sample_rate is 8000; only 16000 can be used"),
    (other(lstm__num_layers=2), "hyper_parameters.lstm.num_layers is 2; only 4"),
    (other(lstm__bidirectional=1), "hyper_parameters.lstm.bidirectional is 1; only True"),
    (other(sincnet=None), "hyper_parameters.sincnet.stride is None"),
    (specified(duration=5.0), "specifications.duration is 5.0; only 10.0"),
    (specified(classes=["speech"]), "3 speakers are expected"),
    (specified(powerset_max_classes=None), "powerset_max_classes is None"),
    (architecture("SSeRiouSS"), "the architecture is SSeRiouSS; only PyanNet"),
    (lambda document: document.pop("pyannote.audio"), "is not a checkpoint of pyannote.audio"),
    (lambda document: document["state_dict"].pop("classifier.bias"), "has no tensor classifier.bias"),
    (tensor("classifier.bias", torch.zeros(8)), "classifier.bias has shape (8,)"),
    (tensor("classifier.bias", torch.full((7,), float("nan"))), "numbers that are not finite"),
    (tensor("further", torch.zeros(1)), "holds tensors that the architecture PyanNet has no place for: further"),
    (tensor("sincnet.conv1d.0.filterbank.low_hz_", torch.full((40, 1), 7_950.0)), "bands that are empty"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "told"), WRONG, ids=[told for _, told in WRONG])
def test_wrong_checkpoints_are_refused_by_name(tmp_path: Path, change: Callable[[Document], object], told: str) -> None:
    directory = write_small_pyannote(tmp_path, change=change)
    with pytest.raises(InvalidModel) as refused:
        PyannoteFamily().read(place(directory))
    assert told in str(refused.value)
    assert str(directory / FILES[0]) in str(refused.value)


def test_nothing_in_a_checkpoint_is_run(tmp_path: Path) -> None:
    """Not in the place of what is expected, nor beside it."""
    trap = tmp_path / "made by the pickle"
    for number, change in enumerate((
        lambda document: document.update({"callbacks": Evil(trap)}),
        lambda document: document["pyannote.audio"]["specifications"].__dict__.update(problem=Evil(trap)),
    )):  # fmt: skip
        directory = write_small_pyannote(tmp_path / str(number), change=change)
        with pytest.raises(InvalidModel, match=r"which is not allowed; nothing of it was run"):
            PyannoteFamily().read(place(directory))
    assert not trap.exists()


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    directory = write_small_pyannote(tmp_path / "whole")
    for name, spoil in (("cut", lambda data: data[: len(data) // 2]), ("empty", lambda data: b"")):
        there = tmp_path / name
        shutil.copytree(directory, there)
        path = there / FILES[0]
        path.write_bytes(spoil(path.read_bytes()))
        with pytest.raises(InvalidModel, match="pytorch_model"):
            PyannoteFamily().read(place(there))
    with pytest.raises(InvalidModel, match="is missing"):
        PyannoteFamily().read(place(tmp_path))


# ---- its post-processing, by its words


def by_steps(speech: list[float], options: BinarizeOptions, windows: Windows, audio_ms: float) -> list[tuple[int, int]]:
    """Step after step over all frames, as the package does it; clipped to the audio."""
    moments = [windows.time_s(frame) for frame in range(len(speech))]
    regions, start = [], None
    for moment, probability in zip(moments, speech, strict=True):
        if start is None and probability > options.onset:
            start = moment
        elif start is not None and probability < options.offset:
            regions.append((start, moment))
            start = None
    if start is not None:
        regions.append((start, moments[-1]))
    padded = [(first - options.pad_onset, last + options.pad_offset) for first, last in regions]
    joined: list[tuple[float, float]] = []
    joins = options.pad_onset > 0 or options.pad_offset > 0 or options.min_duration_off > 0
    for first, last in (each for each in padded if each[1] - each[0] > 1e-6):
        gap = first - joined[-1][1] if joined else math.inf
        if joins and (gap <= 1e-6 or gap < options.min_duration_off):
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    kept = [(first, last) for first, last in joined if last - first >= options.min_duration_on]
    return [(max(0, round(1000 * first)), min(round(1000 * last), int(audio_ms))) for first, last in kept]


durations = st.sampled_from([0.0, 0.016875, 0.05, 0.1, 0.3, 1.0])


@given(
    runs=st.lists(
        st.tuples(st.integers(1, 25), st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.7, 1.0])), min_size=1, max_size=12
    ),
    options=st.builds(
        BinarizeOptions,
        onset=st.sampled_from([0.0, 0.2, 0.5, 0.6]),
        offset=st.sampled_from([0.0, 0.3, 0.5, 0.9]),
        min_duration_on=durations,
        min_duration_off=durations,
        pad_onset=durations,
        pad_offset=durations,
    ),
    spare=st.integers(0, 269),
    chunk=st.sampled_from([1, 3, 20, 10_000]),
)
@settings(max_examples=150, deadline=None)
def test_binarize_by_its_words(runs: list[tuple[int, float]], options: BinarizeOptions, spare: int, chunk: int) -> None:
    windows = PyannoteScorer.grid.windows
    assert windows is not None
    own = [level for length, level in runs for _ in range(length)]
    samples = 991 + (len(own) - 1) * 270 + (spare if len(own) < 588 else 0)
    nearest = windows.nearest(np.arange(samples // 160)).clip(0, len(own) - 1)
    values = np.array(own, np.float32)[nearest]
    segmenter, events = on_own_frames(options, windows), list[Event]()
    for at in range(0, len(values), chunk):
        part, final = values[at : at + chunk], at + chunk >= len(values)
        short_ms = len(values) * 10 - samples / 16 if final else 0.0
        events += segmenter.accept(Posteriors(part, part, short_ms=short_ms), final=final)
    found = [(segment.start_ms, segment.end_ms) for segment in segments_of(events)]
    expected = by_steps([float(np.float32(level)) for level in own], options, windows, samples / 16)
    assert found == expected
