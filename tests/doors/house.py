"""One house with many doors: the same models and settings for a service and for the command line, and sounds to send.

Models are the tiny ones that tests write, under the names of the published ones, so that presets and sums find them.
"""

import importlib.util
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from app.audio.voice import voice
from tests.audio.clocks import late
from tests.audio.ffmpegs import AVAILABLE, run
from tests.server import RunningServer
from tests.signals import bursts
from tests.small_checkpoint import write_small_checkpoint
from tests.small_firered import write_small_firered
from tests.small_pyannote import write_small_pyannote

HOSTILE = 'it\'s "50%" & <b>, ünïcödé 日本 --x;=.final.wav'
"""A name with what CSV, XML, URLs, headers, shells and command lines take for their own."""
NAMES: tuple[bytes, ...] = (
    b"..wav", b"...wav", b".hidden.wav", b" lead.wav", b"trail .wav", b"UPPER.WAV", b"a.tar.wav", b"semi;colon=1.wav",
    b"two\nlines.wav", b"cr\rx.wav", b"q\"uo'te.wav", b"back\\slash.wav", b"--format=csv.wav", b"a:b.wav",
    b"[bold]x[bold].wav", b"\x1b[31mred.wav", b"my filename*=utf-8''evil take.wav", b"x" * 200 + b".wav",
    "é.wav".encode(), "e\u0301e.wav".encode(), "😀.wav".encode(), "\u202eevit.wav".encode(), b"tab\tx.wav",
    b"%41%0A.wav", b"not utf-8 \xff.wav",
)  # fmt: skip
"""Names of files that a file system takes, and terminals, headers, forms, queries and other file systems do not."""
FORM_CANNOT = tuple(os.fsdecode(name) for name in NAMES if name.startswith((b"tab", b"%", b"not utf-8")))
"""Those that the form of the tests' HTTP client writes as another name: it escapes tabs, and no percent signs."""
SILERO = importlib.util.find_spec("silero_vad") is not None
_RATE = 16_000


@dataclass(frozen=True)
class House:
    """What every door leads to."""

    server: RunningServer
    model: str
    """As `VAD_MODEL` has it."""
    settings: Mapping[str, str]
    """The other settings that change answers, for the command line as for the service."""
    sounds: Path
    """A folder with a folder for each set of sounds."""
    scratch: Path

    def files(self, name: str) -> list[Path]:
        """Return the sounds of a set, in order of their names."""
        return sorted((self.sounds / name).iterdir())


def write_models(folder: Path) -> tuple[str, dict[str, str]]:
    """Write the tiny models, and return `VAD_MODEL` and the other settings that name them."""
    fsmn = write_small_checkpoint(folder / "fsmn")
    others = [
        f"firered=firered:{write_small_firered(folder / 'firered')}",
        f"firered-stream=firered:{write_small_firered(folder / 'firered-stream', ahead=0)}",
        f"firered-aed=firered:{write_small_firered(folder / 'firered-aed', labels=3, seed=4)}",
        f"pyannote=pyannote:{write_small_pyannote(folder / 'pyannote')}",
        *(["silero", "silero-8k"] if SILERO else []),
    ]
    nowhere = folder / "nowhere"
    return f"fsmn={fsmn}", {
        "VAD_MODELS": ",".join(others),
        "MODELSCOPE_CACHE": str(nowhere),
        "VAD_PRESETS": str(_write_presets(folder)),
    }


def _write_presets(folder: Path) -> Path:
    """One preset of the house's own."""
    options = {"threshold": 0.3, "neg_threshold": 0.25, "speech_pad_ms": 70, "max_chunk_s": 2}
    path = folder / "presets.json"
    path.write_text(
        json.dumps({"presets": [{"name": "mine", "model": "firered+fsmn", "mode": "tight", "options": options}]})
    )
    return path


def write_sounds(folder: Path) -> None:
    """Write every set of sounds, each in a folder of its name."""
    _write_speech(folder / "speech")
    _write_basic(folder / "basic")
    _write_one(folder / "one")
    _write_long(folder / "long")
    _write_names(folder / "names")
    _write_odd(folder / "odd")
    (folder / "empty").mkdir()
    (folder / "empty" / "empty.wav").touch()
    _write_bare(folder / "bare")
    _write_films(folder / "films")


