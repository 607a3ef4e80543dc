"""`pad_start_ms` and `pad_end_ms` in every mode: where edges go, what they never do; cutting changes nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.vad.grid import Grid
from app.vad.segment import Event, Segment, SpeechEnd, SpeechStart, segments_of
from app.vad.segmenters.registry import SEGMENTERS, Segmentation, Segmenters, Use
from tests.vad.test_changing_options import live
from tests.vad.test_pauses import posteriors

GRIDS = (Grid(16_000, 400, 160), Grid(16_000, 512, 512))
RELAXED = settings(max_examples=40, deadline=None)
LOUD, QUIET = 0.95, 0.02
# Hysteresis that drops and joins nothing, so that edges can be worked out by hand.
BARE = {"min_speech_duration_ms": 0, "min_silence_duration_ms": 0, "speech_pad_ms": 0}
cuts = st.lists(st.integers(0, 2_000), max_size=12)
pads = st.one_of(st.integers(-500, 2_000), st.integers(-120, 150))
modes_own = st.sampled_from([{}, {"max_speech_duration_s": 1}, BARE])
speech = st.lists(st.tuples(st.integers(1, 60), st.sampled_from([0.02, 0.3, 0.6, 0.95])), min_size=1, max_size=20).map(
    lambda runs: [level for length, level in runs for _ in range(length)]
)
CASES: Sequence[tuple[str, Use, Mapping[str, Any]]] = [
    ("tight", "file", {}),
    ("tight", "file", BARE),
    ("tight", "file", {"max_speech_duration_s": 1, "speech_pad_ms": 200}),
    ("endpoint", "file", {}),
    ("endpoint", "file", {"max_end_silence_time": 200, "max_single_segment_time": 1_000, "split": "pause"}),
    ("endpoint", "file", {"max_end_silence_time": 200, "max_single_segment_time": 1_000, "do_extend": False}),
    ("smoothed", "file", {"extend_speech_frame": 5, "max_speech_frame": 90}),
    ("smoothed", "live", {"max_speech_frame": 90}),
    ("binarize", "file", {"pad_onset": 0.1, "pad_offset": 0.2, "min_duration_off": 0.15}),
]


def padded(mode: str, use: Use, **options: Any) -> Segmentation:
    return Segmenters(SEGMENTERS).resolve(options, default_mode=mode, model_defaults={}, server_defaults={}, use=use)


def run(segmentation: Segmentation, frames: list[float], cuts: list[int], grid: Grid = GRIDS[0]) -> list[Event]:
    """Events of frames in pieces, the last of which has one at least."""
    segmenter, events = segmentation.new_segmenter(grid), list[Event]()
    for start, stop in pairwise(sorted({0, len(frames), *(cut % len(frames) for cut in cuts)})):
        events += segmenter.accept(posteriors(frames[start:stop]), final=stop == len(frames))
    return events


def spans(events: Sequence[Event]) -> list[tuple[int, int]]:
    return [(each.start_ms, each.end_ms) for each in segments_of(events)]


def loud(*stretches: tuple[int, int], until: int) -> list[float]:
    """Frames of 10 ms, loud in these stretches (ms)."""
    return [LOUD if any(start <= 10 * t < end for start, end in stretches) else QUIET for t in range(until // 10)]


TWO = loud((500, 800), (1_000, 1_300), until=2_000)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (0, 0, [(500, 800), (1_000, 1_300)]),
        (30, 0, [(470, 800), (970, 1_300)]),
        (0, 45, [(500, 845), (1_000, 1_345)]),
        (None, 45, [(500, 845), (1_000, 1_345)]),
        (-50, -70, [(550, 730), (1_050, 1_230)]),
        (2_000, 2_000, [(0, 900), (900, 2_000)]),  # the gap's middle, and the audio's ends
        (300, 100, [(200, 850), (850, 1_400)]),  # shared in the ratio of the pads
        (-50, 2_000, [(550, 1_050), (1_050, 2_000)]),  # to where the neighbour now begins
        (2_000, -100, [(0, 700), (700, 1_200)]),
        (-200, -100, []),
        (-299, 0, [(799, 800), (1_299, 1_300)]),
        (-300, 0, []),
    ],
)
def test_edges_by_hand(before: int | None, after: int | None, expected: list[tuple[int, int]]) -> None:
    given_options = {name: pad for name, pad in (("pad_start_ms", before), ("pad_end_ms", after)) if pad is not None}
    segmenter = padded("tight", "file", **BARE, **given_options).new_segmenter(GRIDS[0])
    assert spans(segmenter.accept(posteriors(TWO), final=True)) == expected


def test_the_end_of_the_audio_may_lie_within_a_frame() -> None:
    segmenter = padded("tight", "file", **BARE, pad_end_ms=500).new_segmenter(GRIDS[0])
    frames = replace(posteriors(loud((500, 1_000), until=1_000)), short_ms=4.0)
    assert spans(segmenter.accept(frames, final=True)) == [(500, 996)]


def test_a_dropped_segment_is_no_neighbour() -> None:
    """The short one in the middle vanishes, so that the first one's end has all the room up to the third."""
    frames = loud((500, 900), (1_000, 1_050), (1_500, 1_900), until=2_500)
    segmenter = padded("tight", "file", **BARE, pad_start_ms=-100, pad_end_ms=40).new_segmenter(GRIDS[0])
    assert spans(segmenter.accept(posteriors(frames), final=True)) == [(600, 940), (1_600, 1_940)]


