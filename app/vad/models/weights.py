"""Reading weights from files that are not trusted: nothing in them runs, and every name, shape and number is checked.

What is wrong is an `InvalidModel` that names the file, the tensor and what was expected.
"""

import hashlib
import pickle
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from app.vad.errors import InvalidModel

_FOREIGN_TYPE = re.compile(r"GLOBAL ([\w.]+)")
"""What torch's unpickler says it met."""
_MAX_SMALL_BYTES = 4 << 20
"""What stands beside the weights is some kilobytes; a larger file is something else under its name."""


def fingerprint(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 over the entries in name order: name, shape as Python prints it, little-endian float32 values."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name]
        digest.update(name.encode())
        digest.update(str(tuple(tensor.shape)).encode())
        digest.update(tensor.contiguous().numpy().astype("<f4").tobytes())
    return digest.hexdigest()


def check_fingerprint(path: Path, found: str, expected: str | None) -> None:
    """Raises `InvalidModel` when another one is expected."""
    if expected and found != expected.strip().lower():
        raise InvalidModel(f"{path}: the weights' fingerprint is {found}, not {expected}")


def read_bytes(path: Path) -> bytes:
    """A small file. Raises `InvalidModel`."""
    try:
        if path.stat().st_size > _MAX_SMALL_BYTES:
            raise InvalidModel(f"{path} is too large to be what it is named")
        return path.read_bytes()
    except OSError as error:
        raise InvalidModel(f"{path} cannot be read: {error.strerror or error}") from None


def read_text(path: Path) -> str:
    """A small file of text. Raises `InvalidModel`."""
    try:
        return read_bytes(path).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidModel(f"{path} is not text") from None


def load_checkpoint(path: Path, allowed: "Sequence[type | tuple[type, str]]" = ()) -> Any:
    """Load what `torch.save` wrote, on the CPU. Creates nothing but tensors, containers and `allowed` classes; (class,
    name) has a class stand in for the one that the file calls so. Raises `InvalidModel`."""
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(list(allowed)):
            warnings.simplefilter("ignore")  # what torch only warns of here ends below as an error of ours, or is fine
            return torch.load(path, map_location="cpu", weights_only=True, mmap=False)
    except FileNotFoundError:
        raise InvalidModel(f"{path} is missing") from None
    except pickle.UnpicklingError as error:
        met = _FOREIGN_TYPE.search(str(error))
        what = "something other than tensors, or is damaged" if met is None else f"a {met[1]}, which is not allowed"
        raise InvalidModel(f"{path} holds {what}; nothing of it was run") from None
    except Exception as error:  # noqa: BLE001 - a damaged pickle raises anything, AssertionError and struct.error too
        raise InvalidModel(f"{path} is not a PyTorch checkpoint: {first_line(error)}") from None


def check_tensors(
    path: Path, document: Any, shapes: Mapping[str, tuple[int, ...]], stated_in: str
) -> dict[str, Tensor]:
    """The tensors, as float32, if they are exactly those of `shapes`. `stated_in`: the file that the shapes come from.
    Raises `InvalidModel`."""
    if not isinstance(document, Mapping) or not all(isinstance(value, Tensor) for value in document.values()):
        raise InvalidModel(f"{path} is not a state dict: names with tensors are expected")
    extra = sorted({str(name) for name in document} - set(shapes))
    weights = {name: _checked(path, name, document.get(name), shape, stated_in) for name, shape in shapes.items()}
    if extra:
        raise InvalidModel(f"{path} holds tensors that {stated_in} has no place for: {', '.join(extra[:5])}")
    return weights


def first_line(error: Exception) -> str:
    """Of its message, bounded; its type's name where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _checked(path: Path, name: str, tensor: Tensor | None, shape: tuple[int, ...], stated_in: str) -> Tensor:
    """The tensor as float32. All is checked before it is converted, for a file can state sizes that fill no memory."""
    if tensor is None:
        raise InvalidModel(f"{path} has no tensor {name} of shape {shape}, which {stated_in} asks for")
    if tensor.layout != torch.strided or tensor.is_nested or tensor.device.type != "cpu":
        raise InvalidModel(f"{path}: {name} is not a plain tensor with values")
    if tuple(tensor.shape) != shape:
        raise InvalidModel(f"{path}: {name} has shape {tuple(tensor.shape)}, {stated_in} asks for {shape}")
    if not tensor.is_floating_point():
        raise InvalidModel(f"{path}: {name} is {tensor.dtype}, not floating point")
    values = tensor.detach().float()
    if not values.isfinite().all():
        raise InvalidModel(f"{path}: {name} holds numbers that are not finite")
    return values
