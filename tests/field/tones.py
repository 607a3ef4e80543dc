"""What a telephone line says that is no speech: tones of exchanges and keys (ITU-T E.180, Q.23), and music on hold."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
RATE = 8_000
"""Hz, of a telephone line."""
_LEVEL = 0.1
"""Of each sine, -20 dBFS: exchanges send -13 to -24 dBm0."""
_RAMP_S = 0.005
"""Tones begin and end softly; a step would be a click."""
_KEYS = {
    key: (low, high)
    for low, row in zip((697, 770, 852, 941), ("123A", "456B", "789C", "*0#D"), strict=True)
    for high, key in zip((1209, 1336, 1477, 1633), row, strict=True)
}
_CHORDS = ((262, 330, 392), (220, 262, 330), (175, 220, 262), (196, 247, 294))
"""Hz: C, A minor, F, G, as every other song has them."""


def ringback(seconds: float = 30, *, american: bool = False) -> Samples:
    """The other side's telephone rings: 450 Hz, 1 s of 5 (China, most of Europe at 425 Hz), or the American pair."""
    return _cadence(seconds, (440, 480), 2, 4) if american else _cadence(seconds, (450,), 1, 4)


def busy(seconds: float = 30, *, american: bool = False) -> Samples:
    """The other side speaks with somebody else: 0.35 s of 0.7 in China, 0.5 s of 1 in America."""
    return _cadence(seconds, (480, 620), 0.5, 0.5) if american else _cadence(seconds, (450,), 0.35, 0.35)


def keys(dialled: str = "13800138000#", on_s: float = 0.12, off_s: float = 0.12, times: int = 4) -> Samples:
    """Somebody presses keys, pauses a second, and presses them again (DTMF)."""
    pieces = [_silence(1.0)]
    for _ in range(times):
        for key in dialled:
            pieces += [_tone(_KEYS[key], on_s), _silence(off_s)]
        pieces.append(_silence(1.0))
    return _with_line_noise(np.concatenate(pieces))


def hold_music(seconds: float = 30) -> Samples:
    """Plucked chords, and a melody above them that sings: two notes a second, with the vibrato of a violin."""
    beat_s, generator = 0.5, np.random.default_rng(4)
    out = np.zeros(round(seconds * RATE))
    for beat in range(int(seconds / beat_s)):
        chord = _CHORDS[beat // 4 % len(_CHORDS)]
        start = round(beat * beat_s * RATE)
        for note in (_plucked(chord, 1.2), 2 * _bowed(chord[generator.integers(3)], beat_s)):
            room = out[start : start + len(note)]
            room += note[: len(room)]
    return _with_line_noise(out * (0.3 / np.abs(out).max()))


def _cadence(seconds: float, hertz: Sequence[int], on_s: float, off_s: float) -> Samples:
    period = np.concatenate((_tone(hertz, on_s), _silence(off_s)))
    return _with_line_noise(np.resize(period, round(seconds * RATE)))


def _tone(hertz: Sequence[int], seconds: float) -> NDArray[np.float64]:
    time = np.arange(round(seconds * RATE)) / RATE
    ramp = np.clip(np.minimum(time, seconds - time) / _RAMP_S, 0, 1)
    sum_of_sines: NDArray[np.float64] = sum(np.sin(2 * np.pi * each * time) for each in hertz) * _LEVEL * ramp
    return sum_of_sines


def _plucked(hertz: Sequence[int], seconds: float) -> NDArray[np.float64]:
    time = np.arange(round(seconds * RATE)) / RATE
    strings = (
        np.sin(2 * np.pi * harmonic * each * time) * np.exp(-3 * harmonic**0.5 * time) / harmonic
        for each in hertz
        for harmonic in range(1, 6)
    )
    total: NDArray[np.float64] = sum(strings, np.zeros(len(time)))
    return total


def _bowed(hertz: float, seconds: float) -> NDArray[np.float64]:
    time = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * hertz * time + 2 * np.sin(2 * np.pi * 6 * time)
    envelope = np.clip(np.minimum(time, seconds - time) / 0.08, 0, 1)
    total: NDArray[np.float64] = sum(np.sin(harmonic * phase) / harmonic for harmonic in range(1, 10)) * envelope
    return total


def _silence(seconds: float) -> NDArray[np.float64]:
    return np.zeros(round(seconds * RATE))


def _with_line_noise(samples: NDArray[np.float64]) -> Samples:
    noise = np.random.default_rng(8).standard_normal(len(samples)) * 3e-4
    return np.clip(samples + noise, -1, 1).astype(np.float32)
