"""FireRedVAD's network: log mel energies in, probabilities out. Weights are read-only; all state is the caller's.

Theory of operation (DFSMN, Zhang et al., arXiv 1803.05030, as in fireredvad 0.0.2): a first block and `R - 1` more,
each an expansion with ReLU, a projection, and a memory, which adds to a frame a weighted sum over its neighbours, per
channel: `N1 - 1` frames back and `N2` ahead; from the second block on, what goes in is added to what comes out. Dense
layers and a sigmoid follow.

A block of a network that looks ahead runs `N2` frames behind the one before it: it waits for them instead of
computing its context anew. A stream carries of each block the newest memory inputs, and of each sum over a block the
inputs that wait for its output. Before a stream's start and after its end the memories see zeros.

Folded into the weights when they are loaded: the feature normalisation (CMVN) into the first layer, and the memory's
own input into its tap.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from app.vad.models.firered.checkpoint import Checkpoint
from app.vad.models.linear import Linear, padded_rows


class _Memory(nn.Module):
    """Two linear layers and the memory after them."""

    def __init__(self, expansion: Linear, projection: Linear, taps: Tensor, past: int) -> None:
        """`taps`: [channels, 1, 1, past + 1 + ahead], channels last."""
        super().__init__()
        self._expansion, self._projection, self._taps = expansion, projection, taps
        self._channels, self._past = taps.shape[0], past
        self._ahead = taps.shape[3] - past - 1

    def forward(self, frames: Tensor, memory: Tensor, final: bool) -> tuple[Tensor, Tensor]:
        """[batch, n, inputs] and the newest memory inputs to [batch, outputs, channels] and the memory after them."""
        batch, count, _ = frames.shape
        rows = self._projection(self._expansion(padded_rows(frames.flatten(0, 1))))
        known = [memory, rows[: batch * count].view(batch, count, self._channels)]
        if final:
            known.append(memory.new_zeros([batch, self._ahead, self._channels]))
        projected = torch.cat(known, dim=1)
        outputs = projected.shape[1] - self._past - self._ahead
        # Its last inputs, from which outputs are still to come or to be reached.
        after = projected[:, outputs:]
        picture = projected.unsqueeze(1).permute(0, 3, 1, 2)
        remembered = conv2d(picture, self._taps, groups=self._channels).permute(0, 2, 3, 1)
        return remembered.reshape(batch, outputs, self._channels), after


class FireredNetwork(nn.Module):
    """The network of one checkpoint on one device."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__()
        config, make = checkpoint.config, _Maker(checkpoint, device, dtype)
        self._dtype, self._odim = dtype, config.odim
        self._first = make.first_memory()
        self._memories = nn.ModuleList(make.memory(f"dfsmn.fsmns.{index}") for index in range(config.R - 1))
        self._dense = nn.ModuleList(make.linear(f"dfsmn.dnns.{3 * index}.", relu=True) for index in range(config.M))
        self._out = make.linear("out.")

    def forward(
        self, mels: Tensor, memories: list[Tensor], waiting: list[Tensor], final: bool
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Probabilities [batch, outputs, odim] that `mels` [batch, frames, n_mels] make known, float32; and the state
        after them.

        `memories`: of each block the newest memory inputs, [batch, <= past + ahead, channels], `past` zeros at a
        stream's start. `waiting`: of each block but the first the inputs that its output is to be added to, [batch, <=
        ahead, channels].
        """
        after: list[Tensor] = []
        left: list[Tensor] = []
        frames, memory = self._first(mels.to(self._dtype), memories[0], final)
        after.append(memory)
        for index, block in enumerate(self._memories):
            inputs = torch.cat((waiting[index], frames), dim=1)
            found, memory = block(frames, memories[index + 1], final)
            frames = inputs[:, : found.shape[1]] + found
            after.append(memory)
            left.append(inputs[:, found.shape[1] :])
        batch, outputs, _ = frames.shape
        rows = padded_rows(frames.flatten(0, 1))
        for layer in self._dense:
            rows = layer(rows)
        probabilities = self._out(rows)[: batch * outputs].float().sigmoid()
        return probabilities.view(batch, outputs, self._odim), after, left


class _Maker:
    """Layers from a checkpoint's weights, in the device's layout."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> None:
        self._checkpoint, self._device, self._dtype = checkpoint, device, dtype

    def linear(self, name: str, *, relu: bool = False) -> Linear:
        """The checkpoint's linear layer of this name, in the form that is quickest here."""
        return self._linear(self._get(f"{name}weight"), self._get(f"{name}bias"), relu=relu)

    def first_memory(self) -> _Memory:
        """The block that hears the features."""
        mean, deviation = self._checkpoint.mean, self._checkpoint.deviation
        weight = self._get("dfsmn.fc1.0.weight") / deviation
        bias = self._get("dfsmn.fc1.0.bias") - weight @ mean
        return self._memory(
            self._linear(weight, bias, relu=True), self.linear("dfsmn.fc2.0.", relu=True), "dfsmn.fsmn1"
        )

    def memory(self, name: str) -> _Memory:
        """One of the others."""
        projection = self._get(f"{name}.fc2.weight")
        plain = self._linear(projection, torch.zeros(projection.shape[0], dtype=projection.dtype), relu=False)
        return self._memory(self.linear(f"{name}.fc1.0.", relu=True), plain, f"{name}.fsmn")

    def _memory(self, expansion: Linear, projection: Linear, name: str) -> _Memory:
        config = self._checkpoint.config
        filters = [self._get(f"{name}.lookback_filter.weight")]
        filters[0][..., -1] += 1  # the memory adds its input
        if config.N2:
            filters.append(self._get(f"{name}.lookahead_filter.weight"))
        taps = torch.cat(filters, dim=2).unsqueeze(2)
        placed = self._place(taps).contiguous(memory_format=torch.channels_last)
        return _Memory(expansion, projection, placed, config.N1 - 1)

    def _linear(self, weight: Tensor, bias: Tensor, *, relu: bool) -> Linear:
        return Linear(self._place(weight), self._place(bias), relu=relu)

    def _get(self, name: str) -> Tensor:
        """A tensor in float64: a copy."""
        return self._checkpoint.weights[name].to(torch.float64, copy=True)

    def _place(self, tensor: Tensor) -> Tensor:
        return tensor.to(self._device, self._dtype).contiguous()
