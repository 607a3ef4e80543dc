"""What `batch` shows: a bar on a terminal, a line now and then elsewhere, and the account at the end."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from app.batch.ledger import Totals

_MS_PER_H = 3_600_000
_LINE_EVERY_S = 10.0


class BatchView:
    """Progress on stderr, the account on stdout."""

    def __init__(self, stderr: Console) -> None:
        self._stderr = stderr
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bars = Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal)
        self._task: TaskID | None = None
        self._files, self._before = 0, Totals()
        self._told = 0.0

    def say(self, message: str) -> None:
        """A line."""
        self._stderr.print(message, markup=False, soft_wrap=True)

    @contextmanager
    def bar(self, files: int, before: Totals) -> Iterator[None]:
        """While shards are done; `before`: what earlier runs did."""
        self._files, self._before = files, before
        self.say(f"{files} files, {before.files} of them done before.")
        self._task = self._bars.add_task("files", total=files, completed=before.files)
        with self._bars:
            yield

    def advance(self, now: Totals) -> None:
        """This run has come so far."""
        done = self._before.files + now.files
        if self._task is not None:
            self._bars.update(self._task, completed=done)
        moment = time.monotonic()
        if not self._stderr.is_terminal and (moment - self._told >= _LINE_EVERY_S or done == self._files):
            self._told = moment
            self.say(f"{done} of {self._files} files ({done / self._files:.0%}), {now.failed} failed.")

    def summary(self, total: Totals, now: Totals, seconds: float) -> None:
        """The account: of all runs, and of this one. JSON where nobody looks."""
        hours, mine = total.audio_ms / _MS_PER_H, now.audio_ms / _MS_PER_H
        speed = mine / seconds if seconds > 0 else 0.0
        if not sys.stdout.isatty():
            sys.stdout.write(json.dumps({
                "files": total.files, "failed": total.failed, "segments": total.segments, "hours": round(hours, 4),
                "speech_hours": round(total.speech_ms / _MS_PER_H, 4),
                "this_run": {"files": now.files, "hours": round(mine, 4), "seconds": round(seconds, 2),
                             "hours_per_second": round(speed, 4)},
            }) + "\n")  # fmt: skip
            return
        Console(highlight=False).print(
            f"{total.files} files, {total.failed} failed, {total.segments} segments, {hours:.2f} h of audio. "
            f"This run: {now.files} files in {seconds:.1f} s, {speed:.3f} h of audio a second."
        )
