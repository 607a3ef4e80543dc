"""Silero VAD's network: samples in, speech probabilities out. Weights are read-only; all state is the caller's.

Theory of operation (as in silero-vad 6): a short spectrum (windows of 16 ms every 8 ms, four to a frame), its
magnitudes, four convolutions of three taps with strides 1, 2, 2, 1, one LSTM step and a linear unit give a frame's
probability.

A frame's spectrum is four columns wide and narrower after each stride: so short that a convolution, laid out as one
matrix over all columns, is the quicker product, though a part of it is zeros. Only the LSTM walks from frame to frame;
torch's own does so in a single call, which oneDNN carries out, where operators would take a dozen calls a frame.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, pad

from app.vad.models.linear import Linear, padded_rows
from app.vad.models.silero.checkpoint import Checkpoint, stft_size

_CONVOLUTIONS = ((1, 4), (2, 4), (2, 2), (1, 1))
"""Stride, and columns that come in, of each: the package's file holds their weights alone."""


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
        heard = self._features(windows.reshape(batch * frames, samples))[: batch * frames]
        said, (output, memory) = self._lstm(
            heard.view(batch, frames, -1), (hidden.unsqueeze(0).contiguous(), cell.unsqueeze(0).contiguous())
        )
        return self._head(said.relu()).squeeze(-1).sigmoid(), output.squeeze(0), memory.squeeze(0)

    def _features(self, windows: Tensor) -> Tensor:
        """[n, samples] -> what the LSTM hears, [n or a few more, hidden]."""
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
