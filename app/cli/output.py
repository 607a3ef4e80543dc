"""What `detect` shows: results on stdout or in files, progress and errors on stderr."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from typing_extensions import Self

from app.cli.inputs import Input, result_places
from app.cli.terminal import STDERR, UsageError, counted, failed, note
from app.formats.excerpts import with_time_map
from app.formats.registry import Formats
from app.formats.rendering import Format, RenderContext, SourceBlocks
from app.formats.report import Report

TABLE = "table"
"""The command line's own, for people: no format of the service."""
_JSON_INDENT = 2
"""Of one document; several are one a line, for programs that read lines."""

Tell = Callable[[int, int | None], None]
"""Told how many ms have been looked at, and of how many, if that is known."""


class Passes(Protocol):
    """Fresh passes over a file's samples, for formats that hold audio."""

    @property
    def blocks(self) -> SourceBlocks:
        """Begins a fresh pass over all samples."""
        ...


OpenPasses = Callable[[Path], AbstractContextManager[Passes]]


def choose_format(name: str | None, folder: Path | None, formats: Formats) -> Format | None:
    """The format to show results in; None for the table. Raises `UsageError` for one that cannot be shown."""
    if name is None:
        name = TABLE if sys.stdout.isatty() and folder is None else "json"
    if name == TABLE:
        return None if folder is None else formats["json"]
    if name not in formats.names:
        raise UsageError(f"--format {name}: there are {TABLE}, {', '.join(formats.names)}")
    if formats[name].needs_audio and folder is None:
        raise UsageError(f"--format {name} needs --out DIR")
    return formats[name]


class Output:
    """One run's output; used as a context while files are worked on."""

    def __init__(
        self,
        form: Format | None,
        folder: Path | None,
        answering: RenderContext,
        open_passes: OpenPasses,
        inputs: Sequence[Input],
    ) -> None:
        """`form`: of `choose_format`. `answering`: how it is written. `open_passes`: how audio is read for excerpts."""
        self._form, self._folder, self._open_passes = form, folder, open_passes
        self._answering = replace(answering, indent=None if len(inputs) > 1 else _JSON_INDENT)
        self._places = {} if form is None else result_places(inputs, form.extension)
        self._stdout = Console(highlight=False)
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        self._bars = Progress(*columns, console=STDERR, transient=True, disable=not STDERR.is_terminal)

    def __enter__(self) -> Self:
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
        self._bars.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bars.stop()

    @contextmanager
    def progress(self, shown: str) -> Iterator[Tell]:
        """A bar while one file is worked on."""
        task = self._bars.add_task(Path(shown).name or shown, total=None)
        try:
            yield lambda done_ms, expected_ms: self._bars.update(task, completed=done_ms, total=expected_ms)
        finally:
            self._bars.remove_task(task)

    def failed(self, shown: str, reason: str) -> None:
        """One file could not be detected."""
        with self._without_bars():
            failed(f"{shown}: {reason}", 1)

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

    def result(self, item: Input, report: Report) -> None:
        """One file's report. Raises `InvalidOption` where the format cannot hold it, OSError."""
        with self._without_bars():
            for warning in report.warnings:
                note(f"{item.shown}: {warning.code}: {warning.detail}")
            if self._form is None:
                shown = _table(item.shown, report)
                # A sentence stays on its line, however long the file's name, for what reads it by lines.
                self._stdout.print(shown, soft_wrap=isinstance(shown, str))
            elif self._folder is None:
                # A terminal's prompt, or the next document, begins on a line of its own.
                content = b"".join(self._pieces(self._form, with_time_map(report, self._answering.excerpts)))
                sys.stdout.buffer.write(_whole_lines(content))
                sys.stdout.buffer.flush()
            else:
                path = self._folder / self._places[item]
                self._write(item, self._form, report, path)
                STDERR.print(f"{item.shown} -> {path}", markup=False, soft_wrap=True)

    def _write(self, item: Input, form: Format, report: Report, path: Path) -> None:
        told = with_time_map(report, self._answering.excerpts)
        if not form.needs_audio:
            _replace(path, iter([_whole_lines(b"".join(self._pieces(form, told)))]))
            return
        with self._open_passes(item.path) as passes:
            pieces = self._pieces(form, report, passes.blocks)
            first = next(pieces, b"")  # what cannot be written is refused here, before there is a file
            _replace(path, chain([first], pieces))
        if "time_map" in told.extras and form.name == "wav":
            # The service has a header for it.
            _replace(path.with_name(f"{path.name}.map.json"), iter([json.dumps(told.extras["time_map"]).encode()]))

    def _pieces(self, form: Format, report: Report, blocks: SourceBlocks | None = None) -> Iterator[bytes]:
        answering = self._answering if blocks is None else replace(self._answering, blocks=blocks)
        return form.new(answering).finish(report)


def _replace(path: Path, pieces: Iterator[bytes]) -> None:
    """Write a file beside its place and move it there: what is broken off leaves what was there before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.part")
    try:
        with unfinished.open("wb") as file:
            file.writelines(pieces)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _whole_lines(content: bytes) -> bytes:
    return content if content.endswith(b"\n") else content + b"\n"


def _table(shown: str, report: Report) -> Table | str:
    seconds = report.audio.duration_ms / 1000
    took = f"took {report.timing.total_ms / 1000:.2f} s on {report.device}"
    count = len(list(report.in_order()))
    if count == 0:
        return escape(f"{shown}: no speech in {seconds:.3f} s; {took}.")
    caption = f"{counted(count, 'segment')}, {report.speech_ms / 1000:.3f} s of {seconds:.3f} s is speech "
    caption += f"({report.speech_ratio:.0%})"
    if report.has_chunks:
        caption += f", in {counted(len(report.chunks()), 'chunk')}"
    titles = ("#", "start", "end", "duration", "probability", *(["chunk"] if report.has_chunks else []))
    table = Table(*titles, title=escape(shown), caption=f"{caption}; {took}")
    for column in table.columns:
        column.justify = "right"
    chunks_of: dict[int, list[int]] = {}
    for chunk in report.chunks():
        for index in chunk.segments:
            chunks_of.setdefault(index, []).append(chunk.index)
    for index, (channel, segment) in enumerate(report.in_order(), 1):
        label = str(index) if channel is None else f"{index} (ch {channel})"
        times = (segment.start_ms, segment.end_ms, segment.duration_ms)
        row = [label, *(f"{time / 1000:.3f}s" for time in times), f"{segment.speech_probability:.2f}"]
        if report.has_chunks:
            row.append(", ".join(map(str, chunks_of.get(index, []))))
        table.add_row(*row)
    return table
