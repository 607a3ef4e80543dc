"""Silero's own package, as the measure of what is made from its weights."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch

from app.vad.segmenters.hysteresis import TightOptions

silero_vad = pytest.importorskip("silero_vad", reason="the package silero-vad is not installed")

from silero_vad.utils_vad import get_speech_timestamps_from_probs  # noqa: E402

FRAMES = {16_000: 512, 8_000: 256}


def package_model() -> Any:
    """The package's own model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return silero_vad.load_silero_vad()


def package_probabilities(model: Any, samples: np.ndarray, rate: int) -> list[float]:
    """Frame after frame, as the package's function does it."""
    model.reset_states()
    size = FRAMES[rate]
    padded = torch.from_numpy(np.pad(samples, (0, -len(samples) % size)))
    with torch.no_grad():
        return [model(padded[first : first + size], rate).item() for first in range(0, len(padded), size)]


def package_options(options: TightOptions) -> dict[str, Any]:
    """The same options under the package's names."""
    return {
        "threshold": options.threshold,
        "neg_threshold": options.neg_threshold,
        "min_speech_duration_ms": options.min_speech_duration_ms,
        "min_silence_duration_ms": options.min_silence_duration_ms,
        "speech_pad_ms": options.speech_pad_ms,
        "max_speech_duration_s": options.max_speech_duration_s,
    }


def package_segments(
    probabilities: list[float], samples: int, rate: int, options: TightOptions
) -> list[tuple[int, int]]:
    """Segments that the package makes of probabilities, ms: whole samples, rounded down as all times here are."""
    found = get_speech_timestamps_from_probs(
        probabilities, sampling_rate=rate, audio_length_samples=samples, **package_options(options)
    )
    return in_ms(found, rate)


def in_ms(found: list[dict[str, int]], rate: int) -> list[tuple[int, int]]:
    """The package's answer, in ms."""
    return [(entry["start"] * 1000 // rate, entry["end"] * 1000 // rate) for entry in found]
