"""Engines around a scorer that a test has made, as the runtime builds them around models from files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.engine.backend import Backend
from app.engine.device import Ladder
from app.engine.engine import Engine
from app.models import Model, ModelLoader, Models, ModelSettings
from app.observe import Observer
from app.vad.blocks import Block, Scored
from app.vad.grid import Grid
from app.vad.models.family import ModelInfo, ModelSpec, OptionDefaults, Scorer
from app.vad.models.hub import ModelHub
from app.vad.models.registry import FAMILIES, Catalogue
from app.vad.segmenters.registry import SEGMENTERS, Segmenters

OPTIONS = {"tight": {"threshold": 0.7, "neg_threshold": 0.5}}


class ScorerAround:
    """A scorer whose scoring goes through something else first: a fault to inject, a count to keep."""

    def __init__(self, inner: Scorer[Any], score: Callable[[Sequence[Block[Any]]], Sequence[Scored[Any]]]) -> None:
        self.inner, self._score = inner, score

    @property
    def grid(self) -> Grid:
        return self.inner.grid

    @property
    def tile_frames(self) -> int:
        return self.inner.tile_frames

    def new_pool(self, capacity: int) -> Any:
        return self.inner.new_pool(capacity)

    def score(self, blocks: Sequence[Block[Any]]) -> Sequence[Scored[Any]]:
        return self._score(blocks)


@dataclass(frozen=True)
class Loaded:
    """A model as if it had come from files, before it is put behind an engine."""

    scorer: Scorer[Any]
    name: str
    on_cpu: Callable[[], Scorer[Any]]
    device: str
    live: bool
    batch: int
    option_defaults: OptionDefaults


def loaded(
    scorer: Scorer[Any],
    name: str = "small",
    *,
    on_cpu: Callable[[], Scorer[Any]] | None = None,
    device: str = "cpu",
    live: bool = True,
    batch: int = 1,
    option_defaults: OptionDefaults = OPTIONS,
) -> Loaded:
    """What `model_on` puts behind an engine."""
    return Loaded(scorer, name, on_cpu or (lambda: scorer), device, live, batch, option_defaults)


def model_on(engine: Engine, model: Loaded, observer: Observer | None = None) -> Model:
    """One model, without anybody to ask for others."""
    name, scorer, observer = model.name, model.scorer, observer or Observer()
    ladder = Ladder(scorer, model.on_cpu, model.device, observer)
    return Model(
        info=ModelInfo(name, name, None, "0" * 64),
        backends=(Backend(name, engine, scorer, ladder, observer, batch=model.batch),),
        grid=scorer.grid,
        device=model.device,
        default_mode="endpoint",
        option_defaults=model.option_defaults,
        segmenters=Segmenters(SEGMENTERS),
        server_options={},
        live=model.live,
    )


class _GivenModels(Models):
    """Models that a test has made."""

    given: Mapping[str, Model]

    async def _load(self, spec: ModelSpec) -> Model:
        model = self.given[spec.source]
        await model.backend.warm_up()
        self._loaded[model.info.name] = model
        return model


def new_models(engine: Engine, *models: Loaded, observer: Observer | None = None) -> Models:
    """The models of a service that has these; the first is the default one. To be started."""
    first, *others = [ModelSpec("fsmn", model.name, model.name) for model in models]
    loader = ModelLoader(Catalogue(FAMILIES), ModelHub(Path("nowhere"), allow_download=False))
    settings = ModelSettings((first,), tuple(others), auto=False)
    found = _GivenModels(engine, loader, Segmenters(SEGMENTERS), settings, observer)
    found.given = {model.name: model_on(engine, model, observer) for model in models}
    return found
