"""The models of a running service: which there are, by which names, and each loaded when it is needed.

One default model is there from the start. `VAD_MODELS` says what else: a list, all of which is loaded at the start, or
`auto`, everything at hand without a download, loaded at its first use (some at the start).
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import structlog

from app.engine.backend import Backend
from app.engine.engine import Engine
from app.engine.ladder import Ladder
from app.observe import Observer
from app.vad.errors import InvalidModel, InvalidOption, ModelError, ModelNotFound
from app.vad.models.family import KnownModel, ModelFamily, ModelInfo, ModelSpec, OptionDefaults, Scorer
from app.vad.models.registry import Catalogue, name_of
from app.vad.segmenters.registry import MODE, Segmentation, Segmenters
from app.vad.stream import VadStream

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model on its device, and how to make another on the CPU."""

    spec: ModelSpec
    info: ModelInfo
    scorer: Scorer[Any]
    on_cpu: Callable[[], Scorer[Any]]
    device: str
    family: ModelFamily
    option_defaults: OptionDefaults
    known: KnownModel | None
    """The published model that it is."""
    batch: int = 1
    """Blocks of files that are scored together; more than 1 pays on a GPU only."""


Load = Callable[[ModelSpec], LoadedModel]
"""Find, read and place a model; blocking. Raises `ModelError`s."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What the settings ask for."""

    default: ModelSpec
    others: tuple[ModelSpec, ...] = ()
    """Loaded at the start, all of them."""
    auto: bool = True
    """Whether known models that are at hand may be asked for too."""
    server_options: Mapping[str, Any] = field(default_factory=dict)
    """Options where a request gives none."""
    fallback: ModelSpec | None = None
    """Serves where the default can be neither found nor downloaded."""


class Model:
    """One that serves."""

    def __init__(
        self, loaded: LoadedModel, backend: Backend, segmenters: Segmenters, server_options: Mapping[str, Any]
    ) -> None:
        """Raises `InvalidOption` for defaults that contradict each other."""
        self.info, self.backend = loaded.info, backend
        self.device = loaded.device
        self.family = loaded.family
        self.default_mode = loaded.family.default_mode
        self.option_defaults = loaded.option_defaults
        self.known = loaded.known
        self.live = loaded.known is None or loaded.known.live
        self._segmenters, self._server_options = segmenters, server_options
        for mode in segmenters.modes:
            self.segmentation({MODE: mode})

    def segmentation(self, given: Mapping[str, Any]) -> Segmentation:
        """The segmenter and its options in force for a request that sets these. Raises `InvalidOption`."""
        return self._segmenters.resolve(
            given,
            default_mode=self.default_mode,
            model_defaults=self.option_defaults,
            server_defaults=self._server_options,
        )

    def new_stream(self, segmentation: Segmentation, *, isolated: bool = False) -> VadStream:
        """A stream of this model, for a file (`isolated`) or live."""
        return VadStream(self.backend.scorer, segmentation.new_segmenter, isolated=isolated)


@dataclass(frozen=True, slots=True)
class Listed:
    """A line of what there is."""

    name: str
    known: KnownModel | None
    state: Literal["loaded", "available", "absent"]
    default: bool
    model: Model | None
    family: ModelFamily


