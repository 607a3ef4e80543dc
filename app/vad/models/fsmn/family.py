"""FSMN-VAD (DAMO Academy; FunASR, ModelScope): the family whose 16 kHz model is the service's default."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from app.vad.models.accuracy import MEASURED
from app.vad.models.family import DType, KnownModel, ModelSpec, Weights
from app.vad.models.hub import HubModel, ModelHub, ModelPlace, holds_files

if TYPE_CHECKING:
    from app.vad.models.fsmn.network import FsmnScorer

MODEL_FILES = ("config.yaml", "am.mvn", "model.pt")
_LICENCE = "FunASR model licence"
_ACCURACY = MEASURED["fsmn",]


class FsmnFamily:
    """FSMN-VAD at 16 and 8 kHz, as a `ModelFamily`."""

    name = "fsmn"
    default_mode = "endpoint"
    known: Sequence[KnownModel] = (
        KnownModel(
            name="fsmn",
            source="iic/speech_fsmn_vad_zh-cn-16k-common-pytorch",
            title="FSMN-VAD, 16 kHz",
            licence=_LICENCE,
            sample_rate=16_000,
            revision="v2.0.4",
            fingerprint="9965901c9bfde4dc9facb1e916fb359ab953c9f7d619c95497ca04847193529f",
            autoload=True,
            accuracy=_ACCURACY,
            option_defaults={"tight": _ACCURACY.thresholds},
        ),
        KnownModel(
            name="fsmn-8k",
            source="damo/speech_fsmn_vad_zh-cn-8k-common",
            title="FSMN-VAD, 8 kHz",
            licence=_LICENCE,
            sample_rate=8_000,
            option_defaults={"tight": _ACCURACY.thresholds},
        ),
    )

    def recognises(self, directory: Path) -> bool:
        return holds_files(directory, MODEL_FILES)

    def find(self, spec: ModelSpec, hub: ModelHub) -> ModelPlace:
        """A directory, or a repository on ModelScope. Raises `ModelNotFound`."""
        return hub.find(HubModel(spec.source, spec.revision, MODEL_FILES, check=_check))

    def read(self, place: ModelPlace, *, fingerprint: str | None = None) -> Weights:
        """Raises `InvalidModel` naming the file."""
        from app.vad.models.fsmn.checkpoint import read_checkpoint
        from app.vad.models.weights import check_fingerprint

        checkpoint = read_checkpoint(place.path)
        check_fingerprint(place.path, checkpoint.fingerprint, fingerprint)
        frontend, encoder = checkpoint.config.frontend, checkpoint.config.encoder
        return Weights(
            place=place,
            fingerprint=checkpoint.fingerprint,
            tensors=checkpoint,
            option_defaults={"endpoint": checkpoint.config.options, "tight": _ACCURACY.thresholds},
            summary=f"{frontend.sample_rate} Hz, {frontend.n_mels} mel bins, {encoder.fsmn_layers} FSMN layers",
        )

    def place(self, weights: Weights, *, device: str, dtype: DType) -> FsmnScorer:
        """Frontend and network on the device; the frontend is float32 whatever the network is."""
        import torch

        from app.vad.models.fsmn.network import FsmnScorer

        return FsmnScorer(weights.tensors, torch.device(device), getattr(torch, dtype))

    def files(self, place: ModelPlace) -> Sequence[Path]:
        """Those that a model directory needs, and ModelScope's description when it is there."""
        names = (*MODEL_FILES, "configuration.json")
        return [place.path / name for name in names if (place.path / name).exists()]


def _check(directory: Path) -> None:
    from app.vad.models.fsmn.checkpoint import read_checkpoint  # with torch, which looking for a model does without

    read_checkpoint(directory)
