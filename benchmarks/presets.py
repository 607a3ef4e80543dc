"""How well settings fit labelled speech, clean, in noise and by telephone: what the presets were chosen by.

    python -m benchmarks.presets FOLDER [NAME=MODEL,option=value,… …]

FOLDER holds WAV files of one channel and, beside each, its labels: `name.scv`, a line `name,start,end,1,start,end,0,…`
in seconds, 1 for speech. Every setting is judged by frames of 10 ms. Without settings the presets are judged.
"""

import asyncio
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from app.config import Settings
from app.logs import configure_logging
from app.presets import PRESETS
from app.registry import installed
from app.runtime import start_runtime
from app.serving import Model
from app.vad.posteriors import Posteriors, join_posteriors
from app.vad.segment import Segment, segments_of

RATE = 16_000
"""Hz, that of the labelled sets and of most models."""
_FRAME = RATE // 100
Samples = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Clip:
    """Labelled audio: samples and where speech is in them."""

    samples: Samples
    speech: np.ndarray[Any, np.dtype[np.bool_]]
    """Of each frame of 10 ms."""


def read_clips(folder: Path) -> list[Clip]:
    """Every WAV of a folder that has labels, at 16 kHz."""
    return [_clip(path) for path in sorted(folder.glob("*.wav")) if path.with_suffix(".scv").is_file()]


