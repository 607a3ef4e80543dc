"""Segmenters take many frames in one go where nothing turns. That must be what frame after frame gives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from app.vad.posteriors import Posteriors, Segmenter
from app.vad.segment import Event
from app.vad.segmenters.binarize import Binarize, BinarizeOptions
from app.vad.segmenters.endpoint import EndPointer, EndpointOptions
from app.vad.segmenters.hysteresis import Hysteresis, TightOptions


class SteppingEndPointer(EndPointer):
    """By the law alone, one frame at a time."""

    def _pass(self, stop: int) -> int:
        return 0


class SteppingHysteresis(Hysteresis):
    """By the law alone, one frame at a time."""

    def _pass(self, speech: list[float], first: int) -> int:
        return 0


class SteppingBinarize(Binarize):
    """By the law alone, one frame at a time."""

    def _pass(self, speech: list[float], index: int) -> int:
        return index


ENDPOINT = [
    EndpointOptions(),
    EndpointOptions(max_end_silence_time=200, speech_to_sil_time_thres=100, max_single_segment_time=1_000),
    EndpointOptions(max_single_segment_time=1_000, split="pause", split_window_ms=400),
    EndpointOptions(detect_mode=0, max_start_silence_time=300),
    EndpointOptions(do_extend=False, window_size_ms=50, sil_to_speech_time_thres=30, speech_to_sil_time_thres=0),
    EndpointOptions(lookahead_time_end_point=1_500, sil_to_speech_time_thres=0),
    EndpointOptions(snr_thres=3, decibel_thres=-20, speech_2_noise_ratio=1.7),
]
TIGHT = [
    TightOptions(),
    TightOptions(max_speech_duration_s=1, speech_pad_ms=100),
    TightOptions(min_speech_duration_ms=0, min_silence_duration_ms=0, speech_pad_ms=0),
    TightOptions(threshold=0.9, neg_threshold=0.1, min_silence_duration_ms=400, max_speech_duration_s=1.5),
]
BINARIZE = [
    BinarizeOptions(),
    BinarizeOptions(onset=0.6, offset=0.4, min_duration_on=0.3),
    BinarizeOptions(min_duration_off=0.5, pad_onset=0.2, pad_offset=0.1),
    BinarizeOptions(onset=0.3, offset=0.9),
]
# Runs of one kind with now and then a frame of the other in between, as networks give them.
RUNS = st.lists(st.tuples(st.integers(1, 180), st.sampled_from([0.02, 0.3, 0.55, 0.97])), min_size=1, max_size=9)


def posteriors_of(runs: list[tuple[int, float]], stray: np.ndarray) -> Posteriors:
    speech = np.concatenate([np.full(length, level) for length, level in runs]).astype(np.float32)
    speech[stray[stray < len(speech)]] = 0.5
    decibel = np.where(speech > 0.4, 10.0, -15.0).astype(np.float32)
    return Posteriors(1 - speech, decibel, "silence")


def events_of(machine: Segmenter, posteriors: Posteriors, chunk: int) -> list[Event]:
    events: list[Event] = []
    for at in range(0, len(posteriors), chunk):
        piece = posteriors.take(slice(at, at + chunk))
        events += machine.accept(piece, final=at + chunk >= len(posteriors))
    return events


@pytest.mark.parametrize("options", ENDPOINT, ids=range(len(ENDPOINT)))
@settings(max_examples=40, deadline=None)
@given(
    runs=RUNS, stray=arrays(np.int64, 12, elements=st.integers(0, 1_500)), chunk=st.sampled_from([1, 7, 10, 250, 5_000])
)
def test_the_end_point_machine(
    options: EndpointOptions, runs: list[tuple[int, float]], stray: np.ndarray, chunk: int
) -> None:
    posteriors = posteriors_of(runs, stray)
    assert events_of(EndPointer(options), posteriors, chunk) == events_of(SteppingEndPointer(options), posteriors, 1)


@pytest.mark.parametrize("frame_ms", [10, 32])
@pytest.mark.parametrize("options", TIGHT, ids=range(len(TIGHT)))
@settings(max_examples=40, deadline=None)
@given(
    runs=RUNS, stray=arrays(np.int64, 12, elements=st.integers(0, 1_500)), chunk=st.sampled_from([1, 7, 10, 250, 5_000])
)
def test_hysteresis(
    options: TightOptions, frame_ms: int, runs: list[tuple[int, float]], stray: np.ndarray, chunk: int
) -> None:
    posteriors = posteriors_of(runs, stray)
    passing = Hysteresis(options, frame_ms=frame_ms, cut_in_longest_silence=frame_ms > 10)
    stepping = SteppingHysteresis(options, frame_ms=frame_ms, cut_in_longest_silence=frame_ms > 10)
    assert events_of(passing, posteriors, chunk) == events_of(stepping, posteriors, 1)


@pytest.mark.parametrize("options", BINARIZE, ids=range(len(BINARIZE)))
@settings(max_examples=40, deadline=None)
@given(
    runs=RUNS, stray=arrays(np.int64, 12, elements=st.integers(0, 1_500)), chunk=st.sampled_from([1, 7, 10, 250, 5_000])
)
def test_binarize(options: BinarizeOptions, runs: list[tuple[int, float]], stray: np.ndarray, chunk: int) -> None:
    posteriors = posteriors_of(runs, stray)

    def moment(frame: int) -> float:
        return frame / 100 + 0.005

    passing, stepping = Binarize(options, moment, 10), SteppingBinarize(options, moment, 10)
    assert events_of(passing, posteriors, chunk) == events_of(stepping, posteriors, 1)
