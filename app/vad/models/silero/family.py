"""Silero VAD: two networks whose weights come in its Python package, so nothing is ever downloaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.vad.errors import InvalidModel, ModelNotFound
from app.vad.models.accuracy import MEASURED
from app.vad.models.family import DType, KnownModel, ModelSpec, Weights
from app.vad.models.hub import ModelHub, ModelPlace

if TYPE_CHECKING:
    from app.vad.models.silero.network import SileroScorer

PACKAGE = "silero-vad"
_FILE = "silero_vad/data/silero_vad.jit"
_LICENCE = "MIT"
_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    # The package's own, so that the segments are those of its `get_speech_timestamps(audio, model)`.
    "tight": {
        "threshold": 0.5,
        "neg_threshold": 0.35,
        "min_speech_duration_ms": 250,
        "min_silence_duration_ms": 100,
        "speech_pad_ms": 30,
    },
    # The end-point machine's test is one on a probability of (1 + x) / 2: the same 0.5.
    "endpoint": {"speech_noise_thres": 0.0},
}


class SileroFamily:
    """Silero VAD at 16 and 8 kHz, as a `ModelFamily`."""

    name = "silero"
    default_mode = "tight"
    known: Sequence[KnownModel] = (
        KnownModel(
            name="silero",
            source="silero-vad",
            title="Silero VAD, 16 kHz",
            licence=_LICENCE,
            sample_rate=16_000,
            autoload=True,
            accuracy=MEASURED["silero",],
            option_defaults=_OPTIONS,
        ),
        KnownModel(
            name="silero-8k",
            source="silero-vad-8k",
            title="Silero VAD, 8 kHz",
            licence=_LICENCE,
            sample_rate=8_000,
            option_defaults=_OPTIONS,
        ),
    )

    def recognises(self, directory: Path) -> bool:
        return False  # the package alone is read

    def find(self, spec: ModelSpec, hub: ModelHub) -> ModelPlace:
        """The installed package's file of weights. Raises `ModelNotFound` when it is not installed."""
        if spec.known is None:
            raise ModelNotFound(f"Silero VAD comes only as a Python package: there is no {spec.source}")
        try:
            distribution = metadata.distribution(PACKAGE)
        except metadata.PackageNotFoundError:
            raise ModelNotFound(
                "Silero VAD was requested, but the Python package with its weights is not installed.\n"
                f"To install it: pip install '{PACKAGE}>=6.2'"
            ) from None
        path = Path(str(distribution.locate_file(_FILE)))
        return ModelPlace(path, spec.known.source, distribution.version, "package")

    def read(self, place: ModelPlace, *, fingerprint: str | None = None) -> Weights:
        """Raises `InvalidModel` when the package's file is not what it was."""
        from app.vad.models import weights
        from app.vad.models.silero.checkpoint import read_checkpoint

        rate = next((known.sample_rate for known in self.known if known.source == place.model_id), None)
        if rate is None:
            raise InvalidModel(f"{place.model_id} is none of Silero VAD's networks")
        checkpoint = read_checkpoint(place.path, rate)
        found = weights.fingerprint(checkpoint.tensors)
        weights.check_fingerprint(place.path, found, fingerprint)
        return Weights(place, found, checkpoint, _OPTIONS, f"{rate} Hz")

    def place(self, weights: Weights, *, device: str, dtype: DType) -> SileroScorer:
        """In float32, whatever `dtype` says: the network is small."""
        import torch

        from app.vad.models.silero.network import SileroScorer

        return SileroScorer(weights.tensors, torch.device(device))

    def files(self, place: ModelPlace) -> Sequence[Path]:
        return ()  # the package is the bundle