def _write_speech(folder: Path) -> None:
    """Two sides that speak at times together, under a hostile name; a voice at 8 kHz."""
    folder.mkdir(parents=True)
    left = bursts(4.0, [(0.5, 1.3), (2.0, 2.9)])
    right = voice(4.0, [(1.0, 1.7), (2.6, 3.6)])
    soundfile.write(folder / HOSTILE, np.stack([left, right], axis=1), _RATE, subtype="PCM_16")
    soundfile.write(folder / "talk.wav", voice(3.0, [(0.4, 1.4), (2.0, 2.6)], 8_000), 8_000, subtype="PCM_16")


def _write_basic(folder: Path) -> None:
    """A voice in a file whose name says `audio/basic` to programs that go by names; a process of its own decodes it,
    for each answer."""
    folder.mkdir(parents=True)
    soundfile.write(folder / "talk.au", voice(3.0, [(0.4, 1.4), (2.0, 2.6)], 8_000), 8_000, subtype="PCM_16")


def _write_one(folder: Path) -> None:
    """One short file."""
    folder.mkdir(parents=True)
    soundfile.write(folder / "short.wav", bursts(1.5, [(0.3, 1.0)]), _RATE, subtype="PCM_16")


def _write_long(folder: Path) -> None:
    """More than a block of the engine's, and than what an upload may have in memory."""
    folder.mkdir(parents=True)
    sides = [bursts(12.5, [(1.0, 2.5), (6.0, 11.0)]), bursts(12.5, [(2.0, 4.5), (9.0, 10.4)], seed=8)]
    soundfile.write(folder / "long.wav", np.stack(sides, axis=1), _RATE, subtype="PCM_16")


def _write_names(folder: Path) -> None:
    """One sound under every hostile name."""
    folder.mkdir(parents=True)
    sound = folder.parent / "one" / "short.wav"
    for name in NAMES:
        (folder / os.fsdecode(name)).write_bytes(sound.read_bytes())


def _write_odd(folder: Path) -> None:
    """Files that hold little or nothing."""
    folder.mkdir(parents=True)
    loud = folder / "cut.wav"
    soundfile.write(loud, bursts(2.0, [(0.4, 1.2)]), _RATE, subtype="PCM_16")
    loud.write_bytes(loud.read_bytes()[:-9_001])
    soundfile.write(folder / "one sample.wav", np.zeros(1, np.float32), _RATE, subtype="PCM_16")
    soundfile.write(folder / "no samples.wav", np.zeros(0, np.float32), _RATE, subtype="PCM_16")
    soundfile.write(folder / "silence.wav", np.zeros(2 * _RATE, np.float32), _RATE, subtype="PCM_16")
    (folder / "text.wav").write_bytes(b"This is no sound, whatever its name says.\n" * 9)


def _write_bare(folder: Path) -> None:
    """Samples without a header, whatever the name says: two channels of 8 kHz, little-endian."""
    folder.mkdir(parents=True)
    sides = np.stack([bursts(2.0, [(0.3, 1.0)], 8_000), bursts(2.0, [(0.9, 1.6)], 8_000, seed=9)], axis=1)
    (folder / "samples.wav").write_bytes((sides * 32_767).astype("<i2").tobytes())


def _write_films(folder: Path) -> None:
    """Two tracks of sound in one file; a sound that begins later than its picture."""
    folder.mkdir(parents=True)
    parts = folder.parent / "parts"
    parts.mkdir()
    for name, spoken in (("one", [(0.5, 1.0)]), ("two", [(0.2, 0.6), (1.2, 1.7)])):
        soundfile.write(parts / f"{name}.wav", bursts(2.0, spoken), _RATE, subtype="PCM_16")
    maps = ("-i", str(parts / "one.wav"), "-i", str(parts / "two.wav"), "-map", "0:a", "-map", "1:a", "-c:a", "flac")
    run(next(iter(AVAILABLE.values())), *maps, str(folder / "two tracks.mka"))
    late(parts / "two.wav", ".mkv", parts).rename(folder / "late.mkv")
