"""FireRedVAD (FireRedTeam, Xiaohongshu): three networks of one form, for speech, live speech, and audio events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.vad.models.accuracy import MEASURED, measured
from app.vad.models.family import DType, KnownModel, ModelSpec, Weights
from app.vad.models.hub import HubModel, ModelHub, ModelPlace, as_directory, holds_files

if TYPE_CHECKING:
    from app.vad.models.firered.network import FireredScorer

FILES = ("model.pth.tar", "cmvn.ark")
_HUB_ID = "xukaituo/FireRedVAD"
_FOLDERS: Mapping[str, str] = {"firered": "VAD", "firered-stream": "Stream-VAD", "firered-aed": "AED"}
"""Where each network lies in the repository."""
_OPTIONS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    # endpoint: a test on (1 + x) / 2, for the threshold that the network's own machine has.
    "firered": {"tight": MEASURED["firered",].thresholds, "endpoint": {"speech_noise_thres": -0.2}},
    "firered-stream": {"tight": MEASURED["firered-stream",].thresholds, "endpoint": {"speech_noise_thres": 0.0}},
    "firered-aed": {"tight": {"threshold": 0.4, "neg_threshold": 0.25}, "endpoint": {"speech_noise_thres": -0.2}},
}


def _known(name: str, title: str, fingerprint: str, *, live: bool = False, live_as: str | None = None) -> KnownModel:
    return KnownModel(
        name=name,
        source=f"{_HUB_ID}:{_FOLDERS[name]}",
        title=title,
        licence="Apache-2.0",
        sample_rate=16_000,
        fingerprint=fingerprint,
        live=live,
        live_as=live_as,
        autoload=name == "firered",
        accuracy=measured(name),
        option_defaults=_OPTIONS[name],
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
        """By the two files of a network, in it or in the folder of the first network."""
        return holds_files(directory, FILES) or holds_files(directory / _FOLDERS["firered"], FILES)

    def find(self, spec: ModelSpec, hub: ModelHub) -> ModelPlace:
        """A directory, or a folder of the repository on ModelScope. Raises `ModelNotFound`."""
        known = spec.known
        folder = _FOLDERS.get(known.name if known is not None else "", _FOLDERS["firered"])
        source = spec.source.partition(":")[0] if known is not None else spec.source
        directory = as_directory(source)
        if directory is not None:
            place = directory if holds_files(directory, FILES) else directory / folder
            return ModelPlace(place, place.resolve().name, None, "directory")
        files = tuple(f"{folder}/{name}" for name in FILES)
        also: tuple[str, ...] = ("configuration.json",)
        if known is not None and known.live_as is not None:
            # A service that has a model wants what takes its place on live streams: 2 MB of the same repository.
            also += tuple(f"{_FOLDERS[known.live_as]}/{name}" for name in FILES)
        found = hub.find(HubModel(source, spec.revision, files, check=lambda root: _check(root / folder), also=also))
        return replace(found, path=found.path / folder, model_id=f"{source}:{folder}")

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

        from app.vad.models.firered.network import FireredScorer

        return FireredScorer(weights.tensors, torch.device(device), getattr(torch, dtype))

    def files(self, place: ModelPlace) -> Sequence[Path]:
        return [place.path / name for name in FILES]


def _check(directory: Path) -> None:
    from app.vad.models.firered.checkpoint import read_checkpoint  # with torch, which looking for a model does without

    read_checkpoint(directory)
