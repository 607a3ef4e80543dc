"""THE list of segmenters, and how the options in force are found.

A request's options come in layers, the later ones winning: the segmenter's own defaults, the model's, the server's, the
request's. Only the request is held to the mode in force: an option of another mode is refused there, and the refusal
names the mode that has it; a server's default for it has no effect until that mode is asked for. Options of chunks
stand beside those of the segmenter, on the wire as here: files of any mode have them, live streams have none.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, Literal, TypeVar, get_args

from app.vad.chunks import NO_CHUNKS, ChunkOptions
from app.vad.errors import InvalidOption
from app.vad.grid import Grid
from app.vad.posteriors import Segmenter
from app.vad.segment import OVERLAP, SPEECH
from app.vad.segmenters.binarize import BinarizeOptions, new_binarize, new_overlap
from app.vad.segmenters.endpoint import EndpointOptions, new_end_pointer
from app.vad.segmenters.hysteresis import TightOptions, new_hysteresis
from app.vad.segmenters.options import SegmenterOptions
from app.vad.segmenters.padding import Padded
from app.vad.segmenters.smoothed import (
    EventOptions,
    SmoothedOptions,
    StreamingOptions,
    new_event_machine,
    new_smoothed,
    new_streaming,
)
from app.vad.segmenters.wrappers import Labelled, Merging, WithOverlap

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
    live: "SegmenterKind[Any] | None" = None
    """What takes its place where nothing may wait for the future: on live streams, and with models made for them."""
    labelled: "SegmenterKind[Any] | None" = None
    """What takes its place for a model that tells more than speech."""
    new_for: Callable[[OptionsT, Grid, str], Segmenter] | None = None
    """Makes the segmenter of one label of such a model; without it `new` makes that of every label."""

    @property
    def mode(self) -> str:
        """What `mode=` calls this segmenter."""
        return self.options.mode


Use = Literal["file", "live", "labelled"]
"""Where posteriors come from: a file, a live stream (or a model made for those), a model with labels."""
USES: tuple[Use, ...] = get_args(Use)
_USE_TEXTS: Mapping[Use, str] = {
    "file": "for whole files",
    "live": "for live streams and the models made for them",
    "labelled": "for models with labels besides speech",
}

SEGMENTERS: tuple[SegmenterKind[Any], ...] = (
    SegmenterKind(
        EndpointOptions,
        new_end_pointer,
        "FSMN-VAD's end-point detector, made for speech recognition: keeps the pauses inside an utterance.",
    ),
    SegmenterKind(
        TightOptions,
        new_hysteresis,
        "Hysteresis on the speech probability, as in Silero VAD: stays close to the spoken words.",
    ),
    SegmenterKind(
        SmoothedOptions,
        new_smoothed,
        "FireRedVAD's smoothing and four-state machine, over the whole audio.",
        live=SegmenterKind(
            StreamingOptions,
            new_streaming,
            "FireRedVAD's machine for live streams, which does not wait for later audio.",
        ),
        labelled=SegmenterKind(
            EventOptions,
            lambda options, grid: new_event_machine(options, grid, SPEECH),
            "FireRedVAD's machine over the whole audio, for speech, singing and music.",
            new_for=new_event_machine,
        ),
    ),
    SegmenterKind(
        BinarizeOptions,
        new_binarize,
        "pyannote.audio's thresholds and minimum durations, on the network's own frames.",
    ),
)


@dataclass(frozen=True)
class Segmentation:
    """A segmenter with its options in force."""

    kind: SegmenterKind[Any]
    options: SegmenterOptions
    chunks: ChunkOptions = NO_CHUNKS
    """How its segments are packed."""
    overlap_threshold: float | None = None
    """Where it is also told when several people talk at once: the probability from which on; else None."""

    def labels(self, grid: Grid) -> tuple[str, ...]:
        """Labels that segments of posteriors on a grid have, speech first; none where all are speech."""
        return (SPEECH, OVERLAP) if self.overlap_threshold is not None else grid.labels

    def new_segmenter(self, grid: Grid) -> Segmenter:
        """A fresh segmenter, for one stream of posteriors."""
        if not grid.labels:
            speech = self._wrapped(self.kind.new, grid)
            threshold, windows = self.overlap_threshold, grid.overlap
            if threshold is None or windows is None:
                return speech
            return WithOverlap(speech, self._wrapped(lambda options, _: new_overlap(options, threshold, windows), grid))
        make = self.kind.new_for or (lambda options, grid, label: self.kind.new(options, grid))

        def new_for(label: str) -> Callable[..., Segmenter]:
            return lambda options, grid: make(options, grid, label)

        return Labelled({label: self._wrapped(new_for(label), grid) for label in grid.labels})

    def _wrapped(self, new: Callable[..., Segmenter], grid: Grid) -> Segmenter:
        options = self.options
        segmenter = Padded(new, options, grid) if options.sets_padding else new(options, grid)
        gap_ms = options.merge_gap_ms
        return Merging(segmenter, gap_ms, options.limit_ms, grid.frame_ms) if gap_ms else segmenter

    def document(self) -> dict[str, Any]:
        """For answers: the mode and every option in force."""
        return dict(self._document)

    @cached_property
    def _document(self) -> dict[str, Any]:
        threshold = self.overlap_threshold
        overlap = {} if threshold is None else {"overlap": True, "overlap_threshold": threshold}
        return self.options.document() | overlap | self.chunks.document()


class Segmenters:
    """Every mode there is."""

    def __init__(self, kinds: Sequence[SegmenterKind[Any]]) -> None:
        self._kinds = {kind.mode: kind for kind in kinds}

    def __iter__(self) -> Iterator[SegmenterKind[Any]]:
        return iter(self._kinds.values())

    @property
    def modes(self) -> list[str]:
        """Names of all modes, in the order in which they are listed."""
        return list(self._kinds)

    def kind(self, mode: str) -> SegmenterKind[Any]:
        """The segmenter of a mode. Raises `InvalidOption`."""
        if mode not in self._kinds:
            raise InvalidOption(MODE, f"there is no such mode; there are: {', '.join(self._kinds)}")
        return self._kinds[mode]

    def variants(self) -> Iterator[tuple[Use, SegmenterKind[Any]]]:
        """Every machine there is, with its use; most modes have one for every use."""
        for kind in self:
            for use in USES:
                if use == "file" or variant(kind, use) is not kind:
                    yield use, variant(kind, use)

    def modes_with(self, option: str) -> list[str]:
        """The modes that have an option of this name."""
        return list(dict.fromkeys(mode for mode, _ in self.places_of(option)))

    def places_of(self, option: str) -> list[tuple[str, Use]]:
        """The modes that have an option of this name, and in which use."""
        return [(kind.mode, use) for use, kind in self.variants() if option in kind.options.model_fields]

    def resolve(
        self,
        given: Mapping[str, Any],
        *,
        default_mode: str,
        model_defaults: Mapping[str, Mapping[str, Any]],
        server_defaults: Mapping[str, Any],
        use: Use = "file",
        live: bool = False,
    ) -> Segmentation:
        """The segmenter and the options in force for a request. Raises `InvalidOption`.

        `given`: the request's own; `model_defaults`: by mode; `use`: which of a mode's machines; `live`: of a stream,
        which has no chunks.
        """
        mode = str(given.get(MODE) or server_defaults.get(MODE) or default_mode)
        kind = variant(self.kind(mode), use)
        mine = {name: value for name, value in given.items() if name != MODE}
        of_chunks = {} if live else ChunkOptions.those_of(mine)
        for name in mine:
            if name in of_chunks:
                continue
            if name in ChunkOptions.model_fields:
                raise InvalidOption(name, "is an option of files: a live stream has no chunks")
            if name not in kind.options.model_fields:
                raise self._misplaced(name, mode, use)
        of = kind.options.those_of
        options = kind.options.parse(of(model_defaults.get(mode, {})), of(server_defaults), given=of(mine))
        if live:
            return Segmentation(kind, options)
        return Segmentation(kind, options, ChunkOptions.parse(ChunkOptions.those_of(server_defaults), given=of_chunks))

    def check_defaults(self, defaults: Mapping[str, Any]) -> None:
        """Raises `InvalidOption` for a server's default that no mode has, or that is out of its range."""
        for name in defaults:
            if name != MODE and name not in ChunkOptions.model_fields and not self.places_of(name):
                raise self._misplaced(name, "any", "file")
        for _, kind in self.variants():
            kind.options.parse(kind.options.those_of(defaults))
        ChunkOptions.parse(ChunkOptions.those_of(defaults))
        if MODE in defaults:
            self.kind(str(defaults[MODE]))

    def check_given(
        self,
        given: Mapping[str, Any],
        *,
        default_mode: str,
        server_defaults: Mapping[str, Any],
        uses: Sequence[Use] = USES,
        live: bool = False,
    ) -> None:
        """`resolve` as far as it goes without knowing the model: names, types, ranges. `uses`: which may come about; it
        is enough that one of them takes the options. Raises `InvalidOption`."""

        def refusal(use: Use) -> InvalidOption | None:
            try:
                self.resolve(
                    given,
                    default_mode=default_mode,
                    model_defaults={},
                    server_defaults=server_defaults,
                    use=use,
                    live=live,
                )
            except InvalidOption as error:
                return error
            return None

        refusals = [(use, error) for use in uses if (error := refusal(use)) is not None]
        if len(refusals) == len(uses):
            # That a value is wrong for the machine that has the option says more than that another machine has none.
            owned = (error for use, error in refusals if use in [place for _, place in self.places_of(error.option)])
            raise next(owned, refusals[0][1])

    def _misplaced(self, name: str, mode: str, use: Use) -> InvalidOption:
        places = self.places_of(name)
        elsewhere = dict.fromkeys(found for found, _ in places if found != mode)
        if elsewhere:
            modes = " or ".join(f"mode={each}" for each in elsewhere)
            add = next(iter(elsewhere))
            return InvalidOption(name, f"is an option of {modes}, but the mode in force is {mode}: add mode={add}")
        if places:
            uses = " and ".join(_USE_TEXTS[each] for _, each in places)
            return InvalidOption(name, f"is an option of mode={mode} {uses}, and not {_USE_TEXTS[use]}")
        known = dict.fromkeys(option for _, kind in self.variants() for option in kind.options.names())
        names = [MODE, *known, *ChunkOptions.names()]
        return InvalidOption(name[:64], f"there is no such option; there are: {', '.join(names)}")


def variant(kind: SegmenterKind[Any], use: Use) -> SegmenterKind[Any]:
    """The machine of a mode for a use."""
    others: Mapping[Use, SegmenterKind[Any] | None] = {"live": kind.live, "labelled": kind.labelled}
    return others.get(use) or kind
