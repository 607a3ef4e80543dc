"""FireRedVAD (FireRedTeam, Xiaohongshu): three networks of one form, for speech, live speech, and audio events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.vad.models.accuracy import MEASURED, measured
from app.vad.models.family import DType, KnownModel, ModelSpec, Weights
from app.vad.models.hub.find import Hub, HubModel, ModelPlace, as_directory, holds_files

if TYPE_CHECKING:
    from app.vad.models.firered.scorer import FireredScorer

FILES = ("model.pth.tar", "cmvn.ark")
_HUB_ID = "xukaituo/FireRedVAD"
_LICENCE = "Apache-2.0"
_FOLDERS: Mapping[str, str] = {"firered": "VAD", "firered-stream": "Stream-VAD", "firered-aed": "AED"}
"""Where each network lies in the repository."""
_OPTIONS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    # endpoint: a test on (1 + x) / 2, for the threshold that the network's own machine has.
    "firered": {
        "tight": MEASURED["firered",].thresholds,
        "endpoint": {"speech_noise_thres": -0.2},
    },
    "firered-stream": {
        "tight": MEASURED["firered-stream",].thresholds,
        "endpoint": {"speech_noise_thres": 0.0},
    },
    "firered-aed": {"tight": {"threshold": 0.4, "neg_threshold": 0.25}, "endpoint": {"speech_noise_thres": -0.2}},
}


def _known(name: str, title: str, fingerprint: str, *, live: bool = False, live_as: str | None = None) -> KnownModel:
    return KnownModel(
        name=name,
        source=f"{_HUB_ID}:{_FOLDERS[name]}",
        title=title,
        licence=_LICENCE,
        sample_rate=16_000,
        fingerprint=fingerprint,
        live=live,
        live_as=live_as,
        autoload=name == "firered",
        accuracy=measured(name),
    )


class FireredFamily:
    """FireRedVAD's three networks, as a `ModelFamily`."""

    name = "firered"
    default_mode = "smoothed"
    known: Sequence[KnownModel] = (
        _known(
            "firered",
            "FireRedVAD, which looks 1.6 s ahead",
            "b5962cd0b948e6616f5f371b1a91b91a4573bc49c9ffcaea02e22c34f1507e2a",
            live_as="firered-stream",
        ),
        _known(
            "firered-stream",
            "FireRedVAD's Stream-VAD, which does not look ahead",
            "d08d0d8dcf76a7360528a9393fe9affd4b52ce4e49d54eb5e9670b7dca893de9",
            live=True,
        ),
        _known(
            "firered-aed",
            "FireRedVAD's AED: speech, singing, music",
            "efaf51204ea0e13a23a87a77b9be76a31d7cd7be22eee267f9c224a6083de7d6",
        ),
    )

    def recognises(self, directory: Path) -> bool:
        """By `model.pth.tar` and `cmvn.ark`, in it or in the folder of the first network."""
        return holds_files(directory, FILES) or holds_files(directory / _FOLDERS["firered"], FILES)

    def find(self, spec: ModelSpec, hub: Hub) -> ModelPlace:
        """A directory, or a folder of the repository on ModelScope. Raises `ModelNotFound`."""
        folder = _FOLDERS.get(spec.known.name if spec.known is not None else "", "")
        source = spec.source.partition(":")[0] if spec.known is not None else spec.source
        directory = as_directory(source)
        if directory is not None:
            if not holds_files(directory, FILES):
                directory = directory / (folder or _FOLDERS["firered"])
            return ModelPlace(directory, directory.resolve().name, None, "directory")
        folder = folder or _FOLDERS["firered"]
        files = tuple(f"{folder}/{name}" for name in FILES)
        place = hub.find(HubModel(source, spec.revision, files, check=lambda root: _check(root / folder)))
        return replace(place, path=place.path / folder, model_id=f"{source}:{folder}")

    def read(self, place: ModelPlace, *, fingerprint: str | None = None) -> Weights:
        """Raises `InvalidModel` naming the file."""
        from app.vad.models.firered.checkpoint import read_checkpoint
        from app.vad.models.weights import check_fingerprint

        checkpoint = read_checkpoint(place.path)
        check_fingerprint(place.path, checkpoint.fingerprint, fingerprint)
        config = checkpoint.config
        kind = "firered-aed" if config.odim > 1 else "firered" if config.N2 else "firered-stream"
        return Weights(
            place=place,
            fingerprint=checkpoint.fingerprint,
            tensors=checkpoint,
            option_defaults=_OPTIONS[kind],
            summary=f"16000 Hz, {config.idim} mel bins, {config.R} memory blocks, {config.ahead_frames} frames ahead",
            for_streams=kind == "firered-stream",
        )

    def place(self, weights: Weights, *, device: str, dtype: DType) -> FireredScorer:
        """Frontend and network on the device; the frontend is float32 whatever the network is."""
        import torch

        from app.vad.models.firered.scorer import FireredScorer

        types = {"float32": torch.float32, "bfloat16": torch.bfloat16}
        return FireredScorer(weights.tensors, torch.device(device), types[dtype])

    def files(self, place: ModelPlace) -> Sequence[Path]:
        """The two of one network."""
        return [place.path / name for name in FILES]


def _check(directory: Path) -> None:
    from app.vad.models.firered.checkpoint import read_checkpoint  # with torch, which looking for a model does without

    read_checkpoint(directory)
