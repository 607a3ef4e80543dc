"""The FSMN network: log mel energies in, silence posteriors out. Weights are read-only; all state is the caller's.

Theory of operation (Deep-FSMN, Zhang et al., arXiv 1803.05030): stacked feature vectors pass two linear layers, then
`fsmn_layers` blocks, each a projection, a memory that adds a weighted sum over the last `lorder` frames per channel,
and an expansion with ReLU; two more linear layers and a softmax give the posteriors of the acoustic units, some of
which mean silence. The network is causal: a frame's output depends on `past_frames` earlier frames, and on the
`context_frames` that the stacking (LFR) looks ahead.

Folded into the weights when they are loaded: the feature normalisation (CMVN) into the first layer, and the memory's
own input into its last tap.

A stream carries the newest log mel frames, which the stacking still needs, and of each block the newest memory inputs.
A state that starts from zeros gives exact outputs from its stream's first frame on; one that starts in the middle of a
stream gives exact outputs after `warm_up_frames`.
"""

import torch
from torch import Tensor, nn

from app.vad.grid import Grid
from app.vad.models.fbank import Fbank
from app.vad.models.fsmn.checkpoint import Checkpoint
from app.vad.models.layers import Filter, Linear, padded_rows
from app.vad.models.scorer import Carry, FbankScorer

TILE_FRAMES = 1088
"""The activations of one tile stay in a core's second-level cache. A block of 10 s with its warm-up is one tile."""


class FsmnScorer(FbankScorer):
    """FSMN-VAD on a device."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype = torch.float32) -> None:
        frontend, encoder = checkpoint.config.frontend, checkpoint.config.encoder
        context, past = frontend.context_frames, encoder.lorder - 1
        super().__init__(
            Fbank(
                sample_rate=frontend.sample_rate,
                frame_samples=frontend.frame_samples,
                shift_samples=frontend.shift_samples,
                n_mels=frontend.n_mels,
                window="hamming",
                device=device,
            ),
            FsmnNetwork(checkpoint, device, dtype),
            [
                Carry(2 * context, 0, frontend.n_mels, torch.float32),
                *[Carry(past, past, encoder.proj_dim, dtype)] * encoder.fsmn_layers,
            ],
            Grid(
                sample_rate=frontend.sample_rate,
                frame_samples=frontend.frame_samples,
                shift_samples=frontend.shift_samples,
                look_ahead_frames=context,
                warm_up_frames=encoder.past_frames + context,
            ),
            device,
            tile_frames=TILE_FRAMES,
            of="silence",
        )


class FsmnNetwork(nn.Module):
    """The network of one checkpoint on one device."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__()
        config, weights = checkpoint.config, checkpoint.weights
        self._context, self._feature_dim = config.frontend.context_frames, config.frontend.feature_dim
        self._dtype = dtype

        def tensor(name: str) -> Tensor:
            return weights[f"encoder.{name}"].to(torch.float64)

        def place(values: Tensor) -> Tensor:
            return values.to(device, dtype).contiguous()

        def linear(name: str, *, relu: bool = False) -> Linear:
            return Linear(place(tensor(f"{name}.linear.weight")), place(tensor(f"{name}.linear.bias")), relu=relu)

        def layer(index: int) -> _Layer:
            taps = tensor(f"fsmn.{index}.fsmn_block.conv_left.weight").transpose(2, 3).clone()
            taps[..., -1] += 1  # the memory adds its input
            return _Layer(
                Linear(place(tensor(f"fsmn.{index}.linear.linear.weight"))),
                Filter(place(taps)),
                linear(f"fsmn.{index}.affine", relu=True),
            )

        first = tensor("in_linear1.linear.weight")
        scale, shift = checkpoint.cmvn_scale.to(torch.float64), checkpoint.cmvn_shift.to(torch.float64)
        first_bias = tensor("in_linear1.linear.bias") + first @ (shift * scale)
        self._in1 = Linear(place(first * scale), place(first_bias))
        self._in2 = linear("in_linear2", relu=True)
        self._layers = nn.ModuleList(layer(index) for index in range(config.encoder.fsmn_layers))
        self._out1, self._out2 = linear("out_linear1"), linear("out_linear2")
        self._silence = torch.tensor(config.sil_pdf_ids, device=device)

    def forward(self, mels: Tensor, state: list[Tensor], final: bool) -> tuple[Tensor, list[Tensor]]:
        """Silence posteriors [batch, outputs, 1] that `mels` [batch, frames, n_mels] make known, float32; and the state
        after them.

        `state`: the newest log mel frames before, [batch, <= 2 * context_frames, n_mels], none before the first frame;
        then of each layer the newest memory inputs, [batch, lorder - 1, proj_dim]. The newest `context_frames` frames
        wait for those after them; `final` lets the last frame stand in for these.
        """
        stacked, held = self._stack(mels, state[0], final)
        batch, outputs, _ = stacked.shape
        after = [held]
        if outputs == 0:
            return stacked.new_zeros([batch, 0, 1]), after + state[1:]
        # Rows of all streams under each other: the products are then plain matrices with their bias fused in.
        hidden = self._in2(self._in1(padded_rows(stacked.to(self._dtype).flatten(0, 1))))
        for index, layer in enumerate(self._layers):
            hidden, memory = layer(hidden, state[index + 1], outputs)
            after.append(memory)
        units = self._out2(self._out1(hidden))[: batch * outputs].float()
        silence = torch.softmax(units, dim=-1).index_select(-1, self._silence).sum(-1)
        return silence.view(batch, outputs, 1), after

    def _stack(self, mels: Tensor, held: Tensor, final: bool) -> tuple[Tensor, Tensor]:
        """Feature vectors [batch, outputs, feature_dim], each frame between its neighbours, edges repeated; and the
        frames to hold for the next."""
        context = self._context
        if held.shape[1] == 0 and mels.shape[1] > 0:
            held = mels[:, :1].expand(-1, context, -1)
        known = torch.cat((held, mels), dim=1)
        if final and known.shape[1] > 0:
            known = torch.cat((known, known[:, -1:].expand(-1, context, -1)), dim=1)
        batch, frames, n_mels = known.shape
        outputs = max(0, frames - 2 * context)
        held = known[:, outputs:]
        if outputs == 0:
            return known.new_zeros([batch, 0, self._feature_dim]), held
        stacked = known.as_strided([batch, outputs, self._feature_dim], [known.stride(0), n_mels, 1])
        return stacked.contiguous(), held


class _Layer(nn.Module):
    """A memory block and its expansion."""

    def __init__(self, projection: Linear, memory: Filter, expansion: Linear) -> None:
        super().__init__()
        self._projection, self._filter, self._expansion = projection, memory, expansion

    def forward(self, hidden: Tensor, memory: Tensor, outputs: int) -> tuple[Tensor, Tensor]:
        """Hidden rows and memory [batch, lorder - 1, proj_dim] to the next hidden rows and the memory after them."""
        batch, past, channels = memory.shape
        # Of a stream alone the rows that fill up `hidden` go along, at the end, where no other is changed by them:
        # cutting them off and adding them again at every layer was a twentieth of all scoring.
        rows = hidden.shape[0] if batch == 1 else outputs
        projected = hidden.new_empty([batch, past + rows, channels])
        projected[:, :past] = memory
        projected[:, past:] = self._projection(hidden)[: batch * rows].view(batch, rows, channels)
        remembered = self._filter(projected).flatten(0, 1)
        return self._expansion(padded_rows(remembered)), projected[:, outputs : outputs + past]
