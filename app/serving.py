"""A model that serves: weights on a device behind the engine, and models made of such models."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.audio.channel import Resampler
from app.engine.backend import Backend
from app.engine.device import Ladder
from app.engine.engine import Engine
from app.observe import Observer
from app.vad.errors import InvalidModel, InvalidOption
from app.vad.models import fusion
from app.vad.models.accuracy import Accuracy, measured
from app.vad.models.family import KnownModel, ModelFamily, ModelInfo, ModelSpec, OptionDefaults, Scorer
from app.vad.segmenters.registry import MODE, Segmentation, Segmenters, Use
from app.vad.stream import FusedStream, Stream, VadStream

NOTHING: Mapping[str, Any] = {}


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
    for_streams: bool = False
    """Whether files too are segmented by a mode's machine for streams."""


Load = Callable[[ModelSpec], LoadedModel]
"""Find, read and place a model; blocking. Raises `ModelError`s."""


class Model:
    """One model that serves: its weights on the engine, and the segmenters that work on it."""

    def __init__(
        self, loaded: LoadedModel, backend: Backend, segmenters: Segmenters, server_options: Mapping[str, Any]
    ) -> None:
        """Raises `InvalidOption` for defaults that contradict each other."""
        self.info = loaded.info
        self.backends: tuple[Backend, ...] = (backend,)
        self.grid = backend.grid
        self.device = loaded.device
        self.members: tuple[Model, ...] = (self,)
        self.default_mode = loaded.family.default_mode
        self.option_defaults = loaded.option_defaults
        self.known = loaded.known
        self.accuracy: Accuracy | None = loaded.known.accuracy if loaded.known is not None else None
        self.live = loaded.known.live if loaded.known is not None else not loaded.scorer.grid.labels
        self._for_streams = loaded.for_streams
        self._segmenters, self._server_options = segmenters, server_options
        self._check_defaults()

    def _check_defaults(self) -> None:
        for mode in self._segmenters.modes:
            self.segmentation({MODE: mode})

    @property
    def backend(self) -> Backend:
        """Of a model that is not made of several."""
        return self.backends[0]

    def segmentation(
        self,
        given: Mapping[str, Any],
        *,
        live: bool = False,
        preset: Mapping[str, Any] = NOTHING,
        preset_first: bool = False,
    ) -> Segmentation:
        """The segmenter and its options in force for a request, or a live stream, that sets these. `preset`: laid over
        the server's options, or under them (`preset_first`). Raises `InvalidOption`."""
        server = self._server_options
        return self._segmenters.resolve(
            given,
            default_mode=self.default_mode,
            model_defaults=self.option_defaults,
            server_defaults={**preset, **server} if preset_first else {**server, **preset},
            use=self.use(live=live),
            live=live,
        )

    def use(self, *, live: bool = False) -> Use:
        """Which of a mode's machines segments its posteriors."""
        if self.grid.labels:
            return "labelled"
        return "live" if live or self._for_streams else "file"

    def new_stream(self, segmentation: Segmentation, *, isolated: bool = False) -> Stream:
        """A stream of this model, for a file (`isolated`) or live."""
        return VadStream(self.backend.scorer, segmentation.new_segmenter, isolated=isolated)


class FusedModel(Model):
    """A model made of models: the mean of their speech probabilities. Its members are scored apart, so that each still
    shares batches with other requests."""

    def __init__(self, members: Sequence[Model], segmenters: Segmenters, server_options: Mapping[str, Any]) -> None:
        names = [member.info.name for member in members]
        self.members = tuple(members)
        self.info = fusion.info_of([member.info for member in members])
        self.backends = tuple(member.backend for member in members)
        self.grid = fusion.common_grid([member.grid for member in members])
        self.device = members[0].device
        self.default_mode = fusion.DEFAULT_MODE
        self.known = None
        # Somebody else's weights under a known name have not been measured.
        published = all(member.known is not None and member.known.name == member.info.name for member in members)
        self.accuracy = measured(*names) if published else None
        self.live = all(member.live for member in members)
        self._for_streams = False
        self._segmenters, self._server_options = segmenters, server_options
        tight = [member.segmentation({MODE: "tight"}).options.model_dump() for member in members]
        self.option_defaults = fusion.option_defaults(names, tight)
        self._check_defaults()

    def new_stream(self, segmentation: Segmentation, *, isolated: bool = False) -> Stream:
        """As `Model.new_stream`; the blocks of a sum are never isolated."""
        scorers = [backend.scorer for backend in self.backends]
        return FusedStream(scorers, segmentation.new_segmenter, _new_resampler)


def _new_resampler(source_rate: int, target_rate: int) -> Resampler:
    return Resampler(source_rate, target_rate, 1)


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
