"""The law over a socket: however the audio is cut, whatever its form, a stream answers what the file API answers."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.live.client import Pairs, converse, cut, f32, file_pairs, s16, wav
from tests.server import RunningServer
from tests.signals import bursts

SAMPLES = bursts(6.0, [(0.0, 0.4), (1.0, 1.2), (2.0, 3.6), (4.5, 5.9)])
PCM = s16(SAMPLES)
# Both encodings of the same numbers.
FLOATS = f32(np.frombuffer(PCM, "<i2") / np.float32(32_768))
OPTIONS = {
    "endpoint": {"max_end_silence_time": 300, "speech_to_sil_time_thres": 100},
    "tight": {"mode": "tight", "min_silence_duration_ms": 60},
}
RELAXED = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def expected(server: RunningServer) -> dict[str, Pairs]:
    """What the file API answers."""
    found = {name: file_pairs(server, wav(PCM), **options) for name, options in OPTIONS.items()}
    assert all(len(pairs) >= 3 for pairs in found.values())
    return found


@pytest.mark.parametrize("mode", OPTIONS)
@pytest.mark.parametrize("encoding", ["s16le", "f32le"])
@given(cuts=st.lists(st.integers(0, len(PCM)), max_size=60), doubled=st.booleans())
@RELAXED
def test_cutting_changes_nothing(
    server: RunningServer, expected: dict[str, Pairs], mode: str, encoding: str, cuts: list[int], doubled: bool
) -> None:
    data = PCM if encoding == "s16le" else FLOATS
    # Cuts at any byte, also within a sample; a cut that is there twice is an empty message.
    places = [0, *sorted(cuts * (2 if doubled else 1)), len(data)]
    chunks = [data[start:stop] for start, stop in pairwise(places)]
    heard = converse(server, chunks, encoding=encoding, **OPTIONS[mode])
    assert heard.pairs == expected[mode]
    assert [[s["start_ms"], s["end_ms"]] for s in heard.done["segments"]] == expected[mode]
    assert (heard.done["duration_ms"], heard.code) == (6_000, 1000)


@pytest.mark.parametrize("size", [1, 2, 3, 319, 320, 321])
def test_small_messages(server: RunningServer, size: int) -> None:
    data = PCM[64_000 : 64_000 + size * 2_000][:60_001]
    heard = converse(server, cut(data, size), mode="tight", min_speech_duration_ms=0)
    whole = data[: len(data) // 2 * 2]
    assert heard.pairs == file_pairs(server, wav(whole), mode="tight", min_speech_duration_ms=0)
    assert heard.done["duration_ms"] == len(whole) // 32


def test_events_do_not_depend_on_how_fast_chunks_come(server: RunningServer) -> None:
    """`at_ms` is audio time: that of the chunk that made the event known, however many were scored together."""
    chunks = cut(PCM, 1_920)
    in_one_go = converse(server, chunks)
    with_pauses = converse(server, [part for chunk in chunks for part in (chunk, *['{"type": "ping"}'] * 20)])
    assert in_one_go.events == with_pauses.events
    assert all(at_ms % 60 == 0 for at_ms, _ in in_one_go.events)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("mode", OPTIONS)
def test_other_rates_answer_what_the_file_api_answers(server: RunningServer, rate: int, mode: str) -> None:
    data = s16(bursts(6.0, [(1.0, 1.2), (2.0, 3.6), (4.5, 5.9)], rate=rate))
    for size in (rate // 50 * 2, 1_001):
        heard = converse(server, cut(data, size), sample_rate=rate, **OPTIONS[mode])
        assert heard.pairs == file_pairs(server, wav(data, rate), **OPTIONS[mode])
        assert len(heard.pairs) >= 2
        assert heard.done["duration_ms"] == 6_000


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_flush_at_another_rate(server: RunningServer, rate: int) -> None:
    data = s16(bursts(6.0, [(1.0, 1.5), (2.5, 3.5), (4.5, 5.5)], rate=rate))
    split = 3 * rate * 2
    heard = converse(server, [*cut(data[:split], 999), '{"type": "flush"}', *cut(data[split:], 999)], sample_rate=rate)
    second = file_pairs(server, wav(data[split:], rate))
    assert heard.pairs == file_pairs(server, wav(data[:split], rate)) + [[s + 3_000, e + 3_000] for s, e in second]
