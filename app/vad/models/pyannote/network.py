"""pyannote's segmentation-3.0: windows of 10 s in, for each frame the probabilities of speech and of overlap out.

Theory of operation (Bredin and Laurent, arXiv 2104.04045; Plaquet and Bredin, arXiv 2310.13025; as in pyannote.audio
4.0). A window is normalised; 80 sinc filters and two convolutions, each with pooling, normalisation and a leaky ReLU
after it, make 589 frames of 60 features; four layers of LSTM in both directions, two linear layers and a softmax make
of these the probabilities of seven classes: nobody speaks, one of three speakers, or two of them at once. The speakers
have no names, and change places from window to window, so only sums over classes mean anything outside of one: speech
is all but the first class, overlap the last three.

Normalisations are over a whole window, and the LSTM looks both ways: nothing here can go on from where it was. How
windows lie over the audio and over each other is the matter of `app.vad.windows`.

The convolutions take windows one by one, whose activations (5 MB) stay in the cache; the LSTM takes those of a group
together, for each of its 589 steps reads all its weights. float32 everywhere: in bfloat16 single frames are off by 0.2.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool1d, leaky_relu, max_pool1d

from app.vad.blocks import Block, Scored
from app.vad.grid import FRAME_MS, Grid, Windows
from app.vad.models.layers import compiled
from app.vad.models.pyannote.checkpoint import (
    CHANNELS,
    CLASSES,
    FILTER_STRIDE,
    FILTER_TAPS,
    FILTERS,
    HIDDEN,
    LSTM_LAYERS,
    SAMPLE_RATE,
    SPEAKERS,
    TAPS,
    WINDOW_SAMPLES,
    Checkpoint,
    sinc_filters,
)
from app.vad.models.scorer import Blocks, ScoredBlocks, StateRow
from app.vad.posteriors import FloatArray, Posteriors
from app.vad.windows import window_starts

_STEP_SAMPLES = SAMPLE_RATE * FRAME_MS // 1000
_FRAME_SAMPLES, _SHIFT_SAMPLES = 991, FILTER_STRIDE * 3**3
"""What a frame sees before the LSTM: a filter's taps, twice 5 taps, and each time pooling by 3."""
_WINDOWS = Windows(
    sample_rate=SAMPLE_RATE,
    samples=WINDOW_SAMPLES,
    frames=589,
    frame_samples=_FRAME_SAMPLES,
    shift_samples=_SHIFT_SAMPLES,
    # 5 s: nearly every frame is heard in two windows. The mean of ten is no better, one alone is a little worse.
    hop_frames=296,
    # A window alone takes 1.5 times as long as one of four; more together gain nothing.
    group=4,
)
_GROUPS_ON_DEVICE = 8
"""Groups that a GPU takes together, 32 windows: the activations of each take some 10 MB."""
_LEVEL_SAMPLES = 400
"""25 ms around a frame's centre, as over fbank features, so that thresholds in dB mean the same."""
_LEVEL_FROM = (_FRAME_SAMPLES - _LEVEL_SAMPLES) // 2
_LEVEL_FLOOR = 1e-6
"""As in `app.vad.models.fbank`: digital silence is -60 dB."""


class PyannoteScorer:
    """A `Scorer`. Read-only after construction, so any number of threads may share it."""

    grid = Grid(
        sample_rate=SAMPLE_RATE,
        frame_samples=_STEP_SAMPLES,
        shift_samples=_STEP_SAMPLES,
        # A frame is settled when the last window that could hold it has ended.
        look_ahead_frames=WINDOW_SAMPLES // _STEP_SAMPLES,
        warm_up_frames=0,
        level_samples=_LEVEL_SAMPLES,
        windows=_WINDOWS,
        overlap=_WINDOWS,
    )
    tile_frames = _WINDOWS.frames

    def __init__(self, checkpoint: Checkpoint, device: torch.device) -> None:
        if device.type == "cuda":
            # By default cuDNN rounds what goes into convolutions and LSTMs to 10 bits of mantissa.
            torch.backends.cudnn.allow_tf32 = False
        self._device = device
        self._network = compiled(PyannoteNetwork(checkpoint.weights, device))
        # On a CPU each group by itself, so that what is said of it does not depend on its company.
        self._groups = 1 if device.type == "cpu" else _GROUPS_ON_DEVICE

    def new_pool(self, capacity: int) -> None:
        """None: there are no states."""

    def score(self, blocks: Blocks) -> ScoredBlocks:
        """What each block's windows say of their own frames, one window after the other, in the blocks' order."""
        groups = [group for block in blocks for group in _groups_of(block)]
        found: list[np.ndarray] = []
        with torch.inference_mode():
            for first in range(0, len(groups), self._groups):
                samples = torch.from_numpy(np.concatenate(groups[first : first + self._groups])).to(self._device)
                found.extend(self._network(samples).cpu().numpy())
        scored: ScoredBlocks = []
        done = 0
        for block in blocks:
            count = len(window_starts(len(block.samples), _WINDOWS))
            speech, overlap, levels = np.concatenate(found[done : done + count], axis=1)
            scored.append(Scored(Posteriors(speech, levels, overlap=overlap), None))
            done += count
        return scored


