"""Chunks for a recogniser: cover, order, limit, the places of cuts, and the chunking law."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from app.vad.chunks import Chunk, Chunker, ChunkOptions
from app.vad.errors import InvalidOption
from app.vad.grid import Grid
from app.vad.models.fsmn.network import FsmnScorer
from app.vad.posteriors import Posteriors, final_ms, join_posteriors
from app.vad.segment import Segment, segments_of
from app.vad.segmenters.registry import Segmentation
from app.vad.stream import VadStream
from tests.segmentations import endpoint, tight

FRAME_MS = 10
RELAXED = settings(max_examples=150, deadline=None)


def chunks_of(
    segments: list[Segment], speech: np.ndarray, limit_ms: int, pad_ms: int, duration_ms: int, frame_ms: int = FRAME_MS
) -> list[Chunk]:
    """All at once."""
    chunker = Chunker(limit_ms, pad_ms, frame_ms)
    return [*chunker.accept(segments, speech, final_ms=0), *chunker.finish(duration_ms)]


def streamed(
    segments: list[Segment], speech: np.ndarray, limit_ms: int, pad_ms: int, duration_ms: int, steps: list[int]
) -> list[Chunk]:
    """As a segmenter gives them: each once its last frame has been scored, in pieces of so many frames."""
    chunker = Chunker(limit_ms, pad_ms, FRAME_MS)
    found: list[Chunk] = []
    waiting, at = list(segments), 0
    for step in [*steps, len(speech)]:
        stop = min(len(speech), at + step)
        ready = [each for each in waiting if each.end_ms <= stop * FRAME_MS]
        waiting = [each for each in waiting if each.end_ms > stop * FRAME_MS]
        open_ms = waiting[0].start_ms if waiting else stop * FRAME_MS
        found += chunker.accept(ready, speech[at:stop], min(stop * FRAME_MS, open_ms))
        at = stop
    return found + chunker.finish(duration_ms)


@st.composite
def tracks(draw: st.DrawFn) -> tuple[list[Segment], np.ndarray, int]:
    """Segments and pauses of all lengths, the pauses as often as not none at all."""
    at, segments = draw(st.integers(0, 3_000)), []
    for _ in range(draw(st.integers(0, 14))):
        length = draw(st.sampled_from([30, 400, 1_000, 2_500, 7_777, 20_000]))
        segments.append(Segment(at, at + length, False, 0.9))
        at += length + draw(st.sampled_from([0, 1, 60, 300, 301, 1_200, 6_000]))
    duration = at + draw(st.integers(0, 500))
    seed = draw(st.integers(0, 2**16))
    speech = np.round(np.random.default_rng(seed).random(duration // FRAME_MS + 1), 1)
    return segments, speech, duration


limits = st.sampled_from([(1_000, 0), (1_000, 250), (3_000, 100), (4_321, 0), (10_000, 400)])


@given(track=tracks(), limit=limits)
@RELAXED
def test_cover_order_and_limit(track: tuple[list[Segment], np.ndarray, int], limit: tuple[int, int]) -> None:
    segments, speech, duration = track
    found = chunks_of(segments, speech, *limit, duration)
    assert all(0 < chunk.duration_ms <= limit[0] for chunk in found)
    assert all(one.end_ms <= other.start_ms for one, other in pairwise(found))
    assert all(chunk.start_ms >= 0 and chunk.end_ms <= duration for chunk in found)
    holds = [[chunk for chunk in found if place in chunk.segments] for place in range(len(segments))]
    for segment, inside in zip(segments, holds, strict=True):
        parts = [(max(chunk.start_ms, segment.start_ms), min(chunk.end_ms, segment.end_ms)) for chunk in inside]
        assert parts[0][0] == segment.start_ms
        assert parts[-1][1] == segment.end_ms
        assert all(one[1] == other[0] for one, other in pairwise(parts))
        assert len(inside) == 1 or segment.duration_ms > limit[0]


@given(track=tracks(), limit=limits, steps=st.lists(st.integers(1, 1_500), max_size=40))
@RELAXED
def test_the_chunking_law(
    track: tuple[list[Segment], np.ndarray, int], limit: tuple[int, int], steps: list[int]
) -> None:
    segments, speech, duration = track
    assert streamed(segments, speech, *limit, duration, steps) == chunks_of(segments, speech, *limit, duration)


def rank(end_ms: int, start_ms: int, speech: np.ndarray) -> int:
    """Of a pause: its length in steps, where anybody is quiet in it."""
    quietest = speech[end_ms // 10 : max(end_ms // 10 + 1, start_ms // 10)].min(initial=1)
    return min(start_ms - end_ms, 1_000) // 200 if quietest < 0.3 else 0


@given(track=tracks(), limit=st.sampled_from([1_000, 3_000, 10_000]))
@RELAXED
def test_every_cut_is_where_the_law_has_it(track: tuple[list[Segment], np.ndarray, int], limit: int) -> None:
    segments, speech, duration = track
    for chunk, following in pairwise(chunks_of(segments, speech, limit, 0, duration)):
        last, full = segments[chunk.segments[-1]], chunk.start_ms + limit
        if chunk.end_ms < last.end_ms:
            assert last.duration_ms > limit
            low = max(full - limit // 2, last.start_ms + 1)
            frames = [frame for frame in range(len(speech)) if low <= frame * FRAME_MS + 5 <= full]
            lowest = min(frames, key=lambda frame: (speech[frame], -frame), default=None)
            assert chunk.end_ms == (full if lowest is None else lowest * FRAME_MS + 5)
            continue
        pause = following.start_ms - chunk.end_ms
        ends = [(segments[place].end_ms, segments[place + 1].start_ms) for place in range(len(segments) - 1)]
        half = [(end, start) for end, start in ends if chunk.start_ms + limit / 2 <= end <= full and start <= duration]
        half = [(end, start) for end, start in half if end > chunk.start_ms]
        ranks = [rank(end, start, speech) for end, start in half]
        here = rank(chunk.end_ms, following.start_ms, speech)
        assert pause >= 0
        assert here == max(ranks, default=here)
        if ranks:  # of equals the last
            best = [end for (end, _), rank in zip(half, ranks, strict=True) if rank == max(ranks)]
            assert chunk.end_ms == best[-1]


def test_the_longest_pause_that_leaves_the_chunk_half_full() -> None:
    times = [(0, 10), (14, 16), (16.5, 20), (20.9, 24), (24.5, 29), (29.5, 33)]
    segments = [Segment(round(start * 1000), round(end * 1000), False, 0.9) for start, end in times]
    found = chunks_of(segments, np.zeros(4_000), 30_000, 0, 40_000)
    # The pause of 4 s leaves 10 s; of those from 15 s on, that of 0.9 s is the longest.
    assert [(chunk.start_ms, chunk.end_ms, chunk.segments) for chunk in found] == [
        (0, 20_000, (0, 1, 2)),
        (20_900, 33_000, (3, 4, 5)),
    ]


def test_a_segment_that_fits_is_never_cut_and_one_that_does_not_is_cut_in_the_window() -> None:
    segments = [Segment(0, 2_000, False, 0.9), Segment(2_100, 12_000, False, 0.9), Segment(12_100, 32_100, False, 0.9)]
    speech = np.full(3_300, 0.9)
    speech[[1_300, 1_750, 2_300, 2_500]] = 0.0, 0.1, 0.3, 0.2
    found = chunks_of(segments, speech, 10_000, 0, 33_000)
    assert [(chunk.start_ms, chunk.end_ms, chunk.segments) for chunk in found] == [
        (0, 2_000, (0,)),
        (2_100, 12_000, (1,)),
        (12_100, 17_505, (2,)),
        (17_505, 25_005, (2,)),
        (25_005, 32_100, (2,)),
    ]


def test_padding_counts_and_never_overlaps() -> None:
    times = [(1_000, 5_000), (5_300, 10_400), (10_500, 10_900)]
    segments = [Segment(start, end, False, 0.9) for start, end in times]
    found = chunks_of(segments, np.zeros(1_200), 5_000, 400, 11_000)
    # The pause of 300 ms is shared; the second one is longer than a chunk and cut; the audio ends 100 ms later.
    assert found == [Chunk(600, 5_150, (0,)), Chunk(5_150, 10_145, (1,)), Chunk(10_145, 11_000, (1, 2))]


def test_a_segment_that_just_fits_goes_without_padding() -> None:
    found = chunks_of([Segment(1_000, 5_900, False, 0.9)], np.zeros(900), 5_000, 400, 9_000)
    assert found == [Chunk(950, 5_950, (0,))]


def test_a_chunk_comes_as_soon_as_nothing_can_change_it() -> None:
    chunker = Chunker(10_000, 200, FRAME_MS)
    segments = [Segment(1_000, 4_000, False, 0.9), Segment(5_000, 8_000, False, 0.9)]
    assert chunker.accept(segments, np.zeros(900), final_ms=9_000) == []
    assert chunker.accept([], np.zeros(180), final_ms=10_790) == []  # may still fit
    assert chunker.accept([], np.zeros(1), final_ms=10_800) == [Chunk(800, 8_200, (0, 1))]
    # Its own pause is shorter, so far, than the one before it.
    late = [Segment(11_000, 17_000, False, 0.9), Segment(17_900, 20_600, False, 0.9)]
    assert chunker.accept(late, np.zeros(1_000), final_ms=20_700) == []
    assert chunker.accept([], np.zeros(100), final_ms=21_100) == []
    assert chunker.accept([], np.zeros(100), final_ms=21_400) == [Chunk(10_800, 20_800, (2, 3))]
    assert chunker.finish(25_000) == []


def test_pauses_are_compared_in_steps_and_of_equals_the_last_is_taken() -> None:
    times = [(0, 6_000), (7_900, 9_000), (10_050, 12_000)]  # 1.9 s and 1.05 s are both long
    segments = [Segment(start, end, False, 0.9) for start, end in times]
    found = chunks_of(segments, np.zeros(1_300), 10_000, 0, 13_000)
    assert [chunk.segments for chunk in found] == [(0, 1), (2,)]


def test_a_pause_in_which_nobody_is_quiet_is_the_shortest() -> None:
    segments = [Segment(start, end, False, 0.9) for start, end in ((0, 6_000), (6_300, 9_000), (9_900, 14_000))]
    speech = np.zeros(1_500)
    assert chunks_of(segments, speech, 10_000, 0, 15_000)[0].segments == (0, 1)
    speech[900:990] = 0.4
    assert chunks_of(segments, speech, 10_000, 0, 15_000)[0].segments == (0,)


def test_frames_of_other_lengths() -> None:
    speech = np.full(700, 0.9)
    speech[500] = 0.1
    found = chunks_of([Segment(0, 20_000, False, 0.9)], speech, 18_000, 0, 22_400, frame_ms=32)
    assert [(chunk.start_ms, chunk.end_ms) for chunk in found] == [(0, 16_016), (16_016, 20_000)]


def test_options() -> None:
    assert ChunkOptions.parse({}).limit_ms is None
    assert ChunkOptions.parse({"max_chunk_s": "1.1"}).limit_ms == 1_100
    for wrong in ({"max_chunk_s": 0.5}, {"max_chunk_s": 601}, {"max_chunk_s": "nan"}, {"max_chunk_s": "inf"}):
        with pytest.raises(InvalidOption, match="max_chunk_s"):
            ChunkOptions.parse(wrong)
    with pytest.raises(InvalidOption, match="quarter"):
        ChunkOptions.parse({"max_chunk_s": 4, "chunk_pad_ms": 1_001})


# ---- on recordings

CHOSEN = [
    tight(threshold=0.7, neg_threshold=0.5),
    tight(threshold=0.7, neg_threshold=0.5, min_silence_duration_ms=300, speech_pad_ms=100, merge_gap_ms=200),
    endpoint(),
    endpoint(max_single_segment_time=30_000, split="pause"),
]


@pytest.fixture(scope="module", params=["vad_example.wav", "silero_test.wav"])
def recording(request: pytest.FixtureRequest, reference: Path, published_scorer: FsmnScorer) -> tuple[Posteriors, int]:
    """A recording's posteriors, and how long it is."""
    samples, rate = soundfile.read(reference / "audio" / request.param, dtype="float32")
    assert rate == 16_000
    stream = VadStream(published_scorer, endpoint().new_segmenter)
    parts = []
    for block in np.array_split(samples, 8):
        stream.accept_waveform(block)
        parts.append(stream.posteriors)
    stream.flush()
    return join_posteriors([*parts, stream.posteriors]), len(samples) * 1000 // rate


