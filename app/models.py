"""The models of a running service: each loaded when it is needed, and found by the names that requests use.

A `Model` is one network behind the engine, or the mean of several. `ModelLoader` makes it from files. `Models` holds
those of a process: the default one, which is there from the start, and what `VAD_MODELS` says: a list, all of which is
loaded at the start, or `auto`, everything at hand without a download, loaded at its first use (some at the start).
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import structlog

from app.audio.signal import Resampler
from app.engine.backend import Backend
from app.engine.device import Ladder, choose_device, quickest
from app.engine.engine import Engine
from app.observe import Observer
from app.presets import BEST_LIVE, Preset, Presets
from app.vad.blocks import Block
from app.vad.errors import InvalidModel, InvalidOption, ModelError, ModelNotFound
from app.vad.grid import Grid
from app.vad.models import fusion
from app.vad.models.accuracy import LISTED_SUMS, Accuracy, measured
from app.vad.models.family import DType, KnownModel, ModelInfo, ModelSpec, OptionDefaults, Scorer, Weights
from app.vad.models.hub import ModelHub, ModelPlace
from app.vad.models.registry import Catalogue, name_of
from app.vad.segmenters.registry import MODE, Segmentation, Segmenters, Use
from app.vad.stream import FusedStream, Stream, VadStream
from app.warnings import AnswerWarning

log = structlog.get_logger(__name__)

_SEGMENTATIONS, _KEY_LETTERS = 256, 1_000
"""Of one model, kept for requests that ask for the same: more than there are clients with settings of their own. What
takes more letters than all options do is not worth keeping."""


@dataclass(eq=False, slots=True, kw_only=True)
class Model:
    """One network that serves, or the mean of several: its `members`, which are scored apart, so that each still shares
    batches with other requests."""

    info: ModelInfo
    backends: tuple[Backend, ...]
    """What scores it; of a sum those of its members."""
    grid: Grid
    device: str
    default_mode: str
    option_defaults: OptionDefaults
    segmenters: Segmenters
    server_options: Mapping[str, Any]
    live: bool
    """Whether it can follow a live stream."""
    known: KnownModel | None = None
    """The published model that it is; None for a sum, and for a custom model."""
    accuracy: Accuracy | None = None
    for_streams: bool = False
    """Whether files too are segmented by a mode's machine for streams."""
    members: "tuple[Model, ...]" = ()
    """The models that it is the mean of; of a single one itself."""
    weights: tuple[int, ...] = (1,)
    """How often each of them counts, in smallest terms."""
    _segmentations: dict[str, Segmentation] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        """Raises `InvalidOption` for defaults that contradict each other."""
        self.members = self.members or (self,)
        for mode in self.segmenters.modes:
            self.segmentation({MODE: mode})

    @classmethod
    def mean_of(cls, weighted: "Sequence[tuple[Model, int]]") -> "Model":
        """The model whose speech probability is the mean of these models', each counted as often as is said, in
        smallest terms. Raises `InvalidOption`."""
        members, weights = zip(*weighted, strict=True)
        terms = [fusion.Term(member.info.name, weight) for member, weight in weighted]
        # Other weights under a known name have not been measured.
        published = all(member.known is not None and member.known.name == member.info.name for member in members)
        tight = [member.segmentation({MODE: "tight"}).options.model_dump() for member in members]
        return cls(
            info=fusion.info_of([member.info for member in members], weights),
            backends=tuple(member.backend for member in members),
            grid=fusion.common_grid([member.grid for member in members]),
            device=members[0].device,
            default_mode=fusion.DEFAULT_MODE,
            option_defaults=fusion.option_defaults(terms, tight),
            segmenters=members[0].segmenters,
            server_options=members[0].server_options,
            live=all(member.live for member in members),
            accuracy=measured(*map(str, terms)) if published else None,
            members=members,
            weights=weights,
        )

    @property
    def backend(self) -> Backend:
        """What scores a model that is not made of several."""
        return self.backends[0]

    def segmentation(
        self, options: Mapping[str, Any], *, defaults: Mapping[str, Any] | None = None, live: bool = False
    ) -> Segmentation:
        """The segmenter and its options in force for a request, or a live stream, that sets `options`. `defaults`: the
        layer between those and the model's own; the server's options where it is None. Raises `InvalidOption`."""
        defaults = self.server_options if defaults is None else defaults
        # Most requests ask for what others have asked for. Types are in the key because 1, 1.0 and True are equal.
        key = repr((live, options, defaults))
        found = self._segmentations.get(key)
        if found is None:
            found = self.segmenters.resolve(
                options,
                default_mode=self.default_mode,
                model_defaults=self.option_defaults,
                server_defaults=defaults,
                use=self.use(live=live),
                live=live,
            )
            if len(self._segmentations) >= _SEGMENTATIONS:
                self._segmentations.clear()
            if len(key) <= _KEY_LETTERS:
                self._segmentations[key] = found
        return found

    def use(self, *, live: bool = False) -> Use:
        """Which of a mode's machines segments its posteriors."""
        if self.grid.labels:
            return "labelled"
        return "live" if live or self.for_streams else "file"

    def check_live(self) -> None:
        """Raise `InvalidOption` for a model that cannot follow a live stream: why, and what can."""
        if self.live:
            return
        reasons = [f"{each.info.name} {each.why_not_live}" for each in self.members if not each.live]
        told = f"{self.info.name} cannot follow a live stream: {', and '.join(reasons)}"
        raise InvalidOption("model", f"{told}. {BEST_LIVE} can, and so can each of its members")

    @property
    def tells_overlap(self) -> bool:
        """Whether it tells when several people talk at once."""
        return self.grid.overlap is not None

    def check_overlap(self) -> None:
        """Raise `InvalidOption` for a model that cannot find where several people talk at once."""
        if not self.tells_overlap:
            told = f"{self.info.name} cannot find where several people talk at once"
            raise InvalidOption("overlap", f"{told}; pyannote can, and so can sums that include it")

    @property
    def why_not_live(self) -> str:
        """What a live stream would be the worse for."""
        windows = self.grid.windows
        if windows is None:
            return "finds more than speech" if self.grid.labels else "needs whole files"
        return f"needs windows of {windows.samples / windows.sample_rate:g} s, so its answers would come that late"

    def new_stream(self, segmentation: Segmentation, *, isolated: bool = False) -> Stream:
        """A stream of this model, for a file (`isolated`) or live; the blocks of a sum are never isolated."""
        if len(self.members) == 1:
            return VadStream(self.backend.scorer, segmentation.new_segmenter, isolated=isolated)
        scorers = [backend.scorer for backend in self.backends]
        new_segmenter = segmentation.new_segmenter
        return FusedStream(scorers, new_segmenter, lambda source, target: Resampler(source, target, 1), self.weights)