def _groups_of(block: Block[StateRow]) -> list[FloatArray]:
    """A block's windows, float32 [windows, 160000] for each group."""
    samples = block.samples
    if len(samples) < WINDOW_SAMPLES:
        # Mirrored, again and again: padded with silence, it would be heard far worse, and noise as it is for speech.
        samples = np.resize(np.concatenate((samples, samples[::-1])), WINDOW_SAMPLES)
    windows = [samples[start : start + WINDOW_SAMPLES] for start in window_starts(len(samples), _WINDOWS)]
    return [np.stack(windows[first : first + _WINDOWS.group]) for first in range(0, len(windows), _WINDOWS.group)]


class PyannoteNetwork(nn.Module):
    """The network on one device."""

    def __init__(self, weights: Mapping[str, Tensor], device: torch.device) -> None:
        super().__init__()
        self._convolutions = SincNet(weights)
        self._lstm = nn.LSTM(CHANNELS, HIDDEN, LSTM_LAYERS, batch_first=True, bidirectional=True)
        self._linear = nn.Sequential(
            nn.Linear(2 * HIDDEN, HIDDEN), nn.LeakyReLU(), nn.Linear(HIDDEN, HIDDEN), nn.LeakyReLU()
        )
        self._classifier = nn.Linear(HIDDEN, CLASSES)
        self._lstm.load_state_dict(_below("lstm.", weights))
        self._linear.load_state_dict(
            {name.replace("1.", "2.", 1): tensor for name, tensor in _below("linear.", weights).items()}
        )
        self._classifier.load_state_dict(_below("classifier.", weights))
        self._one_by_one = device.type == "cpu"
        self._pairs = 1 + SPEAKERS
        self._level = (_LEVEL_FROM, _LEVEL_SAMPLES, _SHIFT_SAMPLES, _LEVEL_FLOOR)
        self.requires_grad_(False)
        self.to(device)

    def forward(self, samples: Tensor) -> Tensor:
        """[windows, 160000] -> [windows, 3, 589]: the probabilities of speech and of overlap, and the level in dB."""
        if self._one_by_one:
            features = torch.cat([self._convolutions(window) for window in torch.split(samples, 1)])
        else:
            features = self._convolutions(samples)
        outputs, _ = self._lstm(features)
        classes = torch.softmax(self._classifier(self._linear(outputs)), dim=-1)
        speech, overlap = 1 - classes[..., 0], classes[..., self._pairs :].sum(dim=-1)
        first, length, shift, floor = self._level
        power = avg_pool1d(samples[:, first:].square().unsqueeze(1), length, shift)[:, 0, : classes.shape[1]]
        return torch.stack((speech, overlap, (power * length + floor).log10() * 10), dim=1)


class SincNet(nn.Module):
    """From a waveform to 60 features for each frame. No padding anywhere."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._wave = nn.InstanceNorm1d(1, affine=True)
        self._filters = nn.Conv1d(1, FILTERS, FILTER_TAPS, FILTER_STRIDE, bias=False)
        self._second = nn.Conv1d(FILTERS, CHANNELS, TAPS)
        self._third = nn.Conv1d(CHANNELS, CHANNELS, TAPS)
        self._norms = nn.ModuleList(nn.InstanceNorm1d(size, affine=True) for size in (FILTERS, CHANNELS, CHANNELS))
        self._filters.load_state_dict({"weight": sinc_filters(weights).unsqueeze(1)})
        self._wave.load_state_dict(_below("sincnet.wav_norm1d.", weights))
        self._second.load_state_dict(_below("sincnet.conv1d.1.", weights))
        self._third.load_state_dict(_below("sincnet.conv1d.2.", weights))
        self._norms.load_state_dict(_below("sincnet.norm1d.", weights))

    def forward(self, samples: Tensor) -> Tensor:
        """[windows, samples] -> [windows, frames, 60]."""
        rows: Tensor = self._filters(self._wave(samples.unsqueeze(1))).abs()
        for stage, norm in enumerate(self._norms):
            if stage == 1:
                rows = self._second(rows)
            elif stage == 2:
                rows = self._third(rows)
            rows = leaky_relu(norm(max_pool1d(rows, 3)))
        return rows.transpose(1, 2)


def _below(prefix: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors below a name, by the rest of theirs."""
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}
