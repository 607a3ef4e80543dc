"""Reading a directory of pyannote's segmentation-3.0: `pytorch_model.bin`, a checkpoint of PyTorch Lightning's.

Nothing in it is trusted, and neither of the packages that wrote it is needed: the pickle may hold tensors, containers,
torch's version, and three classes of pyannote.audio's, in whose place stand classes that do nothing. What they and the
hyperparameters say has to be what this network computes; no other sizes are known to have been published.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.torch_version import TorchVersion

from app.vad.errors import InvalidModel
from app.vad.models.pyannote.family import FILES
from app.vad.models.weights import check_tensors, fingerprint, load_checkpoint

WEIGHTS_FILE = FILES[0]
SAMPLE_RATE, WINDOW_SAMPLES = 16_000, 160_000
"""The only ones that it was trained on."""
FILTERS, FILTER_TAPS, FILTER_STRIDE = 80, 251, 10
"""Of the sinc convolution; half of the filters are even, half odd."""
CHANNELS, TAPS = 60, 5
"""Of the two convolutions after it."""
LSTM_LAYERS, HIDDEN = 4, 128
"""Layers, and units of each in either direction."""
SPEAKERS, AT_ONCE = 3, 2
"""Speakers that a window tells apart, and how many of them may talk at a time."""
CLASSES = 7
"""Nobody; each of three speakers; each pair of them."""
_HYPERPARAMETERS: Mapping[str, Any] = {
    "sample_rate": SAMPLE_RATE,
    "num_channels": 1,
    "sincnet.stride": FILTER_STRIDE,
    "lstm.hidden_size": HIDDEN,
    "lstm.num_layers": LSTM_LAYERS,
    "lstm.bidirectional": True,
    "lstm.monolithic": True,
    "linear.hidden_size": HIDDEN,
    "linear.num_layers": 2,
}
_SPECIFICATIONS: Mapping[str, Any] = {
    "duration": WINDOW_SAMPLES / SAMPLE_RATE,
    "warm_up": (0.0, 0.0),
    "powerset_max_classes": AT_ONCE,
}


class _Inert:
    """Stands in for a class of pyannote.audio's: keeps what the pickle says, and does nothing."""

    def __init__(self, *arguments: object) -> None:
        self.arguments = arguments

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)


