"""THE list of segmenters, and how the options in force are found.

A request's options come in layers, the later ones winning: the segmenter's own defaults, the model's, the server's, the
request's. Only the request is held to the mode in force: an option of another mode is refused there, and says which
mode has it; a server's default for it lies in wait until that mode is asked for.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from app.vad.errors import InvalidOption
from app.vad.grid import Grid
from app.vad.posteriors import Segmenter
from app.vad.segmenters.endpoint import EndpointOptions, new_end_pointer
from app.vad.segmenters.hysteresis import TightOptions, new_hysteresis
from app.vad.segmenters.options import SegmenterOptions

OptionsT = TypeVar("OptionsT", bound=SegmenterOptions)
MODE = "mode"
"""The option that picks the segmenter."""


@dataclass(frozen=True, slots=True)
class SegmenterKind(Generic[OptionsT]):
    """One way from posteriors to segments."""

    options: type[OptionsT]
    new: Callable[[OptionsT, Grid], Segmenter]
    title: str
    """What it is for, in a sentence."""

    @property
    def mode(self) -> str:
        """Its name."""
        return self.options.mode


SEGMENTERS: tuple[SegmenterKind[Any], ...] = (
    SegmenterKind(
        EndpointOptions,
        new_end_pointer,
        "FSMN-VAD's end-point machine, made to feed speech recognition: it keeps the pauses inside an utterance.",
    ),
    SegmenterKind(
        TightOptions,
        new_hysteresis,
        "Hysteresis on the speech probability, after Silero VAD: close around what is spoken.",
    ),
)


@dataclass(frozen=True, slots=True)
class Segmentation:
    """A segmenter with its options in force."""

    kind: SegmenterKind[Any]
    options: SegmenterOptions

    def new_segmenter(self, grid: Grid) -> Segmenter:
        """A fresh one, for one stream of posteriors."""
        return self.kind.new(self.options, grid)

    def document(self) -> dict[str, Any]:
        """For answers: the mode and every option in force."""
        return self.options.document()


class Segmenters:
    """Every mode there is."""

    def __init__(self, kinds: Sequence[SegmenterKind[Any]]) -> None:
        self._kinds = {kind.mode: kind for kind in kinds}

    def __iter__(self) -> Iterator[SegmenterKind[Any]]:
        return iter(self._kinds.values())

    @property
    def modes(self) -> list[str]:
        """Their names."""
        return list(self._kinds)

    def kind(self, mode: str) -> SegmenterKind[Any]:
        """One of them. Raises `InvalidOption`."""
        if mode not in self._kinds:
            raise InvalidOption(MODE, f"there is no such mode; there are: {', '.join(self._kinds)}")
        return self._kinds[mode]

    def modes_with(self, option: str) -> list[str]:
        """The modes that have an option of this name."""
        return [kind.mode for kind in self if option in kind.options.model_fields]

    def resolve(
        self,
        given: Mapping[str, Any],
        *,
        default_mode: str,
        model_defaults: Mapping[str, Mapping[str, Any]],
        server_defaults: Mapping[str, Any],
    ) -> Segmentation:
        """The segmenter and the options in force for a request. Raises `InvalidOption`.

        `given`: the request's own; `model_defaults`: by mode.
        """
        mode = str(given.get(MODE) or server_defaults.get(MODE) or default_mode)
        kind = self.kind(mode)
        mine = {name: value for name, value in given.items() if name != MODE}
        for name in mine:
            if name not in kind.options.model_fields:
                raise self._misplaced(name, mode)
        layers = (_those_of(kind, model_defaults.get(mode, {})), _those_of(kind, server_defaults))
        return Segmentation(kind, kind.options.parse(*layers, given=mine))

    def check_defaults(self, defaults: Mapping[str, Any]) -> None:
        """Raises `InvalidOption` for a server's default that no mode has, or that is out of its range."""
        for name in defaults:
            if name != MODE and not self.modes_with(name):
                raise self._misplaced(name, "any")
        for kind in self:
            kind.options.parse(_those_of(kind, defaults))
        if MODE in defaults:
            self.kind(str(defaults[MODE]))

    def check_given(self, given: Mapping[str, Any], *, default_mode: str, server_defaults: Mapping[str, Any]) -> None:
        """`resolve` as far as it goes without knowing the model: names, types, ranges. Raises `InvalidOption`."""
        self.resolve(given, default_mode=default_mode, model_defaults={}, server_defaults=server_defaults)

    def _misplaced(self, name: str, mode: str) -> InvalidOption:
        where = self.modes_with(name)
        if where:
            modes = " or ".join(f"mode={each}" for each in where)
            return InvalidOption(name, f"is an option of {modes}, and the mode in force is {mode}")
        known = dict.fromkeys(option for kind in self for option in kind.options.names())
        return InvalidOption(name[:64], f"there is no such option; there are: {', '.join([MODE, *known])}")


def _those_of(kind: SegmenterKind[Any], layer: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in layer.items() if name in kind.options.model_fields}