def fewest(segments: list[Segment], limit_ms: int) -> int:
    """As few chunks as there can be where no segment is cut: each filled up."""
    count, start = 0, -limit_ms - 1
    for segment in segments:
        if segment.end_ms - start > limit_ms:
            count, start = count + 1, segment.start_ms
    return count


@pytest.mark.reference
@pytest.mark.parametrize("chosen", CHOSEN, ids=range(len(CHOSEN)))
@pytest.mark.parametrize("limit", [15_000, 30_000])
def test_on_recordings(recording: tuple[Posteriors, int], chosen: Segmentation, limit: int) -> None:
    posteriors, duration = recording
    speech = posteriors.speech
    segmenter = chosen.new_segmenter(Grid(16_000, 400, 160))
    chunker, found, segments = Chunker(limit, 0, FRAME_MS), list[Chunk](), list[Segment]()
    for start in range(0, len(posteriors), 333):
        part = posteriors.take(slice(start, start + 333))
        ended = segments_of(segmenter.accept(part, final=start + 333 >= len(posteriors)))
        segments += ended
        found += chunker.accept(ended, part.speech, final_ms(segmenter))
    assert chunker._pieces  # the last chunk waits for the end; all others have come before
    found += chunker.finish(duration)
    assert found == chunks_of(segments, speech, limit, 0, duration)
    assert max(chunk.duration_ms for chunk in found) <= limit
    assert sorted({place for chunk in found for place in chunk.segments}) == list(range(len(segments)))
    if max(segment.duration_ms for segment in segments) <= limit:
        # Filling each chunk up cuts at any pause, and gives the fewest there can be.
        assert len(found) <= 1.15 * fewest(segments, limit)
    for one, other in pairwise(found):
        quietest = speech[one.end_ms // FRAME_MS : max(one.end_ms, other.start_ms) // FRAME_MS + 1].min()
        assert quietest < 0.5
