"""Silero VAD on one device: a second model behind the same protocol as FSMN-VAD's scorer.

Theory of operation. Frames of 32 ms lie side by side; each is scored together with the last 4 ms before it. A short
spectrum (16 ms windows every 8 ms), four convolutions and one LSTM step give the frame's speech probability. Only the
LSTM looks back, and its memory has no end, so blocks are always chained; a stream's last frame is filled up with
silence.

The package scores one frame after the other. Here spectrum and convolutions of a whole block are one batch; the LSTM
alone walks frame by frame, side by side for all streams of the batch. The network is small: float32 everywhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv1d, linear, pad

from app.vad.blocks import Block, FrameGrid
from app.vad.models.silero.checkpoint import SileroWeights, stft_size
from app.vad.posteriors import FrameScores

SILERO_OPTIONS: Mapping[str, Any] = {
    # The package's own, so that mode=tight alone gives what `get_speech_timestamps(audio, model)` does.
    "threshold": 0.5,
    "neg_threshold": 0.35,
    "min_speech_duration_ms": 250,
    "min_silence_duration_ms": 100,
    "speech_pad_ms": 30,
    # The end-point machine's test is one on a probability of (1 + x) / 2: the same 0.5.
    "speech_noise_thres": 0.0,
}
"""The model's own defaults for `VadOptions`."""
_FRAME_MS = 32
_CONTEXT_MS = 4
_STRIDES = (1, 2, 2, 1)
_TILE_FRAMES = 256
"""Frames of spectrum and convolutions at a time: their activations stay in the cache, and memory stays flat."""
_LEVEL_FLOOR = 1e-6


@dataclass(slots=True)
class SileroState:
    """What scoring carries from one block to the next, for one stream or a batch of them."""

    context: Tensor
    """The last samples seen, [batch, context samples]."""
    hidden: Tensor
    """[batch, 128]."""
    cell: Tensor
    """[batch, 128]."""


