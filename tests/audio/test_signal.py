"""What samples show: loudness, clipping, bandwidth; the same however they come."""

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from app.audio.signal import Bandwidth, Levels, Samples
from tests.voice import voice

RATE = 16_000


def levels(samples: Samples) -> list[str]:
    found = Levels()
    found.add(samples, float(np.abs(samples).max()))
    return [f"{warning.code}: {warning.detail}" for warning in found.warnings()]


def bandwidth(samples: Samples, rate: int = RATE, piece: int = 1_600) -> list[str]:
    found = Bandwidth(rate)
    for start in range(0, len(samples), piece):
        found.add(samples[start : start + piece])
    return [warning.code for warning in found.warnings()]


@pytest.fixture(scope="module")
def spoken() -> Samples:
    return voice(6.0, [(0.5, 5.5)])


def test_speech_as_usual_is_nothing_to_tell(spoken: Samples) -> None:
    assert levels(spoken) == []
    assert bandwidth(spoken) == []


def test_quiet(spoken: Samples) -> None:
    assert levels(spoken * (0.009 / np.abs(spoken).max())) == ["very_quiet: the loudest sample is at -41 dBFS"]
    assert levels(spoken * (0.011 / np.abs(spoken).max())) == []
    assert levels(np.zeros(RATE, dtype=np.float32)) == ["very_quiet: the loudest sample is at digital silence"]


def test_clipped(spoken: Samples) -> None:
    [detail] = levels(np.clip(spoken * 100, -1, 32_767 / 32_768).astype(np.float32))
    assert detail.startswith("clipped: ")
    touching = spoken / np.abs(spoken).max()
    assert levels(touching.astype(np.float32)) == []
    eight_bits = np.clip(np.round(spoken * 100 * 128) / 128, -1, 127 / 128).astype(np.float32)
    assert [detail.split(":")[0] for detail in levels(eight_bits)] == ["clipped"]


def test_telephone_bandwidth(spoken: Samples) -> None:
    narrow = soxr.resample(soxr.resample(spoken, RATE, 8_000, quality="HQ"), 8_000, RATE, quality="HQ")
    assert bandwidth(narrow) == ["band_limited"]
    assert bandwidth(narrow, rate=8_000) == []
    assert bandwidth(np.zeros(RATE, dtype=np.float32)) == []


@settings(max_examples=25, deadline=None)
@given(pieces=st.lists(st.integers(1, 20_000), min_size=1, max_size=40))
def test_the_windows_lie_where_they_lie(pieces: list[int]) -> None:
    samples = voice(2.0, [(0.2, 1.8)])
    whole, cut = Bandwidth(RATE), Bandwidth(RATE)
    whole.add(samples)
    at = 0
    for piece in [*pieces, len(samples)]:
        cut.add(samples[at : at + piece])
        at += piece
    assert cut._energies == whole._energies != [0, 0]
