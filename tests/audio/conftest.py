"""Fixtures of the audio tests."""

from pathlib import Path

import pytest

from app.audio.decode import AudioLimits
from tests.audio.ffmpegs import AVAILABLE


@pytest.fixture
def limits() -> AudioLimits:
    """Those of a service for audio of an hour."""
    return AudioLimits(max_seconds=3600)


@pytest.fixture(scope="session")
def ffmpeg() -> Path:
    """The ffmpeg that the service uses."""
    if not AVAILABLE:
        pytest.skip("no ffmpeg is installed")
    return next(iter(AVAILABLE.values()))