def test_edges_at_a_forced_cut_stay() -> None:
    """The speech goes on there: nothing is said twice, and nothing is left out."""
    frames = loud((500, 2_900), until=4_000)
    for before, after in ((100, 100), (-100, -100)):
        options = {"max_single_segment_time": 1_000, "split": "pause", "pad_start_ms": before, "pad_end_ms": after}
        segmenter = padded("endpoint", "file", **options).new_segmenter(GRIDS[0])
        found = segments_of(segmenter.accept(posteriors(frames), final=True))
        assert len(found) > 2
        assert all(one.end_ms == other.start_ms for one, other in pairwise(found) if one.forced_end)
        assert all(one.duration_ms <= 1_000 for one in found)


@given(frames=speech, pad=st.integers(0, 600), options=st.sampled_from([{}, {"max_speech_duration_s": 1}, BARE]))
@RELAXED
def test_the_same_on_both_sides_is_the_modes_own(frames: list[float], pad: int, options: Mapping[str, Any]) -> None:
    """Tight's law of padding is the general one: so it stays where a side is set to what it was."""
    for grid in GRIDS:
        own = padded("tight", "file", **{**options, "speech_pad_ms": pad}).new_segmenter(grid)
        either = padded("tight", "file", **{**options, "speech_pad_ms": pad, "pad_start_ms": pad}).new_segmenter(grid)
        expected, found = (segments_of(each.accept(posteriors(frames), final=True)) for each in (own, either))
        assert [plain(each) for each in found] == [plain(each) for each in expected]
        for one, other in zip(found, expected, strict=True):
            assert one.speech_probability == pytest.approx(other.speech_probability, abs=1e-9)


def plain(segment: Segment) -> tuple[int, int, bool]:
    return segment.start_ms, segment.end_ms, segment.forced_end


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1]}-{len(case[2])}")
@given(frames=speech, before=st.none() | pads, after=st.none() | pads, cuts=cuts)
@RELAXED
def test_what_never_happens(
    case: tuple[str, Use, Mapping[str, Any]],
    frames: list[float],
    before: int | None,
    after: int | None,
    cuts: list[int],
) -> None:
    """No segment without length, over a neighbour or the audio's ends, or longer than the mode allows; starts and ends
    alternate, and agree; any cutting of the audio gives the same, and starts are told when they are known."""
    mode, use, options = case
    segmentation = padded(mode, use, **options, pad_start_ms=before, pad_end_ms=after)
    for grid in GRIDS:
        whole = segmentation.new_segmenter(grid).accept(posteriors(frames), final=True)
        assert run(segmentation, frames, cuts, grid=grid) == whole
        found, length_ms = segments_of(whole), len(frames) * grid.frame_ms
        assert all(0 <= each.start_ms < each.end_ms <= length_ms for each in found)
        assert all(one.end_ms <= other.start_ms for one, other in pairwise(found))
        if (before is not None or after is not None) and (mode, use) != ("smoothed", "live"):
            # The machines for frames count a limit in their own frames, and always let some speech fit.
            limit = max(segmentation.options.limit_ms, max(0, before or 0) + max(0, after or 0) + 500 + 400)
            assert all(each.duration_ms <= limit + 4 * grid.frame_ms for each in found)
        kinds = [type(event) for event in whole]
        assert kinds == [SpeechStart, SpeechEnd] * len(found)
        starts = [event.start_ms for event in whole if isinstance(event, SpeechStart)]
        assert starts == [each.start_ms for each in found]
        times = [event.at_ms for event in whole]
        assert times == sorted(times)
        assert all(event.start_ms <= event.at_ms for event in whole if isinstance(event, SpeechStart))


@given(frames=speech, before=pads, after=pads, cuts=cuts)
@RELAXED
def test_nothing_begins_before_what_is_final(frames: list[float], before: int, after: int, cuts: list[int]) -> None:
    """`final_ms`, by which chunks are packed and joined segments given out."""
    for mode in ("tight", "endpoint", "smoothed"):
        segmenter = live(mode, {"pad_start_ms": before, "pad_end_ms": after}).new_segmenter(GRIDS[0])
        places = sorted({0, len(frames), *(cut % (len(frames) + 1) for cut in cuts)})
        finals, ended = [], []
        for start, stop in pairwise(places):
            events = segmenter.accept(posteriors(frames[start:stop]), final=False)
            ended += [(len(finals), segment) for segment in segments_of(events)]
            finals.append(segmenter.final_ms)  # type: ignore[attr-defined]
        ended += [(len(finals), segment) for segment in segments_of(segmenter.accept(posteriors([]), final=True))]
        assert all(segment.start_ms >= finals[at] for told, segment in ended for at in range(told))


def test_a_start_waits_only_where_its_segment_may_vanish() -> None:
    """With `pad_end_ms=-100` a start is told once its speech is longer than that; without, it is told as ever."""
    frames = loud((500, 1_500), until=3_000)

    def told_at(**options: Any) -> int:
        segmentation = live("tight", {"min_speech_duration_ms": 0, **options})
        events = run(segmentation, frames, list(range(300)))
        return next(event.at_ms for event in events if isinstance(event, SpeechStart))

    assert told_at() == told_at(pad_start_ms=100, pad_end_ms=0) == told_at(pad_end_ms=200)
    assert 600 <= told_at(pad_end_ms=-100) <= 820
    assert told_at(pad_start_ms=-300) >= 800


def test_merging_sees_padded_segments() -> None:
    options = {**BARE, "pad_end_ms": 150, "pad_start_ms": 0, "merge_gap_ms": 60}
    assert spans(padded("tight", "file", **options).new_segmenter(GRIDS[0]).accept(posteriors(TWO), final=True)) == [
        (500, 1_450)
    ]
