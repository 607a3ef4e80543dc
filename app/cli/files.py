"""What goes into `detect` and what comes out: from what a person names on the command line to files, and answers on
stdout or in files, as a table for people, the rest on stderr."""

import itertools
import json
import sys
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from glob import glob, has_magic
from pathlib import Path, PurePath
from typing import Any
from uuid import uuid4

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table
from typing_extensions import Self

from app.audio.containers import SUFFIXES
from app.cli.pipes import identity, is_pipe, spool
from app.cli.terminal import STDERR, UsageError, counted, failed, note
from app.formats.registry import HEADING, Format
from app.formats.report import safe_name, unique_names
from app.vad.errors import VadError
from app.warnings import AnswerWarning

TABLE = "table"
"""The command line's own form, for people."""
_JSON = "application/json"

Progress = Callable[[int, int | None], None]
"""Called with how many ms are done, and of how many, if that is known."""


# ---- inputs


@dataclass(frozen=True, slots=True)
class Input:
    """One file to detect."""

    path: Path
    shown: str
    """As the person named it."""
    place: PurePath
    """Where it lies below what was named: where its result goes below the folder of results."""
    file_name: str
    """What its answer is to call it."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a command line names."""

    inputs: list[Input]
    problems: list[str]
    """What is wrong with names that lead to no file: they stop no other."""


def find_inputs(sources: list[str], scratch: Path) -> Found:
    """Every file that `sources` name, each once: files, folders (their audio files, deep), globs, pipes, `-` for stdin.
    What comes through a pipe is kept below `scratch`. Raises `UsageError` where none leads to a file."""
    inputs: dict[Path, Input] = {}
    pipes: set[tuple[int, int]] = set()
    problems: list[str] = []
    for source in sources:
        try:
            if not is_pipe(source):
                for found in _find(source):
                    inputs.setdefault(found.path.absolute(), found)
            elif (pipe := identity(source)) not in pipes:  # which can be read once
                pipes.add(pipe)
                path = spool(source, scratch / str(len(pipes)))
                inputs[path] = _input(path, source, PurePath(path.name))
        except UsageError as error:  # noqa: PERF203 - one name that leads nowhere stops no other
            problems.append(str(error))
    if not inputs:
        raise UsageError("\n".join(problems))
    return Found(list(inputs.values()), problems)


def _input(path: Path, shown: str, place: PurePath) -> Input:
    return Input(path, shown, place, path.name)


def told_apart(inputs: Sequence[Input]) -> list[Input]:
    """The same, no two of which are called alike in answers, as over HTTP."""
    names = unique_names([safe_name(item.file_name) for item in inputs])
    return [
        item if name == safe_name(item.file_name) else replace(item, file_name=f"{name}{item.path.suffix}")
        for item, name in zip(inputs, names, strict=True)
    ]


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


