"""`fsmn-vad batch`: a collection of files to shards of rows. What happens is in `app.batch.run`; this is its terminal:
a bar or a line now and then on stderr, and the summary on stdout."""

import asyncio
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from app.audio.containers import SUFFIXES
from app.batch import BatchError, WorkerLost
from app.batch.collection import ShardLimits
from app.batch.ledger import Totals
from app.batch.run import BatchJob, BatchPlan, RunSummary, check_packages
from app.batch.run import run as run_batch
from app.cli.local import check, planned, quiet_logs
from app.cli.terminal import (
    ALL_WELL,
    INTERRUPTED,
    SOME_FAILED,
    STDERR,
    WRONG_USAGE,
    UsageError,
    counted,
    failed,
    run_command,
)
from app.config import Settings
from app.registry import installed
from app.request import DetectionRequest

if TYPE_CHECKING:
    from app.runtime import Runtime

_MS_PER_H = 3_600_000
_LINE_EVERY_S = 10.0
"""Often enough to see that it goes on, in a log that is kept."""
_NAMED = 20
"""Of the files that are skipped so many are named."""
_GO_ON = "Run the same command again to continue"


def run(
    source: str,
    destination: str,
    options: Mapping[str, Any],
    *,
    form: str,
    per_file: Sequence[str],
    workers: int | None,
    ray: str | None,
    shard_files: int,
    shard_mb: int,
    overwrite: bool,
) -> int:
    """Do what is left of the collection; the exit status. `form`: of the rows. `workers`: None for the usual number."""

    def command(settings: Settings) -> int:
        check_packages(form, ray)
        registry, request = installed(), DetectionRequest.parse(options)
        for name in per_file:
            registry.formats[name]
        check(request, registry, settings)
        job = BatchJob(
            request=request,
            source=source,
            destination=destination,
            format=form,
            per_file=tuple(per_file),
            suffixes=SUFFIXES,
            limits=ShardLimits(shard_files, shard_mb << 20),
            overwrite=overwrite,
            max_audio_hours=settings.max_audio_hours,
            scratch=settings.tmp_dir,
            ray=ray,
        )
        view = BatchView(STDERR)
        view.say(f"Listing {source} …")
        with view.bar():
            summary = run_batch(job, lambda job: asyncio.run(_prepare(job, settings, workers)), view)
        view.summary(summary)
        return SOME_FAILED if summary.total.failed else ALL_WELL

    def command_or_advice(settings: Settings) -> int:
        try:
            return command(settings)
        except (WorkerLost, ConnectionError) as error:
            return failed(f"{error}\n{_GO_ON}.", SOME_FAILED)
        except BatchError as error:
            return failed(error, WRONG_USAGE)
        except KeyboardInterrupt:
            return failed(f"Stopped. {_GO_ON}.", INTERRUPTED)

    return run_command(command_or_advice)


async def _prepare(job: BatchJob, settings: Settings, workers: int | None) -> BatchPlan:
    """Load the model once before the workers do, to know that it is there and which one it is."""
    from app.engine.device import NoSuchDevice, choose_device

    # One thread scores in each worker: processes take the cores.
    of_worker = settings.model_copy(update={"workers": 1})
    # On the CPU: the workers will want the device's memory.
    on_cpu = settings.model_copy(update={"device": "cpu"})
    async with planned(job.request, installed(), on_cpu) as (runtime, plan):
        if runtime.models.fallback is not None:
            # No worker looks for the other one again, or finds it meanwhile.
            other = {"model": settings.fallback_model, "model_revision": "", "fallback_model": ""}
            of_worker = of_worker.model_copy(update=other)
    if job.ray is None and workers is None:
        try:
            on_gpu = choose_device(settings.device, settings.gpu_min_free_mb).type == "cuda"
        except NoSuchDevice as error:
            raise UsageError(str(error)) from None
        workers = 1 if on_gpu else settings.workers
    return BatchPlan(
        job=job,
        info=plan.chosen.model.info,
        dtype=settings.dtype,
        options=plan.segmentation.document(),
        warnings=plan.warnings,
        build=partial(start_worker_runtime, of_worker),
        workers=workers,
        gpus=int(settings.device.startswith("cuda")),
    )


