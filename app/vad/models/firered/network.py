"""FireRedVAD's network, all three of its kinds: log mel energies in, probabilities out. Weights are read-only; all
state is the caller's.

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

from app.vad.grid import Grid
from app.vad.models.fbank import Fbank
from app.vad.models.firered.checkpoint import Checkpoint
from app.vad.models.layers import Filter, Linear, padded_rows
from app.vad.models.scorer import Carry, FbankScorer

SAMPLE_RATE, _FRAME_SAMPLES, _SHIFT_SAMPLES = 16_000, 400, 160
"""25 ms every 10 ms; the checkpoint does not state them."""
LABELS = ("speech", "singing", "music")
"""The columns of a network with three."""
_TILE_FRAMES = 704
"""The activations of one tile, 256 floats a frame and layer, stay in a core's second-level cache."""


class FireredScorer(FbankScorer):
    """One of the three networks on a device."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype = torch.float32) -> None:
        config = checkpoint.config
        past, ahead = config.N1 - 1, config.N2
        super().__init__(
            Fbank(
                sample_rate=SAMPLE_RATE,
                frame_samples=_FRAME_SAMPLES,
                shift_samples=_SHIFT_SAMPLES,
                n_mels=config.idim,
                window="povey",
                device=device,
            ),
            FireredNetwork(checkpoint, device, dtype),
            [
                *[Carry(past + ahead, past, config.P, dtype)] * config.R,
                *[Carry(ahead, 0, config.P, dtype)] * (config.R - 1),
            ],
            Grid(
                sample_rate=SAMPLE_RATE,
                frame_samples=_FRAME_SAMPLES,
                shift_samples=_SHIFT_SAMPLES,
                look_ahead_frames=config.ahead_frames,
                warm_up_frames=config.past_frames,
                labels=LABELS if config.odim == len(LABELS) else (),
            ),
            device,
            tile_frames=_TILE_FRAMES,
        )


class FireredNetwork(nn.Module):
    """The network of one checkpoint on one device."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__()
        config = checkpoint.config
        self._dtype, self._odim, self._blocks = dtype, config.odim, config.R

        def tensor(name: str) -> Tensor:
            return checkpoint.weights[name].to(torch.float64, copy=True)

        def place(values: Tensor) -> Tensor:
            return values.to(device, dtype).contiguous()

        def linear(name: str, *, relu: bool = False) -> Linear:
            return Linear(place(tensor(f"{name}.weight")), place(tensor(f"{name}.bias")), relu=relu)

        def memory(expansion: Linear, projection: Linear, name: str) -> _Memory:
            filters = [tensor(f"{name}.lookback_filter.weight")]
            filters[0][..., -1] += 1  # the memory adds its input
            if config.N2:
                filters.append(tensor(f"{name}.lookahead_filter.weight"))
            taps = place(torch.cat(filters, dim=2).unsqueeze(2))
            return _Memory(expansion, projection, Filter(taps), config.N1 - 1)

        def block(name: str) -> _Memory:
            weight = tensor(f"{name}.fc2.weight")
            projection = Linear(place(weight), place(weight.new_zeros(weight.shape[0])))
            return memory(linear(f"{name}.fc1.0", relu=True), projection, f"{name}.fsmn")

        first = tensor("dfsmn.fc1.0.weight") / checkpoint.deviation
        first_bias = tensor("dfsmn.fc1.0.bias") - first @ checkpoint.mean
        expansion = Linear(place(first), place(first_bias), relu=True)
        self._first = memory(expansion, linear("dfsmn.fc2.0", relu=True), "dfsmn.fsmn1")
        self._memories = nn.ModuleList(block(f"dfsmn.fsmns.{index}") for index in range(config.R - 1))
        self._dense = nn.ModuleList(linear(f"dfsmn.dnns.{3 * index}", relu=True) for index in range(config.M))
        self._out = linear("out")

    def forward(self, mels: Tensor, state: list[Tensor], final: bool) -> tuple[Tensor, list[Tensor]]:
        """Probabilities [batch, outputs, odim] that `mels` [batch, frames, n_mels] make known, float32; and the state
        after them.

        `state`: of each block the newest memory inputs, [batch, <= past + ahead, channels], `past` zeros at a stream's
        start; then of each block but the first the inputs that its output is to be added to, [batch, <= ahead,
        channels].
        """
        memories: list[Tensor] = []
        waiting: list[Tensor] = []
        frames, memory = self._first(mels.to(self._dtype), state[0], final)
        memories.append(memory)
        for index, block in enumerate(self._memories):
            inputs = torch.cat((state[self._blocks + index], frames), dim=1)
            found, memory = block(frames, state[index + 1], final)
            frames = inputs[:, : found.shape[1]] + found
            memories.append(memory)
            waiting.append(inputs[:, found.shape[1] :])
        batch, outputs, _ = frames.shape
        rows = padded_rows(frames.flatten(0, 1))
        for layer in self._dense:
            rows = layer(rows)
        probabilities = self._out(rows)[: batch * outputs].float().sigmoid()
        return probabilities.view(batch, outputs, self._odim), memories + waiting


class _Memory(nn.Module):
    """Two linear layers and the memory after them."""

    def __init__(self, expansion: Linear, projection: Linear, memory: Filter, past: int) -> None:
        """`memory`: over `past` inputs, the present one and those ahead."""
        super().__init__()
        self._expansion, self._projection, self._filter = expansion, projection, memory
        self._channels, self._past = memory.channels, past
        self._ahead = memory.width - past - 1

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
        return self._filter(projected), after