class Models:
    """Used from one event loop; models are loaded in the engine's reading threads."""

    def __init__(
        self,
        engine: Engine,
        load: Load,
        is_at_hand: Callable[[ModelSpec], bool],
        catalogue: Catalogue,
        segmenters: Segmenters,
        choice: Choice,
        observer: Observer,
    ) -> None:
        """`is_at_hand`: whether a model can be had without a download."""
        self.engine, self.segmenters, self.choice = engine, segmenters, choice
        self.fallback: str | None = None
        """Why another model serves than the one that was asked for; None when it does not."""
        self._load, self._is_at_hand, self._catalogue = load, is_at_hand, catalogue
        self._observer = observer
        self._models: dict[str, Model] = {}
        self._aliases: dict[str, str] = {}
        self._default: Model | None = None
        self._loading = asyncio.Lock()

    @property
    def default(self) -> Model:
        """The model of requests that name none; after `start`."""
        if self._default is None:
            raise RuntimeError("the models have not been started")
        return self._default

    def __iter__(self) -> Iterator[Model]:
        """Those that are loaded."""
        return iter(self._models.values())

    async def start(self) -> None:
        """Load what is there from the start. Raises `ModelError`, `InvalidOption` for wrong server options."""
        choice = self.choice
        self.segmenters.check_defaults(choice.server_options)
        self._default = await self._load_default()
        for spec in choice.others:
            await self._add(spec)
        if choice.auto:
            for _, known in self._catalogue.known():
                await self._load_if_at_hand(known)

    async def get(self, asked: str | None) -> Model:
        """The model of this name; the default one for None. Raises `InvalidOption`, telling what to do instead."""
        if asked is None:
            return self.default
        name = self._aliases.get(asked, asked)
        if name in self._models:
            return self._models[name]
        spec = self._catalogue.find_known(asked)
        if spec is None:
            raise InvalidOption("model", f"there is no model {asked[:64]!r} here; there are: {', '.join(self.names())}")
        if spec.name in self._models:
            return self._models[spec.name]
        return await self._load_known(spec)

    def is_known(self, asked: str) -> bool:
        """Whether `get` would have an idea of what is meant."""
        return asked in self._models or asked in self._aliases or self._catalogue.find_known(asked) is not None

    def names(self) -> list[str]:
        """Of every model that can be asked for right now."""
        return [line.name for line in self.listed() if line.state != "absent"]

    def listed(self) -> list[Listed]:
        """Every model there is or could be, the default one first; looks for files, but reads none."""
        default = self.default
        loaded = {model.info.name: model for model in self}
        lines = [
            Listed(name, model.known, "loaded", model is default, model, model.family) for name, model in loaded.items()
        ]
        for family, known in self._catalogue.known():
            if known.name not in loaded:
                spec = self._catalogue.find_known(known.name)
                at_hand = self.choice.auto and spec is not None and self._is_at_hand(spec)
                lines.append(Listed(known.name, known, "available" if at_hand else "absent", False, None, family))
        return sorted(lines, key=lambda line: not line.default)

    async def _load_default(self) -> Model:
        wanted, fallback = self.choice.default, self.choice.fallback
        try:
            return await self._add(wanted)
        except ModelNotFound as error:
            if fallback is None:
                raise
            reason = str(error)
        try:
            model = await self._add(fallback)
        except ModelNotFound as error:
            raise ModelNotFound(f"{reason}\nNor can VAD_FALLBACK_MODEL={fallback.source} be had. {error}") from None
        serves = f"{model.info.id} {model.info.revision or ''}".strip()
        self.fallback = (
            f"{wanted.source} could be neither found nor downloaded at the start, so {serves} serves in its place"
        )
        log.warning(f"ANOTHER MODEL: {self.fallback}; its segments differ", tried=_attempts(reason))
        return model

    async def _load_if_at_hand(self, known: KnownModel) -> None:
        spec = self._catalogue.find_known(known.name)
        if not known.autoload or spec is None or known.name in self._models or not self._is_at_hand(spec):
            return
        try:
            await self._add(spec)
        except ModelError as error:
            # Nobody has asked for it yet; who does is told.
            log.warning(f"the model {known.name} is at hand and cannot be used", reason=str(error))

    async def _load_known(self, spec: ModelSpec) -> Model:
        name = name_of(spec)
        if not self.choice.auto:
            raise InvalidOption("model", f"{name} is known, and not among VAD_MODELS here; add it there")
        if not await self.engine.readers.run(self._is_at_hand, spec):
            raise InvalidOption("model", f"{name} is known, and not at hand here: fsmn-vad model download {name}")
        try:
            return await self._add(spec)
        except ModelError as error:
            log.error(f"the model {name} is at hand and cannot be used", reason=str(error))
            raise InvalidOption("model", f"{name} is at hand here, and cannot be used; the log says why") from None

    async def _add(self, spec: ModelSpec) -> Model:
        async with self._loading:
            there = self._there(spec)
            if there is not None:
                return there  # named twice, or somebody else's request has loaded it meanwhile
            loaded = await self.engine.readers.run(self._load, spec)
            there = self._models.get(loaded.info.name)
            if there is not None:
                return _same(there, loaded)
            model = build_model(loaded, self.engine, self.segmenters, self.choice.server_options, self._observer)
            await model.backend.warm_up()
            self._models[model.info.name] = model
            for alias in (spec.source, model.info.id):
                self._aliases.setdefault(alias, model.info.name)
            self._observer.model_loaded(model.info, model.device)
            log.info("model loaded", model=model.info.name, id=model.info.id, device=model.device)
            return model

    def _there(self, spec: ModelSpec) -> Model | None:
        """The model that a specification means, if it is loaded."""
        name = self._aliases.get(spec.source)
        if name is not None and spec.name in (None, name):
            return self._models[name]
        return None if spec.known is None else self._models.get(name_of(spec))


def _same(there: Model, loaded: LoadedModel) -> Model:
    """The one that has the name already, which must be the same. Raises `InvalidModel`."""
    if there.info.fingerprint == loaded.info.fingerprint:
        return there
    raise InvalidModel(
        f"two models are called {there.info.name}: {there.info.id} and {loaded.spec.source}; "
        f"give one a name of its own: NAME={loaded.spec.source}"
    )


def build_model(
    loaded: LoadedModel,
    engine: Engine,
    segmenters: Segmenters,
    server_options: Mapping[str, Any],
    observer: Observer,
) -> Model:
    """A loaded model behind an engine. Raises `InvalidModel` when its defaults contradict each other."""
    name = loaded.info.name
    ladder = Ladder(loaded.scorer, loaded.on_cpu, loaded.device, observer)
    backend = Backend(name, engine, loaded.scorer, ladder, observer, batch=loaded.batch)
    try:
        return Model(loaded, backend, segmenters, server_options)
    except InvalidOption as error:
        raise InvalidModel(f"{loaded.info.id}: the defaults of {name} contradict each other. {error}") from None


def _attempts(message: str) -> str:
    """The attempts that a `ModelNotFound` lists, in one line."""
    return "; ".join(line.removeprefix("  - ") for line in message.partition("\nTo ")[0].splitlines()[1:])
