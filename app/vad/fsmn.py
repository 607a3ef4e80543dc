"""The FSMN network: log mel energies in, silence posteriors out. Weights are read-only; all state is the caller's.

Theory of operation (Deep-FSMN, Zhang et al., arXiv 1803.05030): stacked feature vectors pass two linear layers, then
`fsmn_layers` blocks, each a projection, a memory that adds a weighted sum over the last `lorder` frames per channel,
and an expansion with ReLU; two more linear layers and a softmax give the posteriors of the acoustic units, some of
which mean silence. The network is causal: a frame's output depends on `past_frames` earlier frames, and on the
`context_frames` that the stacking (LFR) looks ahead.

Folded into the weights when they are loaded: the feature normalisation (CMVN) into the first layer, and the memory's
own input into its last tap.

`FsmnState` is all that a stream carries from one call to the next. A state that starts from zeros gives exact outputs
from its stream's first frame on; one that starts in the middle of a stream gives exact outputs after `warm_up_frames`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from app.vad.linear import Linear
from app.vad.model_config import ModelConfig

_Getter = Callable[[str], Tensor]


@dataclass(slots=True)
class FsmnState:
    """What the network remembers of a batch of streams."""

    mels: Tensor
    """The newest log mel frames, [batch, <= 2 * context_frames, n_mels]; none before the first frame."""
    memories: list[Tensor]
    """Per layer the newest memory inputs, [batch, lorder - 1, proj_dim]."""


@dataclass(frozen=True, slots=True)
class _Layer:
    projection: Tensor
    taps: Tensor
    expansion: Linear


class FsmnNetwork:
    """The network of one checkpoint on one device."""

    def __init__(
        self,
        config: ModelConfig,
        weights: Mapping[str, Tensor],
        cmvn_shift: Tensor,
        cmvn_scale: Tensor,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.config = config
        self._device, self._dtype = device, dtype
        get = _reader(weights)
        first = get("in_linear1.linear.weight")
        scale, shift = cmvn_scale.to(torch.float64), cmvn_shift.to(torch.float64)
        first_bias = get("in_linear1.linear.bias") + first @ (shift * scale)
        self._in1 = Linear(self._place(first * scale), self._place(first_bias))
        self._in2 = self._linear(get, "in_linear2", relu=True)
        self._layers = [self._layer(get, index) for index in range(config.encoder.fsmn_layers)]
        self._out1 = self._linear(get, "out_linear1")
        self._out2 = self._linear(get, "out_linear2")
        self._silence = torch.tensor(config.sil_pdf_ids, device=device)

    @property
    def warm_up_frames(self) -> int:
        """Outputs to throw away at the head of a block that starts in the middle of a stream."""
        return self.config.encoder.past_frames + self.config.frontend.context_frames

    def new_state(self, batch: int) -> FsmnState:
        """The state before the first frame of `batch` streams."""
        encoder, frontend = self.config.encoder, self.config.frontend
        mels = torch.zeros(batch, 0, frontend.n_mels, device=self._device)
        memory = torch.zeros(batch, encoder.lorder - 1, encoder.proj_dim, device=self._device, dtype=self._dtype)
        return FsmnState(mels, [memory] * encoder.fsmn_layers)

    def advance(self, mels: Tensor, state: FsmnState, *, final: bool) -> Tensor:
        """Silence posteriors [batch, outputs] that `mels` [batch, frames, n_mels] make known, float32; moves `state`
        on.

        The newest `context_frames` frames wait for those after them; `final` lets the last frame stand in for these.
        """
        stacked = self._stack(mels, state, final)
        batch, outputs, _ = stacked.shape
        if outputs == 0:
            return stacked.new_zeros(batch, 0)
        # Rows of all streams under each other: the products are then plain matrices with their bias fused in.
        rows = stacked.to(self._dtype).flatten(0, 1)
        hidden = self._in2(self._in1(rows))
        for index, layer in enumerate(self._layers):
            projected = self._project(hidden, layer, state.memories[index])
            state.memories[index] = projected[:, outputs:]
            hidden = layer.expansion(_remember(projected, layer.taps))
        silence = torch.softmax(self._out2(self._out1(hidden)).float(), dim=-1).index_select(-1, self._silence).sum(-1)
        return silence.view(batch, outputs)

    def _project(self, hidden: Tensor, layer: _Layer, memory: Tensor) -> Tensor:
        """The memory block's input behind what it remembers, [batch, lorder - 1 + outputs, proj_dim]."""
        batch, past, channels = memory.shape
        outputs = hidden.shape[0] // batch
        projected = hidden.new_empty(batch, past + outputs, channels)
        projected[:, :past] = memory
        if batch == 1:
            torch.mm(hidden, layer.projection.t(), out=projected[0, past:])
        else:
            projected[:, past:] = torch.mm(hidden, layer.projection.t()).view(batch, outputs, channels)
        return projected

    def _stack(self, mels: Tensor, state: FsmnState, final: bool) -> Tensor:
        """Feature vectors [batch, outputs, feature_dim]: each frame between its neighbours, edges repeated."""
        context = self.config.frontend.context_frames
        if state.mels.shape[1] == 0 and mels.shape[1] > 0:
            state.mels = mels[:, :1].expand(-1, context, -1)
        known = torch.cat((state.mels, mels), dim=1)
        if final and known.shape[1] > 0:
            known = torch.cat((known, known[:, -1:].expand(-1, context, -1)), dim=1)
        outputs = max(0, known.shape[1] - 2 * context)
        state.mels = known[:, outputs:]
        batch, _, n_mels = known.shape
        if outputs == 0:
            return known.new_zeros(batch, 0, self.config.frontend.feature_dim)
        shape = (batch, outputs, self.config.frontend.feature_dim)
        return known.as_strided(shape, (known.stride(0), n_mels, 1)).contiguous()

    def _place(self, tensor: Tensor) -> Tensor:
        return tensor.to(self._device, self._dtype).contiguous()

    def _linear(self, get: _Getter, name: str, *, relu: bool = False) -> Linear:
        return Linear(self._place(get(f"{name}.linear.weight")), self._place(get(f"{name}.linear.bias")), relu=relu)

    def _layer(self, get: _Getter, index: int) -> _Layer:
        taps = get(f"fsmn.{index}.fsmn_block.conv_left.weight").transpose(2, 3).clone()
        taps[..., -1] += 1  # the memory adds its input
        expansion = self._linear(get, f"fsmn.{index}.affine", relu=True)
        projection = self._place(get(f"fsmn.{index}.linear.linear.weight"))
        placed = self._place(taps).contiguous(memory_format=torch.channels_last)
        return _Layer(projection, placed, expansion)


def _reader(weights: Mapping[str, Tensor]) -> _Getter:
    def get(name: str) -> Tensor:
        return weights[f"encoder.{name}"].to(torch.float64)

    return get


def _remember(projected: Tensor, taps: Tensor) -> Tensor:
    """Depthwise causal convolution of [batch, past + outputs, channels] over time: [batch * outputs, channels].

    As a picture of height 1 whose channels lie innermost: the layout that the matrix products have anyway, so
    nothing is copied, and the quickest of those tried.
    """
    picture = projected[:, None].permute(0, 3, 1, 2)
    return conv2d(picture, taps, groups=taps.shape[0]).permute(0, 2, 3, 1).flatten(0, 2)
