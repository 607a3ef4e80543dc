"""Figures that can be worked out by hand, and figures that pyannote.metrics and scikit-learn work out, too."""

from pathlib import Path

import numpy as np
import pytest

from tests.accuracy.made import DURATION_S, RATE, SPEECH, runs, shifted

pytest.importorskip("sklearn", reason="the extra `accuracy` is not installed")
pytest.importorskip("scipy", reason="the extra `accuracy` is not installed")
from sklearn.metrics import f1_score, roc_auc_score

from app.accuracy.boundaries import errors_ms, starts_and_ends
from app.accuracy.corpus import Clip
from app.accuracy.frames import Counts, at_middles, frames_of
from app.accuracy.heard import Heard
from app.accuracy.intervals import Drawings
from app.accuracy.judging import Segmented, judge_segments
from benchmarks.accuracy.judging import judge_scores

FRAMES = round(DURATION_S * 100)


def clip() -> Clip:
    return Clip(Path("a.wav"), np.zeros(round(DURATION_S * RATE), np.float32), SPEECH)


def judged(*found: list[tuple[float, float]], drawings: int = 0) -> Segmented:
    """Clips with the same labels, and the segments that were found in each."""
    clips = [clip() for _ in found]
    heard = [Heard(np.zeros(FRAMES), {"a": spans}) for spans in found]
    (row,) = judge_segments("clean", heard, clips, Drawings(len(clips), drawings))
    return row


def test_a_frame_is_speech_when_its_middle_is() -> None:
    assert runs(frames_of([(0.004, 0.0149), (0.025, 0.0451)], 6)) == [(0.0, 0.01), (0.02, 0.05)]
    assert runs(frames_of([(0.0, 9.0)], 3)) == [(0.0, 0.03)]
    assert at_middles(np.array([0.1, 0.2, 0.3]), 32, 10).tolist() == [0.1] * 3 + [0.2] * 3 + [0.3] * 4
    assert at_middles(np.zeros(0), 10, 2).tolist() == [0, 0]


def test_what_is_labelled_found_exactly() -> None:
    row = judged(list(SPEECH))
    assert (row.f1.value, row.miss_rate.value, row.false_alarm_rate.value, row.detection_error.value) == (1, 0, 0, 0)
    assert (row.onset_median_ms.value, row.offset_p95_ms.value, row.onsets_found.value) == (0, 0, 1)
    assert (row.segments, row.longest_s) == (3, 1.5)


def test_everything_a_tenth_of_a_second_late() -> None:
    """Each of three spans loses 10 frames at its start and gains 10 at its end: 30 of 300 missed, 30 of 500 false."""
    row = judged(shifted(0.1))
    assert row.miss_rate.value == pytest.approx(30 / 300)
    assert row.false_alarm_rate.value == pytest.approx(30 / 500)
    assert row.detection_error.value == pytest.approx(60 / 300)
    assert row.f1.value == pytest.approx(2 * 270 / (2 * 270 + 60))
    for edge in (row.onset_median_ms, row.onset_p95_ms, row.onset_bias_ms, row.offset_median_ms, row.offset_bias_ms):
        assert edge.value == pytest.approx(100)
    assert (row.onsets_found.value, row.offsets_found.value) == (1, 1)


def test_early_is_below_zero() -> None:
    row = judged(shifted(-0.05))
    assert (row.onset_bias_ms.value, row.onset_median_ms.value) == (pytest.approx(-50), pytest.approx(50))


def test_one_of_three_spans_missed_and_one_joined_to_the_next() -> None:
    """Found: 1.0 to 4.5 s. Missed: 50 frames of 300; false: the second between the first two spans."""
    row = judged([(1.0, 4.5)])
    assert row.miss_rate.value == pytest.approx(50 / 300)
    assert row.false_alarm_rate.value == pytest.approx(100 / 500)
    assert (row.onsets_found.value, row.offsets_found.value) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert row.onset_median_ms.value == 0


def test_nothing_found() -> None:
    row = judged([])
    assert (row.f1.value, row.miss_rate.value, row.detection_error.value) == (0, 1, 1)
    assert (row.onset_median_ms.value, row.onsets_found.value, row.segments) == (None, 0, 0)


def test_edges_are_paired_one_to_one_and_nearby() -> None:
    assert errors_ms([1000, 1100], [1000]).tolist() == [0], "the nearer one"
    assert errors_ms([900, 1050], [1000, 1400]).tolist() == [-100, -350], "two pairs are better than a near one"
    assert errors_ms([1501], [1000]).tolist() == [], "that is another edge"
    assert errors_ms([], [1000]).tolist() == errors_ms([1000], []).tolist() == []


def test_the_recordings_own_ends_are_no_edges() -> None:
    starts, ends = starts_and_ends([(0.0, 8.0)], [(0.0, 2.0), (3.0, 8.0)], 8.0)
    assert (starts.labelled, len(starts.errors_ms)) == (1, 0)
    assert (ends.labelled, len(ends.errors_ms)) == (1, 0)


