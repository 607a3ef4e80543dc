"""Silero VAD behind the engine: the law of any cutting, batches, both segmenters, its package missing or damaged."""

import asyncio
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.engine.backend import Cost
from app.engine.engine import Engine
from app.engine.walk import walk
from app.vad.blocks import Block
from app.vad.errors import InvalidModel, ModelNotFound
from app.vad.models.scorer import StateRow
from app.vad.models.silero.family import SileroFamily
from app.vad.models.silero.network import SileroScorer
from app.vad.segment import Event, SpeechEnd, SpeechStart, segments_of
from app.vad.segmenters.registry import Segmentation
from app.vad.stream import VadStream
from tests.engines import loaded, model_on
from tests.segmentations import endpoint, segmentation, tight
from tests.silero import find, new_scorer
from tests.voice import voice

pytest.importorskip("silero_vad", reason="the package silero-vad is not installed")

SPOKEN = [(0.5, 1.5), (2.0, 2.4), (3.0, 6.6), (7.0, 9.0)]
OPTIONS = [
    endpoint(speech_noise_thres=0.0),
    endpoint(speech_noise_thres=0.0, max_end_silence_time=200, speech_to_sil_time_thres=150),
    endpoint(do_extend=False, max_single_segment_time=1_000),
    endpoint(detect_mode=0),
    endpoint(snr_thres=10, decibel_thres=-20),
    tight(),
    tight(speech_pad_ms=400, min_silence_duration_ms=50, min_speech_duration_ms=30),
    tight(max_speech_duration_s=1.5, min_silence_duration_ms=300),
]
RELAXED = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module", params=["silero", "silero-8k"])
def scorer(request: pytest.FixtureRequest) -> SileroScorer:
    return new_scorer(request.param)


@pytest.fixture(scope="module")
def samples(scorer: SileroScorer) -> np.ndarray:
    # Not a whole number of frames, so that the last one is short.
    return voice(9.013, SPOKEN, scorer.grid.sample_rate)


def run(stream: VadStream, chunks: list[np.ndarray]) -> list[Event]:
    return [event for chunk in chunks for event in stream.accept_waveform(chunk)] + stream.flush()


def rounded(events: list[Event]) -> list[tuple[int, int, bool, float]]:
    return [(s.start_ms, s.end_ms, s.forced_end, round(s.speech_probability, 3)) for s in segments_of(events)]


@pytest.mark.parametrize("options", OPTIONS, ids=range(len(OPTIONS)))
@given(data=st.data())
@RELAXED
def test_cutting_changes_nothing(
    scorer: SileroScorer, samples: np.ndarray, options: Segmentation, data: st.DataObject
) -> None:
    end = data.draw(st.sampled_from([len(samples), scorer.grid.frame_samples * 250]), "end")
    cuts = data.draw(st.lists(st.integers(0, end), max_size=40), "cuts")
    whole = run(VadStream(scorer, options.new_segmenter), [samples[:end]])
    pieces = run(VadStream(scorer, options.new_segmenter, isolated=True), np.split(samples[:end], sorted(cuts)))
    assert len(segments_of(whole)) > 0
    assert rounded(pieces) == rounded(whole)


def test_a_few_samples_at_a_time(scorer: SileroScorer, samples: np.ndarray) -> None:
    part = samples[: 2 * scorer.grid.sample_rate + 5]
    for options in (OPTIONS[0], OPTIONS[5]):
        whole = run(VadStream(scorer, options.new_segmenter), [part])
        few = run(VadStream(scorer, options.new_segmenter), [part[i : i + 3] for i in range(0, len(part), 3)])
        assert rounded(few) == rounded(whole) != []