async def start_worker_runtime(settings: Settings) -> "Runtime":
    """Start a worker's runtime, in its own process; on one core, whatever the machine has."""
    from app.engine.device import prepare_process
    from app.runtime import start_runtime

    quiet_logs(settings)
    runtime = await start_runtime(settings, on_demand=True)
    # Again: the settings' one thread would be given all of the machine's cores for its matrix products.
    prepare_process(settings.device, 1, settings.gpu_memory_limit_mb)
    return runtime


class BatchView:
    """A `BatchProgress` for people, and the summary in the end."""

    def __init__(self, stderr: Console) -> None:
        self._stderr = stderr
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bars = Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal)
        self._task: TaskID | None = None
        self._files, self._before = 0, Totals()
        self._skipped: list[str] = []
        self._started = self._printed_at = 0.0

    def say(self, message: str) -> None:
        """Print a line on stderr, above the bar if there is one."""
        self._stderr.print(message, markup=False, soft_wrap=True)

    @contextmanager
    def bar(self) -> Iterator[None]:
        """While the run lasts; the bar appears when the collection has been listed."""
        with self._bars:
            yield

    def skipped(self, names: Sequence[str]) -> None:
        """Name the files that are passed by, the first few of many (`BatchProgress`)."""
        self._skipped = list(names)
        if names:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            shown = f"{', '.join(names[:_NAMED])}{more}"
            self.say(f"Skipped {counted(len(names), 'file')} without the name of an audio file: {shown}.")

    def listed(self, files: int, before: Totals) -> None:
        """Say how much there is and what was done before, and begin the bar (`BatchProgress`)."""
        self._files, self._before, self._started = files, before, time.monotonic()
        self.say(f"{counted(files, 'file')}, {before.files} already done.")
        self._task = self._bars.add_task("files", total=files, completed=before.files)

    def advanced(self, now: Totals) -> None:
        """Move the bar, or print a line now and then (`BatchProgress`)."""
        done = self._before.files + now.files
        if self._task is not None:
            self._bars.update(self._task, completed=done)
        moment = time.monotonic()
        if not self._stderr.is_terminal and (moment - self._printed_at >= _LINE_EVERY_S or done == self._files):
            self._printed_at = moment
            self.say(f"{done} of {self._files} files ({done / self._files:.0%}), {now.failed} failed.")

    def summary(self, summary: RunSummary) -> None:
        """Print what all runs came to, and this one. JSON where nobody looks."""
        total, now = summary.total, summary.now
        seconds = time.monotonic() - self._started
        hours, mine = total.audio_ms / _MS_PER_H, now.audio_ms / _MS_PER_H
        speed = mine / seconds if seconds > 0 else 0.0
        if not sys.stdout.isatty():
            sys.stdout.write(json.dumps({
                "files": total.files, "failed": total.failed, "segments": total.segments, "hours": round(hours, 4),
                "skipped": {"files": len(self._skipped), "names": self._skipped[:_NAMED]},
                "speech_hours": round(total.speech_ms / _MS_PER_H, 4),
                "this_run": {"files": now.files, "hours": round(mine, 4), "seconds": round(seconds, 2),
                             "hours_per_second": round(speed, 4)},
            }) + "\n")  # fmt: skip
            return
        Console(highlight=False).print(
            f"{counted(total.files, 'file')}, {total.failed} failed, {len(self._skipped)} skipped, "
            f"{counted(total.segments, 'segment')}, {hours:.2f} h of audio. "
            f"This run: {counted(now.files, 'file')} in {seconds:.1f} s, {speed:.3f} h of audio per second."
        )
