"""Generated audio."""

import numpy as np
from numpy.typing import NDArray


def bursts(seconds: float, loud: list[tuple[float, float]], rate: int = 16_000, seed: int = 3) -> NDArray[np.float32]:
    """Near silence with loud noise in the given stretches (s); float32 [n] in [-1, 1]."""
    generator = np.random.default_rng(seed)
    samples = generator.standard_normal(round(seconds * rate)) * 1e-4
    for start, stop in loud:
        first, last = round(start * rate), round(stop * rate)
        samples[first:last] = generator.standard_normal(last - first) * 0.2
    return np.clip(samples, -1, 1).astype(np.float32)
