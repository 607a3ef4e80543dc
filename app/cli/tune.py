"""`fsmn-vad tune`: settings that fit one's own labelled audio, as a file of presets."""

import asyncio
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from app.accuracy.conditions import Condition, UnknownCondition, parse
from app.accuracy.corpus import NoLabelledAudio, find_recordings
from app.accuracy.intervals import Figure
from app.accuracy.service import PosteriorsLost, Service
from app.accuracy.tuning import Candidate, Labelled, Tuning, best, preset, too_little, usable
from app.cli.local import quiet_logs
from app.cli.terminal import ALL_WELL, INTERRUPTED, SOME_FAILED, STDERR, UsageError, counted, failed, note, run_command
from app.config import Settings
from app.presets import PRESETS, GivenPreset, Preset, read_presets, write_presets
from app.registry import installed
from app.runtime import start_runtime
from app.vad.errors import InvalidOption

_LINE_EVERY_S = 10
"""Between two lines of progress where there is no terminal."""
_PIPE_WIDTH = 160
"""Columns of a table that nobody looks at: wide enough that no name is broken."""


def run(
    folder: Path, *, models: Sequence[str], objective: str, conditions: Sequence[str], out: Path, name: str, force: bool
) -> int:
    """Tune, print the table and write the preset; the exit status."""

    def command(settings: Settings) -> int:
        quiet_logs(settings)
        try:
            heard = [parse(text) for text in conditions or ("clean",)]
            before = _presets_of(out, name)
            found = find_recordings(folder)
        except (UnknownCondition, NoLabelledAudio) as error:
            raise UsageError(str(error)) from None
        view = View()
        if found.note:
            note(found.note)
        recordings = usable(found, view)
        if not recordings:
            raise UsageError(f"no file in {folder} can be used")
        if all(each.speech_s == 0 for each in recordings):
            raise UsageError("the labels of these files contain no speech, so there is nothing to fit")
        scarce = too_little(recordings)
        if scarce is not None:
            note(f"{scarce} {'It is written anyway (--force).' if force else 'Nothing will be written.'}")
        candidates, interrupted = _tuned(settings, recordings, objective, heard, models, view)
        if not candidates:
            return INTERRUPTED
        _show(candidates, recordings)
        if scarce is not None and not force:
            return INTERRUPTED if interrupted else failed("Nothing was written; --force writes it.", SOME_FAILED)
        speech_min = sum(each.speech_s for each in recordings) / 60
        title = f"Tuned for {objective} on {folder.resolve().name}: {counted(len(recordings), 'file')}, "
        made = preset(name, f"{title}{speech_min:.1f} min of speech.", candidates, recordings, objective)
        kept = [made if each.name == name else each for each in before]
        write_presets(out, kept if made in kept else [*kept, made])
        _say_how_to_use(made, out, interrupted=interrupted)
        return INTERRUPTED if interrupted else ALL_WELL

    return run_command(command)


def _presets_of(path: Path, name: str) -> list[Preset]:
    """What a file of presets holds already. Raises `UsageError` for a file that is something else, and for a name that
    is taken or none."""
    if name in [*(each.name for each in PRESETS), "none"]:
        raise UsageError(f"--name {name}: the service has a preset of this name; choose another")
    try:
        GivenPreset(name=name, model="any")
    except ValidationError:
        raise UsageError(
            f"--name {name}: use letters, digits, '.', '_' and '-', and begin with a letter or a digit"
        ) from None
    if not path.parent.is_dir():
        raise UsageError(f"--out {path}: there is no folder {path.parent}")
    try:
        return read_presets(path, installed().segmenters) if path.exists() else []
    except InvalidOption as error:
        raise UsageError(f"--out {error.reason}; the file was not changed; name another file") from None


