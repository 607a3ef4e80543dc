"""Reading a directory of FireRedVAD: `model.pth.tar` and `cmvn.ark`.

Nothing in it is trusted: the pickle may hold tensors and one `argparse.Namespace`, whose numbers say which shapes the
tensors must have; the normalisation is read within bounds.
"""

import argparse
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from typing_extensions import Self

from app.vad.errors import InvalidModel
from app.vad.models.firered.family import FILES
from app.vad.models.weights import check_tensors, fingerprint, load_checkpoint, read_bytes

WEIGHTS_FILE, CMVN_FILE = FILES
_LEAST_VARIANCE = 1e-20
"""The package's, so that a bin without variance does not divide by zero."""
_KINDS: Mapping[bytes, tuple[str, int]] = {b"DM ": ("<f8", 8), b"FM ": ("<f4", 4)}
"""Kaldi's binary matrices: doubles, floats."""


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Sizes of one network, under the checkpoint's own names (`args`)."""

    idim: int
    odim: int
    R: int
    """Memory blocks."""
    M: int
    """Dense layers after them."""
    H: int
    """Hidden."""
    P: int
    """Projection."""
    N1: int
    """Taps that look back, the present frame's included."""
    N2: int
    """Taps that look ahead; 0: none."""

    @classmethod
    def read(cls, args: Any) -> Self:
        """From `args`. Raises `InvalidModel` for what this network does not compute."""
        sizes = {name: _size(args, name, least=0 if name == "N2" else 1) for name in cls.__dataclass_fields__}
        for stride in ("S1", *(["S2"] if sizes["N2"] else [])):
            if _size(args, stride, least=0) != 1:
                raise InvalidModel(f"args.{stride} is {getattr(args, stride)}; only 1 can be used")
        return cls(**sizes)

    @property
    def past_frames(self) -> int:
        """Frames of the past that can reach a present output."""
        return self.R * (self.N1 - 1)

    @property
    def ahead_frames(self) -> int:
        """Frames of the future that can reach a present output."""
        return self.R * self.N2


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One network, read and checked."""

    config: NetworkConfig
    mean: Tensor
    """Of the log mel energies, float64 [idim]."""
    deviation: Tensor
    """Standard deviation, float64 [idim]."""
    weights: Mapping[str, Tensor]
    fingerprint: str


def read_checkpoint(directory: Path) -> Checkpoint:
    """Read and check a directory. Raises `InvalidModel` naming the file and what is wrong with it."""
    path = directory / WEIGHTS_FILE
    document = load_checkpoint(path, allowed=(argparse.Namespace,))
    if not isinstance(document, Mapping) or not {"args", "model_state_dict"} <= set(document):
        raise InvalidModel(f"{path} is not a checkpoint of FireRedVAD: 'args' and 'model_state_dict' are expected")
    try:
        config = NetworkConfig.read(document["args"])
    except InvalidModel as error:
        raise InvalidModel(f"{path}: {error}") from None
    weights = check_tensors(path, document["model_state_dict"], expected_shapes(config), "args")
    mean, deviation = read_cmvn(directory / CMVN_FILE, config.idim)
    return Checkpoint(config, mean, deviation, weights, fingerprint(weights))


def expected_shapes(config: NetworkConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor that a checkpoint of these sizes holds."""
    hidden, projection = config.H, config.P
    shapes: dict[str, tuple[int, ...]] = {
        "dfsmn.fc1.0.weight": (hidden, config.idim),
        "dfsmn.fc1.0.bias": (hidden,),
        "dfsmn.fc2.0.weight": (projection, hidden),
        "dfsmn.fc2.0.bias": (projection,),
        "out.weight": (config.odim, hidden),
        "out.bias": (config.odim,),
    }
    memories = ["dfsmn.fsmn1"]
    for block in range(config.R - 1):
        name = f"dfsmn.fsmns.{block}"
        shapes[f"{name}.fc1.0.weight"] = (hidden, projection)
        shapes[f"{name}.fc1.0.bias"] = (hidden,)
        shapes[f"{name}.fc2.weight"] = (projection, hidden)
        memories.append(f"{name}.fsmn")
    for memory in memories:
        shapes[f"{memory}.lookback_filter.weight"] = (projection, 1, config.N1)
        if config.N2:
            shapes[f"{memory}.lookahead_filter.weight"] = (projection, 1, config.N2)
    for layer in range(config.M):
        # Three entries apart: a linear layer, its ReLU and a dropout.
        shapes[f"dfsmn.dnns.{3 * layer}.weight"] = (hidden, projection if layer == 0 else hidden)
        shapes[f"dfsmn.dnns.{3 * layer}.bias"] = (hidden,)
    return shapes


def read_cmvn(path: Path, bins: int) -> tuple[Tensor, Tensor]:
    r"""Mean and standard deviation of each bin, float64, from Kaldi's sums. Raises `InvalidModel`.

    Kaldi's binary matrix: `\0B`, the kind, then each size as a byte 4 and an int32, then the values.
    """
    data = read_bytes(path)
    if len(data) < 15 or data[:2] != b"\0B" or data[2:5] not in _KINDS or data[5] != 4 or data[10] != 4:
        raise InvalidModel(f"{path} is not a binary matrix of Kaldi's")
    dtype, width = _KINDS[data[2:5]]
    (rows,), (columns,) = struct.unpack("<i", data[6:10]), struct.unpack("<i", data[11:15])
    if rows < 1 or columns < 1 or len(data) != 15 + rows * columns * width:
        raise InvalidModel(f"{path} states {rows} x {columns} numbers and holds {(len(data) - 15) // width}")
    if (rows, columns) != (2, bins + 1):
        raise InvalidModel(f"{path} holds a matrix of {rows} x {columns}, not 2 x {bins + 1}")
    sums = np.frombuffer(data, dtype, offset=15).reshape(rows, columns).astype(np.float64)
    count = sums[0, -1]
    if not np.isfinite(sums).all() or count < 1:
        raise InvalidModel(f"{path} holds numbers that are no sums over frames")
    mean = sums[0, :-1] / count
    variance = np.maximum(sums[1, :-1] / count - mean**2, _LEAST_VARIANCE)
    return torch.from_numpy(mean), torch.from_numpy(np.sqrt(variance))


def _size(args: Any, name: str, *, least: int) -> int:
    value = getattr(args, name, None)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= 100_000:
        raise InvalidModel(f"args.{name} is {value!r}, not a whole number of at least {least}")
    return value
