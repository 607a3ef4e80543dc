"""Blind spots: of audio without labels, such as a folder of coughs or of songs, how much a model calls speech.

Only loud frames count, those within `_LOUD_DB` of the loudest of their file: what is silent says nothing. Whether a
high share is right (children, singing) or wrong (coughs, backing music) only the folder's name tells.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from app.accuracy.corpus import FRAME_SAMPLES, group_of, read_samples
from app.accuracy.frames import BoolArray, frames_of
from app.accuracy.heard import Setting
from app.accuracy.service import Service
from app.vad.segmenters.registry import MODE

_LOUD_DB = 20
"""Below it lies what a listener takes for the background."""


async def blind_spots(
    service: Service, models: Sequence[str], unlabelled: Sequence[Path], folder: Path
) -> dict[str, dict[str, float]]:
    """By model and subfolder, the share of loud frames that `mode=tight` calls speech. Raises `AudioError`s."""
    loud = {path: loud_frames(path) for path in unlabelled}
    found: dict[str, dict[str, float]] = {}
    for model in models:
        heard = await service.hear(model, [(path, len(each)) for path, each in loud.items()], {
            Setting("tight", model): {MODE: "tight"}
        })  # fmt: skip
        said = {
            path: frames_of(each.segments["tight"], len(loud[path])) for path, each in zip(loud, heard, strict=True)
        }
        found[model] = _shares(loud, said, folder)
    return found


def loud_frames(path: Path) -> BoolArray:
    """Of an audio file's frames of 10 ms, the loud ones."""
    samples = read_samples(path)
    frames = samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    power = np.mean(frames.astype(np.float64) ** 2, axis=1)
    loud: BoolArray = power > power.max(initial=0.0) * 10 ** (-_LOUD_DB / 10)
    return loud


def _shares(loud: Mapping[Path, BoolArray], said: Mapping[Path, BoolArray], folder: Path) -> dict[str, float]:
    shares = {}
    for group in dict.fromkeys(group_of(path, folder) for path in loud):
        mine = [path for path in loud if group_of(path, folder) == group]
        counted = sum(int(loud[path].sum()) for path in mine)
        spoken = sum(int((loud[path] & said[path]).sum()) for path in mine)
        shares[group or folder.name] = round(spoken / counted, 3) if counted else 0.0
    return shares
