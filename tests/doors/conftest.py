"""The house, built once for all tests of this folder, and what makes hundreds of commands in one process cheap."""

from collections.abc import Generator, Iterator, Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import Any

import pytest
import typer.main

from app.batch.collection import Shard
from app.batch.ledger import Outcome
from app.batch.run import BatchPlan
from app.batch.worker import ShardJob, ShardWorker
from app.models import ModelLoader
from app.vad.models.family import ModelSpec
from tests.doors.house import House, write_models, write_sounds
from tests.server import local_server


@pytest.fixture(scope="package")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("doors")
    model, settings = write_models(folder)
    write_sounds(folder / "sounds")
    with pytest.MonkeyPatch.context() as patch, local_server(model, folder / "server", settings) as server:
        # Plug-ins are looked for, commands built, and models read once.
        patch.setattr("app.registry.entry_points", cache(entry_points))
        patch.setattr("typer.testing._get_command", cache(typer.main.get_command))
        patch.setattr(ModelLoader, "load", _load_once(ModelLoader.load))
        patch.setattr("app.batch.local.LocalRun", InThisProcess)
        yield House(server, model, settings, folder / "sounds", folder / "scratch")


def _load_once(load: Any) -> Any:
    loaded: dict[tuple[str, str, str], Any] = {}

    def load_once(loader: ModelLoader, spec: ModelSpec) -> Any:
        key = (repr(spec), loader.device, loader.dtype)
        if key not in loaded:
            loaded[key] = load(loader, spec)
        return loaded[key]

    return load_once


class InThisProcess:
    """A batch's run over shards, as `LocalRun` has it, without worker processes."""

    def __init__(self, plan: BatchPlan, shards: Sequence[Shard], workers: int) -> None:
        self._plan, self._shards = plan, shards

    def outcomes(self) -> Generator[Outcome, None, None]:
        worker = ShardWorker(self._plan)
        try:
            for shard in self._shards:
                yield worker.run(ShardJob(shard, skip={}, one_by_one=False))
        finally:
            worker.close()