@dataclass(frozen=True, slots=True)
class ModelLoader:
    """How models are found, read and placed on a device. Its calls block; they take seconds at most unless they
    download."""

    catalogue: Catalogue
    hub: ModelHub
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    dtype: Literal["float32", "bfloat16", "auto"] = "float32"
    """`auto`: the one that proves quicker."""
    block_seconds: float = 10.0
    """The block that they are tried on."""
    gpu_min_free_mb: int = 1024
    """MiB. `auto` takes a GPU with at least this free."""
    gpu_batch: int = 1
    """Blocks of files that are scored together on a GPU."""

    def find(self, spec: ModelSpec, *, download: bool = True) -> ModelPlace:
        """Where the model is. Raises `ModelNotFound`."""
        hub = self.hub if download else replace(self.hub, allow_download=False)
        return self.catalogue.family(spec.family).find(spec, hub)

    def is_at_hand(self, spec: ModelSpec) -> bool:
        """Whether it can be had without a download."""
        try:
            self.find(spec, download=False)
        except ModelNotFound:
            return False
        return True

    def load(self, spec: ModelSpec) -> tuple[Weights, Scorer[Any], str]:
        """Find (download, if need be), read, check and place a model. Returns its weights, its scorer, and the device
        that this is on. Raises `ModelNotFound`, `InvalidModel`, `NoSuchDevice`."""
        family = self.catalogue.family(spec.family)
        weights = family.read(self.find(spec), fingerprint=spec.fingerprint)
        device = str(choose_device(self.device, self.gpu_min_free_mb))
        if self.dtype != "auto":
            return weights, family.place(weights, device=device, dtype=self.dtype), device
        types: tuple[DType, ...] = ("float32", "bfloat16")
        scorers = {dtype: family.place(weights, device=device, dtype=dtype) for dtype in types}
        samples = np.zeros(round(self.block_seconds * scorers["float32"].grid.sample_rate), np.float32)
        block: Block[Any] = Block(samples, 0, True, None)
        dtype = quickest({dtype: partial(scorer.score, [block]) for dtype, scorer in scorers.items()})
        log.info("arithmetic chosen", model=weights.place.model_id, dtype=dtype)
        return weights, scorers[dtype], device


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """Which models there are, and what they do where a request says nothing."""

    default: tuple[ModelSpec, ...]
    """One, or those of a sum."""
    others: tuple[ModelSpec, ...] = ()
    """Loaded at the start, all of them."""
    auto: bool = True
    """Whether known models that are at hand may be asked for too."""
    on_demand: bool = False
    """For commands, whose user may name any model: nothing is loaded at the start, and a model that is asked for by
    name may be any that `VAD_MODEL` can name, and is downloaded. A preset's model follows the service's rules."""
    server_options: Mapping[str, Any] = field(default_factory=dict)
    """Options where a request gives none."""
    fallback: ModelSpec | None = None
    """Serves where the default can be neither found nor downloaded."""
    presets: Presets = field(default_factory=Presets)
    """Those that a request may name."""
    preset: Preset | None = None
    """The preset of requests that name none."""
    preset_model: bool = True
    """Whether that preset's model answers requests that name none: not where the settings name one."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The model of a request, and what lies under the request's options."""

    model: Model
    defaults: Mapping[str, Any]
    """The server's options and those of a preset."""
    warnings: tuple[AnswerWarning, ...] = ()
    """What the answer has to say about the choice."""

    def segmentation(self, options: Mapping[str, Any], *, live: bool = False) -> Segmentation:
        """The segmenter and its options in force. Raises `InvalidOption`."""
        return self.model.segmentation(options, defaults=self.defaults, live=live)