def test_events_come_in_order_and_not_before_their_time(scorer: SileroScorer, samples: np.ndarray) -> None:
    for options in OPTIONS:
        stream, fed, heard_ms = VadStream(scorer, options.new_segmenter), 0, 0.0
        events: list[Event] = []
        for chunk in np.array_split(samples, 97):
            fed += len(chunk)
            heard_ms = fed * 1000 / scorer.grid.sample_rate
            found = stream.accept_waveform(chunk)
            assert all(event.at_ms <= heard_ms for event in found)
            events += found
        events += stream.flush()
        kinds = [type(event) for event in events]
        assert kinds == [SpeechStart, SpeechEnd] * (len(events) // 2)
        assert [e.start_ms for e in events if isinstance(e, SpeechStart)] == [s.start_ms for s in segments_of(events)]
        assert all(0 <= s.start_ms < s.end_ms <= heard_ms for s in segments_of(events))
        whole = run(VadStream(scorer, options.new_segmenter), [samples])
        assert [event.at_ms for event in events] == [event.at_ms for event in whole]


def test_batched_streams_equal_single_ones(scorer: SileroScorer, samples: np.ndarray) -> None:
    count, step = 5, 1_500
    together = [VadStream(scorer, endpoint().new_segmenter) for _ in range(count)]
    alone = [VadStream(scorer, endpoint().new_segmenter) for _ in range(count)]
    for turn in range(8):
        chunks = [samples[(turn * count + index) * step :][:step] for index in range(count)]
        blocks = [stream.cut(chunk) for stream, chunk in zip(together, chunks, strict=True)]
        singles = [stream.cut(chunk) for stream, chunk in zip(alone, chunks, strict=True)]
        batched = scorer.score([block for block in blocks if block is not None])
        apart = [scorer.score([block])[0] for block in singles if block is not None]
        for stream, other, many, one in zip(together, alone, batched, apart, strict=True):
            np.testing.assert_allclose(many.posteriors.values, one.posteriors.values, atol=1e-5)
            np.testing.assert_allclose(many.posteriors.decibel, one.posteriors.decibel, atol=1e-3)
            stream.commit(many, final=False)
            other.commit(one, final=False)


def test_a_failed_batch_leaves_every_state_as_it_was(scorer: SileroScorer, samples: np.ndarray) -> None:
    stream = VadStream(scorer, endpoint().new_segmenter)
    begun = stream.cut(samples[:10_000])
    assert begun is not None
    stream.commit(scorer.score([begun])[0], final=False)
    block = stream.cut(samples[10_000:20_000])
    assert block is not None
    right = scorer.score([block])[0]
    broken = Block(samples[: scorer.grid.frame_samples], 0, False, StateRow(torch.zeros(1, 7), 0))
    with pytest.raises(RuntimeError):
        scorer.score([block, broken])
    np.testing.assert_array_equal(scorer.score([block])[0].posteriors.values, right.posteriors.values)


def test_reset_begins_anew(scorer: SileroScorer, samples: np.ndarray) -> None:
    for options in (OPTIONS[0], OPTIONS[5]):
        stream = VadStream(scorer, options.new_segmenter)
        first = rounded(run(stream, [samples]))
        stream.reset()
        assert rounded(run(stream, [samples])) == first != []


@pytest.mark.parametrize("count", [0, 1, 79, 80, 160, 255, 256, 257, 511, 512, 513])
@pytest.mark.parametrize("mode", ["endpoint", "tight"])
def test_very_short_audio_is_no_speech_and_no_error(
    scorer: SileroScorer, samples: np.ndarray, count: int, mode: str
) -> None:
    stream = VadStream(scorer, segmentation(mode).new_segmenter)
    assert segments_of(run(stream, [samples[:count]])) == []


def test_the_end_point_machine_hears_the_voice(scorer: SileroScorer, samples: np.ndarray) -> None:
    options = endpoint(speech_noise_thres=0.0, max_end_silence_time=250, speech_to_sil_time_thres=100, do_extend=False)
    found = segments_of(run(VadStream(scorer, options.new_segmenter), [samples]))
    assert len(found) == len(SPOKEN)
    for segment, (start, stop) in zip(found, SPOKEN, strict=True):
        assert abs(segment.start_ms - start * 1000) <= 250
        assert abs(segment.end_ms - stop * 1000) <= 250
    assert all(segment.start_ms % 10 == 0 and segment.end_ms % 10 == 0 for segment in found)


class InMemory:
    """A source of blocks."""

    def __init__(self, rows: np.ndarray, block: int) -> None:
        self._rows, self._block = rows, block

    def __iter__(self) -> Iterator[np.ndarray]:
        for first in range(0, self._rows.shape[1], self._block):
            yield self._rows[:, first : first + self._block]

    def close(self) -> None: ...


async def test_the_engine_gives_what_a_stream_gives(scorer: SileroScorer, samples: np.ndarray) -> None:
    engine = Engine(workers=2)
    model = model_on(engine, loaded(scorer, "silero"))
    try:
        await model.backend.warm_up()
        rows = np.stack([samples, samples[::-1]])
        for options in (OPTIONS[0], OPTIONS[7]):
            found: list[list[Event]] = [[], []]
            streams = lambda options=options: model.new_stream(options, isolated=True)  # noqa: E731
            async for step in walk(model.backends, InMemory(rows, 10_007), streams, Cost()):
                found[step.row] += step.events
            for row, events in zip(rows, found, strict=True):
                assert rounded(events) == rounded(run(VadStream(scorer, options.new_segmenter), [row]))
    finally:
        await asyncio.to_thread(engine.close)


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.vad.models.silero.family.PACKAGE", "silero-vad-that-nobody-has")
    with pytest.raises(ModelNotFound, match=r"pip install 'silero-vad-that-nobody-has>="):
        find("silero")


def test_another_fingerprint_is_refused() -> None:
    family = SileroFamily()
    right = family.read(find("silero"))
    assert family.read(find("silero"), fingerprint=right.fingerprint.upper()).fingerprint == right.fingerprint
    assert family.read(find("silero-8k")).fingerprint != right.fingerprint
    with pytest.raises(InvalidModel, match="f" * 64):
        family.read(find("silero"), fingerprint="f" * 64)


@pytest.mark.parametrize("content", [b"", b"no archive", "half"])
def test_a_damaged_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | str) -> None:
    """Another installation of the package, first on the path, with damage."""
    files = metadata.files("silero-vad") or []
    for file in files:
        if file.name in ("silero_vad.jit", "METADATA", "RECORD"):
            place = tmp_path / file
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path(str(file.locate())), place)
    weights = tmp_path / "silero_vad" / "data" / "silero_vad.jit"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2] if isinstance(content, str) else content)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(InvalidModel, match=r"silero_vad\.jit"):
        SileroFamily().read(find("silero"))
    weights.unlink()
    with pytest.raises(InvalidModel, match=r"silero_vad\.jit"):
        SileroFamily().read(find("silero"))
