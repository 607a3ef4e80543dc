"""A tiny FSMN-VAD model directory for tests without the published weights: it hears loudness as speech.

The weights are laid by hand: the mean log mel energy, centred between near silence and loud noise, is carried
through all layers as a pair of its positive and negative parts, and comes out as the logits of silence and speech.
Small seeded numbers everywhere else make history, every unit and every layer count a little.
"""

from pathlib import Path
from typing import Any

import torch
import yaml

from app.vad.models.fbank import Fbank
from app.vad.models.fsmn.checkpoint import ModelConfig, expected_shapes

QUIET, LOUD = 1e-4, 0.2
"""Standard deviations of the noise that is silence and of the noise that is speech."""
_TINY = 0.01


def write_small_checkpoint(
    directory: Path, *, sample_rate: int = 16_000, layers: int = 2, n_mels: int = 20, seed: int = 0
) -> Path:
    """Write the directory; returns it."""
    directory.mkdir(parents=True, exist_ok=True)
    document = config_document(sample_rate, layers, n_mels)
    (directory / "config.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    config = ModelConfig.read(document)
    quiet, loud = (_mean_log_mel(config, level) for level in (QUIET, LOUD))
    (directory / "am.mvn").write_text(cmvn_text(config.frontend.feature_dim, -(quiet + loud) / 2, 2 / (loud - quiet)))
    torch.save(small_weights(config, seed), directory / "model.pt")
    return directory


def config_document(sample_rate: int, layers: int, n_mels: int) -> dict[str, Any]:
    """`config.yaml` in FunASR's layout."""
    return {
        "model": "FsmnVADStreaming",
        "model_conf": {
            "sample_rate": sample_rate,
            "detect_mode": 1,
            "max_end_silence_time": 800,
            "max_start_silence_time": 3000,
            "window_size_ms": 200,
            "sil_to_speech_time_thres": 150,
            "speech_to_sil_time_thres": 150,
            "max_single_segment_time": 60000,
            "speech_noise_thres": 0.6,
            "sil_pdf_ids": [0],
        },
        "encoder": "FSMN",
        "encoder_conf": {
            "input_dim": 5 * n_mels,
            "input_affine_dim": 12,
            "fsmn_layers": layers,
            "linear_dim": 16,
            "proj_dim": 8,
            "lorder": 6,
            "rorder": 0,
            "lstride": 1,
            "rstride": 0,
            "output_affine_dim": 10,
            "output_dim": 4,
        },
        "frontend": "WavFrontendOnline",
        "frontend_conf": {
            "fs": sample_rate,
            "window": "hamming",
            "n_mels": n_mels,
            "frame_length": 25,
            "frame_shift": 10,
            "dither": 0.0,
            "lfr_m": 5,
            "lfr_n": 1,
        },
    }


def cmvn_text(size: int, shift: float, scale: float) -> str:
    """Kaldi's nnet text."""
    shifts, scales = (" ".join([f"{value:.6f}"] * size) for value in (shift, scale))
    return (
        f"<Nnet>\n<Splice> {size} {size}\n[ 0 ]\n<AddShift> {size} {size}\n<LearnRateCoef> 0 [ {shifts} ]\n"
        f"<Rescale> {size} {size}\n<LearnRateCoef> 0 [ {scales} ]\n</Nnet>\n"
    )


def small_weights(config: ModelConfig, seed: int) -> dict[str, torch.Tensor]:
    """The state dict; loudness runs from -1 (quiet) to 1 (loud) through units 0 (its positive part) and 1."""
    generator = torch.Generator().manual_seed(seed)
    weights = {
        name: _TINY * torch.randn(shape, generator=generator) for name, shape in expected_shapes(config.encoder).items()
    }
    weights["encoder.in_linear1.linear.weight"][0] = 1 / config.encoder.input_dim
    _lay(weights["encoder.in_linear2.linear.weight"], {(0, 0): 1.0, (1, 0): -1.0})
    for layer in range(config.encoder.fsmn_layers):
        _lay(weights[f"encoder.fsmn.{layer}.linear.linear.weight"], {(0, 0): 1.0, (1, 1): 1.0})
        _lay(weights[f"encoder.fsmn.{layer}.affine.linear.weight"], {(0, 0): 1.0, (1, 1): 1.0})
    _lay(weights["encoder.out_linear1.linear.weight"], {(0, 0): 1.0, (0, 1): -1.0})
    _lay(weights["encoder.out_linear2.linear.weight"], {(0, 0): -6.0, (1, 0): 6.0})
    weights["encoder.out_linear2.linear.bias"][2:] = -30.0
    return weights


def _lay(matrix: torch.Tensor, entries: dict[tuple[int, int], float]) -> None:
    for place, value in entries.items():
        matrix[place] = value


def _mean_log_mel(config: ModelConfig, level: float) -> float:
    noise = torch.randn(1, config.frontend.sample_rate, generator=torch.Generator().manual_seed(1)) * level
    frontend = config.frontend
    fbank = Fbank(
        sample_rate=frontend.sample_rate,
        frame_samples=frontend.frame_samples,
        shift_samples=frontend.shift_samples,
        n_mels=frontend.n_mels,
        window="hamming",
        device=torch.device("cpu"),
    )
    return float(fbank.log_mel(noise).mean())
