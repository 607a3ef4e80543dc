"""Silero VAD: blocks of samples in, speech probabilities out. Weights are read-only; all state is the caller's.

Theory of operation (as in silero-vad 6): frames of 32 ms lie side by side; each is scored together with the last 4 ms
before it. A short spectrum (windows of 16 ms every 8 ms, four to a frame), its magnitudes, four convolutions of three
taps with strides 1, 2, 2, 1, one LSTM step and a linear unit give a frame's probability. Only the LSTM looks back, and
its memory has no end, so blocks are always chained; a stream's last frame is filled up with silence. A stream's state
is the last 4 ms of samples, the LSTM's output and its cell.

The package scores one frame after the other. Here the frames of a block are one batch but for the LSTM, which walks
through them, side by side for all streams of the batch; torch's own does so in a single call, which oneDNN carries out,
where operators would take a dozen calls a frame. A frame's spectrum is four columns wide and narrower after each
stride: so short that a convolution, laid out as one matrix over all columns, is the quicker product, though a part of
it is zeros. The network is small: float32 everywhere.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, pad

from app.vad.blocks import Scored
from app.vad.grid import Grid
from app.vad.models.layers import Linear, compiled, padded_rows
from app.vad.models.scorer import Blocks, ScoredBlocks, StatePool, StateRow, gather, rows_of, score_alike
from app.vad.models.silero.checkpoint import Checkpoint, stft_size
from app.vad.posteriors import Posteriors

_FRAME_MS = 32
"""The network's own step: 512 samples at 16 kHz, 256 at 8 kHz; it was trained on no other."""
_CONTEXT_MS = 4
"""Samples of the frame before that the network sees again, as Silero's package gives them."""
_TILE_FRAMES = 256
"""Frames at a time: their activations stay in the cache, and memory stays flat."""
_LEVEL_FLOOR = 1e-6
"""As in `app.vad.models.fbank`: digital silence is -60 dB."""
_CONVOLUTIONS = ((1, 4), (2, 4), (2, 2), (1, 1))
"""Stride, and columns that come in, of each: the package's file holds their weights alone."""


class SileroScorer:
    """A `Scorer`. Read-only after construction, so any number of threads may share it."""

    tile_frames = _TILE_FRAMES

    def __init__(self, checkpoint: Checkpoint, device: torch.device) -> None:
        rate = checkpoint.sample_rate
        frame = rate * _FRAME_MS // 1000
        self.grid = Grid(sample_rate=rate, frame_samples=frame, shift_samples=frame, pads_last=True)
        self._device = device
        self._context = rate * _CONTEXT_MS // 1000
        self._network = compiled(SileroNetwork(checkpoint, device))
        hidden = checkpoint.tensors["decoder.rnn.weight_hh"].shape[1]
        self._sizes = [self._context, hidden, hidden]

    def new_pool(self, capacity: int) -> StatePool:
        """Room for the states of so many live streams."""
        return StatePool(sum(self._sizes), capacity, self._device)

    def score(self, blocks: Blocks) -> ScoredBlocks:
        """What each block gives, in their order; all are chained."""
        frames = self.grid.frames
        return score_alike(
            blocks, lambda block: (frames(len(block.samples), final=block.final), block.state is None), self._score
        )

    def _score(self, blocks: Blocks) -> ScoredBlocks:
        """Blocks with equally many frames, all of them at their streams' start or none."""
        size, batch = self.grid.frame_samples, len(blocks)
        frames = self.grid.frames(len(blocks[0].samples), final=blocks[0].final)
        filled = np.zeros((batch, frames * size), dtype=np.float32)
        for row, block in zip(filled, blocks, strict=True):
            row[: len(block.samples)] = block.samples
        samples = torch.from_numpy(filled).to(self._device)
        before = [block.state for block in blocks if block.state is not None]
        # Silence before a stream's start.
        state = gather(before, self._device) if before else samples.new_zeros(batch, sum(self._sizes))
        speech, after = self._walk(samples, frames, state)
        energy = samples.view(batch, frames, size).square().sum(-1)
        levels = energy.add_(_LEVEL_FLOOR).log10_().mul_(10).cpu().numpy()
        values = speech.cpu().numpy()
        return [
            Scored(
                Posteriors(values[row, block.discard :], levels[row, block.discard :]),
                None if block.final else after[row],
            )
            for row, block in enumerate(blocks)
        ]

    def _walk(self, samples: Tensor, frames: int, state: Tensor) -> tuple[Tensor, list[StateRow]]:
        """Speech probabilities, [batch, frames], and the streams' states after them."""
        size = self.grid.frame_samples
        context, hidden, cell = torch.split(state, self._sizes, dim=1)
        known = torch.cat((context, samples), dim=1)
        parts = [samples.new_empty(samples.shape[0], 0)]
        for first in range(0, frames, _TILE_FRAMES):
            last = min(frames, first + _TILE_FRAMES)
            windows = known[:, first * size : last * size + self._context].unfold(1, size + self._context, size)
            speech, hidden, cell = self._network(windows, hidden, cell)
            parts.append(speech)
        after = torch.cat((known[:, known.shape[1] - self._context :], hidden, cell), dim=1)
        return torch.cat(parts, dim=1), rows_of(after)


