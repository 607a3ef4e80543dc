"""Clips as they are, with noise by level of the speech, louder or quieter, and as a telephone carries them.

`white:5` is white noise 5 dB under the speech: the root mean square over the labelled frames of a clip is that much
above the noise's, which lies under all of it. `pink` falls by 3 dB an octave. `music` is synthetic: chords of plucked
tones, two a second. `cafe.wav:0` is a recording of noise, as loud as the speech: a stretch of it from anywhere, begun
anew where it ends. `level:-30` makes a clip 30 dB quieter. `telephone` is 300 to 3400 Hz at 8 kHz in 8 bits of mu-law
(ITU-T G.711). Noise is drawn anew for each clip, and is the same in every run.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from app.accuracy.corpus import FRAME_SAMPLES, RATE, Clip, read_samples

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
CLEAN, TELEPHONE, LEVEL = "clean", "telephone", "level"
DEFAULTS: Sequence[str] = (CLEAN, "white:5", "pink:0", "music:5", TELEPHONE)
"""Those that this project's defaults were chosen in."""
_BAND_HZ = (300, 3400)
"""What a telephone line passes (ITU-T G.712)."""
_TELEPHONE_RATE = 8_000
"""Hz, that of every narrow-band telephone codec."""


class UnknownCondition(ValueError):
    """What is no condition; the message says what there is."""


@dataclass(frozen=True)
class Condition:
    """One way in which the clips are heard."""

    name: str
    kind: str
    """`clean`, `telephone`, `level`, one of `NOISES`, or the path of a recording of noise."""
    decibel: float = 0.0
    """The speech above the noise, or the clip above what it was, dB."""

    @property
    def title(self) -> str:
        """What tables and curves call it."""
        if self.kind in (CLEAN, TELEPHONE):
            return self.kind
        sign = "+" if self.kind == LEVEL and self.decibel > 0 else ""
        return f"{Path(self.kind).stem} {sign}{self.decibel:g} dB"

    def write(self, clip: Clip, seed: int, folder: Path) -> Path:
        """The clip as it is heard so: its own file when clean, else one that is written into `folder`. Raises
        `AudioError`s for a recording of noise that cannot be read."""
        if self.kind == CLEAN:
            return clip.path
        path = folder / f"{seed:04}-{clip.name}.wav"
        if self.kind == TELEPHONE:
            soundfile.write(path, _telephone(clip), _TELEPHONE_RATE, subtype="ULAW")
        else:
            # Not in 16 bits: what is lifted over full scale would be cut there, and what is very quiet be rounded away.
            samples = clip.samples * 10 ** (self.decibel / 20) if self.kind == LEVEL else _with_noise(clip, self, seed)
            soundfile.write(path, samples, RATE, subtype="FLOAT")
        return path


def parse(text: str) -> Condition:
    """`clean`, `telephone`, or a noise, a recording of noise or `level` with dB. Raises `UnknownCondition`."""
    kind, _, level = text.rpartition(":") if ":" in text else (text, "", "")
    try:
        if kind in NOISES or kind == LEVEL or (level and Path(kind).is_file()):
            return Condition(text, kind, float(level))
        if kind in {CLEAN, TELEPHONE} and not level:
            return Condition(text, kind)
    except ValueError:
        pass
    raise UnknownCondition(
        f"{text!r}: there are: {CLEAN}, {TELEPHONE}, {LEVEL}:DB, and NOISE:DB with {', '.join(NOISES)} or the path of "
        "a recording of noise"
    )


def _with_noise(clip: Clip, condition: Condition, seed: int) -> FloatArray:
    rng, count = np.random.default_rng(seed), len(clip.samples)
    make = NOISES.get(condition.kind)
    noise = _recorded(rng, count, Path(condition.kind)) if make is None else make(rng, count)
    frames = clip.samples[: len(clip.speech) * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    # A clip in which nobody speaks is measured as a whole.
    spoken = frames[clip.speech] if clip.speech.any() else frames
    level = np.sqrt(np.mean(spoken**2, dtype=np.float64)) * 10 ** (-condition.decibel / 20)
    power = np.sqrt(np.mean(noise**2)) or 1.0
    mixed: FloatArray = clip.samples + noise / power * level
    return mixed


def _recorded(rng: np.random.Generator, count: int, path: Path) -> FloatArray:
    samples = read_samples(path).astype(np.float64)
    if not len(samples):
        return np.zeros(count)
    return np.resize(np.roll(samples, -int(rng.integers(len(samples)))), count)


def _white(rng: np.random.Generator, count: int) -> FloatArray:
    return rng.standard_normal(count)


def _pink(rng: np.random.Generator, count: int) -> FloatArray:
    """Power falls with frequency: amplitude with its root."""
    spectrum = np.fft.rfft(rng.standard_normal(count))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    return np.fft.irfft(spectrum, count)


def _music(rng: np.random.Generator, count: int) -> FloatArray:
    """Three notes of a minor or major chord each half second, with six harmonics, dying away over a second."""
    out = np.zeros(count)
    t = np.arange(RATE) / RATE
    for at in range(0, count, RATE // 2):
        for semitone in rng.choice([0, 3, 4, 7, 10, 12], 3):
            hertz = 110 * 2 ** (semitone / 12)
            tone = sum(np.sin(2 * np.pi * hertz * k * t) / k for k in range(1, 7)) * np.exp(-3 * t)
            out[at : at + RATE] += tone[: count - at]
    return out


def _telephone(clip: Clip) -> FloatArray:
    """At 8 kHz; libsndfile codes it."""
    spectrum = np.fft.rfft(clip.samples)
    hertz = np.fft.rfftfreq(len(clip.samples), 1 / RATE)
    spectrum[(hertz < _BAND_HZ[0]) | (hertz > _BAND_HZ[1])] = 0
    narrow = np.fft.irfft(spectrum, len(clip.samples))
    heard: FloatArray = np.clip(soxr.resample(narrow, RATE, _TELEPHONE_RATE), -1, 1)
    return heard


NOISES: Mapping[str, Callable[[np.random.Generator, int], FloatArray]] = {
    "white": _white,
    "pink": _pink,
    "music": _music,
}
