"""Fixtures of the attacks."""

from pathlib import Path

import pytest

from tests.audio.ffmpegs import AVAILABLE, EACH


@pytest.fixture(params=EACH)
def each_ffmpeg(request: pytest.FixtureRequest) -> Path:
    """Every ffmpeg at hand."""
    if request.param not in AVAILABLE:
        pytest.skip(f"the {request.param} ffmpeg is not installed")
    return AVAILABLE[request.param]
