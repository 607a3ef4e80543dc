"""Silero VAD's weights, out of its Python package: nothing of the package itself is imported.

Importing it would set torch's number of threads for the whole process; and what it reads and resamples files with
(torchaudio) is not needed here.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from app.vad.errors import InvalidModel
from app.vad.models.weights import first_line

_PREFIXES = {16_000: "_model.", 8_000: "_model_8k."}
_HIDDEN = 128
"""Width of the network's memory; the shapes that a checkpoint must have follow from it."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One of the package's two networks."""

    sample_rate: int
    """16000 or 8000 Hz."""
    tensors: Mapping[str, Tensor]
    """float32, on the CPU; names as in the package's file, without the network's own prefix."""


def read_checkpoint(path: Path, sample_rate: int) -> Checkpoint:
    """Read the network for 16000 or 8000 Hz out of the package's file. Raises `InvalidModel`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of the format, in which the package has its weights
            module = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
        state: Mapping[str, Tensor] = module.state_dict()
    except Exception as error:  # noqa: BLE001 - a damaged archive raises anything
        raise InvalidModel(f"{path} cannot be read: {first_line(error)}") from None
    prefix = _PREFIXES[sample_rate]
    tensors = {
        key.removeprefix(prefix): tensor.detach().float() for key, tensor in state.items() if key.startswith(prefix)
    }
    for name, shape in _shapes(sample_rate).items():
        if name not in tensors or tuple(tensors[name].shape) != shape:
            found = tuple(tensors[name].shape) if name in tensors else "not there"
            raise InvalidModel(
                f"{path}: {name} should have shape {shape}, it is {found}; silero-vad 6 is known to work"
            )
    return Checkpoint(sample_rate, tensors)


def stft_size(sample_rate: int) -> int:
    """Samples in one window of the network's own spectrum."""
    return sample_rate * 16 // 1000


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
