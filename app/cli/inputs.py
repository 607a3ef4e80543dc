"""From what a person names on the command line to files."""

import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

from app.cli.terminal import UsageError

AUDIO_SUFFIXES = frozenset({
    ".wav", ".flac", ".mp3", ".m4a", ".mp4", ".aac", ".ogg", ".oga", ".opus", ".webm", ".mka", ".amr", ".wma", ".aif",
    ".aiff", ".caf", ".au", ".3gp", ".wv", ".ape",
})  # fmt: skip
"""What is picked from a folder; a file that is named is tried whatever it is called."""


@dataclass(frozen=True, slots=True)
class Input:
    """One file to detect."""

    path: Path
    shown: str
    """As the person named it."""


def find_inputs(sources: list[str], scratch: Path) -> list[Input]:
    """Every file that `sources` name: files, folders (their audio files, deep), globs, `-` for stdin. Raises
    `UsageError`."""
    return [found for source in sources for found in _find(source, scratch)]


def _find(source: str, scratch: Path) -> Iterator[Input]:
    path = Path(source)
    if source == "-":
        yield _stdin(scratch)
    elif path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() in AUDIO_SUFFIXES and file.is_file())
        if not files:
            raise UsageError(f"{source}: there are no audio files in this folder")
        yield from (Input(file, str(file)) for file in files)
    elif path.exists():
        yield Input(path, source)
    elif has_magic(source):
        matches = sorted(glob(source, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
        if not matches:
            raise UsageError(f"{source}: nothing matches")
        yield from (Input(Path(match), match) for match in matches if Path(match).is_file())
    else:
        raise UsageError(f"{source}: there is no such file")


def _stdin(scratch: Path) -> Input:
    # A seekable file: some containers keep their index at the end.
    path = scratch / "stdin"
    with path.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    return Input(path, "-")
