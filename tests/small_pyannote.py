"""A checkpoint in the layout of pyannote's segmentation-3.0, for tests without the published weights: it hears loudness
as speech, and great loudness as two people.

The layout allows one size only, that of the published network. The weights are laid by hand: what the first filters
hear, against the rest of the window, goes through convolutions, LSTM and linear layers as their first unit. Small
seeded numbers everywhere else make every unit, and what comes before and after a frame, count a little.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch.torch_version import TorchVersion

from app.vad.models.pyannote.checkpoint import HIDDEN, LSTM_LAYERS, expected_shapes

_TASK = "pyannote.audio.core.task"
_TINY = 0.02
Document = dict[str, Any]


def write_small_pyannote(directory: Path, *, seed: int = 0, change: Callable[[Document], object] | None = None) -> Path:
    """Write the directory; returns it. `change`: does something to the checkpoint before it is saved."""
    directory.mkdir(parents=True, exist_ok=True)
    with _their_classes() as task:
        document = checkpoint_document(task, seed)
        if change is not None:
            change(document)
        torch.save(document, directory / "pytorch_model.bin")
    return directory


def checkpoint_document(task: Any, seed: int) -> Document:
    """The pickle as PyTorch Lightning and pyannote.audio lay it out. `task`: a module with their classes."""
    specifications = task.Specifications()
    specifications.__dict__ |= {
        "problem": task.Problem(1), "resolution": task.Resolution(1), "duration": 10.0, "warm_up": (0.0, 0.0),
        "classes": ["speaker#1", "speaker#2", "speaker#3"], "powerset_max_classes": 2, "permutation_invariant": True,
    }  # fmt: skip
    return {
        "pytorch-lightning_version": "2.0.2",
        "state_dict": small_weights(seed),
        "hparams_name": "kwargs",
        "hyper_parameters": {
            "sample_rate": 16_000, "num_channels": 1, "sincnet": {"stride": 10, "sample_rate": 16_000},
            "lstm": {
                "hidden_size": 128, "num_layers": 4, "bidirectional": True, "monolithic": True, "dropout": 0.5,
                "batch_first": True,
            },
            "linear": {"hidden_size": 128, "num_layers": 2},
        },
        "pyannote.audio": {
            "versions": {"torch": TorchVersion("2.0.1"), "pyannote.audio": "3.0.0"},
            "architecture": {"module": "pyannote.audio.models.segmentation.PyanNet", "class": "PyanNet"},
            "specifications": specifications,
        },
    }  # fmt: skip


def small_weights(seed: int) -> dict[str, torch.Tensor]:
    """The state dict."""
    generator = torch.Generator().manual_seed(seed)
    weights = {name: _TINY * torch.randn(shape, generator=generator) for name, shape in expected_shapes().items()}
    bank = "sincnet.conv1d.0.filterbank"
    taps = torch.arange(-125, 0).float()
    weights[f"{bank}.n_"] = (2 * torch.pi * (taps / 16_000)).unsqueeze(0)
    weights[f"{bank}.window_"] = torch.hamming_window(251, periodic=False)[:125]
    weights[f"{bank}.low_hz_"] = torch.linspace(30, 7_500, 40).unsqueeze(1)
    weights[f"{bank}.band_hz_"] = torch.full((40, 1), 180.0)
    for name in ("wav_norm1d", "norm1d.0", "norm1d.1", "norm1d.2"):
        weights[f"sincnet.{name}.weight"] = torch.ones_like(weights[f"sincnet.{name}.weight"])
        # Loud noise is at times as quiet as the mean, which the leaky ReLU must let through; near silence lies below.
        weights[f"sincnet.{name}.bias"] = torch.full_like(weights[f"sincnet.{name}.bias"], 0.6)
    weights["sincnet.conv1d.1.weight"][0] = 1 / 400
    weights["sincnet.conv1d.2.weight"][0, 0] = 1 / 5
    for layer in range(LSTM_LAYERS):
        for end in ("", "_reverse"):
            # Gates in torch's order: in, forget, cell, out. The first unit forgets all, and passes on what it is given.
            bias = weights[f"lstm.bias_ih_l{layer}{end}"]
            bias[0], bias[HIDDEN], bias[3 * HIDDEN] = 6.0, -6.0, 6.0
            weights[f"lstm.weight_ih_l{layer}{end}"][2 * HIDDEN, 0] = 1.5
    weights["linear.0.weight"][0, 0] = weights["linear.0.weight"][0, HIDDEN] = 1.0
    weights["linear.0.bias"][0] = 2.0  # so that the leaky ReLU lets quiet through, too
    weights["linear.1.weight"][0, 0] = 1.0
    for each, (slope, start) in enumerate([(-12.0, 36.0), (12.0, -36.0), (0.0, -9.0), (0.0, -9.0), (40.0, -127.5)]):
        weights["classifier.weight"][each, 0], weights["classifier.bias"][each] = slope, start
    weights["classifier.bias"][5:] = -9.0
    return weights


@contextmanager
def _their_classes() -> Iterator[ModuleType]:
    """A module of pyannote.audio's name with three of its classes, by whose names the pickle calls them."""
    names = [".".join(_TASK.split(".")[: count + 1]) for count in range(4)]
    before = {name: sys.modules.get(name) for name in names}
    for name in names:
        sys.modules[name] = ModuleType(name)
    task = sys.modules[_TASK]
    for name in ("Specifications", "Problem", "Resolution"):
        setattr(task, name, type(name, (_Theirs,), {"__module__": _TASK}))
    try:
        yield task
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


class _Theirs:
    def __init__(self, *arguments: object) -> None:
        self._arguments = arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), self._arguments, {k: v for k, v in self.__dict__.items() if k != "_arguments"} or None)
