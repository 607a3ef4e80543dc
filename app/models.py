"""The models of a running service: which there are, by which names, and each loaded when it is needed.

One default model is there from the start. `VAD_MODELS` says what else: a list, all of which is loaded at the start, or
`auto`, everything at hand without a download, loaded at its first use (some at the start).
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import structlog

from app.engine.engine import Engine
from app.observe import Observer
from app.presets import Preset, preset_of
from app.serving import FusedModel, Load, LoadedModel, Model, build_model
from app.vad.errors import InvalidModel, InvalidOption, ModelError, ModelNotFound
from app.vad.models import fusion
from app.vad.models.accuracy import MEASURED_SUMS
from app.vad.models.family import KnownModel, ModelSpec
from app.vad.models.registry import Catalogue, name_of
from app.vad.segmenters.registry import Segmentation, Segmenters
from app.warnings import AnswerWarning

log = structlog.get_logger(__name__)

State = Literal["loaded", "available", "absent"]
_STATES: Sequence[State] = ("loaded", "available", "absent")
"""The nearest first: a sum is as near as the farthest of its members."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What the settings ask for."""

    default: tuple[ModelSpec, ...]
    """One, or those of a sum."""
    others: tuple[ModelSpec, ...] = ()
    """Loaded at the start, all of them."""
    auto: bool = True
    """Whether known models that are at hand may be asked for too."""
    server_options: Mapping[str, Any] = field(default_factory=dict)
    """Options where a request gives none."""
    fallback: ModelSpec | None = None
    """Serves where the default can be neither found nor downloaded."""
    preset: Preset | None = None
    """Of requests that name none."""
    preset_model: bool = True
    """Whether that preset's model answers requests that name none: not where the settings name one."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The model of a request, and what its preset lays under its options."""

    model: Model
    warnings: tuple[AnswerWarning, ...] = ()
    """What the request has to be told of the model that answers."""
    preset: Preset | None = None
    of_server: bool = False
    """Whether it is the service's preset: the service's own options then win over it."""

    def segmentation(self, given: Mapping[str, Any], *, live: bool = False) -> Segmentation:
        """The segmenter and its options in force. Raises `InvalidOption`."""
        preset = {} if self.preset is None else self.preset.values
        return self.model.segmentation(given, live=live, preset=preset, preset_first=self.of_server)


