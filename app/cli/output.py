"""What the command line shows: results on stdout, progress and errors on stderr."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from typing_extensions import Self

from app.cli.inputs import Input, UsageError
from app.cli.work import Tell
from app.detection import AudioPolicy, SourcePasses
from app.formats.excerpts import stream_wav, stream_zip
from app.formats.ndjson import NdjsonWriter
from app.formats.registry import FORMATS, Format
from app.formats.report import Report
from app.formats.structured import funasr_documents, json_document

_TABLE = "table"


class Output:
    """One run's output; used as a context while files are worked on. Raises `UsageError` for what cannot be shown."""

    def __init__(
        self,
        format_name: str | None,
        folder: Path | None,
        lang: Literal["zh", "en"],
        audio: AudioPolicy,
        *,
        total: int,
    ) -> None:
        """`total`: how many files; `audio`: how excerpts are read from them."""
        self._name = format_name or (_TABLE if sys.stdout.isatty() and folder is None else "json")
        if self._name != _TABLE and self._name not in FORMATS:
            raise UsageError(f"--format {self._name}: there are table, {', '.join(FORMATS)}")
        if self._name in ("wav", "zip") and folder is None:
            raise UsageError(f"--format {self._name} needs --out DIR")
        self._folder, self._lang, self._audio, self._many = folder, lang, audio, total > 1
        self._stdout, self._stderr = Console(highlight=False), Console(stderr=True, highlight=False)
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        self._bars = Progress(*columns, console=self._stderr, transient=True, disable=not self._stderr.is_terminal)

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
        self._stderr.print(f"{shown}: {reason}", style="red", markup=False, soft_wrap=True)

    def result(self, item: Input, report: Report) -> None:
        """One file's report."""
        if self._folder is not None:
            self._write(item, report, self._folder)
        elif self._name == _TABLE:
            self._stdout.print(_table(item.shown, report))
        else:
            sys.stdout.write(self._text(report))
            sys.stdout.flush()

    def _write(self, item: Input, report: Report, folder: Path) -> None:
        form = FORMATS["json" if self._name == _TABLE else self._name]
        path = _unused(folder, report.name, form)
        if form.name in ("wav", "zip"):
            with SourcePasses(item.path, self._audio) as passes, path.open("wb") as file:
                one = form.name == "wav"
                file.writelines(stream_wav(report, passes.blocks()) if one else stream_zip(report, passes.blocks))
        else:
            path.write_text(self._text(report), encoding="utf-8")
        self._stderr.print(f"{item.shown} -> {path}", markup=False, soft_wrap=True)

    def _text(self, report: Report) -> str:
        form = FORMATS["json" if self._name == _TABLE else self._name]
        if form.text is not None:
            return form.text(report, self._lang)
        if form.name == "funasr":
            return json.dumps(funasr_documents(report), ensure_ascii=False) + "\n"
        if form.name == "ndjson":
            writer = NdjsonWriter()
            lines = [writer.segment(segment, channel) for channel, segment in report.in_order()]
            return b"".join([*lines, writer.summary(report)]).decode()
        return json.dumps(json_document(report), ensure_ascii=False, indent=None if self._many else 2) + "\n"


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
