"""Reading a ModelScope model directory of FSMN-VAD: `config.yaml`, `am.mvn`, `model.pt`.

Nothing in the directory is trusted: no code in it runs (`weights_only`), every name, shape and number is checked
against `config.yaml`, and what is wrong is an `InvalidModel` that names the file.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml
from torch import Tensor

from app.vad.errors import InvalidModel
from app.vad.models.fsmn.config import CMVN_FILE, CONFIG_FILE, WEIGHTS_FILE, EncoderConfig, ModelConfig
from app.vad.models.weights import check_tensors, fingerprint, first_line, load_checkpoint, read_text

_WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Under which trainers have put the state dict."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One model, read and checked."""

    config: ModelConfig
    cmvn_shift: Tensor
    """Added to the features, float32 [feature_dim]."""
    cmvn_scale: Tensor
    """Then multiplied with them, float32 [feature_dim]."""
    weights: Mapping[str, Tensor]
    fingerprint: str
    """SHA-256 of the weights, independent of the file that carries them; hexadecimal."""


def read_checkpoint(directory: Path) -> Checkpoint:
    """Read and check a model directory. Raises `InvalidModel` naming the file and what is wrong with it."""
    config = _read_config(directory / CONFIG_FILE)
    shift, scale = _read_cmvn(directory / CMVN_FILE, config.frontend.feature_dim)
    weights = _read_weights(directory / WEIGHTS_FILE, expected_shapes(config.encoder))
    return Checkpoint(config, shift, scale, weights, fingerprint(weights))


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


def _read_config(path: Path) -> ModelConfig:
    text = read_text(path)
    try:
        document = yaml.safe_load(text)
    except Exception as error:  # noqa: BLE001 - a malformed scalar ends in whatever its Python type raises
        raise InvalidModel(f"{path} is not YAML: {first_line(error)}") from None
    try:
        return ModelConfig.read(document)
    except InvalidModel as error:
        raise InvalidModel(f"{path}: {error}") from None


def _read_cmvn(path: Path, feature_dim: int) -> tuple[Tensor, Tensor]:
    """The vectors of <AddShift> and <Rescale> in Kaldi's nnet text form."""
    text = read_text(path)
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
    document = load_checkpoint(path)
    if isinstance(document, Mapping):
        document = next((document[name] for name in _WRAPPERS if isinstance(document.get(name), Mapping)), document)
    return check_tensors(path, document, shapes, CONFIG_FILE)
