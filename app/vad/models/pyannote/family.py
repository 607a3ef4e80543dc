"""pyannote's segmentation-3.0 (CNRS and pyannoteAI): speech, and whether several people talk at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.vad.models.accuracy import MEASURED, measured
from app.vad.models.family import DType, KnownModel, ModelSpec, Weights
from app.vad.models.hub import HubModel, ModelHub, ModelPlace, holds_files

if TYPE_CHECKING:
    from app.vad.models.pyannote.network import PyannoteScorer

FILES = ("pytorch_model.bin",)
_DESCRIPTION = "config.yaml"
"""Nothing in it is needed: the checkpoint says the same."""
_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "tight": MEASURED["pyannote",].thresholds,
    # The end-point machine's test is one on a probability of (1 + x) / 2: the same 0.6.
    "endpoint": {"speech_noise_thres": 0.2},
    "smoothed": {"speech_threshold": 0.6},
}


class PyannoteFamily:
    """pyannote's segmentation network, as a `ModelFamily`."""

    name = "pyannote"
    default_mode = "tight"
    known: Sequence[KnownModel] = (
        KnownModel(
            name="pyannote",
            source="pyannote/segmentation-3.0",
            title="pyannote segmentation-3.0, which hears windows of 10 s and tells overlapping speech",
            licence="MIT",
            sample_rate=16_000,
            fingerprint="be3a5ac817f03cd13c40caea87bcbaf985adb754a8e00399bfb975cc6aeddb54",
            live=False,
            overlap=True,
            accuracy=measured("pyannote"),
            option_defaults=_OPTIONS,
        ),
    )

    def recognises(self, directory: Path) -> bool:
        return holds_files(directory, FILES)

    def find(self, spec: ModelSpec, hub: ModelHub) -> ModelPlace:
        """A directory, or a repository on ModelScope. Raises `ModelNotFound`."""
        return hub.find(HubModel(spec.source, spec.revision, FILES, check=_check, also=(_DESCRIPTION,)))

    def read(self, place: ModelPlace, *, fingerprint: str | None = None) -> Weights:
        """Raises `InvalidModel` naming the file."""
        from app.vad.models.pyannote.checkpoint import read_checkpoint
        from app.vad.models.weights import check_fingerprint

        checkpoint = read_checkpoint(place.path)
        check_fingerprint(place.path, checkpoint.fingerprint, fingerprint)
        summary = "16000 Hz, windows of 10 s, 4 LSTM layers, 3 speakers of whom 2 at once"
        return Weights(place, checkpoint.fingerprint, checkpoint, _OPTIONS, summary)

    def place(self, weights: Weights, *, device: str, dtype: DType) -> PyannoteScorer:
        """In float32, whatever `dtype` says: in bfloat16 single frames are off by up to 0.3."""
        import torch

        from app.vad.models.pyannote.network import PyannoteScorer

        return PyannoteScorer(weights.tensors, torch.device(device))

    def files(self, place: ModelPlace) -> Sequence[Path]:
        """The checkpoint, and the description that lies beside it where there is one."""
        return [place.path / name for name in (*FILES, _DESCRIPTION) if (place.path / name).exists()]


def _check(directory: Path) -> None:
    from app.vad.models.pyannote.checkpoint import read_checkpoint  # with torch, which looking for a model does without

    read_checkpoint(directory)
