"""The ffmpeg binaries at hand: the one that comes with the package, and the system's."""

import hashlib
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from app.audio.ffmpeg import find_ffmpeg


def _available() -> dict[str, Path]:
    found = {}
    bundled = find_ffmpeg(None)
    if bundled is not None:
        found["bundled"] = bundled
    system = shutil.which("ffmpeg")
    if system and Path(system) != bundled:
        found["system"] = Path(system)
    return found


AVAILABLE = _available()
"""By name; the first is the one that the service uses."""
EACH = ("bundled", pytest.param("system", marks=pytest.mark.full))
"""Parameters of tests that try every one of them; the second says what the first has said, mostly."""


@cache
def encoders(ffmpeg: Path, kind: str = "A") -> frozenset[str]:
    """What it can encode; `kind`: A for sound, V for pictures."""
    listing = subprocess.run([ffmpeg, "-hide_banner", "-encoders"], capture_output=True, text=True, check=True).stdout
    return frozenset(line.split()[1] for line in listing.splitlines() if line.startswith(f" {kind}"))


_ENCODED: dict[tuple[bytes, str, tuple[str, ...]], bytes] = {}
"""What short sources became, by digest, suffix and options: many tests begin with the same file."""
_SHORT = 1 << 20


def encode(source: Path, target: Path, *options: str) -> Path:
    """Have the first binary that can do it encode `source`, or give what it gave before. Raises LookupError when none
    can."""
    if "-i" in options or source.stat().st_size > _SHORT:
        return _encode(source, target, *options)
    key = hashlib.sha256(source.read_bytes()).digest(), target.suffix, options
    if key in _ENCODED:
        target.write_bytes(_ENCODED[key])
    elif _encode(source, target, *options).stat().st_size < _SHORT:
        _ENCODED[key] = target.read_bytes()
    return target


def _encode(source: Path, target: Path, *options: str) -> Path:
    wanted = options[options.index("-c:a") + 1] if "-c:a" in options else None
    for ffmpeg in AVAILABLE.values():
        if wanted is None or wanted in encoders(ffmpeg) or wanted.startswith(("pcm_", "copy")):
            run(ffmpeg, "-i", str(source), *options, str(target))
            return target
    raise LookupError(f"no ffmpeg here encodes {wanted}")


def remux(source: Path, target: Path, *options: str) -> Path:
    """Have the first binary copy what is in `source` into another file, with these options."""
    run(next(iter(AVAILABLE.values())), "-i", str(source), *options, "-c", "copy", str(target))
    return target


def run(ffmpeg: Path, *arguments: str) -> None:
    """Run it to its end. Raises CalledProcessError."""
    command = [str(ffmpeg), "-nostdin", "-hide_banner", "-loglevel", "error", "-y", "-bitexact", *arguments]
    subprocess.run(command, check=True, capture_output=True)
