"""Utterances' samples, where they are kept."""

import numpy as np

from app.live.events import Recording

RATE = 16_000


def test_a_start_at_the_head_of_a_long_block_has_its_samples() -> None:
    """A stream that is behind is scored in blocks of 5 s, and a start lies a little before its first speech."""
    samples = np.arange(12 * RATE, dtype=np.float32) % 1_000 / 32_768
    recording = Recording(RATE)
    for block in np.split(samples[: 10 * RATE], 2):
        recording.add(block)
    recording.open(4_700)
    recording.add(samples[10 * RATE :])
    found = recording.close(4_700, 11_000)
    assert not found.truncated
    assert found.pcm == (samples[75_200:176_000] * 32_768).astype("<i2").tobytes()
