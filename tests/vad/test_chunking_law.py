"""The law: any cutting of the audio into chunks gives exactly the segments of feeding it whole."""

from functools import lru_cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.vad.models.fsmn.network import FsmnScorer
from app.vad.segment import Event, segments_of
from app.vad.stream import VadStream
from tests.segmentations import endpoint, tight
from tests.signals import bursts

SAMPLES = bursts(9.0, [(0.0, 0.4), (1.0, 1.2), (2.0, 4.6), (5.0, 5.05), (6.3, 8.9)])
OPTIONS = [
    endpoint(),
    endpoint(max_end_silence_time=200, speech_to_sil_time_thres=150),
    endpoint(do_extend=False, max_single_segment_time=1_000),
    endpoint(detect_mode=0),
    endpoint(snr_thres=10, decibel_thres=-20),
    tight(),
    tight(speech_pad_ms=400, min_silence_duration_ms=50, min_speech_duration_ms=30),
    tight(max_speech_duration_s=1, min_silence_duration_ms=300),
]
RELAXED = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def run(stream: VadStream, chunks: list[np.ndarray]) -> list[Event]:
    return [event for chunk in chunks for event in stream.accept_waveform(chunk)] + stream.flush()


def rounded(events: list[Event]) -> list[tuple[int, int, bool, float]]:
    return [(s.start_ms, s.end_ms, s.forced_end, round(s.speech_probability, 3)) for s in segments_of(events)]


@lru_cache
def uncut(scorer: FsmnScorer, chosen: int) -> list[Event]:
    return run(VadStream(scorer, OPTIONS[chosen].new_segmenter), [SAMPLES])


@pytest.mark.parametrize("chosen", range(len(OPTIONS)))
@given(isolated=st.booleans(), cuts=st.lists(st.integers(0, len(SAMPLES)), max_size=40))
@RELAXED
def test_cutting_changes_nothing(small_scorer: FsmnScorer, chosen: int, isolated: bool, cuts: list[int]) -> None:
    whole, options = uncut(small_scorer, chosen), OPTIONS[chosen]
    chunks = np.split(SAMPLES, sorted(cuts))
    pieces = run(VadStream(small_scorer, options.new_segmenter, isolated=isolated), chunks)
    assert len(segments_of(whole)) > 0
    assert rounded(pieces) == rounded(whole)


def test_one_sample_at_a_time(small_scorer: FsmnScorer) -> None:
    samples = SAMPLES[:24_000]
    whole = run(VadStream(small_scorer, endpoint().new_segmenter), [samples])
    single = run(VadStream(small_scorer, endpoint().new_segmenter), [samples[i : i + 1] for i in range(len(samples))])
    assert rounded(single) == rounded(whole) != []


def test_interleaved_streams_do_not_touch_each_other(small_scorer: FsmnScorer) -> None:
    alone = [rounded(run(VadStream(small_scorer, options.new_segmenter), [SAMPLES])) for options in OPTIONS]
    streams = [VadStream(small_scorer, options.new_segmenter) for options in OPTIONS]
    events: list[list[Event]] = [[] for _ in OPTIONS]
    for chunk in np.array_split(SAMPLES, 50):
        for stream, found in zip(streams, events, strict=True):
            found.extend(stream.accept_waveform(chunk))
    together = [rounded(found + stream.flush()) for stream, found in zip(streams, events, strict=True)]
    assert together == alone
    assert len({str(result) for result in alone}) > 4


def test_reset_begins_anew(small_scorer: FsmnScorer) -> None:
    stream = VadStream(small_scorer, endpoint().new_segmenter)
    first = rounded(run(stream, [SAMPLES]))
    stream.reset()
    assert rounded(run(stream, [SAMPLES])) == first


@pytest.mark.parametrize("samples", [0, 1, 160, 399, 400, 401, 560, 720, 721])
@pytest.mark.parametrize("isolated", [False, True])
def test_very_short_audio_is_no_speech_and_no_error(small_scorer: FsmnScorer, samples: int, isolated: bool) -> None:
    stream = VadStream(small_scorer, endpoint().new_segmenter, isolated=isolated)
    assert segments_of(run(stream, [SAMPLES[:samples]])) == []


def test_batched_scores_equal_single_ones(small_scorer: FsmnScorer) -> None:
    streams = [VadStream(small_scorer, endpoint().new_segmenter) for _ in range(5)]
    alone = [VadStream(small_scorer, endpoint().new_segmenter) for _ in range(5)]
    for step in range(20):
        chunks = [SAMPLES[(step * 5 + index) * 1_000 : (step * 5 + index + 1) * 1_000] for index in range(5)]
        blocks = [stream.cut(chunk) for stream, chunk in zip(streams, chunks, strict=True)]
        singles = [stream.cut(chunk) for stream, chunk in zip(alone, chunks, strict=True)]
        together = iter(small_scorer.score([block for block in blocks if block is not None]))
        for stream, other, block, single in zip(streams, alone, blocks, singles, strict=True):
            if block is None or single is None:
                assert block is single
                continue
            batched, apart = next(together), small_scorer.score([single])[0]
            np.testing.assert_allclose(batched.posteriors.values, apart.posteriors.values, atol=1e-6)
            np.testing.assert_allclose(batched.posteriors.decibel, apart.posteriors.decibel, atol=1e-4)
            stream.commit(batched, final=False)
            other.commit(apart, final=False)
