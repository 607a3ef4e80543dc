"""Recordings whose clock and samples part: packets that were lost, sound that begins after the picture."""

from pathlib import Path

import numpy as np
import pytest

from tests.audio.clocks import LATE_S, late, leaping
from tests.field.asking import SECONDS, Answer, Pairs, ask, shifted, wav
from tests.server import RunningServer

pytestmark = pytest.mark.slow

GAP_AT_S, GAP_S = 5, 10
PACKET_MS = 70
"""Where a leap is seen: at the packet after it, which holds up to so much."""


def before_and_after(answer: Answer, plain: Pairs, late_ms: int, ms: int) -> bool:
    """Whether the first segment lies where it did, and the second one later by so much."""
    return answer.is_near([plain[0], *shifted(plain[1:], late_ms)], ms)


@pytest.mark.parametrize(
    ("suffix", "picture"),
    [
        (".webm", False),
        (".mkv", False),
        (".mp4", False),
        (".m4a", False),
        (".webm", True),
        (".mkv", True),
        (".mp4", True),
    ],
)
def test_packets_lost_for_ten_seconds(
    suffix: str, picture: bool, server: RunningServer, plain: Pairs, tmp_path: Path
) -> None:
    try:
        path = leaping(wav(tmp_path), suffix, tmp_path, at_s=GAP_AT_S, gap_s=GAP_S, picture=picture)
    except LookupError as error:
        pytest.skip(str(error))
    samples = ask(server, path)
    assert before_and_after(samples, plain, 0, 30)
    assert abs(samples.audio["duration_ms"] - 1000 * SECONDS) < 100
    assert samples.codes == ["time_gap"]
    [gap] = samples.audio["time_gaps"]
    assert abs(gap["at_ms"] - 1000 * GAP_AT_S) <= PACKET_MS
    assert abs(gap["duration_ms"] - 1000 * GAP_S) <= 20
    [first, second] = samples.audio["clock_map"]
    assert (first[:2], first[2] + second[2]) == ([0, 0], samples.audio["duration_ms"])
    assert second[0] == gap["at_ms"]
    assert abs(second[1] - second[0] - gap["duration_ms"]) <= 1
    clock = ask(server, path, clock="container")
    assert clock.audio["clock_map"] == samples.audio["clock_map"]
    by_map = [tuple(by_the_clock(at, samples.audio["clock_map"]) for at in pair) for pair in samples.segments]
    assert clock.is_near(by_map, 20)
    assert before_and_after(clock, plain, 1000 * GAP_S, 30)
    assert abs(clock.audio["duration_ms"] - 1000 * (SECONDS + GAP_S)) < 100


def by_the_clock(ms: int, clock_map: list[list[int]]) -> int:
    """A time of the samples, as the container's clock has it."""
    start, shown, _ = max(stretch for stretch in clock_map if stretch[0] <= ms)
    return shown + ms - start


@pytest.mark.parametrize("form", ["wav", "zip"])
def test_excerpts_tell_both_clocks(form: str, server: RunningServer, tmp_path: Path) -> None:
    path = leaping(wav(tmp_path), ".mka", tmp_path, at_s=GAP_AT_S, gap_s=GAP_S)
    clock_map = ask(server, path).audio["clock_map"]
    response = server.post("/vad", content=path.read_bytes(), params={"format": form, "time_map": "true"})
    header = [list(map(int, part.split(","))) for part in response.headers["x-vad-clock-map"].split(";")]
    assert header == clock_map
    plain_one = server.post("/vad", content=wav(tmp_path).read_bytes(), params={"format": form, "time_map": "true"})
    assert "x-vad-clock-map" not in plain_one.headers


FRAGMENTED = ("-movflags", "frag_keyframe+empty_moov+default_base_moof")


@pytest.mark.parametrize(
    ("suffix", "options"), [(".mp4", ()), (".mkv", ()), (".mov", ()), (".webm", ()), (".mp4", FRAGMENTED)],
    ids=["mp4", "mkv", "mov", "webm", "fragmented mp4"],
)  # fmt: skip
def test_sound_that_begins_after_the_picture(
    suffix: str, options: tuple[str, ...], server: RunningServer, plain: Pairs, tmp_path: Path
) -> None:
    try:
        path = late(wav(tmp_path), suffix, tmp_path, *options)
    except LookupError as error:
        pytest.skip(str(error))
    samples = ask(server, path)
    assert samples.codes == ["late_start"]
    assert abs(samples.audio["late_start_ms"] - 1000 * LATE_S) <= PACKET_MS
    start, shown, _ = samples.audio["clock_map"][-1]
    assert start <= 64  # in a fragmented film the encoder's first packet lies at 0
    assert shown - start == samples.audio["late_start_ms"]
    clock = ask(server, path, clock="container")
    assert clock.is_near(shifted(plain, round(1000 * LATE_S)), 40)
    assert samples.is_near(shifted(clock.segments, -samples.audio["late_start_ms"]), 10)


@pytest.mark.reference
def test_twelve_segments_around_lost_packets(
    example: np.ndarray, twelve: Pairs, published_server: RunningServer, tmp_path: Path
) -> None:
    path = leaping(wav(tmp_path, example), ".mka", tmp_path, at_s=25, gap_s=GAP_S)
    samples = ask(published_server, path)
    assert samples.is_near(twelve, 0)
    assert (samples.audio["duration_ms"], samples.codes) == (70_470, ["time_gap"])
    clock = ask(published_server, path, clock="container")
    assert abs(clock.audio["duration_ms"] - 80_470) <= 20
    before, after = [pair for pair in twelve if pair[1] < 24_000], [pair for pair in twelve if pair[0] > 26_500]
    assert list(clock.segments[: len(before)]) == before
    late_ones = np.array(clock.segments[-len(after) :]) - np.array(after) - 1000 * GAP_S
    assert np.abs(late_ones).max() <= 20
