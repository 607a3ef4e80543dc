"""A synthetic voice that models take for speech: what the service has to show where no recording is at hand.

Vowels are made by formants, in principle as Klatt's cascade makes them: the harmonics of a moving pitch, each the
louder the nearer it is to one of three resonances, in syllables of a fifth of a second. Nothing of it is a recording,
so it belongs to nobody.
"""

import numpy as np
from numpy.typing import NDArray

_VOWELS = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480))
"""Formants, Hz: as in father, see, too, bed (Peterson and Barney, 1952, men)."""
_BANDWIDTH_HZ = 90
"""Half the width of a formant at half its height; a throat's are 30 to 100."""
_HIGHEST_PITCH_HZ = 150
"""So many harmonics fit below the Nyquist frequency at any moment of the pitch's way."""


def voice(seconds: float, spoken: list[tuple[float, float]], rate: int = 16_000, seed: int = 5) -> NDArray[np.float32]:
    """Vowels of a fifth of a second in the stretches `spoken` (s), faint noise elsewhere; float32 [n] in [-1, 1]."""
    generator = np.random.default_rng(seed)
    samples = generator.standard_normal(round(seconds * rate)) * 1e-3
    for start, stop in spoken:
        first, last = round(start * rate), round(stop * rate)
        samples[first:last] += _vowels(last - first, rate, generator)
    return np.clip(samples, -1, 1).astype(np.float32)


def _vowels(count: int, rate: int, generator: np.random.Generator) -> NDArray[np.float64]:
    time = np.arange(count) / rate
    pitch = 120 + 25 * np.sin(2 * np.pi * 0.7 * time) + 4 * np.sin(2 * np.pi * 5 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    formants = np.repeat(generator.permutation(np.array(_VOWELS * (1 + count // rate * 2))), rate // 5, axis=0)[:count]
    formants = np.resize(formants, (count, 3))
    sound = np.zeros(count)
    for harmonic in range(1, int(0.45 * rate / _HIGHEST_PITCH_HZ)):
        distance = (harmonic * pitch[:, None] - formants) / _BANDWIDTH_HZ
        sound += (1 / (1 + distance**2)).sum(axis=1) * np.sin(harmonic * phase) / harmonic**0.5
    syllables = 0.55 + 0.45 * np.cos(2 * np.pi * 5 * time + np.pi)
    return 0.12 * sound * syllables