def _clip(path: Path) -> Clip:
    samples, rate = soundfile.read(path, dtype="float32")
    samples = np.asarray(soxr.resample(samples, rate, RATE), dtype=np.float32)
    fields = path.with_suffix(".scv").read_text().strip().split(",")[1:]
    speech = np.zeros(len(samples) // _FRAME, dtype=bool)
    for start, end, kind in zip(fields[0::3], fields[1::3], fields[2::3], strict=True):
        speech[round(float(start) * 100) : round(float(end) * 100)] = kind.strip() == "1"
    return Clip(samples, speech)


def conditions(clips: list[Clip]) -> Iterator[tuple[str, list[Clip]]]:
    """The clips as they are, with noise by level of the speech, and as a telephone carries them."""
    yield "clean", clips
    for name, decibel in (("white", 5.0), ("pink", 0.0), ("music", 5.0)):
        yield name, [Clip(_with_noise(clip, name, decibel, seed), clip.speech) for seed, clip in enumerate(clips)]
    yield "telephone", [Clip(_by_telephone(clip.samples), clip.speech) for clip in clips]


def _with_noise(clip: Clip, kind: str, decibel: float, seed: int) -> Samples:
    rng = np.random.default_rng(seed)
    count = len(clip.samples)
    noise = rng.standard_normal(count) if kind != "music" else _music(rng, count)
    if kind == "pink":
        spectrum = np.fft.rfft(noise)
        spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
        noise = np.fft.irfft(spectrum, count)
    spoken = clip.samples[: len(clip.speech) * _FRAME].reshape(-1, _FRAME)[clip.speech]
    level = np.sqrt(np.mean(spoken**2)) * 10 ** (-decibel / 20)
    return (clip.samples + noise / np.sqrt(np.mean(noise**2)) * level).astype(np.float32)


def _music(rng: np.random.Generator, count: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Chords of plucked tones with six harmonics, two a second."""
    out = np.zeros(count)
    length = RATE
    t = np.arange(length) / RATE
    for at in range(0, count, RATE // 2):
        for semitone in rng.choice([0, 3, 4, 7, 10, 12], 3):
            hertz = 110 * 2 ** (semitone / 12)
            tone = sum(np.sin(2 * np.pi * hertz * k * t) / k for k in range(1, 7)) * np.exp(-3 * t)
            out[at : at + length] += tone[: count - at]
    return out


def _by_telephone(samples: Samples) -> Samples:
    """300-3400 Hz, 8 kHz, mu-law, and back to 16 kHz."""
    spectrum = np.fft.rfft(samples)
    hertz = np.fft.rfftfreq(len(samples), 1 / RATE)
    spectrum[(hertz < 300) | (hertz > 3400)] = 0
    narrow = np.clip(soxr.resample(np.fft.irfft(spectrum, len(samples)), RATE, 8_000), -1, 1)
    coded = np.round(np.sign(narrow) * np.log1p(255 * np.abs(narrow)) / np.log(256) * 127) / 127
    heard = np.sign(coded) * (256 ** np.abs(coded) - 1) / 255
    return np.asarray(soxr.resample(heard, 8_000, RATE), dtype=np.float32)[: len(samples)]


def hear(model: Model, samples: Samples) -> Posteriors:
    """The posteriors of a whole clip, float64 at the model's frames."""
    rate = model.grid.sample_rate
    if rate != RATE:
        samples = np.asarray(soxr.resample(samples, RATE, rate), dtype=np.float32)
    stream = model.new_stream(model.segmentation({}))
    parts = []
    for final in (False, True):
        stream.accept_waveform(samples) if not final else stream.flush()
        parts.append(stream.heard)
    return join_posteriors(parts)


@dataclass(frozen=True)
class Judged:
    """Frames of one setting in one condition."""

    f1: float
    missed: float
    """Share of the speech that is in no segment."""
    false_alarms: float
    """Share of what is no speech that is in one."""
    segments: int
    longest_ms: int


def judge(found: list[list[Segment]], clips: list[Clip]) -> Judged:
    """Segments of each clip against its labels."""
    hits = misses = alarms = rest = 0
    for segments, clip in zip(found, clips, strict=True):
        said = np.zeros(len(clip.speech), dtype=bool)
        for segment in segments:
            said[segment.start_ms // 10 : segment.end_ms // 10] = True
        hits += int(np.sum(said & clip.speech))
        misses += int(np.sum(~said & clip.speech))
        alarms += int(np.sum(said & ~clip.speech))
        rest += int(np.sum(~clip.speech))
    every = [segment for segments in found for segment in segments]
    longest = max((segment.duration_ms for segment in every), default=0)
    f1 = 2 * hits / max(1, 2 * hits + misses + alarms)
    return Judged(f1, misses / max(1, hits + misses), alarms / max(1, rest), len(every), longest)


async def measure(folder: Path, settings: Mapping[str, tuple[str, Mapping[str, Any]]]) -> dict[str, dict[str, Judged]]:
    """By setting and condition. `settings`: a name, with a model and options."""
    configure_logging("auto", "error")
    runtime = await start_runtime(Settings(), installed())
    clips = read_clips(folder)
    heard: dict[tuple[str, str], list[Posteriors]] = {}
    judged: dict[str, dict[str, Judged]] = {name: {} for name in settings}
    for condition, noisy in conditions(clips):
        for name, (asked, options) in settings.items():
            model = await runtime.models.get(asked)
            key = (model.info.name, condition)
            if key not in heard:
                heard[key] = [hear(model, clip.samples) for clip in noisy]
            segmentation = model.segmentation(options)
            found = [
                segments_of(segmentation.new_segmenter(model.grid).accept(posteriors, final=True))
                for posteriors in heard[key]
            ]
            judged[name][condition] = judge(found, noisy)
    runtime.close()
    return judged


def table(judged: Mapping[str, Mapping[str, Judged]]) -> str:
    """Markdown: F1, missed / false alarms in percent."""
    names = list(next(iter(judged.values())))
    lines = [
        f"| setting | {' | '.join(names)} | mean F1 | segments, longest (clean) |",
        "| --- |" + " --- |" * (len(names) + 2),
    ]
    for setting, by in judged.items():
        cells = [f"{each.f1:.3f} ({each.missed:.1%}/{each.false_alarms:.1%})" for each in by.values()]
        mean = np.mean([each.f1 for each in by.values()])
        clean = by["clean"]
        lines.append(
            f"| {setting} | {' | '.join(cells)} | {mean:.3f} | {clean.segments}, {clean.longest_ms / 1000:.1f} s |"
        )
    return "\n".join(lines)


def _settings(arguments: list[str]) -> dict[str, tuple[str, dict[str, Any]]]:
    found = {}
    for argument in arguments:
        name, _, told = argument.partition("=")
        model, *options = told.split(",")
        found[name] = (model, dict(option.split("=", 1) for option in options))
    return found


def main() -> None:
    """Judge the settings and print the table."""
    folder, *arguments = sys.argv[1:]
    presets = {preset.name: (preset.model, preset.values) for preset in PRESETS}
    print(table(asyncio.run(measure(Path(folder), _settings(arguments) or presets))))


if __name__ == "__main__":
    main()
