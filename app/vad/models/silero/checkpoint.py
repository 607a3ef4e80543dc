"""Silero VAD's weights, out of its Python package: nothing of the package itself is imported.

Importing it would set torch's number of threads for the whole process; and what it reads and resamples files with
(torchaudio) is not needed here.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor

from app.vad.errors import InvalidModel, ModelNotFound
from app.vad.models.fsmn.checkpoint import fingerprint

PACKAGE = "silero-vad"
NAMES = {"silero": 16_000, "silero-8k": 8_000}
"""What `VAD_MODEL` calls its networks, with their sample rates."""
_FILE = "silero_vad/data/silero_vad.jit"
_PREFIXES = {16_000: "_model.", 8_000: "_model_8k."}
_HIDDEN = 128


@dataclass(frozen=True, slots=True)
class SileroWeights:
    """One of the package's two networks."""

    model_id: str
    version: str
    """The package's."""
    sample_rate: int
    """16000 or 8000 Hz."""
    tensors: Mapping[str, Tensor]
    """float32, on the CPU; names as in the package's file, without the network's own prefix."""
    fingerprint: str
    """SHA-256 of the tensors; hexadecimal."""


def read_silero(name: str, expected_fingerprint: str | None = None) -> SileroWeights:
    """The network that `VAD_MODEL=name` asks for, one of `NAMES`.

    Raises `ModelNotFound` when the package is not installed, `InvalidModel` when its file is not what it was.
    """
    path, version = _installed()
    rate = NAMES[name]
    prefix = _PREFIXES[rate]
    tensors = {
        key.removeprefix(prefix): tensor.detach().float()
        for key, tensor in _load(path).items()
        if key.startswith(prefix)
    }
    _check(path, tensors, rate)
    found = fingerprint(tensors)
    if expected_fingerprint and found != expected_fingerprint.strip().lower():
        raise InvalidModel(f"{path}: the weights' fingerprint is {found}, not {expected_fingerprint}")
    return SileroWeights(name.replace("silero", PACKAGE), version, rate, tensors, found)


def silero_file() -> Path:
    """The installed package's file of weights. Raises `ModelNotFound` when it is not installed."""
    return _installed()[0]


def stft_size(sample_rate: int) -> int:
    """Samples in one window of the network's own spectrum."""
    return sample_rate * 16 // 1000


def _installed() -> tuple[Path, str]:
    try:
        distribution = metadata.distribution(PACKAGE)
    except metadata.PackageNotFoundError:
        raise ModelNotFound(
            "Silero VAD is asked for, but the Python package that its weights come in is not installed.\n"
            f"To install it: pip install '{PACKAGE}>=6.2'"
        ) from None
    return Path(str(distribution.locate_file(_FILE))), distribution.version


def _load(path: Path) -> Mapping[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of the format, in which the package has its weights
            module = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
        tensors: Mapping[str, Tensor] = module.state_dict()
    except Exception as error:  # noqa: BLE001 - a damaged archive raises anything
        raise InvalidModel(f"{path} cannot be read: {(str(error).splitlines() or [''])[0][:200]}") from None
    return tensors


def _check(path: Path, tensors: Mapping[str, Tensor], rate: int) -> None:
    for name, shape in _shapes(rate).items():
        if name not in tensors or tuple(tensors[name].shape) != shape:
            found = tuple(tensors[name].shape) if name in tensors else "not there"
            raise InvalidModel(f"{path}: {name} should have shape {shape}, it is {found}; {PACKAGE} 6 is known to work")


def _shapes(rate: int) -> dict[str, tuple[int, ...]]:
    size = stft_size(rate)
    bins = size // 2 + 1
    shapes: dict[str, tuple[int, ...]] = {"stft.forward_basis_buffer": (2 * bins, 1, size)}
    for layer, (inputs, outputs) in enumerate([(bins, 128), (128, 64), (64, 64), (64, _HIDDEN)]):
        shapes[f"encoder.{layer}.reparam_conv.weight"] = (outputs, inputs, 3)
        shapes[f"encoder.{layer}.reparam_conv.bias"] = (outputs,)
    for side in ("ih", "hh"):
        shapes[f"decoder.rnn.weight_{side}"] = (4 * _HIDDEN, _HIDDEN)
        shapes[f"decoder.rnn.bias_{side}"] = (4 * _HIDDEN,)
    return {**shapes, "decoder.decoder.2.weight": (1, _HIDDEN, 1), "decoder.decoder.2.bias": (1,)}
