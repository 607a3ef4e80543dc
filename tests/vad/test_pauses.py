"""`split=pause`: segments that get too long are cut where they are least speech-like. `merge_gap_ms`: gaps close."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.vad.errors import InvalidOption
from app.vad.grid import Grid
from app.vad.posteriors import Posteriors, Segmenter, final_ms
from app.vad.segment import Event, Segment, SpeechEnd, SpeechStart, segments_of
from app.vad.segmenters.registry import Segmentation
from tests.segmentations import endpoint, segmentation, tight

GRID = Grid(16_000, 400, 160)
RELAXED = settings(max_examples=60, deadline=None)
MODES = [
    endpoint(max_single_segment_time=1_500, split="pause", split_window_ms=400),
    endpoint(max_single_segment_time=1_000, split="pause", lookback_time_start_point=1_500),
    tight(max_speech_duration_s=2),
    segmentation("smoothed", max_speech_frame=150, merge_silence_frame=5, extend_speech_frame=3),
]


def posteriors(speech: "list[float] | np.ndarray") -> Posteriors:
    values = np.asarray(speech, dtype=np.float32)
    return Posteriors(values, np.zeros(len(values), np.float32))


def run(segmenter: Segmenter, speech: list[float], cuts: "list[int] | None" = None) -> list[Event]:
    events: list[Event] = []
    edges = [0, *sorted(cut % (len(speech) + 1) for cut in cuts or ()), len(speech)]
    for start, stop in pairwise(edges):
        events += segmenter.accept(posteriors(speech[start:stop]), final=False)
    return events + segmenter.accept(posteriors([]), final=True)


def found(chosen: Segmentation, speech: list[float], cuts: "list[int] | None" = None) -> list[Segment]:
    return segments_of(run(chosen.new_segmenter(GRID), speech, cuts))


levels = st.lists(
    st.tuples(st.integers(1, 90), st.sampled_from([0.02, 0.1, 0.45, 0.7, 0.9, 0.98])), min_size=1, max_size=25
).map(lambda runs: [level for length, level in runs for _ in range(length)])


def test_the_cut_lies_at_the_least_speech_like_frame_and_nothing_is_lost() -> None:
    speech = [0.95] * 400
    speech[160] = 0.2
    hard = found(endpoint(max_single_segment_time=2_000), speech)
    pause = found(endpoint(max_single_segment_time=2_000, split="pause", split_window_ms=1_000), speech)
    assert hard[0].duration_ms == 2_010  # as the reference: one frame past the limit
    assert [(each.start_ms, each.end_ms, each.forced_end) for each in pause[:2]] == [
        (0, 1_600, True),
        (1_600, 3_600, True),
    ]
    assert pause[-1].end_ms == 4_000
    assert all(one.end_ms == other.start_ms for one, other in pairwise(pause))


def test_the_window_bounds_the_search() -> None:
    speech = [0.95] * 400
    speech[100], speech[190] = 0.1, 0.3
    near = found(endpoint(max_single_segment_time=2_000, split="pause", split_window_ms=500), speech)
    wide = found(endpoint(max_single_segment_time=2_000, split="pause", split_window_ms=60_000), speech)
    assert near[0].end_ms == 1_900
    assert wide[0].end_ms == 1_900  # half the limit at most: frame 100 is out of reach
    speech[101] = 0.1
    assert found(endpoint(max_single_segment_time=2_000, split="pause"), speech)[0].end_ms == 1_010


@given(speech=levels)
@RELAXED
def test_pause_is_never_longer_than_the_limit_and_covers_what_hard_covers(speech: list[float]) -> None:
    options = {"max_single_segment_time": 1_500, "split_window_ms": 600}
    pause = found(endpoint(split="pause", **options), speech)
    assert all(0 < segment.duration_ms <= 1_500 for segment in pause)
    assert all(one.end_ms <= other.start_ms for one, other in pairwise(pause))
    # Frames taken for speech that lie in a segment of unlimited length lie in one of these too.
    whole = found(endpoint(max_single_segment_time=3_600_000), speech)
    covered = np.zeros(len(speech) + 1, bool)
    for segment in pause:
        covered[segment.start_ms // 10 : segment.end_ms // 10] = True
    for segment in whole:
        for frame in range(segment.start_ms // 10, min(segment.end_ms // 10, len(speech))):
            assert covered[frame] or speech[frame] <= 0.8


@pytest.mark.parametrize("chosen", MODES, ids=range(len(MODES)))
@given(speech=levels, gap=st.sampled_from([0, 50, 300, 2_000]), cuts=st.lists(st.integers(0, 3_000), max_size=12))
@RELAXED
def test_grouping_changes_nothing(chosen: Segmentation, speech: list[float], gap: int, cuts: list[int]) -> None:
    options = chosen.options.model_copy(update={"merge_gap_ms": gap})
    merging = Segmentation(chosen.kind, options)
    whole = run(merging.new_segmenter(GRID), speech)
    assert run(merging.new_segmenter(GRID), speech, cuts) == whole
    kinds = [type(event) for event in whole]
    assert kinds == [SpeechStart, SpeechEnd] * (len(whole) // 2)


@pytest.mark.parametrize("chosen", MODES, ids=range(len(MODES)))
@given(speech=levels, gap=st.sampled_from([50, 300, 2_000]))
@RELAXED
def test_merging_is_the_law_over_the_list_of_segments(chosen: Segmentation, speech: list[float], gap: int) -> None:
    plain = found(chosen, speech)
    options = chosen.options.model_copy(update={"merge_gap_ms": gap})
    expected: list[list[Segment]] = []
    for segment in plain:
        joins = (
            expected
            and not expected[-1][-1].forced_end
            and segment.start_ms - expected[-1][-1].end_ms <= gap
            and segment.end_ms - expected[-1][0].start_ms <= chosen.options.limit_ms
        )
        if joins:
            expected[-1].append(segment)
        else:
            expected.append([segment])
    merged = found(Segmentation(chosen.kind, options), speech)
    assert [(each.start_ms, each.end_ms, each.forced_end) for each in merged] == [
        (parts[0].start_ms, parts[-1].end_ms, parts[-1].forced_end) for parts in expected
    ]
    for segment in merged:
        mean = np.mean(speech[segment.start_ms // 10 : -(-segment.end_ms // 10)])
        assert segment.speech_probability == pytest.approx(mean, abs=0.02)


def test_what_is_joined_to_a_segment_that_is_cut_is_given_out_once() -> None:
    speech = [0.95] * 40 + [0.02] * 25 + [0.95] * 200
    speech[110] = 0.5
    chosen = segmentation("smoothed", max_speech_frame=150, merge_gap_ms=2_000)
    merged = found(chosen, speech)
    assert [each.start_ms for each in merged] == sorted({each.start_ms for each in merged})
    assert merged[0].forced_end
    assert merged[0].start_ms == 0


@pytest.mark.parametrize("chosen", MODES, ids=range(len(MODES)))
@given(speech=levels, gap=st.sampled_from([0, 200]))
@RELAXED
def test_nothing_that_comes_later_begins_before_what_is_settled(
    chosen: Segmentation, speech: list[float], gap: int
) -> None:
    options = chosen.options.model_copy(update={"merge_gap_ms": gap})
    segmenter = Segmentation(chosen.kind, options).new_segmenter(GRID)
    settled = 0
    for frame in range(0, len(speech), 7):
        for segment in segments_of(segmenter.accept(posteriors(speech[frame : frame + 7]), final=False)):
            assert segment.start_ms >= settled
        assert final_ms(segmenter) >= settled
        settled = final_ms(segmenter)
    for segment in segments_of(segmenter.accept(posteriors([]), final=True)):
        assert segment.start_ms >= settled


def test_options_are_held_to_their_mode() -> None:
    with pytest.raises(InvalidOption, match="mode=endpoint"):
        tight(split="pause")
    with pytest.raises(InvalidOption, match="split"):
        endpoint(split="soft")
    assert endpoint().document()["merge_gap_ms"] == 0
    assert "chunk_pad_ms" not in endpoint().document()
