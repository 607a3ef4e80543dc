"""Options that change while a stream goes on: the next frame is decided by the new ones, and nothing else moves."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.vad.errors import InvalidOption
from app.vad.grid import Grid
from app.vad.posteriors import Posteriors, adjust
from app.vad.segment import Event, Segment, SpeechEnd, SpeechStart, segments_of
from app.vad.segmenters.options import SegmenterOptions
from app.vad.segmenters.registry import SEGMENTERS, Segmentation, Segmenters
from tests.vad.test_pauses import posteriors

GRIDS = (Grid(16_000, 400, 160), Grid(16_000, 512, 512))
RELAXED = settings(max_examples=120, deadline=None)
CHOICES: Mapping[str, list[dict[str, Any]]] = {
    "endpoint": [
        {},
        {"max_end_silence_time": 200, "sil_to_speech_time_thres": 50},
        {"window_size_ms": 400, "lookback_time_start_point": 900, "speech_noise_thres": 0.1},
        {"max_single_segment_time": 1_000, "split": "pause", "split_window_ms": 400},
        {"max_single_segment_time": 3_000, "split": "pause"},
        {"do_extend": False, "snr_thres": 3},
    ],
    "tight": [
        {},
        {"threshold": 0.9, "neg_threshold": 0.8, "min_speech_duration_ms": 0},
        {"speech_pad_ms": 500, "min_silence_duration_ms": 700},
        {"max_speech_duration_s": 1, "min_silence_duration_ms": 0},
        {"threshold": 0.2, "speech_pad_ms": 0},
    ],
    "smoothed": [
        {},
        {"smooth_window_size": 1, "min_speech_frame": 2, "min_silence_frame": 3},
        {"smooth_window_size": 40, "speech_threshold": 0.3, "pad_start_frame": 50},
        {"max_speech_frame": 60},
    ],
    "binarize": [
        {},
        {"onset": 0.8, "offset": 0.2, "min_duration_on": 0.4},
        {"min_duration_off": 0.6, "pad_onset": 0.3},
        {"pad_onset": 0.5, "pad_offset": 1.0},
        {"onset": 0.05, "min_duration_on": 0.05, "min_duration_off": 0.05},
    ],
}
levels = st.lists(
    st.tuples(st.integers(1, 90), st.sampled_from([0.02, 0.1, 0.45, 0.7, 0.9, 0.98])), min_size=1, max_size=25
).map(lambda runs: [level for length, level in runs for _ in range(length)])
mode_and_two = st.sampled_from(sorted(CHOICES)).flatmap(
    lambda mode: st.tuples(st.just(mode), st.sampled_from(CHOICES[mode]), st.sampled_from(CHOICES[mode]))
)


def live(mode: str, options: Mapping[str, Any]) -> Segmentation:
    return Segmenters(SEGMENTERS).resolve(
        options, default_mode=mode, model_defaults={}, server_defaults={}, use="live", live=True
    )


def run(
    first: Segmentation,
    speech: list[float],
    cuts: "list[int]",
    change: "tuple[int, SegmenterOptions] | None" = None,
    grid: Grid = GRIDS[0],
) -> list[Event]:
    """Events of a stream in pieces; `change`: at which frame which options come into force."""
    segmenter = first.new_segmenter(grid)
    places = {cut % (len(speech) + 1) for cut in cuts} | ({change[0]} if change else set())
    events: list[Event] = []
    for start, stop in pairwise([0, *sorted(places), len(speech)]):
        if change is not None and start == change[0]:
            adjust(segmenter, change[1])
            change = None
        events += segmenter.accept(posteriors(speech[start:stop]), final=False)
    return events + segmenter.accept(posteriors([]), final=True)


def in_order(events: list[Event]) -> bool:
    """Whether starts and ends alternate, and no segment begins before the last one's end."""
    ended, started = 0, None
    for event in events:
        if isinstance(event, SpeechStart):
            if started is not None or event.start_ms < ended:
                return False
            started = event.start_ms
        else:
            segment = event.segment
            if started != segment.start_ms or segment.end_ms < segment.start_ms:
                return False
            if not 0 <= segment.speech_probability <= 1:
                return False
            started, ended = None, segment.end_ms
    return started is None