class Models:
    """Used from one event loop; files are read in the engine's reading threads."""

    def __init__(
        self,
        engine: Engine,
        loader: ModelLoader,
        segmenters: Segmenters,
        settings: ModelSettings,
        observer: Observer | None = None,
    ) -> None:
        self.segmenters, self.settings = segmenters, settings
        self.fallback: str | None = None
        """Why another model serves than the one that was asked for; None when it does not."""
        self._engine, self._loader, self._observer = engine, loader, observer or Observer()
        self._catalogue = loader.catalogue
        self._loaded: dict[str, Model] = {}
        self._aliases: dict[str, str] = {}
        """Sources and ids to names."""
        self._sums: dict[tuple[str, ...], Model] = {}
        self._default: Model | None = None
        self._loading = asyncio.Lock()

    @property
    def default(self) -> Model:
        """The model of requests that name none. Raises RuntimeError before it is loaded."""
        if self._default is None:
            raise RuntimeError("the models have not been started")
        return self._default

    def __iter__(self) -> Iterator[Model]:
        """Those that are loaded, without sums."""
        return iter(self._loaded.values())

    def sums(self) -> dict[tuple[str, ...], Model]:
        """The sums of loaded models that `GET /models` lists, by their terms: those with a figure or a name of their
        own, and the default."""
        return {terms: each for terms, each in self._sums.items() if terms in LISTED_SUMS or each is self._default}

    async def start(self) -> None:
        """Load what is there from the start. Raises `ModelError`, `InvalidOption` for wrong server options."""
        self.segmenters.check_defaults(self.settings.server_options)
        if self.settings.on_demand:
            return
        await self._load_default()
        for spec in self.settings.others:
            await self._load(spec)
        for spec, known in self._catalogue.known() if self.settings.auto else ():
            if known.autoload and known.name not in self._loaded and self._loader.is_at_hand(spec):
                try:
                    await self._load(spec)
                except ModelError as error:
                    # Nobody has asked for it yet; a request that does is told.
                    log.warning(f"the model {known.name} is on this machine but cannot be used", reason=str(error))

    # ---- which model answers

    async def choose(self, asked: str | None, preset: str | None = None, *, live: bool = False) -> Chosen:
        """The model of a request that names this model and preset. Raises as `get`."""
        wanted = self.settings.preset if preset is None else self.settings.presets.of(preset)
        if wanted is None or asked is not None or (preset is None and not self.settings.preset_model):
            return self.with_preset(await self.get(asked, live=live), preset, self._warnings_for(asked), live=live)
        name = wanted.live_model if live else wanted.model
        try:
            return self.with_preset(await self._sum_of(name, live=live), preset, own=True, live=live)
        except InvalidOption as error:
            model = await self.get(None, live=live)
            text = f"preset {wanted.name} is made for {name}, which this service does not have: {error.reason}; "
            text += f"{model.info.name} answers with the rest of it"
            warnings = (*self._warnings_for(None), AnswerWarning("preset_model", text))
            return self.with_preset(model, preset, warnings, live=live)

    def with_preset(
        self,
        model: Model,
        preset: str | None,
        warnings: tuple[AnswerWarning, ...] = (),
        *,
        own: bool = False,
        live: bool = False,
    ) -> Chosen:
        """A model that is decided, such as that of a kept analysis. `own`: it is the preset's, under whatever name.
        Raises `InvalidOption` for an unknown preset."""
        settings, name = self.settings, None if own else model.info.name
        defaults = settings.presets.default_layer(
            preset, settings.preset, settings.server_options, model=name, live=live
        )
        return Chosen(model, defaults, warnings)

    def _warnings_for(self, asked: str | None) -> tuple[AnswerWarning, ...]:
        """What the answer has to say about the model of a request that names it so."""
        if asked is not None or self.fallback is None:
            return ()
        return (AnswerWarning("fallback_model", self.fallback),)

    async def get(self, asked: str | None, *, live: bool = False) -> Model:
        """The model of this name, or the sum of several; None: the default one. `live`: what takes its place on live
        streams. Raises `InvalidOption`, which says what to do instead; with `on_demand` `ModelError`s too."""
        if asked is None:
            default = self._default or await self._load_default()
            weighted = list(zip(default.members, default.weights, strict=True))
        elif self.settings.on_demand:
            specs = self._catalogue.resolve_all(asked)
            weighted = [(await self._load_any(spec, live=live), spec.weight) for spec in specs]
        else:
            return await self._sum_of(asked, live=live)
        if live:
            weighted = [(await self._live_member(member), weight) for member, weight in weighted]
        return self._mean(weighted)

    async def _sum_of(self, asked: str, *, live: bool) -> Model:
        """The model, or the sum, of this name, by the rules of a service. Of `best` all members that cannot be had are
        named, for nobody has named them before."""
        own = asked in self._aliases or asked in self._loaded
        terms = [fusion.Term(asked)] if own else fusion.split_terms(asked)
        found = [await self._had(term.name, live=live) for term in terms]
        refusals = [each for each in found if isinstance(each, InvalidOption)]
        if refusals and not own and asked.strip() == fusion.BEST_NAME:
            reasons = "; ".join(each.reason for each in refusals)
            raise InvalidOption("model", f"{fusion.BEST_NAME} is {'+'.join(map(str, terms))}; {reasons}")
        if refusals:
            raise refusals[0]
        members = [each for each in found if isinstance(each, Model)]
        return self._mean([(member, term.weight) for member, term in zip(members, terms, strict=True)])

    async def _had(self, asked: str, *, live: bool) -> Model | InvalidOption:
        """As `_get_one`, with its refusal as a value."""
        try:
            return await self._get_one(asked, live=live)
        except InvalidOption as error:
            return error

    async def _get_one(self, asked: str, *, live: bool) -> Model:
        """The model of this name, by the rules of a service."""
        spec = self._catalogue.find_known(asked)
        # A name wins over the id or the directory of another model.
        model = self._loaded.get(asked) or self._loaded.get(self._aliases.get(asked, ""))
        if model is None and spec is not None:
            model = self._loaded.get(name_of(spec))
        if model is not None:
            return await self._live_member(model) if live else model
        named = {name_of(each): each for each in (*self.settings.default, *self.settings.others)}
        if spec is None and self.settings.on_demand and asked in named:
            return await self._load(named[asked])  # a custom model, which a service has loaded at its start
        if spec is None:
            names = [*self._loaded, *await self.available()]
            raise InvalidOption("model", f"there is no model {asked[:64]!r} here; there are: {', '.join(names)}")
        companion = self._live_spec(spec.known) if live else None
        return await self._load_known(companion or spec)

    async def _live_member(self, model: Model) -> Model:
        companion = self._live_spec(model.known)
        return model if companion is None else self._loaded.get(name_of(companion)) or await self._load_known(companion)

    def _live_spec(self, known: KnownModel | None) -> ModelSpec | None:
        """What takes the place of a known model on live streams; None where it follows them itself, or nothing does."""
        live_as = None if known is None or known.live else known.live_as
        return None if live_as is None else self._catalogue.find_known(live_as)

    def _mean(self, weighted: Sequence[tuple[Model, int]]) -> Model:
        """The model made of these, in the catalogue's order and with their weights in smallest terms; a single one
        itself. Raises `InvalidOption`."""
        members, weights = [member for member, _ in weighted], [weight for _, weight in weighted]
        if len(members) == 1:
            return members[0]
        names = [member.info.name for member in members]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise InvalidOption("model", f"{twice} is named twice")
        labelled = next((member.info.name for member in members if member.grid.labels), None)
        if labelled is not None:
            raise InvalidOption("model", f"{labelled} finds more than speech, so it cannot be part of a sum")
        order = [known.name for _, known in self._catalogue.known()]
        places = {name: order.index(name) if name in order else len(order) for name in names}
        weighted = sorted(
            zip(members, fusion.reduced(weights), strict=True),
            key=lambda each: (places[each[0].info.name], each[0].info.name),
        )
        key = tuple(str(fusion.Term(member.info.name, weight)) for member, weight in weighted)
        if key not in self._sums:
            self._sums[key] = Model.mean_of(weighted)
        return self._sums[key]

    def is_known(self, asked: str) -> bool:
        """Whether `get` can tell what is meant."""

        def known(name: str) -> bool:
            return name in self._loaded or name in self._aliases or self._catalogue.find_known(name) is not None

        try:
            terms = fusion.split_terms(asked)
        except InvalidOption:
            return False
        return known(asked) or (terms != [fusion.Term(asked)] and all(known(term.name) for term in terms))

    async def at_hand(self) -> list[str]:
        """Names of all that may be asked for and can be had without a download, loaded or not; the default first."""
        named = {name_of(spec): spec for spec in (*self.settings.default, *self.settings.others)}
        unloaded = {name: spec for name, spec in named.items() if name not in self._loaded}
        there = await asyncio.to_thread(
            lambda: {name for name, spec in unloaded.items() if self._loader.is_at_hand(spec)}
        )
        names = [*(name for name in named if name in self._loaded or name in there), *self._loaded]
        return list(dict.fromkeys([*names, *await self.available()]))

    async def available(self) -> list[str]:
        """Names of the known models that are not loaded, may be asked for, and can be had without a download."""
        # Picked here and looked for in a thread: what is loaded changes in this one.
        specs = [
            spec for spec, known in self._catalogue.known() if known.name not in self._loaded and self._allows(spec)
        ]
        found = await asyncio.to_thread(lambda: [spec for spec in specs if self._loader.is_at_hand(spec)])
        return [name_of(spec) for spec in found]

    def _allows(self, spec: ModelSpec) -> bool:
        """Whether `VAD_MODELS` lets a known model be asked for that has not been loaded at the start."""
        named = [each.known for each in (*self.settings.default, *self.settings.others)]
        named += [model.known for model in self]
        return self.settings.auto or name_of(spec) in [known.live_as for known in named if known is not None]

    # ---- loading

    async def _load_default(self) -> Model:
        wanted, fallback = self.settings.default, self.settings.fallback
        try:
            self._default = self._mean([(await self._load(spec), spec.weight) for spec in wanted])
        except ModelNotFound as error:
            if fallback is None:
                raise
            reason = str(error)
        else:
            return self._default
        try:
            self._default = await self._load(fallback)
        except ModelNotFound as error:
            raise ModelNotFound(
                f"{reason}\nVAD_FALLBACK_MODEL={fallback.source} is not available either. {error}"
            ) from None
        info, sources = self._default.info, "+".join(spec.source for spec in wanted)
        serves = f"{info.id} {info.revision or ''}".strip()
        self.fallback = f"{sources} was neither found nor downloaded at the start; {serves} is used instead"
        # The attempts that `ModelNotFound` lists, in one line.
        tried = [line.removeprefix("  - ") for line in reason.partition("\nTo ")[0].splitlines()[1:]]
        log.warning(f"ANOTHER MODEL: {self.fallback}; its segments differ", tried="; ".join(tried))
        return self._default

    async def _load_any(self, spec: ModelSpec, *, live: bool) -> Model:
        """For a command: a model that the settings name, as they have it; else any other."""
        spec = self._of_settings(spec)
        companion = self._live_spec(spec.known) if live else None
        return await self._load(spec if companion is None else self._of_settings(companion))

    def _of_settings(self, spec: ModelSpec) -> ModelSpec:
        """What the settings mean by a model's name, or by its source; else the specification itself. `NAME=…` is what
        it says."""
        if spec.name is not None and (spec.known is None or spec.name != spec.known.name):
            return spec
        # Of a directory and of an id `name_of` is the last part, which says nothing of the rest.
        asked = spec.source if spec.known is None else name_of(spec)
        named = (*self.settings.default, *self.settings.others)
        by_source = next((each for each in named if each.source == asked), spec)
        return next((each for each in named if name_of(each) == asked), by_source)

    async def _load_known(self, spec: ModelSpec) -> Model:
        """Load a known model at its first use. Raises `InvalidOption` where that is not to be done or cannot be."""
        name = name_of(spec)
        named = {name_of(each): each for each in (*self.settings.default, *self.settings.others)}
        if self.settings.on_demand and name in named:
            return await self._load(named[name])  # which a service has loaded at its start
        if not self._allows(spec):
            raise InvalidOption("model", f"{name} is not in VAD_MODELS of this service; add it there")
        if not await asyncio.to_thread(self._loader.is_at_hand, spec):
            raise InvalidOption("model", f"{name} is not on this machine; get it with: fsmn-vad model download {name}")
        try:
            return await self._load(spec)
        except ModelError as error:
            log.error(f"the model {name} is on this machine but cannot be used", reason=str(error))
            raise InvalidOption(
                "model", f"{name} is on this machine but cannot be used; the log gives the reason"
            ) from None

    async def _load(self, spec: ModelSpec) -> Model:
        """The model that a specification means; read and put behind the engine if it is not there yet."""
        async with self._loading:
            name = self._aliases.get(spec.source)
            if name is None or spec.name not in (None, name):
                name = None if spec.known is None else name_of(spec)
            if name in self._loaded:
                return self._loaded[name]  # named twice, or loaded by another request meanwhile
            weights, scorer, device = await self._engine.readers.run(self._loader.load, spec)
            # A directory that holds published weights is that model, and has its name.
            known = spec.known or self._catalogue.by_fingerprint(weights.fingerprint)
            name = known.name if known is not None and spec.name is None else name_of(spec)
            place = weights.place
            info = ModelInfo(name, place.model_id, place.revision, weights.fingerprint)
            there = self._loaded.get(name)
            if there is not None and there.info.fingerprint == info.fingerprint:
                return there
            if there is not None:
                raise InvalidModel(
                    f"two models are called {name}: {there.info.id} and {spec.source}; "
                    f"give one a name of its own: NAME={spec.source}"
                )
            family = self._catalogue.family(spec.family)
            # What a checkpoint holds is kept for a GPU's sake alone: on the CPU the last rung is where the scorer is.
            on_cpu = (
                partial(family.place, weights, device="cpu", dtype="float32") if device != "cpu" else lambda: scorer
            )
            ladder = Ladder(scorer, on_cpu, device, self._observer)
            batch = 1 if device == "cpu" else self._loader.gpu_batch
            try:
                model = Model(
                    info=info,
                    backends=(Backend(name, self._engine, scorer, ladder, self._observer, batch=batch),),
                    grid=scorer.grid,
                    device=device,
                    default_mode=family.default_mode,
                    option_defaults=weights.option_defaults,
                    segmenters=self.segmenters,
                    server_options=self.settings.server_options,
                    live=known.live if known is not None else not (scorer.grid.labels or scorer.grid.windows),
                    known=known,
                    accuracy=None if known is None else known.accuracy,
                    for_streams=weights.for_streams,
                )
            except InvalidOption as error:
                raise InvalidModel(f"{info.id}: the defaults of {name} contradict each other. {error}") from None
            await model.backend.warm_up()
            self._loaded[name] = model
            for alias in (spec.source, info.id):
                self._aliases.setdefault(alias, name)
            # Listed sums are there once their members are, so that their defaults can be told.
            for listed in LISTED_SUMS:
                terms = [fusion.Term.parse(each) for each in listed]
                if all(term.name in self._loaded for term in terms):
                    self._mean([(self._loaded[term.name], term.weight) for term in terms])
            self._observer.model_loaded(info, device)
            log.info("model loaded", model=name, id=info.id, device=device)
            return model
