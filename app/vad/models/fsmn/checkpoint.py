"""Reading a ModelScope model directory of FSMN-VAD: `config.yaml`, `am.mvn`, `model.pt`.

Nothing in the directory is trusted: no code in it runs (`weights_only`), every name, shape and number is checked
against `config.yaml`, and what is wrong is an `InvalidModel` that names the file. Nothing about the model is assumed
here either: sample rate, mel bins, layer sizes and the options' defaults all come from `config.yaml`, whose keys are
FunASR's.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor
from typing_extensions import Self

from app.vad.errors import InvalidModel
from app.vad.grid import FRAME_MS
from app.vad.models.fsmn.family import MODEL_FILES
from app.vad.models.weights import check_tensors, fingerprint, first_line, load_checkpoint, read_text

CONFIG_FILE, CMVN_FILE, WEIGHTS_FILE = MODEL_FILES
_WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Under which trainers have put the state dict."""


@dataclass(frozen=True, slots=True)
class FrontendConfig:
    """The acoustic frontend (`frontend_conf`)."""

    sample_rate: int
    """Hz."""
    n_mels: int
    frame_samples: int
    """Samples in one analysis window."""
    shift_samples: int
    """Samples from one window to the next."""
    lfr_m: int
    """Frames stacked into one feature vector; odd."""

    @property
    def feature_dim(self) -> int:
        """Length of one stacked feature vector."""
        return self.n_mels * self.lfr_m

    @property
    def context_frames(self) -> int:
        """Frames of left (and of right) context in one stacked vector."""
        return (self.lfr_m - 1) // 2

    @classmethod
    def read(cls, conf: Mapping[str, Any]) -> Self:
        """From `frontend_conf`. Raises `InvalidModel` for what this frontend does not compute."""
        rate = _positive_int(conf, "fs")
        if not 4_000 <= rate <= 48_000:
            raise InvalidModel(f"frontend_conf.fs is {rate}; 4000 to 48000 can be used")
        if _positive_int(conf, "frame_shift") != FRAME_MS:
            raise InvalidModel(f"frontend_conf.frame_shift is {conf['frame_shift']} ms; only {FRAME_MS} ms can be used")
        if conf.get("window", "hamming") != "hamming":
            raise InvalidModel(f"frontend_conf.window is {conf['window']!r}; only 'hamming' can be used")
        lfr_m, lfr_n = _positive_int(conf, "lfr_m"), _positive_int(conf, "lfr_n")
        if lfr_m % 2 == 0 or lfr_n != 1:
            raise InvalidModel(f"frontend_conf.lfr_m/lfr_n is {lfr_m}/{lfr_n}; an odd number over 1 can be used")
        return cls(
            sample_rate=rate,
            n_mels=_positive_int(conf, "n_mels"),
            frame_samples=rate * _positive_int(conf, "frame_length") // 1000,
            shift_samples=rate * FRAME_MS // 1000,
            lfr_m=lfr_m,
        )


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """The FSMN network (`encoder_conf`)."""

    input_dim: int
    input_affine_dim: int
    fsmn_layers: int
    linear_dim: int
    proj_dim: int
    lorder: int
    """Frames that one memory block sees, the present one included."""
    output_affine_dim: int
    output_dim: int

    @property
    def past_frames(self) -> int:
        """Frames of the past that can reach the present output: the warm-up an isolated block needs."""
        return self.fsmn_layers * (self.lorder - 1)

    @classmethod
    def read(cls, conf: Mapping[str, Any]) -> Self:
        """From `encoder_conf`. Raises `InvalidModel` for look-ahead or strides, which this network does not have."""
        if conf.get("rorder", 0) != 0:
            raise InvalidModel(f"encoder_conf.rorder is {conf['rorder']}; only causal models (0) can be used")
        if conf.get("lstride", 1) != 1:
            raise InvalidModel(f"encoder_conf.lstride is {conf['lstride']}; only 1 can be used")
        return cls(**{name: _positive_int(conf, name) for name in cls.__dataclass_fields__})


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """All of `config.yaml` that matters here."""

    frontend: FrontendConfig
    encoder: EncoderConfig
    sil_pdf_ids: tuple[int, ...]
    """Outputs of the network that mean silence."""
    options: Mapping[str, Any]
    """The model's own defaults for the end-point machine, among whatever else its section holds."""

    @classmethod
    def read(cls, document: Any) -> Self:
        """From the parsed YAML document. Raises `InvalidModel`, naming the key, for anything missing or unusable."""
        frontend = FrontendConfig.read(_section(document, "frontend_conf"))
        encoder = EncoderConfig.read(_section(document, "encoder_conf"))
        model_conf = _section(document, "model_conf")
        if encoder.input_dim != frontend.feature_dim:
            raise InvalidModel(
                f"encoder_conf.input_dim is {encoder.input_dim}, the frontend makes {frontend.feature_dim}"
            )
        ids = model_conf.get("sil_pdf_ids", [0])
        below = encoder.output_dim
        if not isinstance(ids, list) or not ids or not all(isinstance(i, int) and 0 <= i < below for i in ids):
            raise InvalidModel(f"model_conf.sil_pdf_ids is {ids!r}, not a list of outputs below {below}")
        options = {name: value for name, value in model_conf.items() if isinstance(value, bool | int | float | str)}
        return cls(frontend, encoder, tuple(ids), options)


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
    path = directory / CONFIG_FILE
    text = read_text(path)
    try:
        document = yaml.safe_load(text)
    except Exception as error:  # noqa: BLE001 - a malformed scalar ends in whatever its Python type raises
        raise InvalidModel(f"{path} is not YAML: {first_line(error)}") from None
    try:
        config = ModelConfig.read(document)
    except InvalidModel as error:
        raise InvalidModel(f"{path}: {error}") from None
    path = directory / CMVN_FILE
    text = read_text(path)
    shift, scale = (_cmvn_vector(path, text, name, config.frontend.feature_dim) for name in ("AddShift", "Rescale"))
    path = directory / WEIGHTS_FILE
    state = load_checkpoint(path)
    if isinstance(state, Mapping):
        state = next((state[name] for name in _WRAPPERS if isinstance(state.get(name), Mapping)), state)
    weights = check_tensors(path, state, expected_shapes(config.encoder), CONFIG_FILE)
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


def _cmvn_vector(path: Path, text: str, component: str, feature_dim: int) -> Tensor:
    """The vector of one component in Kaldi's nnet text form."""
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


def _section(document: Any, name: str) -> Mapping[str, Any]:
    section = document.get(name) if isinstance(document, Mapping) else None
    if not isinstance(section, Mapping):
        raise InvalidModel(f"config.yaml has no section {name}")
    return section


def _positive_int(conf: Mapping[str, Any], name: str) -> int:
    value = conf.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= 1_000_000:
        raise InvalidModel(f"config.yaml: {name} is {value!r}, not a positive whole number")
    return value
