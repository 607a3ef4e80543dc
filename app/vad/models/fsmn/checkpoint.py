"""Reading a ModelScope model directory of FSMN-VAD: `config.yaml`, `am.mvn`, `model.pt`.

Nothing in the directory is trusted: no code in it runs (`weights_only`), every name, shape and number is checked
against `config.yaml`, and what is wrong is an `InvalidModel` that names the file.
"""

import hashlib
import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from app.vad.errors import InvalidModel, InvalidOption
from app.vad.models.fsmn.config import CMVN_FILE, CONFIG_FILE, WEIGHTS_FILE, EncoderConfig, ModelConfig

_WRAPPERS = ("state_dict", "model_state_dict", "model")
_MAX_TEXT_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One model, read and checked."""

    directory: Path
    model_id: str
    """ModelScope id, or the directory's name."""
    revision: str | None
    config: ModelConfig
    cmvn_shift: Tensor
    """Added to the features, float32 [feature_dim]."""
    cmvn_scale: Tensor
    """Then multiplied with them, float32 [feature_dim]."""
    weights: Mapping[str, Tensor]
    fingerprint: str
    """SHA-256 of the weights, independent of the file that carries them; hexadecimal."""


def read_checkpoint(
    directory: Path, *, model_id: str, revision: str | None = None, expected_fingerprint: str | None = None
) -> Checkpoint:
    """Read and check a model directory. Raises `InvalidModel` naming the file and what is wrong with it."""
    config = _read_config(directory / CONFIG_FILE)
    shift, scale = _read_cmvn(directory / CMVN_FILE, config.frontend.feature_dim)
    weights = _read_weights(directory / WEIGHTS_FILE, expected_shapes(config.encoder))
    found = fingerprint(weights)
    if expected_fingerprint and found != expected_fingerprint.strip().lower():
        raise InvalidModel(
            f"{directory / WEIGHTS_FILE}: the weights' fingerprint is {found}, not {expected_fingerprint}"
        )
    return Checkpoint(directory, model_id, revision, config, shift, scale, weights, found)


def fingerprint(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 over the entries in name order: name, shape as Python prints it, little-endian float32 values."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name]
        digest.update(name.encode())
        digest.update(str(tuple(tensor.shape)).encode())
        digest.update(tensor.contiguous().numpy().astype("<f4").tobytes())
    return digest.hexdigest()


def expected_shapes(encoder: EncoderConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor that a checkpoint of this network holds."""
    shapes: dict[str, tuple[int, ...]] = {}

    def linear(name: str, inputs: int, outputs: int, *, bias: bool = True) -> None:
        shapes[f"encoder.{name}.linear.weight"] = (outputs, inputs)
        if bias:
            shapes[f"encoder.{name}.linear.bias"] = (outputs,)

    linear("in_linear1", encoder.input_dim, encoder.input_affine_dim)
    linear("in_linear2", encoder.input_affine_dim, encoder.linear_dim)
    for layer in range(encoder.fsmn_layers):
        linear(f"fsmn.{layer}.linear", encoder.linear_dim, encoder.proj_dim, bias=False)
        shapes[f"encoder.fsmn.{layer}.fsmn_block.conv_left.weight"] = (encoder.proj_dim, 1, encoder.lorder, 1)
        linear(f"fsmn.{layer}.affine", encoder.proj_dim, encoder.linear_dim)
    linear("out_linear1", encoder.linear_dim, encoder.output_affine_dim)
    linear("out_linear2", encoder.output_affine_dim, encoder.output_dim)
    return shapes


def _read_text(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_TEXT_BYTES:
            raise InvalidModel(f"{path} is too large to be what it is named")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidModel(f"{path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise InvalidModel(f"{path} is not text") from None


def _read_config(path: Path) -> ModelConfig:
    text = _read_text(path)
    try:
        document = yaml.safe_load(text)
    except Exception as error:  # noqa: BLE001 - a malformed scalar ends in whatever its Python type raises
        raise InvalidModel(f"{path} is not YAML: {_first_line(error)}") from None
    try:
        return ModelConfig.read(document)
    except (InvalidModel, InvalidOption) as error:
        raise InvalidModel(f"{path}: {error}") from None


def _read_cmvn(path: Path, feature_dim: int) -> tuple[Tensor, Tensor]:
    """The vectors of <AddShift> and <Rescale> in Kaldi's nnet text form."""
    text = _read_text(path)
    return _cmvn_vector(path, text, "AddShift", feature_dim), _cmvn_vector(path, text, "Rescale", feature_dim)


def _cmvn_vector(path: Path, text: str, component: str, feature_dim: int) -> Tensor:
    found = re.search(rf"<{component}>\s+(\d+)\s+\d+\s+<LearnRateCoef>\s+\S+\s+\[([^\]]*)\]", text)
    if not found:
        raise InvalidModel(f"{path} has no <{component}> vector")
    try:
        values = torch.tensor([float(number) for number in found[2].split()], dtype=torch.float32)
    except ValueError:
        raise InvalidModel(f"{path}: <{component}> holds something that is not a number") from None
    if found[1] != str(feature_dim) or len(values) != feature_dim or not values.isfinite().all():
        raise InvalidModel(
            f"{path}: <{component}> {found[1]} holds {len(values)} numbers, not {feature_dim} finite ones"
        )
    return values


def _read_weights(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """The tensors of exactly these names and shapes, as float32."""
    document = _load(path)
    if isinstance(document, Mapping):
        document = next((document[name] for name in _WRAPPERS if isinstance(document.get(name), Mapping)), document)
    if not isinstance(document, Mapping) or not all(isinstance(value, Tensor) for value in document.values()):
        raise InvalidModel(f"{path} is not a state dict: names with tensors are expected")
    extra = sorted({str(name) for name in document} - set(shapes))
    weights = {name: _weight(path, name, document.get(name), shape) for name, shape in shapes.items()}
    if extra:
        raise InvalidModel(f"{path} holds tensors that {CONFIG_FILE} has no place for: {', '.join(extra[:5])}")
    return weights


def _load(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch only warns of here ends below as an error of ours, or is fine
            return torch.load(path, map_location="cpu", weights_only=True, mmap=False)
    except FileNotFoundError:
        raise InvalidModel(f"{path} is missing") from None
    except pickle.UnpicklingError:
        raise InvalidModel(f"{path} holds something other than tensors, or is damaged; nothing of it was run") from None
    except Exception as error:  # noqa: BLE001 - a damaged pickle raises anything, AssertionError and struct.error too
        raise InvalidModel(f"{path} is not a PyTorch checkpoint: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _weight(path: Path, name: str, tensor: Tensor | None, shape: tuple[int, ...]) -> Tensor:
    """The tensor as float32. All is checked before it is converted, for a file can state sizes that fill no memory."""
    if tensor is None:
        raise InvalidModel(f"{path} has no tensor {name} of shape {shape}, which {CONFIG_FILE} asks for")
    if tensor.layout != torch.strided or tensor.is_nested or tensor.device.type != "cpu":
        raise InvalidModel(f"{path}: {name} is not a plain tensor with values")
    if tuple(tensor.shape) != shape:
        raise InvalidModel(f"{path}: {name} has shape {tuple(tensor.shape)}, {CONFIG_FILE} asks for {shape}")
    if not tensor.is_floating_point():
        raise InvalidModel(f"{path}: {name} is {tensor.dtype}, not floating point")
    values = tensor.detach().float()
    if not values.isfinite().all():
        raise InvalidModel(f"{path}: {name} holds numbers that are not finite")
    return values