def _tuned(
    settings: Settings,
    recordings: Sequence[Labelled],
    objective: str,
    conditions: Sequence[Condition],
    models: Sequence[str],
    view: "View",
) -> tuple[list[Candidate], bool]:
    """The candidates that are done, and whether it was interrupted."""
    done: list[Candidate] = []

    async def tune() -> None:
        runtime = await start_runtime(settings, installed(), on_demand=True)
        try:
            tuning = Tuning(Service(runtime), recordings, objective, view, conditions, candidates=done)
            with view:
                await tuning.run(models)
        finally:
            runtime.close()

    try:
        asyncio.run(tune())
    except PosteriorsLost as error:
        raise UsageError(str(error)) from None
    except (KeyboardInterrupt, asyncio.CancelledError):
        note(f"Interrupted: {counted(len(done), 'model')} done.")
        return done, True
    return done, False


def _show(candidates: Sequence[Candidate], recordings: Sequence[Labelled]) -> None:
    """The table, the best first."""
    table = Table("model", "F1", "missed", "false alarms", "starts off, ms", "ends off, ms", "CPU s/h", "settings")
    chosen = best(candidates)
    for each in sorted(candidates, key=lambda each: -each.value):
        judged = each.judged
        table.add_row(
            f"{each.model}{' *' if each is chosen else ''}",
            _figure(judged.f1, 3),
            _figure(judged.miss_rate, 1, scale=100, unit="%"),
            _figure(judged.false_alarm_rate, 1, scale=100, unit="%"),
            _figure(judged.start_ms, 0),
            _figure(judged.end_ms, 0),
            f"{each.cpu_s_per_hour:.0f}",
            ", ".join(f"{name.removesuffix('_duration_ms')} {value}" for name, value in each.options.items()),
        )
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    console.print(table)
    files, several = counted(len(recordings), "file"), len(recordings) > 1
    console.print(
        f"Measured on {files}. Each file was judged with settings that were fitted to the other files. Brackets: 95 % "
        "confidence intervals, by bootstrap over the files. Where two intervals overlap widely, there is too little "
        "audio to say which model is better. * marks the best."
        if several
        else "Only one file: it was judged with settings that were fitted to it, so these figures are too good.",
        soft_wrap=True,
    )


def _figure(figure: Figure, digits: int, *, scale: float = 1, unit: str = "") -> str:
    if figure.value is None or not math.isfinite(figure.value):
        return "–"
    told = f"{scale * figure.value:.{digits}f}{unit}"
    if figure.low is None or figure.high is None:
        return told
    return f"{told} [{scale * figure.low:.{digits}f}, {scale * figure.high:.{digits}f}]"


def _say_how_to_use(made: Preset, out: Path, *, interrupted: bool) -> None:
    console = Console(highlight=False)
    partial = " (of the models that finished)" if interrupted else ""
    console.print(f"{out}: preset {made.name}, {made.model}{partial}, {json.dumps(dict(made.options))}", soft_wrap=True)
    console.print(f"Use it: VAD_PRESETS={out} fsmn-vad serve, then preset={made.name}", soft_wrap=True)


class View:
    """A bar for people, a line now and then where nobody looks (`TuningView`)."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self._bars = Progress(*columns, console=STDERR, transient=True, disable=not STDERR.is_terminal)
        self._task = self._bars.add_task("files", total=None)
        self._printed_at = 0.0

    def __enter__(self) -> None:
        self._bars.start()

    def __exit__(self, *exception: object) -> None:
        self._bars.stop()

    def scored(self, model: str, done: int, files: int) -> None:
        """As `TuningView`."""
        self._bars.update(self._task, description=f"{model}: scoring", completed=done, total=files)
        now = time.monotonic()
        if not STDERR.is_terminal and (done == files or now - self._printed_at >= _LINE_EVERY_S):
            self._printed_at = now
            self._say(f"{model}: {done} of {counted(files, 'file')} scored")
        if done == files:
            self._bars.update(self._task, description=f"{model}: fitting", total=None)

    def fitted(self, found: Candidate, done: int, candidates: int) -> None:
        """As `TuningView`."""
        self._say(f"{found.model}: F1 {_figure(found.judged.f1, 3)} ({done} of {candidates})")

    def left_out(self, name: str, reason: str) -> None:
        """As `TuningView`."""
        note(f"{name}: skipped: {reason}")

    def _say(self, text: str) -> None:
        self._bars.console.print(text, markup=False, soft_wrap=True)
