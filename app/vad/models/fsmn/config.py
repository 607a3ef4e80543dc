"""What a model directory's `config.yaml` says, as typed values.

Nothing about the model is assumed by the code: sample rate, mel bins, layer sizes and the options' defaults all come
from here. Keys are FunASR's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from typing_extensions import Self

from app.vad.errors import InvalidModel
from app.vad.grid import FRAME_MS

CONFIG_FILE, CMVN_FILE, WEIGHTS_FILE = "config.yaml", "am.mvn", "model.pt"
MODEL_FILES = (CONFIG_FILE, CMVN_FILE, WEIGHTS_FILE)
"""The files that a model directory must hold."""


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
        return cls(frontend, encoder, _sil_pdf_ids(model_conf, encoder.output_dim), _option_defaults(model_conf))


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


def _sil_pdf_ids(model_conf: Mapping[str, Any], output_dim: int) -> tuple[int, ...]:
    ids = model_conf.get("sil_pdf_ids", [0])
    if not isinstance(ids, list) or not ids or not all(isinstance(i, int) and 0 <= i < output_dim for i in ids):
        raise InvalidModel(f"model_conf.sil_pdf_ids is {ids!r}, not a list of outputs below {output_dim}")
    return tuple(ids)


def _option_defaults(model_conf: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in model_conf.items() if isinstance(value, bool | int | float | str)}
