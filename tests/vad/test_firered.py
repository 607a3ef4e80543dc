"""FireRedVAD behind the engine: any cutting, batches, very short audio, labels, and files that are wrong."""

import argparse
import os
import shutil
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.vad.errors import InvalidModel
from app.vad.models.family import ModelSpec
from app.vad.models.firered.family import FILES, FireredFamily
from app.vad.models.firered.network import FireredScorer
from app.vad.models.hub import ModelHub, ModelPlace
from app.vad.models.registry import FAMILIES, Catalogue
from app.vad.segment import Event, segments_of
from app.vad.segmenters.registry import SEGMENTERS, Segmentation, Segmenters
from app.vad.segmenters.smoothed import SmoothedOptions, whole_frame
from app.vad.stream import VadStream
from tests.hub_server import running_hub
from tests.segmentations import endpoint, segmentation, tight
from tests.signals import bursts
from tests.small_firered import cmvn_bytes, write_small_firered

SAMPLES = bursts(9.0, [(0.0, 0.4), (1.0, 1.2), (2.0, 4.6), (5.0, 5.05), (6.3, 8.9)])[: 9 * 16_000 - 77]
RELAXED = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def load(directory: Path) -> FireredScorer:
    family = FireredFamily()
    return family.place(family.read(place(directory)), device="cpu", dtype="float32")


def place(directory: Path) -> ModelPlace:
    return ModelPlace(directory, directory.name, None, "directory")


@pytest.fixture(scope="module", params=["ahead", "stream", "labels"])
def scorer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> FireredScorer:
    sizes = {"ahead": {}, "stream": {"ahead": 0}, "labels": {"labels": 3, "dense": 2}}[request.param]
    return load(write_small_firered(tmp_path_factory.mktemp(request.param), **sizes))


def labelled(**options: Any) -> Segmentation:
    return Segmenters(SEGMENTERS).resolve(
        options, default_mode="smoothed", model_defaults={}, server_defaults={}, use="labelled"
    )


def live(**options: Any) -> Segmentation:
    return Segmenters(SEGMENTERS).resolve(
        options, default_mode="smoothed", model_defaults={}, server_defaults={}, use="live"
    )


OPTIONS = [
    segmentation("smoothed"),
    segmentation("smoothed", min_speech_frame=0, min_silence_frame=0, smooth_window_size=0),
    segmentation("smoothed", max_speech_frame=60, merge_silence_frame=30, extend_speech_frame=7),
    segmentation("smoothed", max_speech_frame=2, min_speech_frame=3, min_silence_frame=3),
    live(),
    live(max_speech_frame=60, pad_start_frame=12),
    labelled(max_event_frame=90),
    endpoint(speech_noise_thres=0.0),
    tight(threshold=0.4, neg_threshold=0.2),
]


def run(stream: VadStream, chunks: list[np.ndarray]) -> list[Event]:
    return [event for chunk in chunks for event in stream.accept_waveform(chunk)] + stream.flush()


def spans(events: list[Event]) -> list[tuple[int, int, bool, str | None]]:
    return [(each.start_ms, each.end_ms, each.forced_end, each.label) for each in segments_of(events)]


@lru_cache
def uncut(scorer: FireredScorer, chosen: int) -> list[Event]:
    return run(VadStream(scorer, OPTIONS[chosen].new_segmenter), [SAMPLES])


@pytest.mark.parametrize("chosen", range(len(OPTIONS)))
@given(isolated=st.booleans(), cuts=st.lists(st.integers(0, len(SAMPLES)), max_size=30))
@RELAXED
def test_cutting_changes_nothing(scorer: FireredScorer, chosen: int, isolated: bool, cuts: list[int]) -> None:
    whole, options = uncut(scorer, chosen), OPTIONS[chosen]
    pieces = run(VadStream(scorer, options.new_segmenter, isolated=isolated), np.split(SAMPLES, sorted(cuts)))
    assert spans(pieces) == spans(whole) != []
    assert [event.at_ms for event in pieces] == [event.at_ms for event in whole]