_STAND_INS = [(_Inert, f"pyannote.audio.core.task.{name}") for name in ("Specifications", "Problem", "Resolution")]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The network, read and checked."""

    weights: Mapping[str, Tensor]
    fingerprint: str


def read_checkpoint(directory: Path) -> Checkpoint:
    """Read and check a directory. Raises `InvalidModel` naming the file and what is wrong with it."""
    path = directory / WEIGHTS_FILE
    document = load_checkpoint(path, allowed=(TorchVersion, *_STAND_INS))
    if not isinstance(document, Mapping) or not {"state_dict", "hyper_parameters", "pyannote.audio"} <= set(document):
        expected = "'state_dict', 'hyper_parameters' and 'pyannote.audio' are expected"
        raise InvalidModel(f"{path} is not a checkpoint of pyannote.audio: {expected}")
    _check_kind(path, document["pyannote.audio"])
    _check_values(path, "hyper_parameters", document["hyper_parameters"], _HYPERPARAMETERS)
    weights = check_tensors(path, document["state_dict"], expected_shapes(), "the architecture PyanNet")
    if not sinc_filters(weights).isfinite().all():
        raise InvalidModel(f"{path}: sincnet.conv1d.0.filterbank has bands that are empty")
    return Checkpoint(weights, fingerprint(weights))


def expected_shapes() -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor that a checkpoint holds."""
    half = FILTER_TAPS // 2
    shapes: dict[str, tuple[int, ...]] = {
        "sincnet.wav_norm1d.weight": (1,),
        "sincnet.wav_norm1d.bias": (1,),
        "sincnet.conv1d.0.filterbank.low_hz_": (FILTERS // 2, 1),
        "sincnet.conv1d.0.filterbank.band_hz_": (FILTERS // 2, 1),
        "sincnet.conv1d.0.filterbank.window_": (half,),
        "sincnet.conv1d.0.filterbank.n_": (1, half),
    }
    for stage, (inputs, outputs) in enumerate([(0, FILTERS), (FILTERS, CHANNELS), (CHANNELS, CHANNELS)]):
        if stage > 0:
            shapes[f"sincnet.conv1d.{stage}.weight"] = (outputs, inputs, TAPS)
            shapes[f"sincnet.conv1d.{stage}.bias"] = (outputs,)
        shapes[f"sincnet.norm1d.{stage}.weight"] = (outputs,)
        shapes[f"sincnet.norm1d.{stage}.bias"] = (outputs,)
    for layer in range(LSTM_LAYERS):
        for end in ("", "_reverse"):
            shapes[f"lstm.weight_ih_l{layer}{end}"] = (4 * HIDDEN, 2 * HIDDEN if layer else CHANNELS)
            shapes[f"lstm.weight_hh_l{layer}{end}"] = (4 * HIDDEN, HIDDEN)
            shapes[f"lstm.bias_ih_l{layer}{end}"] = (4 * HIDDEN,)
            shapes[f"lstm.bias_hh_l{layer}{end}"] = (4 * HIDDEN,)
    for name, inputs, outputs in (("linear.0", 2 * HIDDEN, HIDDEN), ("linear.1", HIDDEN, HIDDEN)):
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (outputs, inputs), (outputs,)
    shapes["classifier.weight"], shapes["classifier.bias"] = (CLASSES, HIDDEN), (CLASSES,)
    return shapes


def _check_kind(path: Path, described: Any) -> None:
    """Refuse another architecture, and the same one trained for something else."""
    architecture = described.get("architecture") if isinstance(described, Mapping) else None
    kind = architecture.get("class") if isinstance(architecture, Mapping) else None
    if kind != "PyanNet":
        raise InvalidModel(f"{path}: the architecture is {str(kind)[:64]}; only PyanNet can be used")
    specifications = getattr(described.get("specifications"), "__dict__", {})
    _check_values(path, "specifications", specifications, _SPECIFICATIONS)
    classes = specifications.get("classes")
    if not isinstance(classes, list | tuple) or len(classes) != SPEAKERS:
        raise InvalidModel(f"{path}: specifications.classes is {str(classes)[:64]}; {SPEAKERS} speakers are expected")


def _check_values(path: Path, where: str, found: Any, expected: Mapping[str, Any]) -> None:
    for name, value in expected.items():
        here = found
        for key in name.split("."):
            here = here.get(key) if isinstance(here, Mapping) else None
        # A boolean is also a number, and 1 must not pass for True.
        if type(here) is not type(value) or here != value:
            raise InvalidModel(f"{path}: {where}.{name} is {str(here)[:64]}; only {value} can be used")


def sinc_filters(weights: Mapping[str, Tensor]) -> Tensor:
    """The first convolution's filters, float32 [80, 251]: differences of two sinc functions, each of them even and odd
    (Ravanelli and Bengio, arXiv 1808.00158; as in asteroid-filterbanks, which pyannote.audio uses).

    In float32 and in this order, as in training: in float64 posteriors move by up to 2e-4.
    """
    name = "sincnet.conv1d.0.filterbank"
    taps, window = weights[f"{name}.n_"], weights[f"{name}.window_"]
    lowest, narrowest = 50, 50
    low = lowest + weights[f"{name}.low_hz_"].abs()
    high = torch.clamp(low + narrowest + weights[f"{name}.band_hz_"].abs(), lowest, SAMPLE_RATE / 2)
    band = high - low
    at_low, at_high = low @ taps, high @ taps
    even = (torch.sin(at_high) - torch.sin(at_low)) / (taps / 2) * window
    odd = (torch.cos(at_low) - torch.cos(at_high)) / (taps / 2) * window
    centres = 2 * band
    filters = torch.cat(
        [
            torch.cat([even, centres, even.flip(1)], dim=1),
            torch.cat([odd, torch.zeros_like(centres), -odd.flip(1)], dim=1),
        ]
    )
    return filters / (2 * band).repeat(2, 1)