@dataclass(frozen=True, slots=True)
class Listed:
    """A line of what there is."""

    name: str
    members: tuple[str, ...]
    """Of a sum, more than one."""
    known: KnownModel | None
    """None for a sum, and for a model of one's own."""
    state: State
    default: bool
    model: Model | None
    default_mode: str


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
        self._sums: dict[tuple[str, ...], Model] = {}
        self._default: Model | None = None
        self._loading = asyncio.Lock()

    @property
    def default(self) -> Model:
        """The model of requests that name none; after `start`."""
        if self._default is None:
            raise RuntimeError("the models have not been started")
        return self._default

    def __iter__(self) -> Iterator[Model]:
        """Those that are loaded, without sums."""
        return iter(self._models.values())

    def offered(self) -> list[Model]:
        """Those that are loaded, and the sums of them that are told of: the measured ones and the default one."""
        return [*self._models.values(), *self._told_sums().values()]

    def _told_sums(self) -> dict[tuple[str, ...], Model]:
        return {key: model for key, model in self._sums.items() if key in MEASURED_SUMS or model is self._default}

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
        """The model of this name, or the sum of several; the default one for None. Raises `InvalidOption`, telling what
        to do instead."""
        if asked is None:
            return self.default
        names = fusion.split_names(asked)
        if len(names) > 1 and asked not in self._aliases:
            return self._sum([await self._get_one(name) for name in names])
        return await self._get_one(asked)

    async def _get_one(self, asked: str) -> Model:
        name = self._aliases.get(asked, asked)
        if name in self._models:
            return self._models[name]
        spec = self._catalogue.find_known(asked)
        if spec is None:
            raise InvalidOption("model", f"there is no model {asked[:64]!r} here; there are: {', '.join(self.names())}")
        if spec.name in self._models:
            return self._models[spec.name]
        return await self._load_known(spec)

    def _sum(self, members: list[Model]) -> Model:
        """The model made of these, in the catalogue's order. Raises `InvalidOption`."""
        names = [member.info.name for member in members]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise InvalidOption("model", f"{twice} is named twice")
        labelled = next((member.info.name for member in members if member.grid.labels), None)
        if labelled is not None:
            raise InvalidOption("model", f"{labelled} tells more than speech, and cannot be part of a sum")
        order = [known.name for _, known in self._catalogue.known()]
        members = sorted(members, key=lambda each: (_place(order, each.info.name), each.info.name))
        key = tuple(member.info.name for member in members)
        if key not in self._sums:
            self._sums[key] = FusedModel(members, self.segmenters, self.choice.server_options)
        return self._sums[key]

    async def choose(self, asked: str | None, preset: str | None = None, *, live: bool = False) -> Chosen:
        """The model and preset of a request that names these. Raises `InvalidOption`."""
        of_server = preset is None
        wanted = self.choice.preset if of_server else preset_of(preset)
        get = self.get_live if live else self.get
        if wanted is None:
            return Chosen(await get(asked), self.warnings_for(asked))
        if asked is not None or (of_server and not self.choice.preset_model):
            return Chosen(await get(asked), self.warnings_for(asked), wanted, of_server)
        name = wanted.live_model if live else wanted.model
        try:
            return Chosen(await get(name), (), wanted, of_server)
        except InvalidOption as error:
            model = await get(None)
            told = f"preset {wanted.name} is made for {name}, which this service does not have: {error.reason}; "
            told += f"{model.info.name} answers with the rest of it"
            warnings = (*self.warnings_for(None), AnswerWarning("preset_model", told))
            return Chosen(model, warnings, wanted, of_server)

    def with_preset(self, model: Model, preset: str | None) -> Chosen:
        """A model that is settled, such as that of a kept analysis. Raises `InvalidOption` for an unknown preset."""
        of_server = preset is None
        return Chosen(model, (), self.choice.preset if of_server else preset_of(preset), of_server)

    def warnings_for(self, asked: str | None) -> tuple[AnswerWarning, ...]:
        """What a request that names its model so has to be told of the one that answers."""
        if asked is not None or self.fallback is None:
            return ()
        return (AnswerWarning("fallback_model", self.fallback),)

    async def get_live(self, asked: str | None) -> Model:
        """The model of this name for a live stream: itself, or what takes its place there. Raises `InvalidOption`."""
        model = await self.get(asked)
        if model.live:
            return model
        members = [await self._live_member(member) for member in model.members]
        return members[0] if len(members) == 1 else self._sum(members)

    async def _live_member(self, member: Model) -> Model:
        if member.live or member.known is None or member.known.live_as is None:
            return member
        return await self._get_one(member.known.live_as)

    def is_known(self, asked: str) -> bool:
        """Whether `get` would have an idea of what is meant."""
        names = fusion.split_names(asked)
        return (len(names) > 1 and all(map(self._is_known, names))) or self._is_known(asked)

    def _is_known(self, asked: str) -> bool:
        return asked in self._models or asked in self._aliases or self._catalogue.find_known(asked) is not None

    def names(self) -> list[str]:
        """Of every model that can be asked for right now."""
        return [line.name for line in self.listed() if line.state != "absent" and len(line.members) == 1]

    def listed(self) -> list[Listed]:
        """Every model there is or could be, the default one first; looks for files, but reads none."""
        default = self.default
        loaded = {model.info.name: model for model in self}
        lines = [
            Listed(name, (name,), model.known, "loaded", model is default, model, model.default_mode)
            for name, model in loaded.items()
        ]
        for family, known in self._catalogue.known():
            if known.name not in loaded:
                spec = self._catalogue.find_known(known.name)
                at_hand = self.choice.auto and spec is not None and self._is_at_hand(spec)
                lines.append(
                    Listed(
                        known.name,
                        (known.name,),
                        known,
                        "available" if at_hand else "absent",
                        False,
                        None,
                        family.default_mode,
                    )
                )
        return sorted([*lines, *self._listed_sums(lines)], key=lambda line: not line.default)

    def _listed_sums(self, lines: Iterable[Listed]) -> Iterator[Listed]:
        """Those that have been measured, and the default one."""
        states = {line.name: line.state for line in lines}
        built = self._told_sums()
        for key in dict.fromkeys([*MEASURED_SUMS, *built]):
            model = built.get(key)
            worst = max((states.get(name, "absent") for name in key), key=_STATES.index)
            state = "available" if worst == "loaded" and model is None else worst
            yield Listed("+".join(key), key, None, state, model is self.default, model, fusion.DEFAULT_MODE)

    async def _load_default(self) -> Model:
        wanted, fallback = self.choice.default, self.choice.fallback
        try:
            members = [await self._add(spec) for spec in wanted]
            return members[0] if len(members) == 1 else self._sum(members)
        except ModelNotFound as error:
            if fallback is None:
                raise
            reason = str(error)
        try:
            model = await self._add(fallback)
        except ModelNotFound as error:
            raise ModelNotFound(f"{reason}\nNor can VAD_FALLBACK_MODEL={fallback.source} be had. {error}") from None
        sources = "+".join(spec.source for spec in wanted)
        serves = f"{model.info.id} {model.info.revision or ''}".strip()
        self.fallback = f"{sources} could be neither found nor downloaded at the start, so {serves} serves in its place"
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
            self._build_measured_sums()
            for alias in (spec.source, model.info.id):
                self._aliases.setdefault(alias, model.info.name)
            self._observer.model_loaded(model.info, model.device)
            log.info("model loaded", model=model.info.name, id=model.info.id, device=model.device)
            return model

    def _build_measured_sums(self) -> None:
        """Those whose members are all loaded: so that their defaults can be told before they are asked for."""
        for names in MEASURED_SUMS:
            if all(name in self._models for name in names):
                self._sum([self._models[name] for name in names])

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


def _place(order: Sequence[str], name: str) -> int:
    return order.index(name) if name in order else len(order)


def _attempts(message: str) -> str:
    """The attempts that a `ModelNotFound` lists, in one line."""
    return "; ".join(line.removeprefix("  - ") for line in message.partition("\nTo ")[0].splitlines()[1:])
