"""`fsmn-vad batch`: a collection of files to shards of rows, on this machine's cores or on Ray."""

import time
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

from rich.console import Console

from app.api.parameters import RequestOptions, read_answer_options
from app.batch.ledger import Outcome, Totals, finished
from app.batch.listing import Entry, Shard, cut_shards, listing_hash
from app.batch.local import LocalRun
from app.batch.manifest import Manifest, settle
from app.batch.problems import BatchError, OtherRun, WorkerLost, WrongPlace
from app.batch.source import Source
from app.batch.store import Store
from app.batch.worker import Task
from app.cli.batch_view import BatchView
from app.cli.detect import ALL_WELL, NO_MODEL, SOME_FAILED, WRONG_USAGE
from app.cli.inputs import AUDIO_SUFFIXES
from app.cli.settings import read_settings_or_say
from app.config import Settings
from app.detection import Detector
from app.engine.device import NoSuchDevice, choose_device, prepare_process
from app.formats.report import ModelInfo
from app.runtime import build_detector, load_model
from app.vad.errors import InvalidOption, ModelError
from app.vad.segmenters.options import VadOptions

_STDERR = Console(stderr=True, highlight=False)
_NEEDS = {"parquet": ("batch", ("pyarrow",)), "ray": ("ray", ("ray", "pyarrow"))}
"""The extra, and what it brings."""


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """The command line."""

    source: str
    destination: str
    format: str
    options: Mapping[str, Any]
    """Detection options that were set."""
    channel: str
    workers: int | None
    ray: str | None
    shard_files: int
    shard_mb: int
    overwrite: bool
    model: str | None


@dataclass(frozen=True, slots=True)
class _Collection:
    """What there is to do."""

    entries: list[Entry]
    shards: list[Shard]
    done: Mapping[int, Outcome]

    @property
    def left(self) -> list[Shard]:
        return [shard for shard in self.shards if shard.number not in self.done]


@dataclass(frozen=True, slots=True)
class _Model:
    """The model that scores."""

    name: str
    """As the settings name it."""
    info: ModelInfo
    options: Mapping[str, Any]
    """Its own defaults."""


def run(request: BatchRequest) -> int:
    """Do what is left of the collection; the exit status."""
    settings = read_settings_or_say(_STDERR, {"model": request.model} if request.model else {})
    if settings is None:
        return WRONG_USAGE
    try:
        return _run(request, settings)
    except (InvalidOption, WrongPlace, OtherRun, NoSuchDevice, _MissingExtra) as error:
        return _say(str(error), WRONG_USAGE)
    except (ModelError, FileNotFoundError) as error:
        return _say(str(error), NO_MODEL)
    except (WorkerLost, OSError) as error:
        return _say(f"{error}\nThe same command goes on where this one stopped.", SOME_FAILED)
    except KeyboardInterrupt:
        return _say("Stopped. The same command goes on from here.", 130)


class _MissingExtra(BatchError):
    """A package is not installed."""


def _run(request: BatchRequest, settings: Settings) -> int:
    _check_extras(request)
    answer = read_answer_options({"channel": request.channel})
    VadOptions.parse(settings.default_options, request.options)
    view = BatchView(_STDERR)
    view.say(f"Listing {request.source} …")
    entries = Source(request.source).list(AUDIO_SUFFIXES)
    shards = list(cut_shards(entries, request.shard_files, request.shard_mb << 20))
    store = Store(request.destination)
    model = _identify(settings)
    manifest = _manifest(request, settings, answer, model, entries, len(shards))
    settle(store, manifest, request.source, overwrite=request.overwrite)
    work = _Collection(entries, shards, finished(store))
    return _work(request, settings, _task(request, settings, answer, model), work, view)


def _work(request: BatchRequest, settings: Settings, task: Task, work: _Collection, view: BatchView) -> int:
    before = Totals.of(work.done.values())
    started = time.monotonic()
    now = Totals()
    with view.bar(len(work.entries), before), closing(_outcomes(request, settings, task, work.left)) as outcomes:
        for outcome in outcomes:
            now = now.plus(outcome)
            view.advance(now)
    total = before.plus(now)
    view.summary(total, now, time.monotonic() - started)
    return SOME_FAILED if total.failed else ALL_WELL


def _outcomes(
    request: BatchRequest, settings: Settings, task: Task, shards: list[Shard]
) -> Generator[Outcome, None, None]:
    if not shards:
        return
    if request.ray is None:
        yield from LocalRun(task, shards, _local_workers(request, settings)).outcomes()
        return
    from app.batch.ray_run import run_on_ray

    gpus = int(settings.device.startswith("cuda"))
    yield from run_on_ray(task, shards, address=request.ray, workers=request.workers, gpus=gpus)


def _local_workers(request: BatchRequest, settings: Settings) -> int:
    on_gpu = choose_device(settings.device, settings.gpu_min_free_mb).type == "cuda"
    return request.workers or (1 if on_gpu else settings.workers)


def _identify(settings: Settings) -> _Model:
    """Loads the model once before the workers do, to know that it is there and which one it is."""
    model = load_model(settings.model_copy(update={"device": "cpu"}))
    if model.fallback is not None:
        _STDERR.print(model.fallback, style="yellow", markup=False, soft_wrap=True)
    name = settings.model if model.fallback is None else settings.fallback_model
    return _Model(name, model.info, model.options)


def _manifest(
    request: BatchRequest,
    settings: Settings,
    answer: RequestOptions,
    model: _Model,
    entries: list[Entry],
    shards: int,
) -> Manifest:
    info = model.info
    size = sum(entry.size_bytes for entry in entries)
    return Manifest(
        format=request.format,
        channel=answer.channel,
        options=VadOptions.parse(model.options, settings.default_options, request.options).model_dump(mode="json"),
        model={"id": info.id, "revision": info.revision, "fingerprint": info.fingerprint, "dtype": settings.dtype},
        listing={"files": len(entries), "bytes": size, "sha256": listing_hash(entries)},
        shards={"count": shards, "max_files": request.shard_files, "max_mb": request.shard_mb},
        max_audio_hours=settings.max_audio_hours,
    )


def _task(request: BatchRequest, settings: Settings, answer: RequestOptions, model: _Model) -> Task:
    # One thread scores in each worker: processes take the cores. Every worker has these weights or none.
    pinned = {"model": model.name, "fallback_model": "", "model_fingerprint": model.info.fingerprint}
    mine = settings.model_copy(update={"workers": 1, **pinned})
    return Task(
        source=request.source,
        destination=request.destination,
        format=request.format,
        options=dict(request.options),
        channel=answer.channel_choice,
        scratch=settings.tmp_dir,
        build=partial(build_worker_detector, mine),
    )


def build_worker_detector(settings: Settings) -> Detector:
    """A worker's engine; on one core, whatever the machine has."""
    model = load_model(settings)
    prepare_process(settings.device, 1, settings.gpu_memory_limit_mb)
    return build_detector(settings, model)


def _check_extras(request: BatchRequest) -> None:
    wanted = [_NEEDS[name] for name in (request.format, "ray" if request.ray else "") if name in _NEEDS]
    for extra, module in ((extra, module) for extra, modules in wanted for module in modules):
        if find_spec(module) is None:
            raise _MissingExtra(f"{module} is not installed; it comes with the extra [{extra}]: "
                                f"pip install 'fsmn-vad-service[{extra}]'")  # fmt: skip


def _say(message: str, status: int) -> int:
    _STDERR.print(message, style="red", markup=False, soft_wrap=True)
    return status