class SileroNetwork(nn.Module):
    """One of the package's two networks on one device, in float32."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device) -> None:
        super().__init__()
        tensors = checkpoint.tensors
        self._window = stft_size(checkpoint.sample_rate)
        basis = tensors["stft.forward_basis_buffer"][:, 0]
        self._bins = basis.shape[0] // 2
        self._spectrum = Linear(basis.contiguous().to(device), torch.zeros(basis.shape[0], device=device))
        self._convolutions = nn.ModuleList(
            _convolution(tensors, layer, stride, columns, device)
            for layer, (stride, columns) in enumerate(_CONVOLUTIONS)
        )
        hidden = tensors["decoder.rnn.weight_hh"].shape[1]
        self._lstm = nn.LSTM(hidden, hidden, batch_first=True)
        self._lstm.load_state_dict(
            {f"{name}_l0": tensors[f"decoder.rnn.{name}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
        )
        self._lstm.to(device)
        self._head = nn.Linear(hidden, 1)
        self._head.load_state_dict(
            {"weight": tensors["decoder.decoder.2.weight"][..., 0], "bias": tensors["decoder.decoder.2.bias"]}
        )
        self._head.to(device)
        self.requires_grad_(False)

    def forward(self, windows: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Probabilities [batch, frames] of `windows` [batch, frames, samples before a frame and its own]; and the
        LSTM's output and cell after them, [batch, hidden] each, as `hidden` and `cell` before them."""
        batch, frames, samples = windows.shape
        features = self._features(windows.reshape(batch * frames, samples))[: batch * frames]
        outputs, (output, memory) = self._lstm(
            features.view(batch, frames, -1), (hidden.unsqueeze(0).contiguous(), cell.unsqueeze(0).contiguous())
        )
        return self._head(outputs.relu()).squeeze(-1).sigmoid(), output.squeeze(0), memory.squeeze(0)

    def _features(self, windows: Tensor) -> Tensor:
        """[n, samples] -> what goes into the LSTM, [n or a few more, hidden]."""
        known = pad(padded_rows(windows), [0, self._window // 4], mode="reflect")
        spectra = known.unfold(1, self._window, self._window // 2).reshape(-1, self._window)
        parts = self._spectrum(spectra)
        real, imaginary = parts[:, : self._bins], parts[:, self._bins :]
        rows: Tensor = real.square().addcmul_(imaginary, imaginary).sqrt_().view(known.shape[0], -1)
        for convolution in self._convolutions:
            rows = convolution(rows)
        return rows


def _convolution(tensors: Mapping[str, Tensor], layer: int, stride: int, columns: int, device: torch.device) -> Linear:
    """A convolution and its ReLU over rows of `columns` columns, each with all channels."""
    name = f"encoder.{layer}.reparam_conv"
    weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
    inputs = weight.shape[1]
    # What it makes of each single input is its matrix.
    units = torch.eye(columns * inputs).view(-1, columns, inputs).transpose(1, 2)
    outputs = conv1d(units, weight, stride=stride, padding=1).transpose(1, 2)
    matrix = outputs.flatten(1).T.contiguous()
    return Linear(matrix.to(device), bias.repeat(outputs.shape[1]).to(device), relu=True)
