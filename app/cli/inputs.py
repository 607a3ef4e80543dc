"""From what a person names on the command line to files."""

import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path, PurePath

from app.audio.containers import SUFFIXES
from app.cli.terminal import UsageError


@dataclass(frozen=True, slots=True)
class Input:
    """One file to detect."""

    path: Path
    shown: str
    """As the person named it."""
    place: PurePath
    """Where it lies below what was named: where its result goes below the folder of results."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a command line names."""

    inputs: list[Input]
    problems: list[str]
    """What is wrong with names that lead to no file: they stop no other."""


def find_inputs(sources: list[str], scratch: Path) -> Found:
    """Every file that `sources` name, each once: files, folders (their audio files, deep), globs, `-` for stdin. Raises
    `UsageError` where none leads to a file."""
    inputs: dict[Path, Input] = {}
    problems: list[str] = []
    for source in sources:
        try:
            for found in _find(source, scratch):
                inputs.setdefault(found.path.absolute(), found)
        except UsageError as error:  # noqa: PERF203 - one name that leads nowhere stops no other
            problems.append(str(error))
    if not inputs:
        raise UsageError("\n".join(problems))
    return Found(list(inputs.values()), problems)


def result_places(inputs: Sequence[Input], extension: str) -> dict[Input, PurePath]:
    """Where each input's result goes, below the folder of results: the tree of the inputs, `talk.csv` for `talk.wav`;
    `talk.wav.csv` where there is a `talk.mp3` beside it; numbered, in the order they were named, where even that is
    taken. It follows from the inputs alone, so a second run replaces what the first one wrote."""
    short = Counter(item.place.with_suffix("") for item in inputs)
    places: dict[Input, PurePath] = {}
    taken: set[PurePath] = set()
    for item in inputs:
        whole = item.place if short[item.place.with_suffix("")] > 1 else item.place.with_suffix("")
        names = (f"{whole.name}{number}.{extension}" for number in ("", *(f"-{n}" for n in range(2, len(inputs) + 2))))
        place = next(place for place in map(whole.with_name, names) if place not in taken)
        taken.add(place)
        places[item] = place
    return places


def _find(source: str, scratch: Path) -> Iterator[Input]:
    path = Path(source)
    if source == "-":
        yield _stdin(scratch)
    elif path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        if not files:
            raise UsageError(f"{source}: there are no audio files in this folder")
        yield from (Input(file, str(file), file.relative_to(path)) for file in files)
    elif path.exists():
        yield Input(path, source, PurePath(path.name))
    elif has_magic(source):
        matches = sorted(glob(source, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
        if not matches:
            raise UsageError(f"{source}: nothing matches")
        root = _before_magic(path)
        found = (Path(match) for match in matches)
        yield from (Input(each, str(each), each.relative_to(root)) for each in found if each.is_file())
    else:
        raise UsageError(f"{source}: there is no such file")


def _before_magic(pattern: Path) -> Path:
    """The folder that a glob's matches are all below."""
    plain = next(number for number, part in enumerate(pattern.parts) if has_magic(part))
    return Path(*pattern.parts[:plain])


def _stdin(scratch: Path) -> Input:
    # A seekable file: some containers keep their index at the end.
    path = scratch / "stdin"
    with path.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    return Input(path, "-", PurePath("stdin"))
