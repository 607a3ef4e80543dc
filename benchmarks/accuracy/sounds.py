"""What a detector takes for speech where nobody speaks: `python -m benchmarks.accuracy.sounds`.

Sounds are made here, 10 s of each at -20 dBFS (root mean square), and every model says in its own default mode how much
of each is speech. All of it is false.
"""

import asyncio
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile

from app.accuracy.conditions import NOISES, FloatArray
from app.accuracy.corpus import RATE
from app.accuracy.heard import Heard, Setting
from app.accuracy.service import Service
from app.config import Settings
from app.logs import configure_logging
from app.registry import installed
from app.runtime import start_runtime
from benchmarks.accuracy import report
from benchmarks.plan import ROOT

_SECONDS = 10
"""Of each sound: longer than any segmenter's memory."""
_LEVEL = 0.1
"""-20 dBFS, as recordings of speech commonly have it."""
_TIME = np.arange(_SECONDS * RATE) / RATE
_KEYS_HZ = ((697, 1209), (770, 1336), (852, 1477), (941, 1336))
"""Of a telephone's keys (ITU-T Q.23)."""


def tone(hertz: float) -> FloatArray:
    """A sine, all the while."""
    return np.sin(2 * np.pi * hertz * _TIME)


def ringing() -> FloatArray:
    """The tone that a caller hears while it rings in much of the world: 425 Hz, 1 s of every 5 (ITU-T E.180)."""
    return tone(425) * (_TIME % 5 < 1)


def keys() -> FloatArray:
    """Keys of a telephone, 0.1 s each with 0.1 s between."""
    pairs = [tone(low) + tone(high) for low, high in _KEYS_HZ]
    which = (_TIME // 0.2).astype(int) % len(pairs)
    return np.choose(which, pairs) * (_TIME % 0.2 < 0.1)


def sweep() -> FloatArray:
    """A sine from 100 Hz to 4 kHz, an octave in 1.9 s."""
    octaves = np.log2(40) * _TIME / _SECONDS
    return np.sin(2 * np.pi * np.cumsum(100 * 2**octaves) / RATE)


SOUNDS: Mapping[str, Callable[[], FloatArray]] = {
    "white noise": lambda: NOISES["white"](np.random.default_rng(1), len(_TIME)),
    "pink noise": lambda: NOISES["pink"](np.random.default_rng(2), len(_TIME)),
    "music": lambda: NOISES["music"](np.random.default_rng(3), len(_TIME)),
    "tone of 440 Hz": lambda: tone(440),
    "tone of 1 kHz": lambda: tone(1000),
    "ringing tone": ringing,
    "telephone keys": keys,
    "sweep": sweep,
}


async def judge(models: Sequence[str] = ()) -> dict[str, dict[str, float]]:
    """By model and sound, the share of the sound that is in a segment. `models`: all at hand where none is named."""
    runtime = await start_runtime(Settings(), installed())
    service = Service(runtime)
    try:
        with tempfile.TemporaryDirectory() as folder:
            files = [_written(Path(folder), name, make()) for name, make in SOUNDS.items()]
            return {name: await _shares(service, name, files) for name in models or await service.model_names()}
    finally:
        runtime.close()


async def _shares(service: Service, model: str, files: Sequence[Path]) -> dict[str, float]:
    heard = await service.hear(model, [(path, 100 * _SECONDS) for path in files], {Setting("", model): {}})
    return {name: _share(each) for name, each in zip(SOUNDS, heard, strict=True)}


def _share(heard: Heard) -> float:
    return round(sum(end - start for start, end in heard.segments[""]) / _SECONDS, 3)


def _written(folder: Path, name: str, samples: FloatArray) -> Path:
    path = folder / f"{name}.wav"
    level = np.sqrt(np.mean(samples[samples != 0] ** 2))
    soundfile.write(path, samples / level * _LEVEL, RATE, subtype="PCM_16")
    return path


def main() -> None:
    """Print the table, and keep it beside the other results."""
    shares = asyncio.run(judge(sys.argv[1:]))
    print(report.shares(shares))
    rows = ",\n".join(f"{json.dumps(model)}: {json.dumps(by)}" for model, by in shares.items())
    (ROOT / "benchmarks" / "results" / "sounds.json").write_text(f"{{\n{rows}\n}}\n")


if __name__ == "__main__":
    configure_logging("auto", "error")
    main()