@pytest.mark.parametrize("grid", GRIDS, ids=["10 ms", "32 ms"])
@given(chosen=mode_and_two, speech=levels, place=st.integers(0, 3_000), merge=st.sampled_from([0, 300]))
@RELAXED
def test_the_same_options_change_nothing(
    grid: Grid, chosen: tuple[str, dict[str, Any], dict[str, Any]], speech: list[float], place: int, merge: int
) -> None:
    mode, options, _ = chosen
    first = live(mode, {**options, "merge_gap_ms": merge})
    at = place % (len(speech) + 1)
    # With a piece that ends there, too: a longer frame's last piece is only handed on with the next call.
    assert run(first, speech, [at], (at, first.options), grid) == run(first, speech, [at], grid=grid)


@pytest.mark.parametrize("grid", GRIDS, ids=["10 ms", "32 ms"])
@given(chosen=mode_and_two, speech=levels, place=st.integers(0, 3_000), cuts=st.lists(st.integers(0, 3_000)))
@RELAXED
def test_how_frames_were_grouped_makes_no_difference(
    grid: Grid,
    chosen: tuple[str, dict[str, Any], dict[str, Any]],
    speech: list[float],
    place: int,
    cuts: list[int],
) -> None:
    mode, before, after = chosen
    first, change = live(mode, before), (place % (len(speech) + 1), live(mode, after).options)
    whole = run(first, speech, [], change, grid)
    assert run(first, speech, cuts, change, grid) == whole
    assert in_order(whole), whole


def test_probabilities_do_not_depend_on_how_frames_were_grouped_before_a_longer_reach() -> None:
    """A start may then lie before what was kept: the same frames are gone whichever way they came."""
    speech = [0.02] * 18 + [0.4] * 20
    first = live("smoothed", {})
    change = (18, live("smoothed", {"smooth_window_size": 40, "speech_threshold": 0.1, "pad_start_frame": 50}).options)
    whole = run(first, speech, [], change)
    assert segments_of(whole)
    assert [run(first, speech, [cut], change) for cut in range(1, 18)] == [whole] * 17


@given(chosen=mode_and_two, speech=levels, place=st.integers(0, 3_000))
@RELAXED
def test_after_a_long_silence_only_the_new_options_are_left(
    chosen: tuple[str, dict[str, Any], dict[str, Any]], speech: list[float], place: int
) -> None:
    mode, before, after = chosen
    at, silence = place % (len(speech) + 1), [0.02] * 400
    one = run(live(mode, before), [*speech[:at], *silence, *speech], [], (at, live(mode, after).options))
    other = run(live(mode, after), [*speech[:at], *silence, *speech], [])
    border = (at + 300) * 10
    assert times_after(one, border) == times_after(other, border)


def times_after(events: list[Event], border_ms: int) -> list[tuple[int, int, bool]]:
    return [(each.start_ms, each.end_ms, each.forced_end) for each in segments_of(events) if each.start_ms >= border_ms]


def test_speech_goes_on_over_the_change() -> None:
    speech = [0.02] * 50 + [0.95] * 100 + [0.6] * 100 + [0.02] * 50
    strict, lenient = live("tight", {}), live("tight", {"threshold": 0.9, "neg_threshold": 0.8})
    found = segments_of(run(strict, speech, [], (200, lenient.options)))
    # 0.6 was speech until frame 200, and is silence from there on.
    assert found == [Segment(480, 2_020, False, found[0].speech_probability)]


def test_an_end_is_told_soon_when_less_silence_is_asked_for() -> None:
    speech = [0.95] * 100 + [0.02] * 100
    patient, quick = live("endpoint", {"max_end_silence_time": 5_000}), live("endpoint", {"max_end_silence_time": 200})
    start, end = run(patient, speech, [], (150, quick.options))
    assert isinstance(start, SpeechStart)
    assert isinstance(end, SpeechEnd)
    assert end.at_ms == 1_510


def test_a_segmenter_that_cannot_change_says_so() -> None:
    class Fixed:
        def accept(self, given: Posteriors, *, final: bool) -> list[Event]:
            return []

        def reset(self) -> None: ...

    with pytest.raises(InvalidOption, match="cannot change once a stream is open"):
        adjust(Fixed(), live("tight", {}).options)