def test_scores_of_a_curve_worked_out_by_hand() -> None:
    """Four kinds of frames: 100 of speech at 0.9, 200 at 0.4; of the rest 100 at 0.6 and 400 at 0.1. Of all pairs of
    speech and rest, the first 100 win all, the 200 those with 400 of 500: (1 + 2 · 0.8) / 3."""
    speech = clip().speech
    scores = np.where(speech, 0.4, 0.1)
    scores[np.flatnonzero(speech)[:100]] = 0.9
    scores[np.flatnonzero(~speech)[:100]] = 0.6
    row = judge_scores("m", "clean", [Heard(scores, {})], [clip()], Drawings(1, 0))
    assert row.auc.value == pytest.approx((1 + 2 * 0.8) / 3)
    assert (row.best_threshold, row.best_f1.value) == (0.4, pytest.approx(2 * 300 / (2 * 300 + 100)))
    assert (row.false_alarm_rates, row.miss_rates) == ([0, 0, 0.2, 0.2, 1], [1, 0.6667, 0.6667, 0, 0])


def random_run(seed: int) -> tuple[list[Heard], list[Clip]]:
    """Clips of different length with probabilities that are right more often than not."""
    rng = np.random.default_rng(seed)
    heard, clips = [], []
    for _ in range(5):
        frames = int(rng.integers(200, 900))
        speech = np.repeat(rng.random(frames // 20 + 1) < 0.5, 20)[:frames]
        scores = np.clip(0.35 + 0.3 * speech + rng.normal(0, 0.25, frames), 0, 1)
        heard.append(Heard(scores, {"a": runs(scores > 0.5)}))
        clips.append(Clip(Path("a.wav"), np.zeros(frames * 160, np.float32), runs(speech)))
    return heard, clips


@pytest.mark.parametrize("seed", range(3))
def test_scikit_learn_and_pyannote_say_the_same(seed: int) -> None:
    metrics = pytest.importorskip("pyannote.metrics.detection", reason="pyannote.metrics is not installed")
    from pyannote.core import Annotation, Segment, Timeline

    heard, clips = random_run(seed)
    scored = judge_scores("m", "clean", heard, clips, Drawings(5, 0))
    (row,) = judge_segments("clean", heard, clips, Drawings(5, 0))
    labels = np.concatenate([each.speech for each in clips])
    scores = np.concatenate([each.scores for each in heard])
    assert scored.auc.value == pytest.approx(roc_auc_score(labels, scores))
    assert row.f1.value == pytest.approx(f1_score(labels, scores > 0.5))

    def annotation(spans: list[tuple[float, float]]) -> Annotation:
        found = Annotation()
        for number, (start, end) in enumerate(spans):
            found[Segment(start, end), number] = "speech"
        return found

    error_rate = metrics.DetectionErrorRate()
    for one, each in zip(heard, clips, strict=True):
        whole = Timeline([Segment(0, each.duration_s)])
        error_rate(annotation(list(each.spans)), annotation(list(one.segments["a"])), uem=whole)
    assert row.detection_error.value == pytest.approx(abs(error_rate), abs=1e-6)


def test_intervals_hold_the_value_and_narrow_with_more_files() -> None:
    few = judged(*[list(SPEECH), shifted(0.1)] * 2, drawings=400)
    many = judged(*[list(SPEECH), shifted(0.1)] * 20, drawings=400)
    for row in (few, many):
        assert row.miss_rate.value == pytest.approx(0.05)
        assert row.miss_rate.low is not None
        assert row.miss_rate.low < 0.05 < (row.miss_rate.high or 0)
    # Of 4 files of 0 or 0.1, all are alike in one drawing of 16: the interval of 95 % reaches both ends.
    assert (few.miss_rate.low, few.miss_rate.high) == (0, pytest.approx(0.1))
    # The mean of 40 has a standard deviation of 0.05 / √40 = 0.0079; 1.96 of them either way.
    assert many.miss_rate.low == pytest.approx(0.05 - 1.96 * 0.0079, abs=0.004)
    assert judged(list(SPEECH), drawings=400).miss_rate.low is None, "one file alone"
    assert (few.onset_median_ms.low, few.onset_median_ms.high) == (0, pytest.approx(100))


def test_intervals_of_curves_are_those_of_the_library_on_the_same_drawings() -> None:
    heard, clips = random_run(7)
    drawings = Drawings(5, 20)
    row = judge_scores("m", "clean", heard, clips, drawings)
    areas, best = [], []
    for times in drawings.times:
        labels = np.concatenate([each.speech for each, n in zip(clips, times, strict=True) for _ in range(n)])
        scores = np.concatenate([each.scores for each, n in zip(heard, times, strict=True) for _ in range(n)])
        areas.append(roc_auc_score(labels, scores))
        best.append(max(Counts.of(scores >= at, labels).f1 for at in np.unique(scores)))
    assert [row.auc.low, row.auc.high] == pytest.approx(np.quantile(areas, [0.025, 0.975]), abs=1e-3)
    assert [row.best_f1.low, row.best_f1.high] == pytest.approx(np.quantile(best, [0.025, 0.975]), abs=1e-3)