def test_labels_have_segments_of_their_own(tmp_path: Path) -> None:
    scorer = load(write_small_firered(tmp_path, labels=3))
    found = segments_of(run(VadStream(scorer, labelled().new_segmenter), [SAMPLES]))
    assert {segment.label for segment in found} == {"speech", "singing", "music"}
    never = labelled(singing_threshold=1, speech_threshold=1)
    found = segments_of(run(VadStream(scorer, never.new_segmenter), [SAMPLES]))
    assert {segment.label for segment in found} == {"music"}


@pytest.mark.parametrize("count", [0, 1, 160, 399, 400, 401, 559, 560, 720, 5_000])
@pytest.mark.parametrize("options", OPTIONS[:6], ids=range(6))
def test_very_short_audio_is_no_error(scorer: FireredScorer, count: int, options: Segmentation) -> None:
    quiet = SAMPLES[16_000 * 5 - 8_000 :][:count]
    for samples in (quiet, SAMPLES[:count]):
        for isolated in (False, True):
            stream = VadStream(scorer, options.new_segmenter, isolated=isolated)
            found = segments_of(run(stream, [samples]))
            assert all(0 <= each.start_ms < each.end_ms <= count / 16 + 1 for each in found)


def test_extending_past_both_ends_of_a_short_file(tmp_path: Path) -> None:
    """Where the package answers a segment that ends after the audio."""
    scorer = load(write_small_firered(tmp_path, ahead=0))
    options = segmentation("smoothed", min_speech_frame=1, extend_speech_frame=50)
    samples = bursts(0.165, [(0.0, 0.165)])
    [found] = segments_of(run(VadStream(scorer, options.new_segmenter), [samples]))
    assert (found.start_ms, found.end_ms) == (0, 165)


def test_batched_streams_equal_single_ones(scorer: FireredScorer) -> None:
    count, step = 5, 8_000
    together = [VadStream(scorer, endpoint().new_segmenter) for _ in range(count)]
    alone = [VadStream(scorer, endpoint().new_segmenter) for _ in range(count)]
    for turn in range(3):
        chunks = [SAMPLES[(turn * count + index) * step :][:step] for index in range(count)]
        blocks = [stream.cut(chunk) for stream, chunk in zip(together, chunks, strict=True)]
        singles = [stream.cut(chunk) for stream, chunk in zip(alone, chunks, strict=True)]
        found = scorer.score([block for block in blocks if block is not None])
        apart = [scorer.score([block])[0] for block in singles if block is not None]
        for stream, other, many, one in zip(together, alone, found, apart, strict=True):
            np.testing.assert_allclose(many.posteriors.values, one.posteriors.values, atol=1e-6)
            stream.commit(many, final=False)
            other.commit(one, final=False)


@given(
    frames=st.lists(st.tuples(st.sampled_from([0.0, 0.3, 0.45, 0.9]), st.integers(1, 40)), max_size=25), data=st.data()
)
@settings(max_examples=150, deadline=None)
def test_the_machine_equals_the_steps_over_whole_arrays(frames: list[tuple[float, int]], data: st.DataObject) -> None:
    """Against the post-processing as it is described, step after step, for any options."""
    options = SmoothedOptions(
        smooth_window_size=data.draw(st.integers(0, 8)),
        min_speech_frame=data.draw(st.integers(0, 25)),
        max_speech_frame=data.draw(st.sampled_from([2, 3, 10, 33, 60, 2_000])),
        min_silence_frame=data.draw(st.integers(0, 25)),
        merge_silence_frame=data.draw(st.integers(0, 30)),
        extend_speech_frame=data.draw(st.integers(0, 12)),
    )
    speech = np.array([value for value, count in frames for _ in range(count)], dtype=np.float32)
    speech = np.clip(speech + np.linspace(0, 0.01, len(speech), dtype=np.float32), 0, 1)
    chosen = segmentation("smoothed", **options.model_dump())
    found = segments_of(in_pieces(chosen, speech, data))
    assert [(each.start_ms, each.end_ms) for each in found] == step_by_step(speech.astype(np.float64), options)


