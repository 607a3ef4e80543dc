"""Channels that cancel each other out when they are mixed, and the loudest one."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.audio.decode import AudioLimits
from app.audio.options import AudioInput
from app.audio.signal import Channel
from app.audio.source import open_audio
from tests.audio.recordings import Samples, voice
from tests.signals import bursts

RATE = 16_000


def read_through(path: Path, channel: Channel, block_seconds: float = 1.0) -> tuple[Samples, list[str]]:
    limits = AudioLimits(max_seconds=3600)
    with open_audio(
        AudioInput(path), sample_rate=RATE, channel=channel, block_seconds=block_seconds, limits=limits, ffmpeg=None
    ) as source:
        rows = np.concatenate(list(source), axis=1)
    return rows, [warning.code for warning in source.warnings()]


def stereo(folder: Path, left: Samples, right: Samples, subtype: str = "PCM_16") -> Path:
    path = folder / "stereo.wav"
    soundfile.write(path, np.stack((left, right), axis=1), RATE, subtype=subtype)
    return path


@pytest.fixture(scope="module")
def spoken() -> Samples:
    return voice(4, RATE, 1)[:, 0]


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_opposite_phase(noise: float, spoken: Samples, tmp_path: Path) -> None:
    common = bursts(4, [(0, 4)])[: len(spoken)] * noise
    path = stereo(tmp_path, spoken + common, common - spoken, "FLOAT")
    assert "channels_cancel" in read_through(path, "mix")[1]
    loudest, codes = read_through(path, "loudest")
    assert "channels_cancel" not in codes
    if noise == 0:
        np.testing.assert_array_equal(loudest, read_through(path, 0)[0])
    assert np.abs(loudest).mean() > 0.9 * np.abs(spoken).mean()


@pytest.mark.parametrize("right", ["same", "other", "silent", "half"])
def test_channels_as_usual(right: str, spoken: Samples, tmp_path: Path) -> None:
    other = voice(4, RATE, 2)[:, 1]
    path = stereo(tmp_path, spoken, {"same": spoken, "other": other, "silent": 0 * spoken, "half": spoken / 2}[right])
    assert "channels_cancel" not in read_through(path, "mix")[1]


def test_who_speaks_is_heard(tmp_path: Path) -> None:
    left, right = bursts(8, [(1, 3)]), bursts(8, [(5, 7)], seed=4)
    path = stereo(tmp_path, left, right, "FLOAT")
    loudest = read_through(path, "loudest")[0][0]
    np.testing.assert_array_equal(loudest[RATE : 3 * RATE], left[RATE : 3 * RATE])
    np.testing.assert_array_equal(loudest[5 * RATE : 7 * RATE], right[5 * RATE : 7 * RATE])
    assert len(loudest) == 8 * RATE


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(block_seconds=st.floats(0.01, 5))
def test_blocks_of_any_length_give_the_same(block_seconds: float, tmp_path: Path) -> None:
    path = tmp_path / "stereo.wav"
    if not path.exists():
        stereo(tmp_path, bursts(4.3, [(0.3, 1.7), (3, 4)]), bursts(4.3, [(1, 2.6)], seed=9))
    np.testing.assert_array_equal(read_through(path, "loudest", block_seconds)[0], read_through(path, "loudest", 10)[0])