def _find(source: str) -> Iterator[Input]:
    path = Path(source)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        if not files:
            raise UsageError(f"{source}: there are no audio files in this folder")
        yield from (_input(file, str(file), file.relative_to(path)) for file in files)
    elif path.exists():
        yield _input(path, source, PurePath(path.name))
    elif has_magic(source):
        matches = sorted(glob(source, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
        if not matches:
            raise UsageError(f"{source}: nothing matches")
        # The folder that all matches are below.
        root = Path(*itertools.takewhile(lambda part: not has_magic(part), path.parts))
        found = (Path(match) for match in matches)
        yield from (_input(each, str(each), each.relative_to(root)) for each in found if each.is_file())
    else:
        raise UsageError(f"{source}: there is no such file or folder")


# ---- outputs


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""


@dataclass(slots=True)
class FileAnswer:
    """One file's answer, while its bytes come."""

    media_type: str
    pieces: AsyncIterator[bytes] = field(default_factory=_nothing)
    """Raises `VadError` for what goes wrong on the way."""
    warnings: Sequence[AnswerWarning] = ()
    """Complete when the pieces have ended."""
    time_map: Sequence[Sequence[float]] | None = None
    """Of a WAV, if it was asked for; for a file beside it, since the service has a header for it."""


class Output:
    """One run's output; used as a context while files are worked on."""

    def __init__(self, inputs: Sequence[Input], folder: Path | None, form: Format | str, *, as_table: bool) -> None:
        """`folder`: for a file each; None: stdout. `form`: of the answers, or its name where it is not known here.
        `as_table`: answers are in JSON, and are shown as tables."""
        self._folder, self._as_table, self._alone = folder, as_table, len(inputs) == 1
        self._places = result_places(inputs, form if isinstance(form, str) else form.extension)
        known = None if isinstance(form, str) else form
        self._heading = HEADING if known is None else known.heading
        self._streams = known is not None and known.streams
        self._together = known.together() if known is not None and known.together is not None else None
        self._waited_for = deque(inputs)
        self._texts: dict[Input, str | None] = {}
        """Texts of several files are printed in the files' order: those that have come before their turn, None for a
        file that has none."""
        self._between = ""
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        self._bars = Bars(*columns, console=STDERR, transient=True, disable=not STDERR.is_terminal)

    def __enter__(self) -> Self:
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
        self._bars.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bars.stop()
        # Whatever has ended the run, what was found is printed.
        for item in self._waited_for:
            self._print_text(item, self._texts.get(item))
        if self._together is not None and not self._alone and self._folder is None:
            _print(self._together.finish())

    @contextmanager
    def progress(self, shown: str) -> Iterator[Progress]:
        """Show a bar while one file is worked on."""
        task = self._bars.add_task(Path(shown).name or shown, total=None)
        try:
            yield lambda done_ms, expected_ms: self._bars.update(task, completed=done_ms, total=expected_ms)
        finally:
            self._bars.remove_task(task)

    def failed(self, item: Input, reason: str) -> None:
        """Say that one file could not be detected."""
        with self._without_bars():
            failed(f"{item.shown}: {reason}", 1)
            self._in_turn(item, None)

    async def show(self, item: Input, answer: FileAnswer) -> None:
        """Put one file's answer where it is wanted. Raises what its pieces raise, and OSError."""
        if self._folder is not None:
            path = self._folder / self._places[item]
            await _replace(path, answer.pieces)
            if answer.time_map is not None:
                path.with_name(f"{path.name}.map.json").write_text(json.dumps(answer.time_map))
            with self._without_bars():
                STDERR.print(f"{item.shown} -> {path}", markup=False, soft_wrap=True)
        elif self._alone and answer.media_type != _JSON:
            with self._without_bars():
                await _print_pieces(answer.pieces)
        else:
            # A document is printed when it is known to be whole, and one file's answer after the other's.
            content = b"".join([piece async for piece in answer.pieces])
            with self._without_bars():
                if self._alone or self._streams or answer.media_type == _JSON:
                    self._print(item, answer, content)
                else:
                    self._in_turn(item, content.decode(errors="replace"))
        for warning in answer.warnings:
            with self._without_bars():
                note(f"{item.shown}: {warning.code}: {warning.detail}")

    def _print(self, item: Input, answer: FileAnswer, content: bytes) -> None:
        if self._as_table:
            shown = table(item.shown, json.loads(content))
            # A sentence stays on its line, however long the file's name, for what reads it by lines.
            Console(highlight=False).print(shown, soft_wrap=isinstance(shown, str))
            return
        if answer.media_type == _JSON and sys.stdout.isatty():
            content = json.dumps(json.loads(content), ensure_ascii=False, indent=2).encode()
        # A terminal's prompt, or the next document, begins on a line of its own.
        sys.stdout.buffer.write(content if content.endswith(b"\n") else content + b"\n")
        sys.stdout.buffer.flush()

    def _in_turn(self, item: Input, text: str | None) -> None:
        """Print the text of a file, and those after it that have waited, when all before it have had their turn."""
        self._texts[item] = text
        while self._waited_for and self._waited_for[0] in self._texts:
            first = self._waited_for.popleft()
            self._print_text(first, self._texts.pop(first))

    def _print_text(self, item: Input, text: str | None) -> None:
        """Print one of several texts, told apart from the others by a file's name in each line or above it."""
        if text is None:
            return
        if self._together is not None:
            _print(self._together.add(safe_name(item.file_name), text))
        else:
            end = "" if text.endswith("\n") or not text else "\n"
            _print(f"{self._between}{self._heading.format(item.shown)}{text}{end}")
            self._between = "\n"

    @contextmanager
    def _without_bars(self) -> Iterator[None]:
        """What is printed meanwhile stands alone: bars would be left half over it, on a terminal that shows both."""
        if self._bars.disable:
            yield
            return
        self._bars.stop()
        try:
            yield
        finally:
            self._bars.start()


def _print(text: str) -> None:
    sys.stdout.buffer.write(text.encode())
    sys.stdout.buffer.flush()


async def _print_pieces(pieces: AsyncIterator[bytes]) -> None:
    """Write pieces to stdout as they come, and end the last line."""
    last = b""
    async for piece in pieces:
        last = piece
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    if not last.endswith(b"\n"):
        sys.stdout.buffer.write(b"\n")
        sys.stdout.buffer.flush()


async def _replace(path: Path, pieces: AsyncIterator[bytes]) -> None:
    """Write a file beside its place and move it there: what is broken off leaves what was there before."""
    first = await anext(pieces, b"")  # what cannot be written is refused here, before there is a file
    path.parent.mkdir(parents=True, exist_ok=True)
    # A short name: with a longer one than the file's own there might be no room for it.
    unfinished = path.with_name(f".{uuid4().hex[:12]}.part")
    try:
        with unfinished.open("wb") as file:
            file.write(first)
            async for piece in pieces:
                file.write(piece)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def table(shown: str, document: Mapping[str, Any]) -> Table | str:
    """A detection for people, from its JSON document. Raises `VadError` for a document that is none."""
    try:
        return _table(shown, document)
    except (KeyError, TypeError, AttributeError):
        raise VadError("the server's answer has an unknown form") from None


def _table(shown: str, document: Mapping[str, Any]) -> Table | str:
    seconds, segments, chunks = document["audio"]["duration_ms"] / 1000, document["segments"], document.get("chunks")
    took = f"took {document['timing']['total_ms'] / 1000:.2f} s on {document['device']}"
    if not segments:
        return escape(f"{shown}: no speech in {seconds:.3f} s; {took}.")
    caption = f"{counted(len(segments), 'segment')}, {document['speech_ms'] / 1000:.3f} s of {seconds:.3f} s is speech "
    caption += f"({document['speech_ratio']:.0%})"
    has_labels = any("label" in segment for segment in segments)
    titles = ["#", "start", "end", "duration", "probability", *(["label"] if has_labels else [])]
    chunks_of: dict[int, list[str]] = {}
    if chunks is not None:
        caption += f", in {counted(len(chunks), 'chunk')}"
        titles.append("chunk")
        for chunk in chunks:
            for index in chunk["segments"]:
                chunks_of.setdefault(index, []).append(str(chunk["index"]))
    rows = Table(*titles, title=escape(shown), caption=f"{caption}; {took}")
    for column in rows.columns:
        column.justify = "right"
    for segment in segments:
        channel = segment.get("channel")
        times = (segment[name] / 1000 for name in ("start_ms", "end_ms", "duration_ms"))
        rows.add_row(
            str(segment["index"]) if channel is None else f"{segment['index']} (ch {channel})",
            *(f"{time:.3f}s" for time in times),
            f"{segment['speech_probability']:.2f}",
            *([segment.get("label", "")] if has_labels else []),
            *([", ".join(chunks_of.get(segment["index"], []))] if chunks is not None else []),
        )
    return rows