def in_pieces(chosen: Segmentation, speech: np.ndarray, data: st.DataObject) -> list[Event]:
    from app.vad.grid import Grid
    from app.vad.posteriors import Posteriors

    segmenter = chosen.new_segmenter(Grid(16_000, 400, 160))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(speech)), max_size=4)))
    parts = np.split(speech, cuts)
    events: list[Event] = []
    for index, part in enumerate(parts):
        final = index == len(parts) - 1
        # As if the audio ended 15 ms after the last frame's step.
        events += segmenter.accept(Posteriors(part, np.zeros_like(part), short_ms=-15.0 if final else 0.0), final=final)
    return events


def step_by_step(p: np.ndarray, options: SmoothedOptions) -> list[tuple[int, int]]:
    """The eight steps over arrays of the whole audio."""
    total, window = len(p), max(1, options.smooth_window_size)
    smooth = [float(np.mean(p[max(0, t - window + 1) : t + 1])) for t in range(total)]
    voiced = [value >= options.speech_threshold for value in smooth]
    d = runs_of(voiced, options)
    before = d.copy()
    for t in range(1, total):
        if before[t] and not before[t - 1]:
            d[max(0, t - window) : t] = 1
    for (_, end), (start, _) in zip(spans_of(d), spans_of(d)[1:], strict=False):
        if start - end < options.merge_silence_frame:
            d[end:start] = 1
    grown = d.copy()
    for start, end in spans_of(d):
        grown[max(0, start - options.extend_speech_frame) : end + options.extend_speech_frame] = 1
    d = grown
    for start, end in spans_of(grown):
        first, counted = whole_frame(start), whole_frame(end)
        if counted - first <= options.max_speech_frame:
            continue
        last = total if end == total else counted
        c, limit = 0, options.max_speech_frame
        r = p[first:last]
        while len(r) - c > limit:
            k = int(c + limit / 2) + int(np.argmin(r[int(c + limit / 2) : int(c + limit)]))
            d[first + k] = 0
            c = k + 1
    end_ms = round(1000 * round((total * 10 + 15) / 1000, 3))
    return [(start * 10, end_ms if end == total else end * 10) for start, end in spans_of(d)]


def runs_of(voiced: list[bool], options: SmoothedOptions) -> np.ndarray:  # noqa: C901 - the four states, as told
    d = np.zeros(len(voiced), dtype=int)
    if options.min_speech_frame <= 0 and options.min_silence_frame <= 0:
        return np.array(voiced, dtype=int)
    state, mark = "silence", 0
    for t, speech in enumerate(voiced):
        if state == "silence" and speech:
            state, mark = "maybe speech", t
        elif state == "maybe speech":
            if not speech:
                state = "silence"
            elif t - mark >= options.min_speech_frame:
                state = "speech"
                d[mark:t] = 1
        elif state == "speech" and not speech:
            state, mark = "maybe silence", t
        elif state == "maybe silence":
            if speech:
                state = "speech"
            elif t - mark >= options.min_silence_frame:
                state = "silence"
        d[t] = state in ("speech", "maybe silence")
    return d


def spans_of(d: np.ndarray) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate(([0], d, [0]))))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


# ---- files


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_small_firered(tmp_path / "model")


def change(model: Path, how: Callable[[dict[str, Any]], Any]) -> None:
    allowed = [argparse.Namespace]
    with torch.serialization.safe_globals(allowed):
        document = torch.load(model / "model.pth.tar", weights_only=True)
    torch.save(how(document), model / "model.pth.tar")