class SileroScorer:
    """A `BlockScorer`. Read-only after construction, so any number of threads may share it."""

    def __init__(self, weights: SileroWeights, device: torch.device) -> None:
        rate = weights.sample_rate
        frame = rate * _FRAME_MS // 1000
        self.grid = FrameGrid(
            sample_rate=rate,
            frame_samples=frame,
            shift_samples=frame,
            look_ahead_frames=0,
            warm_up_frames=None,
            pads_last=True,
            cuts_in_longest_silence=True,
        )
        self._device = device
        self._context = rate * _CONTEXT_MS // 1000
        self._tensors = {name: tensor.to(device) for name, tensor in weights.tensors.items()}
        self._stft = stft_size(rate)

    def new_state(self) -> SileroState:
        """The state at the start of one stream."""
        hidden = torch.zeros(1, self._tensors["decoder.rnn.weight_hh"].shape[1], device=self._device)
        return SileroState(torch.zeros(1, self._context, device=self._device), hidden, hidden.clone())

    def new_bank(self, capacity: int) -> None:
        """None: a state is small, and is stacked as it is."""
        return

    def score(self, blocks: list[Block]) -> list[FrameScores]:
        """Scores of each block; all are chained. A block's state moves on only when all went well."""
        groups: dict[int, list[int]] = {}
        for index, block in enumerate(blocks):
            groups.setdefault(self.grid.frames(len(block.samples), final=block.final), []).append(index)
        results: dict[int, FrameScores] = {}
        moves: list[tuple[SileroState, SileroState]] = []
        with torch.inference_mode():
            for frames, members in groups.items():
                alike = [blocks[index] for index in members]
                states = [block.state for block in alike]
                batch = _join(states)
                results.update(zip(members, self._score_alike(alike, frames, batch), strict=True))
                moves.extend(zip(states, _split(batch), strict=True))
        for state, moved in moves:
            state.context, state.hidden, state.cell = moved.context, moved.hidden, moved.cell
        return [results[index] for index in range(len(blocks))]

    def _score_alike(self, blocks: list[Block], frames: int, state: SileroState) -> list[FrameScores]:
        """Scores of blocks with equally many frames; moves their joint state on."""
        size = self.grid.frame_samples
        filled = np.zeros((len(blocks), frames * size), dtype=np.float32)
        for row, block in zip(filled, blocks, strict=True):
            row[: len(block.samples)] = block.samples
        samples = torch.from_numpy(filled).to(self._device)
        silence = (1 - self._speech(samples, frames, state)).cpu().numpy()
        energy = samples.view(len(blocks), frames, size).square().sum(-1)
        levels = energy.add_(_LEVEL_FLOOR).log10_().mul_(10).cpu().numpy()
        return [
            FrameScores(silence[row, block.discard :], levels[row, block.discard :], self._short_ms(block, frames))
            for row, block in enumerate(blocks)
        ]

    def _short_ms(self, block: Block, frames: int) -> float:
        return (frames * self.grid.frame_samples - len(block.samples)) * 1000 / self.grid.sample_rate

    def _speech(self, samples: Tensor, frames: int, state: SileroState) -> Tensor:
        """Speech probabilities, [batch, frames]."""
        size = self.grid.frame_samples
        known = torch.cat((state.context, samples), dim=1)
        state.context = known[:, known.shape[1] - self._context :].clone()
        speech = samples.new_empty(samples.shape[0], frames)
        for first in range(0, frames, _TILE_FRAMES):
            last = min(frames, first + _TILE_FRAMES)
            windows = known[:, first * size : last * size + self._context].unfold(1, size + self._context, size)
            self._remember(self._features(windows), state, speech[:, first:last])
        return speech

    def _features(self, windows: Tensor) -> Tensor:
        """[batch, frames, samples] -> what the LSTM hears, [batch, frames, 128]."""
        tensors = self._tensors
        batch, frames, size = windows.shape
        flat = pad(windows.reshape(batch * frames, 1, size), (0, self._stft // 4), mode="reflect")
        spectrum = conv1d(flat, tensors["stft.forward_basis_buffer"], stride=self._stft // 2)
        real, imaginary = spectrum.chunk(2, dim=1)
        heard = real.square().addcmul_(imaginary, imaginary).sqrt_()
        for layer, stride in enumerate(_STRIDES):
            name = f"encoder.{layer}.reparam_conv"
            heard = conv1d(heard, tensors[f"{name}.weight"], tensors[f"{name}.bias"], stride, padding=1).relu_()
        return heard.reshape(batch, frames, -1)

    def _remember(self, features: Tensor, state: SileroState, speech: Tensor) -> None:
        """Walk the LSTM over [batch, frames, 128]; fills `speech`, moves the state on."""
        tensors = self._tensors
        heard = linear(features, tensors["decoder.rnn.weight_ih"], tensors["decoder.rnn.bias_ih"])
        weight, bias = tensors["decoder.rnn.weight_hh"], tensors["decoder.rnn.bias_hh"]
        hidden, cell = state.hidden, state.cell
        outputs = []
        for frame in range(heard.shape[1]):
            gates = heard[:, frame] + linear(hidden, weight, bias)
            take, keep, new, give = gates.chunk(4, dim=1)
            cell = keep.sigmoid() * cell + take.sigmoid() * new.tanh()
            hidden = give.sigmoid() * cell.tanh()
            outputs.append(hidden)
        state.hidden, state.cell = hidden, cell
        said = torch.stack(outputs, dim=1).relu_()
        head = linear(said, tensors["decoder.decoder.2.weight"][..., 0], tensors["decoder.decoder.2.bias"])
        speech.copy_(head[..., 0].sigmoid_())


def _join(states: list[SileroState]) -> SileroState:
    """The states of several streams as one batch; nothing of theirs is changed."""
    return SileroState(
        *(torch.cat([getattr(state, name) for state in states]) for name in ("context", "hidden", "cell"))
    )


def _split(batch: SileroState) -> list[SileroState]:
    """A batch's state, stream by stream."""
    rows = range(batch.hidden.shape[0])
    return [
        SileroState(*(part[row : row + 1].clone() for part in (batch.context, batch.hidden, batch.cell)))
        for row in rows
    ]
