"""What a family of models is, to everything outside its folder. No torch here.

    find -> a place        where the files are: a directory, ModelScope's cache, the hub, a Python package
    read -> weights        read without running anything, checked, fingerprinted
    place -> a scorer      on a device, in a type: blocks in, posteriors and next states out

A family is one folder that holds the whole of it, and one line in `app.vad.models.registry`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from app.vad.blocks import Block, Scored
from app.vad.grid import Grid
from app.vad.models.accuracy import Accuracy
from app.vad.models.hub import ModelHub, ModelPlace

S = TypeVar("S")
DType = Literal["float32", "bfloat16"]
OptionDefaults = Mapping[str, Mapping[str, Any]]
"""For each mode the defaults that a model sets; what it leaves out is the segmenter's own."""


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A published model that has a name here."""

    name: str
    """As `model=` and `VAD_MODELS` take it."""
    source: str
    """Its ModelScope id, or the Python package that its weights come in."""
    title: str
    licence: str
    sample_rate: int
    """Hz."""
    revision: str | None = None
    """Of the hub's repository; None for its newest."""
    fingerprint: str | None = None
    """Of the published weights: a directory that holds them is this model, whatever it is called."""
    live: bool = True
    """Whether it can follow a live stream."""
    live_as: str | None = None
    """The known model that takes its place on live streams, where it cannot follow them itself."""
    autoload: bool = False
    """With `VAD_MODELS=auto`: whether it is loaded at the start when it is at hand, or at its first use."""
    overlap: bool = False
    """Whether it tells when several people talk at once."""
    accuracy: Accuracy | None = None
    """None where it has not been measured."""
    option_defaults: OptionDefaults = field(default_factory=dict)
    """As those of its `Weights`, for documents, which are made without reading any; what a file of its own says is left
    out."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Which model a name in a setting or a request means; made by `app.vad.models.registry.Catalogue`."""

    family: str
    source: str
    """A known model's source, a ModelScope id, or a directory."""
    name: str | None = None
    """The name given to it; None: its known name, else one made from the source."""
    revision: str | None = None
    fingerprint: str | None = None
    """Refuse weights with another one."""
    known: KnownModel | None = None
    weight: int = 1
    """How often it counts in a sum."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model, as answers name it."""

    name: str
    """The canonical one, which requests may use."""
    id: str
    revision: str | None
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Weights:
    """A model that has been read and checked."""

    place: ModelPlace
    fingerprint: str
    """SHA-256 of the weights, independent of the file that carries them; hexadecimal."""
    tensors: Any
    """The family's own: what `place` needs."""
    option_defaults: OptionDefaults = field(default_factory=dict)
    summary: str = ""
    """Sizes in words, for people who check a model."""
    for_streams: bool = False
    """Whether it was made for streams: files too are then segmented by a mode's machine for those."""


class Scorer(Protocol[S]):
    """A model on a device. Pure and read-only after construction, so any number of threads may share it."""

    @property
    def grid(self) -> Grid: ...

    @property
    def tile_frames(self) -> int:
        """Frames that are scored at a time, all streams of a batch together: larger batches gain nothing."""
        ...

    def score(self, blocks: Sequence[Block[S]]) -> Sequence[Scored[S]]:
        """What each block gives, in their order. Nothing of a block or its state is changed, whatever goes wrong."""
        ...

    def new_pool(self, capacity: int) -> "Pool[S] | None":
        """Room for the states of so many live streams, for a model that gains by having them side by side."""
        ...


class Pool(Protocol[S]):
    """States of many live streams side by side, as `app.vad.models.scorer.StatePool` describes it."""

    def open(self) -> int: ...
    def close(self, row: int) -> None: ...
    def store(self, rows: Sequence[int], states: Sequence[S]) -> Sequence[S]: ...


class ModelFamily(Protocol):
    """One kind of network, with everything that is particular to it."""

    name: str
    default_mode: str
    """The segmenter that serves where a request names none."""
    known: Sequence[KnownModel]

    def recognises(self, directory: Path) -> bool:
        """Whether a directory holds a model of this family, by the names of its files."""
        ...

    def find(self, spec: ModelSpec, hub: ModelHub) -> ModelPlace:
        """Find the model, or download it where the hub is allowed to. Raises `ModelNotFound`."""
        ...

    def read(self, place: ModelPlace, *, fingerprint: str | None = None) -> Weights:
        """Read and check it. Raises `InvalidModel`, for another fingerprint than the one given too."""
        ...

    def place(self, weights: Weights, *, device: str, dtype: DType) -> Scorer[Any]:
        """Put it on a device, named as torch does. A family without arithmetic of type `dtype` takes float32."""
        ...

    def files(self, place: ModelPlace) -> Sequence[Path]:
        """The files that make up the model, for a bundle; empty where it is no directory of files."""
        ...
