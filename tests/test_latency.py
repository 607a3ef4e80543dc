"""What the benchmark of live latency counts, on sound whose edges are known."""

from pathlib import Path

import numpy as np

from app.accuracy.corpus import RATE, Clip
from benchmarks.cases.latency import figures, joined


def start(start_ms: int, at_ms: int) -> dict[str, object]:
    return {"type": "speech_start", "start_ms": start_ms, "at_ms": at_ms}


def end(start_ms: int, end_ms: int, at_ms: int, *, forced: bool = False) -> dict[str, object]:
    return {"type": "speech_end", "start_ms": start_ms, "end_ms": end_ms, "at_ms": at_ms, "forced_end": forced}


def test_starts_count_from_the_first_stretch_and_ends_from_the_last() -> None:
    messages = [
        start(900, 1_200), end(900, 3_100, 3_800),  # over two stretches
        start(5_000, 5_300), end(5_000, 5_200, 5_900),  # over none
        start(7_900, 8_100), end(7_900, 9_000, 9_000, forced=True),
    ]  # fmt: skip
    found = figures(messages, [(1_000, 2_000), (2_200, 3_000), (8_000, 9_500)])
    assert found == {
        "starts": 1, "start_p50_ms": 200, "start_p95_ms": 200, "ends": 1, "end_p50_ms": 800, "end_p95_ms": 800,
    }  # fmt: skip


def test_clips_are_joined_with_pauses_and_their_labels_move_with_them() -> None:
    spoken = [(0.2, 0.5), (0.8, 1.0)]
    clip = Clip(
        Path("clip.wav"), np.ones(RATE + 7, dtype=np.float32), spoken
    )  # a rest that makes no whole frame is left out
    samples, stretches = joined([clip, clip])
    assert stretches == [(2_200, 2_500), (2_800, 3_000), (5_200, 5_500), (5_800, 6_000)]
    assert len(samples) == 8 * RATE
    assert samples[2 * RATE] == 1
    assert float(np.abs(samples[: 2 * RATE]).max()) < 0.01