WRONG: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda document: document["model_state_dict"], "not a checkpoint of FireRedVAD"),
    (lambda document: [1], "not a checkpoint of FireRedVAD"),
    (lambda document: {**document, "args": argparse.Namespace(idim=20)}, r"args\.odim"),
    (lambda document: {**document, "args": argparse.Namespace(**{**vars(document["args"]), "R": 4})}, r"fsmns\.2"),
    (lambda document: {**document, "args": argparse.Namespace(**{**vars(document["args"]), "S1": 2})}, r"args\.S1"),
    (lambda document: {**document, "args": argparse.Namespace(**{**vars(document["args"]), "H": -1})}, r"args\.H"),
    (lambda document: {**document, "args": argparse.Namespace(**{**vars(document["args"]), "P": True})}, r"args\.P"),
    (lambda document: {**document, "model_state_dict": {}}, "has no tensor"),
]


@pytest.mark.parametrize(("how", "told"), WRONG)
def test_wrong_checkpoints_are_told(model: Path, how: Callable[[dict[str, Any]], Any], told: str) -> None:
    change(model, how)
    with pytest.raises(InvalidModel, match=told) as failure:
        FireredFamily().read(place(model))
    assert str(model / "model.pth.tar") in str(failure.value)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\0BDM ", b"text, and more of it than a header has", cmvn_bytes(0, 1)[:-8], cmvn_bytes(0, 1) + b"x",
        cmvn_bytes(0, 1, bins=19), cmvn_bytes(float("nan"), 1), cmvn_bytes(0, 1, count=0), b"\0BCM " + bytes(100),
        b"\0BDM \4\xff\xff\xff\x7f\4\xff\xff\xff\x7f" + bytes(64),
    ],
    ids=range(10),
)  # fmt: skip
def test_wrong_normalisation_is_told(model: Path, content: bytes) -> None:
    (model / "cmvn.ark").write_bytes(content)
    with pytest.raises(InvalidModel, match=r"cmvn\.ark"):
        FireredFamily().read(place(model))


@pytest.mark.parametrize("name", ["model.pth.tar", "cmvn.ark"])
def test_missing_files_are_told(model: Path, name: str) -> None:
    (model / name).unlink()
    with pytest.raises(InvalidModel, match=name):
        FireredFamily().read(place(model))


class Canary:
    """Unpickling it would make a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_a_foreign_type_is_named_and_not_run(model: Path, tmp_path: Path) -> None:
    sung = tmp_path / "canary-sang"
    torch.save({"args": Canary(sung), "model_state_dict": {}}, model / "model.pth.tar")
    with pytest.raises(InvalidModel, match=r"mkdir, which is not allowed; nothing of it was run"):
        FireredFamily().read(place(model))
    assert not sung.exists()


def test_a_directory_of_all_networks_and_one_of_one(model: Path, tmp_path: Path) -> None:
    family, hub, catalogue = FireredFamily(), ModelHub(tmp_path / "cache", allow_download=False), Catalogue(FAMILIES)
    repository = tmp_path / "FireRedVAD"
    shutil.copytree(model, repository / "VAD")
    assert family.recognises(model)
    assert family.recognises(repository)
    assert family.find(ModelSpec("firered", str(model)), hub).path == model
    assert family.find(ModelSpec("firered", str(repository)), hub).path == repository / "VAD"
    assert catalogue.resolve(str(repository)).family == "firered"
    assert catalogue.resolve(f"mine=firered:{model}").source == str(model)


def test_a_download_takes_along_what_follows_live_streams(tmp_path: Path) -> None:
    for folder in ("VAD", "Stream-VAD", "AED"):
        write_small_firered(tmp_path / "repository" / folder)
    with running_hub(tmp_path / "repository") as running:
        family, hub = FireredFamily(), ModelHub(tmp_path / "cache", running.url)
        for name, folders in (("firered-aed", ["AED"]), ("firered", ["VAD", "Stream-VAD"])):
            spec = Catalogue(FAMILIES).find_known(name)
            assert spec is not None
            running.requests.clear()
            assert family.find(spec, hub).origin == "download"
            needed = {f"{folder}/{file}" for folder in folders for file in FILES}
            assert running.downloaded - {"configuration.json"} == needed
        spec = Catalogue(FAMILIES).find_known("firered-stream")
        assert spec is not None
        assert family.find(spec, hub).origin == "cache"
