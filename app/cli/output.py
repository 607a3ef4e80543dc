"""What `detect` shows: results on stdout or in files, progress and errors on stderr."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from typing_extensions import Self

from app.cli.inputs import Input
from app.cli.terminal import STDERR, UsageError, failed, note
from app.formats.registry import Formats
from app.formats.rendering import Answering, Format, Lang, SourceBlocks
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
        """Begins one."""
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
        self, form: Format | None, folder: Path | None, lang: Lang, open_passes: OpenPasses, *, total: int
    ) -> None:
        """`form`: of `choose_format`. `total`: how many files. `open_passes`: how audio is read for excerpts."""
        self._form, self._folder, self._lang, self._open_passes = form, folder, lang, open_passes
        self._indent = None if total > 1 else _JSON_INDENT
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
        failed(f"{shown}: {reason}", 1)

    def result(self, item: Input, report: Report) -> None:
        """One file's report. Raises `InvalidOption` where the format cannot hold it, OSError."""
        for warning in report.warnings:
            note(f"{item.shown}: {warning.code}: {warning.detail}")
        form = self._form
        if form is None:
            self._stdout.print(_table(item.shown, report))
        elif self._folder is None:
            # A terminal's prompt, or the next document, begins on a line of its own.
            content = b"".join(self._renderer(form, Answering().blocks, report))
            sys.stdout.buffer.write(_whole_lines(content))
            sys.stdout.buffer.flush()
        else:
            path = self._write(item, form, report, self._folder)
            STDERR.print(f"{item.shown} -> {path}", markup=False, soft_wrap=True)

    def _write(self, item: Input, form: Format, report: Report, folder: Path) -> Path:
        path = _unused(folder, report.name, form)
        if not form.needs_audio:
            path.write_bytes(_whole_lines(b"".join(self._renderer(form, Answering().blocks, report))))
            return path
        with self._open_passes(item.path) as passes:
            pieces = self._renderer(form, passes.blocks, report)
            first = next(pieces, b"")  # what cannot be written is refused here, before there is a file
            with path.open("wb") as file:
                file.write(first)
                file.writelines(pieces)
        return path

    def _renderer(self, form: Format, blocks: SourceBlocks, report: Report) -> Iterator[bytes]:
        return form.new(Answering(self._lang, blocks, indent=self._indent)).finish(report)


def _whole_lines(content: bytes) -> bytes:
    return content if content.endswith(b"\n") else content + b"\n"


def _table(shown: str, report: Report) -> Table:
    seconds = report.audio.duration_ms / 1000
    caption = (
        f"{len(list(report.in_order()))} segments, {report.speech_ms / 1000:.3f} s of {seconds:.3f} s is speech "
        f"({report.speech_ratio:.0%}); took {report.timing.total_ms / 1000:.2f} s on {report.device}"
    )
    table = Table("#", "start", "end", "duration", "probability", title=shown, caption=caption)
    for column in table.columns:
        column.justify = "right"
    for index, (channel, segment) in enumerate(report.in_order(), 1):
        label = str(index) if channel is None else f"{index} (ch {channel})"
        times = (segment.start_ms, segment.end_ms, segment.duration_ms)
        table.add_row(label, *(f"{time / 1000:.3f}s" for time in times), f"{segment.speech_probability:.2f}")
    return table


def _unused(folder: Path, name: str, form: Format) -> Path:
    """A path that no other result of this run, or earlier one, has: nothing is overwritten."""
    candidates = [f"{name}.{form.extension}", *(f"{name}-{number}.{form.extension}" for number in range(2, 10_000))]
    return next(path for path in (folder / candidate for candidate in candidates) if not path.exists())
