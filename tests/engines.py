"""Engines around a scorer that a test has made, as the runtime builds them around models from files."""

from collections.abc import Callable, Sequence
from typing import Any

from app.engine.engine import Engine
from app.models import Choice, Models
from app.observe import Observer
from app.serving import LoadedModel, Model, build_model
from app.vad.blocks import Block, Scored
from app.vad.grid import Grid
from app.vad.models.family import KnownModel, ModelInfo, ModelSpec, Scorer
from app.vad.models.fsmn.family import FsmnFamily
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


def loaded(
    scorer: Scorer[Any],
    name: str = "small",
    *,
    on_cpu: Callable[[], Scorer[Any]] | None = None,
    device: str = "cpu",
    live: bool = True,
    batch: int = 1,
) -> LoadedModel:
    """A model as if it had come from files."""
    known = None if live else KnownModel(name, name, name, "none", scorer.grid.sample_rate, live=False)
    return LoadedModel(
        spec=ModelSpec("fsmn", name, name, known=known),
        info=ModelInfo(name, name, None, "0" * 64),
        scorer=scorer,
        on_cpu=on_cpu or (lambda: scorer),
        device=device,
        family=FsmnFamily(),
        option_defaults=OPTIONS,
        known=known,
        batch=batch,
    )


def new_models(engine: Engine, *models: LoadedModel, observer: Observer | None = None) -> Models:
    """The models of a service that has these; the first is the default one. To be started."""
    by_source = {model.spec.source: model for model in models}
    first, *others = models
    return Models(
        engine,
        load=lambda spec: by_source[spec.source],
        is_at_hand=lambda spec: False,
        catalogue=Catalogue(FAMILIES),
        segmenters=Segmenters(SEGMENTERS),
        choice=Choice((first.spec,), tuple(model.spec for model in others), auto=False),
        observer=observer or Observer(),
    )


def model_on(engine: Engine, model: LoadedModel, observer: Observer | None = None) -> Model:
    """One model, without anybody to ask for others."""
    return build_model(model, engine, Segmenters(SEGMENTERS), {}, observer or Observer())
