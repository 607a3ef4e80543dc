"""A tiny FireRedVAD directory for tests without the published weights: it hears loudness as speech.

The weights are laid by hand, as in `tests.small_checkpoint`: loudness, centred between near silence and loud noise,
goes through all blocks as a pair of its positive and negative parts. Small seeded numbers everywhere else make the
past, the future and every layer count a little.
"""

import argparse
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch

from app.vad.models.fbank import Fbank
from app.vad.models.firered.checkpoint import NetworkConfig, expected_shapes
from tests.small_checkpoint import LOUD, QUIET

_BINS = 20
_TINY = 0.02


def write_small_firered(
    directory: Path, *, ahead: int = 3, labels: int = 1, blocks: int = 3, dense: int = 1, seed: int = 0, **args: Any
) -> Path:
    """Write the directory; returns it. `ahead`: taps that look ahead; 0 makes a network for streams."""
    directory.mkdir(parents=True, exist_ok=True)
    sizes = {
        "idim": _BINS, "odim": labels, "R": blocks, "M": dense, "H": 12, "P": 8, "N1": 4, "S1": 1, "N2": ahead,
        "S2": 1 if ahead else 0, "dropout": 0.1, **args,
    }  # fmt: skip
    namespace = argparse.Namespace(**sizes)
    state = small_weights(NetworkConfig.read(namespace), seed)
    torch.save({"args": namespace, "model_state_dict": state}, directory / "model.pth.tar")
    quiet, loud = _mean_log_mel(QUIET), _mean_log_mel(LOUD)
    (directory / "cmvn.ark").write_bytes(cmvn_bytes((quiet + loud) / 2, (loud - quiet) / 2))
    return directory


def small_weights(config: NetworkConfig, seed: int) -> dict[str, torch.Tensor]:
    """The state dict; loudness runs from -1 (quiet) to 1 (loud)."""
    generator = torch.Generator().manual_seed(seed)
    weights = {name: _TINY * torch.randn(shape, generator=generator) for name, shape in expected_shapes(config).items()}
    weights["dfsmn.fc1.0.weight"][0] = 1 / config.idim
    weights["dfsmn.fc1.0.weight"][1] = -1 / config.idim
    for row, sign in enumerate((1.0, -1.0)):
        weights["dfsmn.fc2.0.weight"][row, 0], weights["dfsmn.fc2.0.weight"][row, 1] = sign, -sign
        weights["dfsmn.dnns.0.weight"][row, row] = 1.0
        for layer in range(1, config.M):
            weights[f"dfsmn.dnns.{3 * layer}.weight"][row, row] = 1.0
    for label in range(config.odim):
        weights["out.weight"][label, 0], weights["out.weight"][label, 1] = 6.0 - label, -6.0
    return weights


def cmvn_bytes(mean: float, deviation: float, *, count: int = 1_000, bins: int = _BINS) -> bytes:
    """Kaldi's sums, in its binary form."""
    sums = np.zeros((2, bins + 1))
    sums[0, :-1], sums[0, -1] = mean * count, count
    sums[1, :-1] = (deviation**2 + mean**2) * count
    return b"\0BDM \4" + struct.pack("<i", 2) + b"\4" + struct.pack("<i", bins + 1) + sums.astype("<f8").tobytes()


def _mean_log_mel(level: float) -> float:
    noise = torch.randn(1, 16_000, generator=torch.Generator().manual_seed(1)) * level
    fbank = Fbank(
        sample_rate=16_000,
        frame_samples=400,
        shift_samples=160,
        n_mels=_BINS,
        window="povey",
        device=torch.device("cpu"),
    )
    return float(fbank.log_mel(noise).mean())
